//! Files that only their owner can read and write: keys, tokens, and documents that decide whom the registry
//! trusts.
//!
//! [`replace`] writes a file completely or not at all, even if the power fails. [`read`] rejects a file that
//! another user could have written.

use crate::file_error::FileError;
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Replaces the file, or creates it with mode 0600. When it returns, the new content survives a power cut.
/// After an error the old file is unchanged, with one exception: if syncing the folder fails, the file is
/// replaced, but a power cut may bring back the old one. Links are not followed.
///
/// The content is first written beside the file, under the same name each time. Two processes that replace one
/// file at the same time could publish half of it, so a process locks the folder with [`lock_folder`].
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let new = beside(path);
    remove_leftover(path)?;
    // A file that exists may belong to another user or have another mode.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(|why| FileError::new(&new, &why))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let replaced = written.and_then(|()| fs::rename(&new, path));
    if let Err(why) = replaced {
        // The first error is reported. An error of this clean-up is not.
        drop(fs::remove_file(&new));
        return Err(FileError::new(path, &why));
    }
    let folder = folder_of(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|why| FileError::new(folder, &why))
}

/// Removes what a killed [`replace`] of this file left behind.
pub(crate) fn remove_leftover(path: &Path) -> Result<(), FileError> {
    let new = beside(path);
    match fs::remove_file(&new) {
        Err(why) if why.kind() != ErrorKind::NotFound => Err(FileError::new(&new, &why)),
        _ => Ok(()),
    }
}

/// Creates a folder that only its owner can enter, with missing folders above it. They survive a power cut. A
/// folder that exists is left unchanged.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    let missing: Vec<_> = path
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    missing
        .into_iter()
        .try_for_each(|made| File::open(folder_of(made))?.sync_all())
}

/// Locks a folder that exists, until the returned file is dropped or the process ends. Returns `None` if another
/// process has the lock. It also excludes processes in other containers, whose ids may be the same.
pub(crate) fn lock_folder(path: &Path) -> io::Result<Option<File>> {
    let folder = File::open(path)?;
    match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(folder)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(why) => Err(why.into()),
    }
}

/// Why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("cannot be read: {0}")]
    Io(FileError),
    #[error(
        "another user could have written it: it must be a regular file of the registry's user that only this user may write (for example mode 0600)"
    )]
    Shared,
}

/// Reads at most `largest` bytes of the file. Returns `None` if there is no file. Links are not followed.
pub(crate) fn read(path: &Path, largest: u64) -> Result<Option<Vec<u8>>, Unreadable> {
    let unreadable = |why: io::Error| Unreadable::Io(FileError::new(path, &why));
    // Without NONBLOCK, opening a pipe would wait for its writer.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
        Err(why) if why.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => return Err(Unreadable::Shared),
        Err(why) => return Err(unreadable(why)),
    };
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() || is_shared(&about) {
        return Err(Unreadable::Shared);
    }
    let mut bytes = Vec::new();
    file.take(largest).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Some(bytes))
}

/// Whether another user may write the file or folder, or owns it.
pub(crate) fn is_shared(about: &Metadata) -> bool {
    about.mode() & 0o022 != 0 || about.uid() != rustix::process::geteuid().as_raw()
}

/// The name shows which program left the file behind.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".wharfinger-new");
    path.with_file_name(name)
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_replaced_file_is_its_owners_alone_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read(&path, 9), Ok(Some(b"old".to_vec())));
        replace(&path, b"new").unwrap();
        assert_eq!(read(&path, 2), Ok(Some(b"ne".to_vec())));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(folder.path()), ["key"]);
    }

    #[test]
    fn remains_of_a_killed_write_are_replaced_whatever_their_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let mine = folder.path().join("mine");
        fs::write(&mine, "mine").unwrap();
        let leftover = folder.path().join(".key.wharfinger-new");
        for leave in [&(|| fs::write(&leftover, "half").unwrap()) as &dyn Fn(), &|| {
            symlink(&mine, &leftover).unwrap()
        }] {
            leave();
            replace(&path, b"new").unwrap();
            assert_eq!(path.symlink_metadata().unwrap().mode() & 0o777, 0o600);
            assert_eq!(names(folder.path()), ["key", "mine"]);
            assert_eq!(
                fs::read_to_string(&mine).unwrap(),
                "mine",
                "links are not followed"
            );
        }
    }

    #[test]
    fn missing_folders_are_made_for_their_owner_and_existing_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join("a/b");
        make_folder(&path).unwrap();
        make_folder(&path).unwrap();
        let modes = path
            .ancestors()
            .take(3)
            .map(|one| one.metadata().unwrap().mode() & 0o777);
        assert_eq!(modes.collect::<Vec<_>>(), [0o700, 0o700, 0o755]);
    }

    #[test]
    fn a_failed_write_says_why_and_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        let missing = folder.path().join("none/key");
        fs::create_dir(&taken).unwrap();
        assert_eq!(replace(&taken, b"").unwrap_err().to_string(), "Is a directory");
        assert_eq!(names(folder.path()), ["taken"]);
        let why = replace(&missing, b"").unwrap_err().to_string();
        assert!(why.ends_with("/none does not exist"), "{why}");
    }

    #[test]
    fn a_file_that_another_user_could_have_written_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let link = folder.path().join("link");
        assert_eq!(read(&path, 9), Ok(None));
        replace(&path, b"key").unwrap();
        symlink(&path, &link).unwrap();
        assert_eq!(read(&link, 9), Err(Unreadable::Shared));
        assert_eq!(read(folder.path(), 9), Err(Unreadable::Shared));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        assert_eq!(read(&folder.path().join("pipe"), 9), Err(Unreadable::Shared));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        assert_eq!(read(&path, 9), Err(Unreadable::Shared));
    }
}

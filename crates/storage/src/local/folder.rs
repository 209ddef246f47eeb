//! The folder of a local store: takes its lock, and checks that this program knows its layout.

use super::file_names::{BACKUP, CONVERTED, RECORDS};
use super::open_error::{OLD, TITLE, VERSION};
use super::openat::{open_file, open_folder};
use super::{Failure, OpenError, table};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Blobs, and large values.
const FOLDERS: [&str; 2] = ["d", "v"];
/// The file that the probe creates in them.
const PROBE: &str = "probe";

/// The folder, locked until this is dropped.
pub(super) struct Folder {
    path: PathBuf,
    root: File,
    _lock: File,
}

/// Which layout a folder has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Not a store yet.
    None,
    Current,
    Old,
    /// The current layout, but the last steps of the conversion are missing.
    Unfinished,
}

impl Folder {
    /// Opens a store of the current format. Creates it if there is none.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let folder = Self::lock(path)?;
        match folder.layout()? {
            Layout::None => folder.make()?,
            Layout::Current => {}
            Layout::Old => return Err(OpenError::Older { folder: folder.path }),
            Layout::Unfinished => return Err(OpenError::Unfinished { folder: folder.path }),
        }
        Ok(folder)
    }

    /// Locks the folder, whatever it contains. Creates it if it is missing.
    pub(super) fn lock(path: &Path) -> Result<Self, OpenError> {
        let failed = |file| {
            move |source: std::io::Error| OpenError::Folder {
                folder: path.to_owned(),
                file,
                source,
            }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed("the folder"))?;
        let path = path.canonicalize().map_err(failed("the folder"))?;
        let root = File::open(&path).map_err(failed("the folder"))?;
        let lock = lock(&path, &root)?;
        Ok(Self {
            path,
            root,
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn root(&self) -> &File {
        &self.root
    }

    /// Opens the folder `name` inside. Creates it if it is missing.
    pub(super) fn folder(&self, name: &'static str) -> Result<File, OpenError> {
        match rustix::fs::mkdirat(&self.root, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(self.failed(name)(error.into())),
        }
        open_folder(&self.root, name).map_err(|error| self.failed(name)(error.into()))
    }

    /// Fails if one of the store's folders is missing, since the store has then lost what was in it.
    pub(super) fn has_folders(&self) -> Result<(), OpenError> {
        let missing = FOLDERS
            .into_iter()
            .find(|name| matches!(open_folder(&self.root, name), Err(Errno::NOENT)));
        missing.map_or(Ok(()), |name| {
            Err(OpenError::NoFolder {
                folder: self.path.join(name),
            })
        })
    }

    /// Checks that files can be created in the folder, and that it still is the one that was `opened` with
    /// the store. A full disk is not an error here.
    pub(super) fn probe(&self, folder: &'static str, opened: &File) -> Result<(), Failure> {
        let failed = |why: std::io::Error| Failure::NotWritable {
            folder,
            why: Arc::new(why),
        };
        let is_opened = || {
            let there = open_folder(&self.root, folder)?;
            let opened = rustix::fs::fstat(opened)?;
            let there = rustix::fs::fstat(there)?;
            Ok::<_, Errno>((there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino))
        };
        if !is_opened().map_err(|why| failed(why.into()))? {
            return Err(failed(std::io::Error::other(
                "another folder has replaced it: restart the registry",
            )));
        }
        let made = open_file(opened, PROBE, OFlags::WRONLY | OFlags::CREATE);
        match made.and_then(|_| rustix::fs::unlinkat(opened, PROBE, AtFlags::empty())) {
            Ok(()) | Err(Errno::NOSPC | Errno::DQUOT) => Ok(()),
            Err(why) => Err(failed(why.into())),
        }
    }

    pub(super) fn itself(&self) -> Result<File, OpenError> {
        self.root.try_clone().map_err(self.failed("the folder"))
    }

    /// Returns when the names in it survive a power cut.
    pub(super) fn sync(&self) -> Result<(), OpenError> {
        self.root.sync_all().map_err(self.failed("the folder"))
    }

    pub(super) fn layout(&self) -> Result<Layout, OpenError> {
        layout(&self.path, &self.root)
    }

    /// Turns a folder without a file `format` into a store, unless it looks like the remains of one. `format`
    /// is written last, so a folder with a format but without records has lost them.
    fn make(&self) -> Result<(), OpenError> {
        let begun = self.path.join("format.new").symlink_metadata().is_ok();
        for holds in [RECORDS].into_iter().chain(FOLDERS) {
            if !begun && self.path.join(holds).symlink_metadata().is_ok() {
                return Err(OpenError::NotAStore {
                    folder: self.path.clone(),
                    holds,
                });
            }
        }
        self.prepare_format()?;
        table::make(&self.path.join(RECORDS))?;
        for name in FOLDERS {
            self.folder(name)?;
        }
        self.rename("format.new", "format")?;
        // The folder itself may be new. If its parent cannot be opened, this process did not create the
        // folder.
        match self.path.parent().map(File::open) {
            Some(Ok(parent)) => parent.sync_all().map_err(self.failed("the folder above")),
            _ => Ok(()),
        }
    }

    /// Writes the current format.
    pub(super) fn write_format(&self) -> Result<(), OpenError> {
        self.prepare_format()?;
        self.rename("format.new", "format")
    }

    fn prepare_format(&self) -> Result<(), OpenError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let mut file = open_file(&self.root, "format.new", flags)
            .map_err(|error| self.failed("format")(error.into()))?;
        writeln!(file, "{TITLE}{VERSION}")
            .and_then(|()| file.sync_all())
            .map_err(self.failed("format"))?;
        self.sync()
    }

    /// Replaces `to`. Returns when the change survives a power cut.
    pub(super) fn rename(&self, from: &'static str, to: &'static str) -> Result<(), OpenError> {
        rustix::fs::renameat(&self.root, from, &self.root, to)
            .map_err(|error| self.failed(to)(error.into()))?;
        self.sync()
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, name: &'static str) -> Result<(), OpenError> {
        match rustix::fs::unlinkat(&self.root, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed(name)(error.into())),
        }
    }

    pub(super) fn failed(&self, file: &'static str) -> impl Fn(std::io::Error) -> OpenError + '_ {
        move |source| OpenError::Folder {
            folder: self.path.clone(),
            file,
            source,
        }
    }
}

/// Checks whether `Folder::open` would succeed, without taking the lock or changing anything.
pub fn inspect(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Folder {
        folder: path.to_owned(),
        file: "the folder",
        source,
    };
    let root = match File::open(path) {
        Ok(root) => root,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    match layout(path, &root)? {
        Layout::None | Layout::Current => Ok(()),
        Layout::Old => Err(OpenError::Older {
            folder: path.to_owned(),
        }),
        Layout::Unfinished => Err(OpenError::Unfinished {
            folder: path.to_owned(),
        }),
    }
}

/// An error if there is no store in the folder.
pub(super) fn exists(path: &Path) -> Result<(), OpenError> {
    match path.join("format").symlink_metadata() {
        Ok(_) => Ok(()),
        Err(_) => inspect(path).and(Err(OpenError::NoStore {
            folder: path.to_owned(),
        })),
    }
}

pub(super) fn layout(path: &Path, root: &File) -> Result<Layout, OpenError> {
    let failed = |source| OpenError::Folder {
        folder: path.to_owned(),
        file: "format",
        source,
    };
    let mut text = String::new();
    match open_file(root, "format", OFlags::RDONLY) {
        Ok(file) => file.take(100).read_to_string(&mut text).map_err(failed)?,
        Err(Errno::NOENT) if path.join(BACKUP).symlink_metadata().is_ok() => {
            return Err(OpenError::UnfinishedBackup {
                folder: path.to_owned(),
            });
        }
        Err(Errno::NOENT) => return Ok(Layout::None),
        Err(error) => return Err(failed(error.into())),
    };
    match text
        .strip_prefix(TITLE)
        .and_then(|version| version.trim_end().parse::<u32>().ok())
    {
        Some(VERSION) if path.join(CONVERTED).symlink_metadata().is_ok() => Ok(Layout::Unfinished),
        Some(VERSION) => Ok(Layout::Current),
        Some(OLD) => Ok(Layout::Old),
        Some(found) if found > VERSION => Err(OpenError::Newer {
            folder: path.to_owned(),
            found,
            known: VERSION,
        }),
        _ => Err(OpenError::UnknownFormat {
            file: path.join("format"),
        }),
    }
}

fn lock(path: &Path, root: &File) -> Result<File, OpenError> {
    let failed = |source| OpenError::Folder {
        folder: path.to_owned(),
        file: "lock",
        source,
    };
    let mut file =
        open_file(root, "lock", OFlags::RDWR | OFlags::CREATE).map_err(|error| failed(error.into()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let pid = file
                .take(20)
                .read_to_string(&mut text)
                .ok()
                .and_then(|_| text.trim().parse().ok());
            return Err(OpenError::InUse {
                folder: path.to_owned(),
                pid,
            });
        }
        Err(error) => return Err(failed(error.into())),
    }
    // The process ID is only for the error above. The kernel releases the lock when the process ends. The
    // text always has the same length, so that rewriting it needs no new block on a full disk.
    let noted = file
        .rewind()
        .and_then(|()| writeln!(file, "{:<19}", std::process::id()));
    match noted.map_err(Failure::from) {
        Err(Failure::Io(why)) => Err(failed(std::io::Error::other(why))),
        _ => Ok(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> Result<(), OpenError> {
        super::super::Local::open(folder).map(drop)
    }

    #[test]
    fn one_process_at_a_time_and_the_error_says_which() {
        let folder = tempfile::tempdir().unwrap();
        let held = super::super::Local::open(folder.path()).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(
            matches!(&error, OpenError::InUse { pid: Some(pid), .. } if *pid == std::process::id()),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains(&format!("process {}", std::process::id()))
        );
        drop(held);
        open(folder.path()).unwrap();
    }

    #[test]
    fn a_newer_format_is_rejected_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("format"), "wharfinger store 3\n").unwrap();
        assert!(matches!(
            open(folder.path()),
            Err(OpenError::Newer {
                found: 3,
                known: 2,
                ..
            })
        ));
        assert!(!folder.path().join("records.sqlite3").exists());
    }

    #[test]
    fn a_folder_with_an_incomplete_store_is_rejected() {
        for format in [
            "",
            "wharfinger store 0\n",
            "wharfinger store x\n",
            "something else\n",
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("format"), format).unwrap();
            assert!(
                matches!(open(folder.path()), Err(OpenError::UnknownFormat { .. })),
                "{format:?}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        assert!(matches!(
            open(folder.path()),
            Err(OpenError::NotAStore { holds: "d", .. })
        ));
    }

    #[test]
    fn a_store_that_lost_its_records_is_not_opened_as_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).unwrap();
        let records = folder.path().join("records.sqlite3");
        std::fs::remove_file(&records).unwrap();
        assert!(
            matches!(open(folder.path()), Err(OpenError::NoRecords { file }) if file.ends_with("records.sqlite3"))
        );
        assert!(!records.exists());
        std::fs::write(&records, "").unwrap();
        let error = open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("no such table: records"), "{error}");
    }

    #[test]
    fn the_error_for_a_missing_folder_says_what_to_do() {
        for name in FOLDERS {
            let folder = tempfile::tempdir().unwrap();
            open(folder.path()).unwrap();
            let lost = folder.path().join(name);
            std::fs::remove_dir(&lost).unwrap();
            let error = open(folder.path()).unwrap_err();
            assert!(
                matches!(&error, OpenError::NoFolder { folder } if folder.ends_with(name)),
                "{error}"
            );
            let error = error.to_string();
            assert!(
                error.contains(&*lost.to_string_lossy())
                    && error.contains("restore")
                    && error.contains("mkdir"),
                "{error}"
            );
            assert!(!lost.exists(), "it is not created again");
        }
    }

    #[tokio::test]
    async fn the_probe_names_the_folder_that_cannot_be_written_to() {
        use crate::BlobStore;
        let folder = tempfile::tempdir().unwrap();
        let store = super::super::Local::open(folder.path()).unwrap();
        let is_at =
            |probed, name| matches!(probed, Err(Failure::NotWritable { folder, .. }) if folder == name);
        for name in FOLDERS {
            let there = folder.path().join(name);
            let away = folder.path().join("away");
            store.probe().await.unwrap();
            std::fs::rename(&there, &away).unwrap();
            assert!(is_at(store.probe().await, name), "gone");
            std::fs::create_dir(&there).unwrap();
            assert!(is_at(store.probe().await, name), "another folder has replaced it");
            std::fs::remove_dir(&there).unwrap();
            std::fs::rename(&away, &there).unwrap();
            store.probe().await.unwrap();
            assert_eq!(
                there.read_dir().unwrap().count(),
                0,
                "nothing is left of the probe"
            );
        }
    }

    #[test]
    fn an_interrupted_creation_is_completed_by_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).unwrap();
        // One of the two folders was created before the interruption.
        std::fs::remove_dir(folder.path().join("v")).unwrap();
        std::fs::rename(folder.path().join("format"), folder.path().join("format.new")).unwrap();
        open(folder.path()).unwrap();
        // But records without a file `format` are an incompletely restored store.
        std::fs::remove_file(folder.path().join("format")).unwrap();
        assert!(matches!(
            open(folder.path()),
            Err(OpenError::NotAStore {
                holds: "records.sqlite3",
                ..
            })
        ));
    }

    #[test]
    fn links_in_the_store_are_not_followed() {
        for name in ["format", "lock", "d", "v", "records.sqlite3"] {
            let folder = tempfile::tempdir().unwrap();
            let elsewhere = tempfile::tempdir().unwrap();
            open(folder.path()).unwrap();
            let inside = folder.path().join(name);
            let outside = elsewhere.path().join(name);
            std::fs::rename(&inside, &outside).unwrap();
            std::os::unix::fs::symlink(&outside, &inside).unwrap();
            open(folder.path()).expect_err(name);
        }
    }

    /// These files exist only while a process has the store open, or after it was killed. A link may also
    /// point to a missing file; SQLite does not look at a journal then.
    #[test]
    fn links_beside_the_records_are_not_followed() {
        for name in [
            "records.sqlite3-wal",
            "records.sqlite3-shm",
            "records.sqlite3-journal",
        ] {
            for content in [Some("somebody's"), None] {
                let folder = tempfile::tempdir().unwrap();
                let elsewhere = tempfile::tempdir().unwrap();
                open(folder.path()).unwrap();
                let outside = elsewhere.path().join(name);
                if let Some(content) = content {
                    std::fs::write(&outside, content).unwrap();
                }
                std::os::unix::fs::symlink(&outside, folder.path().join(name)).unwrap();
                let ignored = name == "records.sqlite3-journal" && content.is_none();
                assert_eq!(open(folder.path()).is_ok(), ignored, "{name} {content:?}");
                assert_eq!(
                    std::fs::read_to_string(&outside).ok().as_deref(),
                    content,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn no_store_is_created_through_a_link() {
        for name in ["format", "format.new", "lock", "d", "v", "records.sqlite3"] {
            for content in [Some("somebody's"), None] {
                let folder = tempfile::tempdir().unwrap();
                let elsewhere = tempfile::tempdir().unwrap();
                let outside = elsewhere.path().join(name);
                if let Some(content) = content {
                    std::fs::write(&outside, content).unwrap();
                }
                std::os::unix::fs::symlink(&outside, folder.path().join(name)).unwrap();
                open(folder.path()).expect_err(name);
                assert_eq!(
                    std::fs::read_to_string(&outside).ok().as_deref(),
                    content,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn the_path_to_the_folder_may_be_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("store");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        open(&link).unwrap();
        assert!(folder.path().join("format").exists());
    }
}

//! The folder that the backup is written to.

use super::super::file_names::{BACKUP, RECORDS};
use super::super::folder::{Folder, Layout};
use super::super::openat::{names, open_file, open_folder};
use super::super::space::Space;
use super::super::{Number, OpenError};
use super::{BackupError, Index, Inventory, open_for_writing};
use crate::contract::check_name;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const NEW_MARKER: &str = "backup.new";
const TITLE: &str = "wharfinger backup of store ";
/// The copy of the records until it is complete.
const NEW_RECORDS: &str = "records.sqlite3.part";
/// The suffix of a file until it is complete.
pub(super) const PART: &str = ".part";
/// What an empty folder may contain: a lock that an earlier attempt left, and what file systems create by
/// themselves.
const NOTHING: [&str; 3] = ["lock", "lost+found", NEW_MARKER];

pub(super) struct Target {
    folder: Folder,
}

/// The content of a folder.
enum Holds {
    Nothing,
    /// A backup of this store.
    Backup,
}

impl Target {
    /// Opens, locks and marks the folder. Creates it if it is missing. Changes nothing if the folder must not
    /// be written to.
    pub(super) fn open(to: &Path, store: &Path, store_id: &str) -> Result<Self, BackupError> {
        apart(&resolved(to), store)?;
        holds(to, store_id)?;
        let folder = Folder::lock(to).map_err(|why| match why {
            OpenError::Folder {
                file: "the folder",
                source,
                ..
            } => BackupError::File {
                path: to.to_owned(),
                source,
            },
            why => why.into(),
        })?;
        apart(folder.path(), store)?;
        let target = Self { folder };
        let path = target.folder.path();
        match holds(path, store_id)? {
            Holds::Nothing => target.mark(store_id)?,
            // A killed check of the backup may have left a log. SQLite would take it for a part of the new
            // table, so empty it.
            Holds::Backup if path.join("records.sqlite3-wal").symlink_metadata().is_ok() => {
                let table = path.join(RECORDS);
                drop(
                    open_for_writing(&table, true, Index::Mapped)
                        .map_err(|source| BackupError::Records { file: table, source })?,
                );
            }
            Holds::Backup => {}
        }
        Ok(target)
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder `d` or `v` inside.
    pub(super) fn files(&self, name: &'static str) -> Result<File, BackupError> {
        Ok(self.folder.folder(name)?)
    }

    /// Creates an empty file for the records, readable by its owner only, and returns its path.
    pub(super) fn new_records(&self) -> Result<PathBuf, BackupError> {
        self.folder.remove(NEW_RECORDS)?;
        let path = self.path().join(NEW_RECORDS);
        open_file(
            self.folder.root(),
            NEW_RECORDS,
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
        )
        .map_err(self.failed(&path))?;
        Ok(path)
    }

    pub(super) fn records_failed(&self) -> impl Fn(rusqlite::Error) -> BackupError + '_ {
        |source| BackupError::Records {
            file: self.path().join(NEW_RECORDS),
            source,
        }
    }

    pub(super) fn failed(&self, path: &Path) -> impl Fn(Errno) -> BackupError + '_ {
        let path = path.to_owned();
        move |error| BackupError::of_file(self.path().to_owned(), path.clone(), error.into())
    }

    /// Whether a copy of the store's `file` can share its blocks, so that it takes no space. SQLite must never
    /// open this file: closing any descriptor of a file releases all locks of the process on it (fcntl(2)).
    /// Without SQLite's locks another program may delete the log under a running registry.
    pub(super) fn can_clone(&self, file: &Path) -> bool {
        const TRIED: &str = "clone.part";
        let clone = || -> io::Result<()> {
            let made = open_file(
                self.folder.root(),
                TRIED,
                OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC,
            )?;
            clone_file(&made, &File::open(file)?)
        };
        let cloned = clone().is_ok();
        drop(self.folder.remove(TRIED));
        cloned
    }

    /// Fails before the copy starts if there is not enough room for it.
    pub(super) fn check_room(&self, inventory: &Inventory) -> Result<(), BackupError> {
        let files = self.files("d")?;
        let mut needed = 0;
        let mut shard = (String::new(), None);
        for item in &inventory.blobs {
            let name = item.name();
            let (start, _) = name.split_at(2);
            if shard.0 != start {
                shard = (start.to_owned(), open_folder(&files, start).ok());
            }
            let there = shard
                .1
                .as_ref()
                .and_then(|shard| stat(shard, name).ok().flatten());
            if there.is_none_or(|(size, _)| size != item.size) {
                needed += item.size;
            }
        }
        match Space::new(files).left() {
            Ok(Some(left)) if left < needed => Err(BackupError::NoRoom {
                to: self.path().to_owned(),
                needed,
                left,
            }),
            _ => Ok(()),
        }
    }

    /// Replaces the earlier records by the new ones. A first backup becomes a store. Call this when all files
    /// that the records refer to survive a power cut.
    pub(super) fn publish(&self) -> Result<(), BackupError> {
        let path = self.path().join(NEW_RECORDS);
        let failed = |source| BackupError::of_file(self.path().to_owned(), path.clone(), source);
        let records =
            open_file(self.folder.root(), NEW_RECORDS, OFlags::RDONLY).map_err(self.failed(&path))?;
        records.sync_all().map_err(failed)?;
        self.folder.sync()?;
        self.folder.rename(NEW_RECORDS, RECORDS)?;
        Ok(self.folder.write_format()?)
    }

    /// Removes files of earlier runs that the records do not refer to, and incomplete files. Returns the
    /// number of complete files removed.
    pub(super) fn remove_others(&self, inventory: &Inventory) -> Result<u64, BackupError> {
        let blob = |name: &str| check_name(name).is_ok() && !inventory.has_blob(name);
        let value = |name: &str| {
            let version = u64::from_str_radix(name, 16).ok().filter(|_| name.len() == 16);
            version.is_some_and(|bits| !inventory.has_value(Number(bits.cast_signed())))
        };
        Ok(self.remove_all("d", blob)? + self.remove_all("v", value)?)
    }

    fn remove_all(&self, files: &'static str, unneeded: impl Fn(&str) -> bool) -> Result<u64, BackupError> {
        let root = self.files(files)?;
        let mut removed = 0;
        let listed = |path: &Path, folder: &File| {
            names(folder)
                .map_err(|source| BackupError::of_file(self.path().to_owned(), path.to_owned(), source))
        };
        for shard in listed(&self.path().join(files), &root)?
            .iter()
            .filter(|shard| shard.len() == 2)
        {
            let path = self.path().join(files).join(shard);
            let folder = open_folder(&root, shard).map_err(self.failed(&path))?;
            for name in listed(&path, &folder)? {
                let part = name.strip_suffix(PART);
                if unneeded(&name) || part.is_some() {
                    rustix::fs::unlinkat(&folder, &name, AtFlags::empty())
                        .map_err(self.failed(&path.join(&name)))?;
                    removed += u64::from(part.is_none());
                }
            }
        }
        Ok(removed)
    }

    fn mark(&self, store_id: &str) -> Result<(), BackupError> {
        let path = self.path().join(NEW_MARKER);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let mut file = open_file(self.folder.root(), NEW_MARKER, flags).map_err(self.failed(&path))?;
        let written = writeln!(file, "{TITLE}{store_id}").and_then(|()| file.sync_all());
        written.map_err(|source| BackupError::of_file(self.path().to_owned(), path, source))?;
        Ok(self.folder.rename(NEW_MARKER, BACKUP)?)
    }
}

/// Makes the empty file `to` share the blocks of `from`, if the file system supports it.
#[cfg(target_os = "linux")]
pub(super) fn clone_file(to: &File, from: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(to, from)?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn clone_file(_: &File, _: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The size of a file, and when it was last written, in seconds. `None` if there is no file of that name.
pub(super) fn stat(folder: &File, name: &str) -> Result<Option<(u64, i64)>, Errno> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile => {
            Ok(Some((status.st_size.unsigned_abs(), status.st_mtime)))
        }
        Ok(_) | Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens the folder `name` in another one. Creates it if it is missing.
pub(super) fn made(at: &File, name: &str) -> Result<File, Errno> {
    match rustix::fs::mkdirat(at, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => open_folder(at, name),
        Err(error) => Err(error),
    }
}

/// Fails if one folder is inside the other.
fn apart(to: &Path, store: &Path) -> Result<(), BackupError> {
    if to.starts_with(store) || store.starts_with(to) {
        return Err(BackupError::Overlap {
            to: to.to_owned(),
            store: store.to_owned(),
        });
    }
    Ok(())
}

/// The path without symbolic links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let found = path
        .ancestors()
        .find_map(|above| Some((above.canonicalize().ok()?, path.strip_prefix(above).ok()?)));
    match found {
        Some((above, rest)) if rest.as_os_str().is_empty() => above,
        Some((above, rest)) => above.join(rest),
        None => path.to_owned(),
    }
}

/// Fails if the folder is neither empty nor a backup of this store.
fn holds(to: &Path, store_id: &str) -> Result<Holds, BackupError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::File { path, source }
    };
    let entries = match std::fs::read_dir(to) {
        Ok(entries) => entries,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Holds::Nothing),
        Err(why) => return Err(failed(to)(why)),
    };
    let mut found: Vec<String> = Vec::new();
    for entry in entries {
        found.push(
            entry
                .map_err(failed(to))?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    found.retain(|name| !NOTHING.contains(&name.as_str()));
    found.sort_unstable();
    let has = |name: &str| found.iter().any(|found| found == name);
    if has(BACKUP) {
        return is_of(to, store_id).map(|()| Holds::Backup);
    }
    match found.first() {
        None => Ok(Holds::Nothing),
        Some(_) if has("format") => Err(BackupError::AStore { to: to.to_owned() }),
        Some(first) => Err(BackupError::NotABackup {
            to: to.to_owned(),
            found: format!("`{first}`"),
        }),
    }
}

/// Fails unless the folder is a backup of this store, in a format that this program writes.
fn is_of(to: &Path, store_id: &str) -> Result<(), BackupError> {
    let path = to.join(BACKUP);
    let failed = |source| BackupError::File {
        path: path.clone(),
        source,
    };
    let root = File::open(to).map_err(failed)?;
    let mut text = String::new();
    let file = open_file(&root, BACKUP, OFlags::RDONLY).map_err(|error| failed(error.into()))?;
    file.take(200).read_to_string(&mut text).map_err(failed)?;
    match text.strip_prefix(TITLE).map(str::trim_end) {
        Some(found) if found == store_id => {}
        Some(found) => {
            return Err(BackupError::OtherStore {
                to: to.to_owned(),
                found: found.to_owned(),
                expected: store_id.to_owned(),
            });
        }
        None => {
            return Err(BackupError::NotABackup {
                to: to.to_owned(),
                found: format!("a `{BACKUP}` of another program"),
            });
        }
    }
    match super::super::folder::layout(to, &root) {
        Ok(Layout::None | Layout::Current) | Err(OpenError::UnfinishedBackup { .. }) => Ok(()),
        Ok(Layout::Old) => Err(OpenError::Older {
            folder: to.to_owned(),
        }
        .into()),
        Ok(Layout::Unfinished) => Err(OpenError::Unfinished {
            folder: to.to_owned(),
        }
        .into()),
        Err(why) => Err(why.into()),
    }
}

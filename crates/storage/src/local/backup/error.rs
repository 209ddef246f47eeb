//! Why a backup failed.

use super::super::OpenError;
use std::io;
use std::path::PathBuf;
use wharfinger_base::file_error::FileError;

/// Why a store could not be backed up. An earlier backup in the same folder is intact.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("another backup of this store is running: wait until it ends")]
    Running,
    #[error("stopped before it was complete: run the same command again to copy the rest")]
    Stopped,
    #[error("the folder {} overlaps with the store in {}: name a folder outside it, on another disk if possible", to.display(), store.display())]
    Overlap { to: PathBuf, store: PathBuf },
    #[error("the folder {} contains {found}, and is not a backup: name an empty folder, or one with an earlier backup of this store", to.display())]
    NotABackup { to: PathBuf, found: String },
    #[error("the folder {} is a store of its own, not a backup (or a backup that was served since): name another folder, so that nothing in it is lost", to.display())]
    AStore { to: PathBuf },
    #[error("the folder {} is a backup of another store, {found}, and this one is {expected}: name another folder", to.display())]
    OtherStore {
        to: PathBuf,
        found: String,
        expected: String,
    },
    #[error("the backup needs {needed} more bytes, and the disk of {} has {left} free: free some space, name a folder on a larger disk, or use --hard-link on the store's own disk", to.display())]
    NoRoom { to: PathBuf, needed: u64, left: u64 },
    #[error("the disk of {} is full: free some space and run the same command again to copy the rest", to.display())]
    Full { to: PathBuf },
    #[error(
        "the store's disk is full, so files that the backup still needed had to be removed: free some space, then run the same command again"
    )]
    HoldBroken,
    #[error("no hard links can be created from the store to {}: {source}. Both must be on one file system that supports them. Leave out --hard-link to copy", to.display())]
    HardLink { to: PathBuf, source: io::Error },
    #[error(transparent)]
    Target(#[from] OpenError),
    #[error("{} cannot be written or read: {}", path.display(), FileError::new(path, source))]
    File { path: PathBuf, source: io::Error },
    #[error("the store in {} cannot be backed up: {source}", folder.display())]
    Store { folder: PathBuf, source: io::Error },
    #[error("{}, which belongs to a record of the store, cannot be read: {source}. An earlier backup is unchanged. Run the same command again, and check the store with `wharfinger fsck` if it fails again", file.display())]
    Value { file: PathBuf, source: io::Error },
    #[error("the records cannot be copied to {}: {source}", file.display())]
    Records { file: PathBuf, source: rusqlite::Error },
}

impl BackupError {
    /// An error of the backup's disk.
    pub(super) fn of_file(to: PathBuf, path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { to },
            _ => Self::File { path, source },
        }
    }
}

//! A store in one folder of a local disk, for one process at a time:
//!
//! | in the folder | is |
//! |---|---|
//! | `format` | the version of this layout, as text |
//! | `lock` | locked while a process has the store open; holds its process id |
//! | `records.sqlite3` (and `-wal`, `-shm`) | the records, one table |
//! | `d/<first two characters of the name>/<name>` | the bytes of one blob each |
//!
//! The path to the folder may lead through symbolic links; inside it none is followed.

mod blobs;
mod buffers;
mod cache;
mod folder;
mod reading;
mod records;

pub use folder::OpenError;

use super::{Answer, BlobFile, BlobStore, Failure, Look, Record, RecordStore, Version};
use bytes::Bytes;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The open store. Blocks while it is being opened and while it is dropped, each for milliseconds.
pub struct Local {
    // In the order in which they must be closed: nothing may write any more when the lock goes.
    records: records::Records,
    blobs: blobs::Blobs,
    folder: Arc<folder::Folder>,
}

impl Local {
    /// Creates the store if the folder is missing or holds none.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let folder = Arc::new(folder::Folder::open(folder)?);
        let disk = Disk::default();
        let records = records::Records::open(&folder.path().join("records.sqlite3"), disk.clone())?;
        let blobs = blobs::Blobs::open(folder.clone(), disk)?;
        folder.sync()?;
        Ok(Self { records, blobs, folder })
    }
}

impl RecordStore for Local {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        Box::pin(async move { self.records.get(key) })
    }

    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> Answer<'a, Version> {
        Box::pin(self.records.write(key, None, Some(value)))
    }

    fn swap<'a>(&'a self, key: &'a str, expected: Version, value: Bytes) -> Answer<'a, Version> {
        Box::pin(self.records.write(key, Some(expected), Some(value)))
    }

    fn delete<'a>(&'a self, key: &'a str, expected: Version) -> Answer<'a, ()> {
        Box::pin(async move { self.records.write(key, Some(expected), None).await.map(drop) })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Answer<'a, Vec<String>> {
        Box::pin(async move { self.records.list(prefix, after, limit) })
    }
}

impl BlobStore for Local {
    fn write<'a>(&'a self, name: &'a str, offset: u64, chunks: Vec<Bytes>, look: Look) -> Answer<'a, ()> {
        Box::pin(self.blobs.write(name, offset, chunks, look))
    }

    fn seal<'a>(&'a self, name: &'a str, size: u64) -> Answer<'a, ()> {
        Box::pin(self.blobs.seal(name, size))
    }

    fn open<'a>(&'a self, name: &'a str) -> Answer<'a, Arc<dyn BlobFile>> {
        Box::pin(async move { Ok(Arc::new(self.blobs.open_blob(name).await?) as Arc<dyn BlobFile>) })
    }

    fn remove<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(self.blobs.remove(name))
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("folder", &self.folder.path()).finish_non_exhaustive()
    }
}

/// Whether the disk can still be believed. After a failed sync the kernel may have dropped pages and call the next sync good, so
/// the first such failure stops all writing, of records and bytes alike.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<AtomicBool>);

impl Disk {
    fn stop(&self, why: &dyn fmt::Display) {
        if !self.0.swap(true, Ordering::SeqCst) {
            tracing::error!("the store stops writing until a restart, because the disk failed: {why}");
        }
    }

    fn check(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::SeqCst) { Err(Failure::Stopped) } else { Ok(()) }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

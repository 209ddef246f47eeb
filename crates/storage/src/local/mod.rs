//! A store in one folder of a local disk, for one process at a time:
//!
//! | in the folder | what it is |
//! |---|---|
//! | `format` | the version of this layout, as text |
//! | `lock` | locked while a process has the store open; holds its process id |
//! | `records.sqlite3` (and `-wal`, `-shm`) | the records, one table |
//! | `v/<first two characters of the name>/<name>` | the value of one record each that is too large for the table |
//! | `records.converting`, `records.converted` | the records of a store of format 1 while it is converted |
//! | `reserve` | blocks that deletions get when the disk is full. If deleted, it is created again |
//! | `d/<first two characters of the name>/<name>` | the bytes of one blob each |
//! | `d/held`, `v/held` | while a backup runs, files that would have been removed |
//! | `backup` | the folder is a backup of a store, and has not been served since |
//!
//! The path to the folder may lead through symbolic links. Inside the folder none is followed.

mod backup;
mod blobs;
mod buffers;
mod cache;
mod convert;
mod file_names;
mod folder;
mod hold;
mod lists;
mod log;
pub mod meter;
mod open_error;
mod openat;
mod reading;
mod records;
mod space;
mod table;
mod values;
mod writeback;
mod writer;

pub use backup::{BackedUp, Backup, BackupError, Kind, Named, Names};
pub use convert::{Convert, ConvertError, Converted, Unconverted, convert, room_to_convert};
pub use folder::inspect;
pub use open_error::OpenError;

use super::contract::Token;
use super::{
    Answer, BlobFile, BlobStore, Change, Failure, Look, Range, Record, RecordStore, Resume, Value, Version,
    Written,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use wharfinger_base::clock::{Clock, Timestamp};

/// The open store. Opening and dropping it block for milliseconds.
pub struct Local {
    // Fields are dropped in this order: nothing may write any more when the lock is released.
    records: records::Records,
    blobs: blobs::Blobs,
    space: Arc<space::Space>,
    folder: Arc<folder::Folder>,
    clock: Clock,
    backing_up: Mutex<()>,
}

/// The settings of a store on a disk.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether an acknowledged change survives a power cut. Without this it still survives a crash of the
    /// process.
    pub commit: bool,
    /// The store's own time.
    pub clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            commit: true,
            clock: Clock::system(),
        }
    }
}

impl Local {
    /// Opens the store. Creates it if the folder is missing or empty.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_with(folder, Settings::default())
    }

    pub fn open_with(folder: &Path, settings: Settings) -> Result<Self, OpenError> {
        let folder = folder::Folder::open(folder)?;
        // From now on the store may change, so the next backup must not replace it.
        folder.remove(file_names::BACKUP)?;
        Self::open_locked(folder, settings)
    }

    fn open_locked(folder: folder::Folder, Settings { commit, clock }: Settings) -> Result<Self, OpenError> {
        folder.has_folders()?;
        let folder = Arc::new(folder);
        let disk = Disk::new(commit);
        let space = Arc::new(space::Space::new(folder.itself()?));
        let values = values::Values::open(folder.clone(), space.clone(), disk.clone())?;
        let records = records::Records::open(
            &folder.path().join(file_names::RECORDS),
            values,
            space.clone(),
            disk.clone(),
            clock.clone(),
        )?;
        let blobs = blobs::Blobs::open(folder.clone(), space.clone(), disk)?;
        space
            .prepare()
            .map_err(|why| folder.failed("reserve")(std::io::Error::other(why)))?;
        folder.sync()?;
        Ok(Self {
            records,
            blobs,
            space,
            folder,
            clock,
            backing_up: Mutex::default(),
        })
    }

    async fn change_one(
        &self,
        key: &str,
        expected: Option<&Version>,
        value: Option<Value>,
    ) -> Result<Option<Version>, Failure> {
        let change = Change {
            key: key.to_owned(),
            expected: expected.cloned(),
            value,
        };
        self.records
            .change(vec![change])
            .await
            .pop()
            .unwrap_or(Err(Failure::Stopped))
    }

    async fn put(&self, key: &str, expected: Option<&Version>, value: Value) -> Result<Version, Failure> {
        self.change_one(key, expected, Some(value))
            .await?
            .ok_or(Failure::Stopped)
    }

    /// Opens the store in the folder and never creates one. A backup stays a backup.
    pub fn open_existing(folder: &Path) -> Result<Self, OpenError> {
        folder::exists(folder)?;
        Self::open_locked(folder::Folder::open(folder)?, Settings::default())
    }

    /// Removes the files of large values that a crash left without a record, and returns how many there were.
    /// Reads the whole table in parts, unless there are no such values. Requests may use the store meanwhile.
    pub fn remove_leftovers(&self) -> Result<usize, Failure> {
        self.records.remove_leftovers()
    }

    /// Returns what is wrong with the table or with the files beside it, in words, and how many files belong
    /// to no record. Nothing else may use the store meanwhile.
    pub fn check(&self) -> Result<(Vec<String>, usize), Failure> {
        self.records.check()
    }
}

impl RecordStore for Local {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        Box::pin(async move { self.records.get(key) })
    }

    fn get_stored<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        Box::pin(async move { self.records.get_stored(key) })
    }

    fn create<'a>(&'a self, key: &'a str, value: Value) -> Answer<'a, Version> {
        Box::pin(self.put(key, None, value))
    }

    fn swap<'a>(&'a self, key: &'a str, expected: &'a Version, value: Value) -> Answer<'a, Version> {
        Box::pin(self.put(key, Some(expected), value))
    }

    fn delete<'a>(&'a self, key: &'a str, expected: &'a Version) -> Answer<'a, ()> {
        Box::pin(async move { self.change_one(key, Some(expected), None).await.map(drop) })
    }

    fn list<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<String>> {
        Box::pin(async move { self.records.list(range) })
    }

    fn list_written<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<Written>> {
        Box::pin(async move { self.records.list_written(range) })
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn change_all(&self, changes: Vec<Change>) -> BoxFuture<'_, Vec<Result<Option<Version>, Failure>>> {
        Box::pin(self.records.change(changes))
    }
}

impl BlobStore for Local {
    fn write<'a>(
        &'a self,
        name: &'a str,
        offset: u64,
        _: &'a Resume,
        chunks: Vec<Bytes>,
        look: Look,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            // A call without chunks only truncates unrecorded bytes, so it needs no space.
            if !chunks.is_empty() {
                self.space.check()?;
            }
            self.blobs.write(name, offset, chunks, look).await
        })
    }

    fn keep<'a>(&'a self, name: &'a str, size: u64, _: &'a Resume) -> Answer<'a, Resume> {
        Box::pin(async move { self.blobs.sync(name, size).await.map(|()| Resume::default()) })
    }

    fn seal<'a>(&'a self, name: &'a str, size: u64, _: &'a Resume) -> Answer<'a, ()> {
        Box::pin(self.blobs.sync(name, size))
    }

    fn open<'a>(&'a self, name: &'a str) -> Answer<'a, Arc<dyn BlobFile>> {
        Box::pin(async move { Ok(Arc::new(self.blobs.open_blob(name).await?) as Arc<dyn BlobFile>) })
    }

    fn open_unsealed<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Arc<dyn BlobFile>>> {
        Box::pin(async move { BlobStore::open(self, name).await.map(Some) })
    }

    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(async {
            self.blobs.probe().await?;
            self.records.probe().await
        })
    }

    fn remove<'a>(&'a self, name: &'a str, _: &'a Resume) -> Answer<'a, ()> {
        Box::pin(async move {
            let removed = self.blobs.remove(name).await;
            let _freeing = matches!(removed, Err(Failure::Full)).then(|| self.space.freeing());
            if matches!(removed, Err(Failure::Full)) && self.space.release() {
                self.blobs.remove(name).await
            } else {
                removed
            }
        })
    }

    fn list_bytes<'a>(&'a self, after: &'a str, limit: usize) -> Answer<'a, Vec<Written>> {
        Box::pin(self.blobs.list(after, limit))
    }
}

/// A version of a record: a random 64-bit number, so never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Number(i64);

impl Number {
    fn random() -> Self {
        Self(fastrand::i64(..))
    }

    /// A version of another kind of store matches no record here.
    fn of(version: &Version) -> Result<Self, Failure> {
        match version.0 {
            Token::Number(number) => Ok(Self(number)),
            Token::Text(_) => Err(Failure::Conflict),
        }
    }
}

impl From<Number> for Version {
    fn from(Number(number): Number) -> Self {
        Self(Token::Number(number))
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("folder", &self.folder.path())
            .finish_non_exhaustive()
    }
}

/// Whether the disk can still be trusted. After a failed sync the kernel may drop pages and report success
/// for the next sync. So the first failed sync stops all writing, of records and of bytes.
#[derive(Clone, Debug)]
struct Disk {
    stopped: Arc<AtomicBool>,
    durable: bool,
}

impl Disk {
    fn new(durable: bool) -> Self {
        Self {
            stopped: Arc::default(),
            durable,
        }
    }

    /// Whether a write waits until the disk has it.
    const fn is_durable(&self) -> bool {
        self.durable
    }

    fn stop(&self, why: &dyn fmt::Display) {
        if !self.stopped.swap(true, Ordering::SeqCst) {
            tracing::error!(
                "the disk failed, so the store accepts no more writes: check the disk, then restart the registry: {why}"
            );
        }
    }

    fn check(&self) -> Result<(), Failure> {
        if self.stopped.load(Ordering::SeqCst) {
            Err(Failure::Stopped)
        } else {
            Ok(())
        }
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
            Some(rusqlite::ErrorCode::DatabaseBusy) => Self::Busy,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

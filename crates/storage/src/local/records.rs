//! Records in one SQLite file. One thread writes. Readers see the last commit, never wait for the writer, and
//! run on the calling thread. These measurements decided it (2 cores, ext4, 300-byte records among 100,000
//! others):
//!
//! * All waiting changes share one transaction with one sync: 4,500, 20,000 and 35,000 durable writes a
//!   second with 1, 10 and 64 callers, against 1,900, 4,900 and 3,400 with one file per record.
//!   `synchronous=NORMAL` lost records in simulated power cuts.
//! * A read takes 4 µs on the calling thread and 30 µs on another one. From the cache it takes a few tenths
//!   of a microsecond and no system call.
//! * A checkpoint stalls the writer (9 ms at 1,000 pages, 30 ms at 4,000). Running it after the answers are
//!   sent delays the fewest callers.
//! * Values above 64 KiB are files beside the table (`values`), since a large value delays the others in its
//!   transaction.
//! * An ordinary table is written 1.7 times as fast as one `WITHOUT ROWID`, and reads a page of keys as fast.

use super::cache::Cache;
use super::log::{Gate, Log, is_full};
use super::space::Space;
use super::table::{Index, connect_with, open_for_writing, open_unmoved};
use super::values::{self, LARGE, Values};
use super::writer::{Cell, Job, New, Write, Writer};
use super::{Change, Clock, Disk, Failure, Number, OpenError, Record, Timestamp, Value, Version};
use crate::blocking::blocking;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use rustix::fs::FallocateFlags;
use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// How many KiB of values may wait for the writer.
const ROOM: u32 = 64 << 10;
/// How many records [`Records::remove_leftovers`] reads at once. A longer read would keep the log from shrinking.
const AT_ONCE: u32 = 1000;

pub(super) struct Records {
    /// `None` only while being dropped.
    queue: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    room: Arc<Semaphore>,
    /// Idle connections: the highest number of concurrent reads so far.
    readers: Mutex<Vec<Connection>>,
    gate: Arc<Gate>,
    cache: Arc<Cache>,
    values: Arc<Values>,
    space: Arc<Space>,
    file: PathBuf,
    index: Index,
    /// Keeps the file open that [`allocate`] opened.
    _index_file: Option<File>,
    disk: Disk,
}

impl Records {
    pub(super) fn open(
        file: &Path,
        values: Values,
        space: Arc<Space>,
        disk: Disk,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Records {
            file: file.to_owned(),
            source,
        };
        if file
            .symlink_metadata()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        {
            return Err(OpenError::NoRecords {
                file: file.to_owned(),
            });
        }
        let log = PathBuf::from(format!("{}-wal", file.display()));
        let log_bytes = log.metadata().map_or(0, |log| log.len());
        let index = if space.make_room_to_open(log_bytes) {
            Index::Mapped
        } else {
            Index::InMemory
        };
        let opened = space.or_from_reserve(|| open_for_writing(file, disk.is_durable(), index), is_full);
        let db = match opened {
            Err(why) if is_full(&why) => open_unmoved(file, &log, disk.is_durable(), index),
            opened => opened,
        };
        let db = db.map_err(|source| {
            if is_full(&source) {
                OpenError::Full {
                    file: file.to_owned(),
                }
            } else {
                failed(source)
            }
        })?;
        let index_file = prepare_index(file, index, &space);
        let values = Arc::new(values);
        let (queue, jobs) = mpsc::channel(1024);
        let cache = Arc::new(Cache::default());
        let gate = Arc::<Gate>::default();
        space.log_has(log.metadata().map_or(0, |log| log.len()));
        let log = Log::new(log, gate.clone(), space.clone());
        let writer = Writer {
            db,
            disk: disk.clone(),
            cache: cache.clone(),
            values: values.clone(),
            clock,
            space: space.clone(),
            log,
        };
        let writer = std::thread::Builder::new()
            .name("records".into())
            .spawn(move || writer.run(jobs));
        let writer = writer.map_err(|source| OpenError::Folder {
            folder: file.to_owned(),
            file: "the writer's thread",
            source,
        })?;
        Ok(Self {
            queue: Some(queue),
            writer: Some(writer),
            room: Arc::new(Semaphore::new(ROOM as usize)),
            readers: Mutex::default(),
            gate,
            cache,
            values,
            space,
            file: file.to_owned(),
            index,
            _index_file: index_file,
            disk,
        })
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Record>, Failure> {
        self.cache.get(key, || self.read_record(key))
    }

    /// Reads the record past the cache, and removes it from the cache.
    pub(super) fn get_stored(&self, key: &str) -> Result<Option<Record>, Failure> {
        self.cache.forget(key);
        self.read_record(key)
    }

    fn read_record(&self, key: &str) -> Result<Option<Record>, Failure> {
        let mut before = None;
        loop {
            let Some((version, written, value)) = self.select(key)? else {
                return Ok(None);
            };
            let value = match value {
                Cell::Here(value) => value,
                Cell::InFile => match self.values.read(version) {
                    // The record may have changed since the table was read, and its file may be gone. A disk
                    // error may be temporary. So read the record once more.
                    Err(why) if why.shows_damage() && before != Some(version) => {
                        before = Some(version);
                        continue;
                    }
                    Err(why) if why.shows_damage() => {
                        return Err(Failure::Lost {
                            version: version.into(),
                            what: values::lost(version, &why).into(),
                        });
                    }
                    value => value?,
                },
            };
            return Ok(Some(Record {
                version: version.into(),
                value,
                written,
            }));
        }
    }

    /// Checks that large values can be written.
    pub(super) async fn probe(&self) -> Result<(), Failure> {
        let values = self.values.clone();
        blocking(move || values.probe()).await
    }

    fn select(&self, key: &str) -> Result<Option<(Number, Timestamp, Cell)>, Failure> {
        self.read(|db| {
            let mut select =
                db.prepare_cached("SELECT version, written, value FROM records WHERE key = ?1")?;
            let row = |row: &Row<'_>| {
                Ok((
                    Number(row.get(0)?),
                    Timestamp::from_millis(row.get(1)?),
                    row.get(2)?,
                ))
            };
            select.query_row([key], row).optional()
        })
    }

    /// See [`super::Local::check`].
    pub(super) fn check(&self) -> Result<(Vec<String>, usize), Failure> {
        let (mut wrong, expected) = self.read(|db| {
            let mut check = db.prepare("PRAGMA integrity_check")?;
            let mut wrong: Vec<String> = check.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            wrong.retain(|line| line != "ok");
            let mut select = db.prepare("SELECT version FROM records WHERE typeof(value) = 'text'")?;
            let expected: HashSet<Number> = select
                .query_map([], |row| Ok(Number(row.get(0)?)))?
                .collect::<Result<_, _>>()?;
            Ok((wrong, expected))
        })?;
        let (found, unreadable) = self.values.versions();
        wrong.extend(unreadable);
        let found: HashSet<Number> = found.into_iter().collect();
        wrong.extend(expected.difference(&found).map(|version| {
            format!(
                "a record's value is missing: the store has no file {}",
                values::place(*version)
            )
        }));
        Ok((wrong, found.difference(&expected).count()))
    }

    /// See [`super::Local::remove_leftovers`]. A file of an earlier process belongs to the record that had its
    /// version when this process began, since a version is never used again. A record may change while this
    /// reads the table; its old file is then removed by the writer and here.
    pub(super) fn remove_leftovers(&self) -> Result<usize, Failure> {
        let mut left = self.values.of_earlier_processes();
        let mut after = Some(String::new());
        while let Some(key) = after.take().filter(|_| !left.is_empty()) {
            let read = self.read(|db| {
                let mut select = db.prepare_cached(
                    "SELECT key, version, typeof(value) = 'text' FROM records WHERE key > ?1 ORDER BY key LIMIT ?2",
                )?;
                select
                    .query_map(params![key, AT_ONCE], |row| {
                        Ok((row.get::<_, String>(0)?, Number(row.get(1)?), row.get::<_, bool>(2)?))
                    })?
                    .collect::<Result<Vec<_>, _>>()
            })?;
            for (_, version, in_file) in &read {
                if *in_file {
                    left.remove(version);
                }
            }
            after = read.into_iter().last().map(|(key, ..)| key);
        }
        left.iter().for_each(|version| self.values.remove(*version));
        self.values.forget_made();
        Ok(left.len())
    }

    /// Makes the changes in one commit. Each succeeds or fails by itself.
    pub(super) async fn change(&self, changes: Vec<Change>) -> Vec<Result<Option<Version>, Failure>> {
        let mut writes = Vec::with_capacity(changes.len());
        let mut refused = Vec::with_capacity(changes.len());
        let mut stopped = None;
        let mut files = Vec::new();
        for change in changes {
            let prepared = match &stopped {
                Some(failure) => Err(Failure::clone(failure)),
                None => self.prepared(change).await,
            };
            stopped = prepared.as_ref().err().filter(|failure| failure.stops()).cloned();
            let write = prepared.map(|(write, file)| {
                writes.push(write);
                files.extend(file);
            });
            refused.push(write.err());
        }
        let count = writes.len();
        let written = self
            .write(writes, files)
            .await
            .unwrap_or_else(|failure| vec![Err(failure); count]);
        let mut written = written.into_iter();
        let answer = |refused: Option<Failure>| {
            refused.map_or_else(|| written.next().unwrap_or(Err(Failure::Stopped)), Err)
        };
        refused.into_iter().map(answer).collect()
    }

    /// Hands the changes to the writer, which removes the `files` of those that it rejects. If this call is
    /// cancelled before the writer has the job, it removes them itself.
    async fn write(
        &self,
        writes: Vec<Write>,
        files: Vec<Prepared>,
    ) -> Result<Vec<Result<Option<Version>, Failure>>, Failure> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let size = writes.iter().map(Write::size).sum::<usize>().div_ceil(1024);
        let size = u32::try_from(size).unwrap_or(ROOM).min(ROOM);
        let room = self
            .room
            .clone()
            .acquire_many_owned(size)
            .await
            .map_err(|_| Failure::Stopped)?;
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(Failure::Stopped)?;
        let place = queue.reserve().await.map_err(|_| Failure::Stopped)?;
        files.into_iter().for_each(Prepared::hand_over);
        place.send(Job {
            writes,
            refused: Vec::new(),
            answer,
            _room: room,
        });
        answered.await.map_err(|_| Failure::Stopped)
    }

    /// Prepares a change for the writer: a large value is written to its file.
    async fn prepared(
        &self,
        Change { key, expected, value }: Change,
    ) -> Result<(Write, Option<Prepared>), Failure> {
        self.disk.check()?;
        let expected = expected.as_ref().map(Number::of).transpose()?;
        let mut prepared = None;
        let new = match value {
            Some(Value { bytes, hidden, frees }) => {
                let version = Number::random();
                let value = if bytes.len() > LARGE {
                    if !frees {
                        self.space.check()?;
                    }
                    let file = Prepared {
                        values: self.values.clone(),
                        version: Some(version),
                    };
                    let values = self.values.clone();
                    let space = self.space.clone();
                    let write = move || {
                        space.or_from_reserve(|| values.write(version, &bytes), |why| frees && why.is_full())
                    };
                    prepared = blocking(move || write().map(|()| Some(file))).await?;
                    Cell::InFile
                } else {
                    Cell::Here(bytes)
                };
                Some(New {
                    version,
                    hidden,
                    frees,
                    value,
                })
            }
            None => None,
        };
        Ok((Write { key, expected, new }, prepared))
    }

    /// Opens another read-only connection.
    pub(super) fn connect(&self) -> Result<Connection, rusqlite::Error> {
        connect_with(&self.file, OpenFlags::SQLITE_OPEN_READ_ONLY, self.index)
    }

    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    pub(super) fn values(&self) -> &Values {
        &self.values
    }

    pub(super) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, Failure> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let db = match idle {
            Some(db) => db,
            None => self.connect()?,
        };
        let result = {
            let _reading = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            query(&db)
        };
        self.readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(db);
        Ok(result?)
    }
}

/// The file of a large value that the writer does not know yet. Removed on drop unless it is handed over.
struct Prepared {
    values: Arc<Values>,
    version: Option<Number>,
}

impl Prepared {
    fn hand_over(mut self) {
        self.version = None;
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(version) = self.version {
            self.values.remove(version);
        }
    }
}

/// Returns when all queued changes are written and the file is closed.
impl Drop for Records {
    fn drop(&mut self) {
        // Readers close first: the last connection to close removes the write-ahead log, and only the
        // writer's connection can.
        self.readers
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the thread that writes records ended with a panic, which is a bug");
        }
        // The log has given its space back. On a full disk the reserve takes it, for the next start.
        drop(self.space.prepare());
    }
}

/// Called once the records are open. Makes sure that the index has its blocks, or frees those of the unused
/// index file.
fn prepare_index(records: &Path, index: Index, space: &Space) -> Option<File> {
    let file = PathBuf::from(format!("{}-shm", records.display()));
    match index {
        Index::Mapped => allocate(&file, space),
        Index::InMemory => {
            tracing::warn!(
                "the disk is full, so the index of the records' log is kept in memory: no other program can read records.sqlite3 until the \
                 registry is started again"
            );
            drop(std::fs::remove_file(file));
            None
        }
    }
}

/// SQLite extends the index by writing one byte of each page. Where blocks are smaller than pages, that
/// leaves holes, which a full disk cannot fill. The file must stay open as long as the records are: closing
/// it would release SQLite's locks on it (fcntl(2)).
fn allocate(file: &Path, space: &Space) -> Option<File> {
    let size = space.index_with_holes()?;
    let file = File::options().read(true).write(true).open(file).ok()?;
    if let Err(why) = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size) {
        tracing::warn!(
            "no disk space could be reserved for the index of the records' log, so the registry may be killed if the disk becomes full: {why}"
        );
    }
    Some(file)
}

#[cfg(test)]
mod tests;

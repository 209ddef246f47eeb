//! Records in one SQLite file. One thread writes; readers see the last commit, never wait for it, and run on the calling thread.
//! What was measured and decided these choices (2 cores, ext4, 300-byte records among 100,000 others):
//!
//! * Everything that waits goes into one transaction with one sync: 4,500, 20,000 and 35,000 durable writes a second with 1, 10 and
//!   64 callers, against 1,900, 4,900 and 3,400 for a file each. `synchronous=NORMAL` lost records in simulated power cuts.
//! * A read takes 4 µs here and 30 µs on another thread; from the cache, some tenths of one, and no system call.
//! * A checkpoint stalls the writer (9 ms at 1,000 pages, 30 ms at 4,000). Done after the answers it costs the fewest callers.
//! * Values above 64 KiB are files beside the table (`values`), since a large one makes its neighbours in the transaction wait.
//! * An ordinary table is written 1.7 times as fast as one `WITHOUT ROWID`, and a page of its keys reads as fast.

use super::blobs::blocking;
use super::cache::Cache;
use super::values::{LARGE, Values};
use super::{Change, Clock, Disk, Failure, Number, OpenError, Range, Record, Timestamp, Value, Version, Written};
use crate::storage::Show;
use bytes::Bytes;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Writes in one transaction.
const MOST_AT_ONCE: usize = 256;
/// KiB of values that may wait for the writer.
const ROOM: u32 = 64 << 10;
/// Pages in the write-ahead log after which they are moved into the table.
const CHECKPOINT: usize = 1000;
/// A log of so many bytes is cut off …
const LARGE_LOG: u64 = 32 << 20;
/// … but not more often than so.
const BETWEEN_TRUNCATIONS: Duration = Duration::from_secs(60);
/// How long to wait for another program that holds the records.
const BUSY: Duration = Duration::from_secs(5);

pub(super) struct Records {
    /// `None` only while being dropped.
    queue: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    room: Arc<Semaphore>,
    /// As many idle connections as ever read at once.
    readers: Mutex<Vec<Connection>>,
    cache: Arc<Cache>,
    values: Arc<Values>,
    file: PathBuf,
    disk: Disk,
}

/// What one caller waits for.
struct Job {
    writes: Vec<Write>,
    answer: oneshot::Sender<Vec<Result<Option<Version>, Failure>>>,
    _room: OwnedSemaphorePermit,
}

/// `expected: None` creates, `new: None` deletes.
struct Write {
    key: String,
    expected: Option<Number>,
    new: Option<New>,
}

struct New {
    version: Number,
    hidden: bool,
    value: Cell,
}

/// A value as it stands in the table: bytes, or an empty text for what is in a file.
enum Cell {
    Here(Bytes),
    InFile,
}

impl Write {
    /// How many bytes of it are written into the table.
    fn size(&self) -> usize {
        match &self.new {
            Some(New { value: Cell::Here(bytes), .. }) => bytes.len(),
            _ => 0,
        }
    }

    /// What it answers with once it is committed.
    fn done(&self) -> Option<Version> {
        self.new.as_ref().map(|new| new.version.into())
    }

    /// Keeps what was committed in memory: who wrote a record mostly reads it next.
    fn remember(&self, cache: &Cache, written: Timestamp) {
        match &self.new {
            Some(New { version, value: Cell::Here(bytes), .. }) => {
                let value = Bytes::copy_from_slice(bytes); // what was encoded may hold more memory than it has bytes
                cache.put(&self.key, Record { version: (*version).into(), value, written });
            }
            _ => cache.forget(&self.key),
        }
    }

    /// The version whose file is of no use any more.
    fn useless(&self, changed: bool) -> Option<Number> {
        if changed { self.expected } else { self.new.as_ref().map(|new| new.version) }
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Here(bytes) => ToSqlOutput::from(&bytes[..]),
            Self::InFile => ToSqlOutput::from(""),
        })
    }
}

impl FromSql for Cell {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Blob(bytes) => Ok(Self::Here(Bytes::copy_from_slice(bytes))),
            ValueRef::Text(b"") => Ok(Self::InFile),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl Records {
    pub(super) fn open(file: &Path, values: Values, disk: Disk, clock: Clock) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Records { file: file.to_owned(), source };
        if file.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return Err(OpenError::NoRecords { file: file.to_owned() });
        }
        let db = open_for_writing(file, disk.is_durable()).map_err(failed)?;
        let values = Arc::new(values);
        let (queue, jobs) = mpsc::channel(1024);
        let cache = Arc::new(Cache::default());
        let log = PathBuf::from(format!("{}-wal", file.display()));
        let writer =
            Writer { db, disk: disk.clone(), cache: cache.clone(), values: values.clone(), clock, log, truncated: Timestamp::from_secs(0) };
        let writer = std::thread::Builder::new().name("records".into()).spawn(move || writer.run(jobs));
        let writer = writer.map_err(|source| OpenError::Folder { folder: file.to_owned(), file: "the writer's thread", source })?;
        Ok(Self {
            queue: Some(queue),
            writer: Some(writer),
            room: Arc::new(Semaphore::new(ROOM as usize)),
            readers: Mutex::default(),
            cache,
            values,
            file: file.to_owned(),
            disk,
        })
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Record>, Failure> {
        self.cache.get(key, || {
            let mut before = None;
            loop {
                let Some((version, written, value)) = self.select(key)? else { return Ok(None) };
                let value = match value {
                    Cell::Here(value) => value,
                    Cell::InFile => match self.values.read(version) {
                        // The record may have changed, and its file gone, since the table was read.
                        Err(Failure::Missing) if before != Some(version) => {
                            before = Some(version);
                            continue;
                        }
                        value => value?,
                    },
                };
                return Ok(Some(Record { version: version.into(), value, written }));
            }
        })
    }

    fn select(&self, key: &str) -> Result<Option<(Number, Timestamp, Cell)>, Failure> {
        self.read(|db| {
            let mut select = db.prepare_cached("SELECT version, written, value FROM records WHERE key = ?1")?;
            let row = |row: &Row<'_>| Ok((Number(row.get(0)?), Timestamp::from_millis(row.get(1)?), row.get(2)?));
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
            let expected: HashSet<Number> = select.query_map([], |row| Ok(Number(row.get(0)?)))?.collect::<Result<_, _>>()?;
            Ok((wrong, expected))
        })?;
        let (found, unreadable) = self.values.versions();
        wrong.extend(unreadable);
        let found: HashSet<Number> = found.into_iter().collect();
        wrong.extend(expected.difference(&found).map(|version| format!("a record's value is missing: its file would be {version:?}")));
        Ok((wrong, found.difference(&expected).count()))
    }

    pub(super) fn list(&self, range: Range<'_>) -> Result<Vec<String>, Failure> {
        if range.show == Show::Hidden {
            return self.keys("SELECT key FROM records INDEXED BY hidden WHERE hidden AND key >= ?1 ORDER BY key LIMIT ?2", range);
        }
        let (mut found, mut after) = (Vec::new(), range.after.to_owned());
        loop {
            let limit = range.limit - found.len();
            let mut keys =
                self.keys("SELECT key FROM records WHERE key >= ?1 ORDER BY key LIMIT ?2", Range { after: &after, limit, ..range })?;
            let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(found) };
            let all = keys.len() < limit;
            if range.show == Show::Visible {
                // The index of keys does not say which are hidden. There are few of them.
                let hidden = self.hidden(first, last)?;
                after.clone_from(last);
                keys.retain(|key| !hidden.contains(key));
            }
            found.append(&mut keys);
            if all || found.len() == range.limit {
                return Ok(found);
            }
        }
    }

    fn hidden(&self, first: &str, last: &str) -> Result<HashSet<String>, Failure> {
        self.read(|db| {
            const HIDDEN: &str = "SELECT key FROM records INDEXED BY hidden WHERE hidden AND key BETWEEN ?1 AND ?2";
            db.prepare_cached(HIDDEN)?.query_map([first, last], |row| row.get(0))?.collect()
        })
    }

    /// By a query whose first parameter is the least key that may be meant, and whose second is how many.
    fn keys(&self, query: &str, range: Range<'_>) -> Result<Vec<String>, Failure> {
        self.rows(query, range, |row| row.get(0), |key: &String| key)
    }

    pub(super) fn list_written(&self, range: Range<'_>) -> Result<Vec<Written>, Failure> {
        let query = match range.show {
            Show::All => "SELECT key, written FROM records WHERE key >= ?1 ORDER BY key LIMIT ?2",
            Show::Visible => "SELECT key, written FROM records WHERE key >= ?1 AND NOT hidden ORDER BY key LIMIT ?2",
            Show::Hidden => "SELECT key, written FROM records INDEXED BY hidden WHERE hidden AND key >= ?1 ORDER BY key LIMIT ?2",
        };
        let row = |row: &Row<'_>| Ok(Written { key: row.get(0)?, written: Timestamp::from_millis(row.get(1)?) });
        self.rows(query, range, row, |one: &Written| &one.key)
    }

    fn rows<T>(
        &self,
        query: &str,
        Range { prefix, after, limit, .. }: Range<'_>,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
        key: impl Fn(&T) -> &String,
    ) -> Result<Vec<T>, Failure> {
        // The least key that may be meant: the one right after `after`. With two bounds SQLite would seek to one of them and walk.
        let from = if after < prefix { prefix.to_owned() } else { format!("{after}\0") };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|db| {
            let mut select = db.prepare_cached(query)?;
            let mut rows = select.query(params![from, limit])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let one = read(row)?;
                if !key(&one).starts_with(prefix) {
                    break;
                }
                found.push(one);
            }
            Ok(found)
        })
    }

    /// Each for itself, in one transaction.
    pub(super) async fn change(&self, changes: Vec<Change>) -> Vec<Result<Option<Version>, Failure>> {
        let count = changes.len();
        self.try_change(changes).await.unwrap_or_else(|failure| vec![Err(failure); count])
    }

    async fn try_change(&self, changes: Vec<Change>) -> Result<Vec<Result<Option<Version>, Failure>>, Failure> {
        self.disk.check()?;
        let mut writes = Vec::with_capacity(changes.len());
        for Change { key, expected, value } in changes {
            let expected = expected.as_ref().map(Number::of).transpose()?;
            let new = match value {
                Some(Value { bytes, hidden }) => Some(self.prepared(bytes, hidden).await?),
                None => None,
            };
            writes.push(Write { key, expected, new });
        }
        let size = writes.iter().map(Write::size).sum::<usize>().div_ceil(1024);
        let size = u32::try_from(size).unwrap_or(ROOM).min(ROOM);
        let room = self.room.clone().acquire_many_owned(size).await.map_err(|_| Failure::Stopped)?;
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(Failure::Stopped)?;
        queue.send(Job { writes, answer, _room: room }).await.map_err(|_| Failure::Stopped)?;
        answered.await.map_err(|_| Failure::Stopped)
    }

    /// Ready for the table: a large value is in its file.
    async fn prepared(&self, bytes: Bytes, hidden: bool) -> Result<New, Failure> {
        let version = Number::random();
        if bytes.len() <= LARGE {
            return Ok(New { version, hidden, value: Cell::Here(bytes) });
        }
        let values = self.values.clone();
        blocking(move || values.write(version, &bytes)).await?;
        Ok(New { version, hidden, value: Cell::InFile })
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>) -> Result<T, Failure> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let db = match idle {
            Some(db) => db,
            None => connect(&self.file, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        let result = query(&db);
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(db);
        Ok(result?)
    }
}

/// Returns when what was queued is written, and the file is closed.
impl Drop for Records {
    fn drop(&mut self) {
        // Readers first: the last connection to close tidies the write-ahead log away, and only the writer's can.
        self.readers.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the thread that writes records ended with a panic");
        }
    }
}

/// The one thread that writes.
struct Writer {
    db: Connection,
    disk: Disk,
    cache: Arc<Cache>,
    values: Arc<Values>,
    clock: Clock,
    /// The write-ahead log.
    log: PathBuf,
    /// When the log was cut off last.
    truncated: Timestamp,
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let (mut batch, mut pages) = (Vec::with_capacity(MOST_AT_ONCE), 0);
        while jobs.blocking_recv_many(&mut batch, MOST_AT_ONCE) > 0 {
            if self.disk.check().is_err() {
                return; // whoever waits hears that it stopped, since their answers are dropped
            }
            pages += batch.iter().flat_map(|job| &job.writes).map(|write| 2 + write.size() / 4096).sum::<usize>(); // about
            self.commit(&mut batch);
            if pages >= CHECKPOINT {
                self.checkpoint();
                pages = 0;
            }
        }
    }

    fn commit(&mut self, batch: &mut Vec<Job>) {
        let keys = batch.iter().flat_map(|job| &job.writes).map(|write| write.key.as_str());
        let (db, now) = (&mut self.db, self.clock.now());
        match self.cache.change(keys, || apply(db, batch, now)) {
            Ok(outcomes) => {
                let writes = batch.iter().flat_map(|job| &job.writes).zip(outcomes.iter().flatten());
                writes.filter(|(_, changed)| **changed).for_each(|(write, _)| write.remember(&self.cache, now));
                for (job, outcomes) in batch.drain(..).zip(outcomes) {
                    let done = |(write, changed): (&Write, &bool)| if *changed { Ok(write.done()) } else { Err(Failure::Conflict) };
                    // A caller that has gone does not want to know.
                    drop(job.answer.send(job.writes.iter().zip(&outcomes).map(done).collect()));
                    let useless = job.writes.iter().zip(&outcomes).filter_map(|(write, changed)| write.useless(*changed));
                    useless.for_each(|version| self.values.remove(version));
                }
            }
            Err(error) => {
                let failure = Failure::from(error);
                let nothing_happened = matches!(failure, Failure::Full | Failure::Busy);
                if !nothing_happened {
                    self.disk.stop(&failure);
                }
                for job in batch.drain(..) {
                    drop(job.answer.send(vec![Err(failure.clone()); job.writes.len()]));
                    // After another failure only a restart can tell.
                    if nothing_happened {
                        job.writes.iter().filter_map(|write| write.useless(false)).for_each(|version| self.values.remove(version));
                    }
                }
            }
        }
    }

    /// Moves the log into the table. The log keeps its size then, and is used again from its beginning; now and then it is cut off.
    fn checkpoint(&mut self) {
        let now = self.clock.now();
        let large = self.log.metadata().is_ok_and(|log| log.len() > LARGE_LOG);
        let cut = large && now.since(self.truncated) >= BETWEEN_TRUNCATIONS;
        let done = if cut {
            self.truncated = now;
            truncate(&self.db)
        } else {
            self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        };
        match done.map_err(Failure::from) {
            Ok(()) | Err(Failure::Full | Failure::Busy) => {}
            Err(failure) => self.disk.stop(&failure),
        }
    }
}

/// Does not wait for readers: while one is at work, it is a checkpoint and the log keeps its size.
fn truncate(db: &Connection) -> Result<(), rusqlite::Error> {
    db.busy_timeout(Duration::ZERO)?;
    let done = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    db.busy_timeout(BUSY)?;
    done
}

/// All or nothing for the disk, each for itself for the callers: `false` is a conflict, which does not disturb its neighbours.
fn apply(db: &mut Connection, batch: &[Job], now: Timestamp) -> Result<Vec<Vec<bool>>, rusqlite::Error> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let now = now.as_millis();
    let one = |write: &Write| -> Result<bool, rusqlite::Error> {
        let changed = match (&write.expected, &write.new) {
            (None, Some(new)) => transaction
                .prepare_cached(
                    "INSERT INTO records (key, version, hidden, written, value) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
                )?
                .execute(params![write.key, new.version.0, new.hidden, now, new.value])?,
            (Some(old), Some(new)) => transaction
                .prepare_cached("UPDATE records SET version = ?3, hidden = ?4, written = ?5, value = ?6 WHERE key = ?1 AND version = ?2")?
                .execute(params![write.key, old.0, new.version.0, new.hidden, now, new.value])?,
            (Some(old), None) => {
                transaction.prepare_cached("DELETE FROM records WHERE key = ?1 AND version = ?2")?.execute(params![write.key, old.0])?
            }
            (None, None) => 0,
        };
        Ok(changed == 1)
    };
    let outcomes = batch.iter().map(|job| job.writes.iter().map(one).collect()).collect::<Result<_, _>>()?;
    transaction.commit()?;
    Ok(outcomes)
}

/// Makes the table of a new store, unless an attempt that was cut short has made it.
pub(super) fn make(file: &Path) -> Result<(), OpenError> {
    let made = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE).and_then(|db| {
        db.execute_batch(
            "PRAGMA auto_vacuum = INCREMENTAL;
             CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, hidden INTEGER NOT NULL,
                 written INTEGER NOT NULL, value BLOB NOT NULL);
             CREATE INDEX IF NOT EXISTS hidden ON records (key) WHERE hidden",
        )
    });
    made.map_err(|source| OpenError::Records { file: file.to_owned(), source })
}

fn open_for_writing(file: &Path, durable: bool) -> Result<Connection, rusqlite::Error> {
    let db = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // With NORMAL a power cut takes the last changes away, and leaves the table whole.
    db.pragma_update(None, "synchronous", if durable { "FULL" } else { "NORMAL" })?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.busy_timeout(BUSY)?;
    db.prepare("SELECT key, version, hidden, written, value FROM records")?;
    // What a process before this one wrote and could not sync may be in the kernel's memory only, and would be built on. This syncs it.
    let busy: bool = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(busy, Some("another program is reading or writing them".to_owned())));
    }
    Ok(db)
}

pub(super) fn connect(file: &Path, flags: OpenFlags) -> Result<Connection, rusqlite::Error> {
    Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::RecordStore;
    use crate::storage::local::folder::Folder;
    use crate::storage::local::{Local, Settings};

    #[test]
    fn without_commit_a_power_cut_leaves_the_table_whole() {
        let folder = tempfile::tempdir().unwrap();
        drop(Local::open_with(folder.path(), Settings { commit: false, ..Settings::default() }).unwrap());
        for (durable, level) in [(false, 1), (true, 2)] {
            let db = open_for_writing(&folder.path().join("records.sqlite3"), durable).unwrap();
            let found: i64 = db.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
            assert_eq!(found, level, "1 is NORMAL, 2 is FULL");
        }
    }

    #[tokio::test]
    async fn what_a_killed_process_left_in_the_log_is_synced_before_anything_is_built_on_it() {
        let (killed, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Local::open(killed.path()).unwrap();
        store.create("k", Bytes::from_static(b"1").into()).await.unwrap();
        for name in ["format", "records.sqlite3", "records.sqlite3-wal"] {
            std::fs::copy(killed.path().join(name), folder.path().join(name)).unwrap();
        }
        let log = folder.path().join("records.sqlite3-wal");
        assert_ne!(log.metadata().unwrap().len(), 0);
        let store = Local::open(folder.path()).unwrap();
        assert_eq!(log.metadata().unwrap().len(), 0);
        assert_eq!(store.get("k").await.unwrap().unwrap().value, "1");
    }

    /// How many transactions are in the log. Of the last page that each one wrote the frame's header says how large the table is
    /// (`SQLite`'s file format, section 4.1: a header of 32 bytes, then frames of a header of 24 and a page).
    fn commits(log: &Path) -> usize {
        const PAGE: usize = 4096;
        let bytes = std::fs::read(log).unwrap();
        let (frames, rest) = bytes[32..].as_chunks::<{ 24 + PAGE }>();
        assert_eq!((rest.len(), &bytes[8..12]), (0, &[0, 0, 16, 0][..]), "pages of {PAGE}");
        frames.iter().filter(|frame| frame[4..8] != [0; 4]).count()
    }

    /// A sync of the log each: that there is one is for the tests that watch system calls.
    #[test]
    fn whatever_waits_for_the_writer_shares_one_commit() {
        for (waiting, expected) in [(1, 1), (64, 1), (MOST_AT_ONCE + 1, 2)] {
            let folder = tempfile::tempdir().unwrap();
            drop(Local::open(folder.path()).unwrap());
            let (file, disk) = (folder.path().join("records.sqlite3"), Disk::new(true));
            let values = Values::open(Arc::new(Folder::open(folder.path()).unwrap()), disk.clone()).unwrap();
            let db = open_for_writing(&file, true).unwrap();
            // Whoever closes the file last takes the log away.
            let _open = open_for_writing(&file, true).unwrap();
            let (queue, jobs) = mpsc::channel(1024);
            let room = Arc::new(Semaphore::new(waiting));
            let wait = |number: usize| {
                let (answer, answered) = oneshot::channel();
                let new =
                    New { version: Number(i64::try_from(number).unwrap()), hidden: false, value: Cell::Here(Bytes::from_static(b"1")) };
                let (write, _room) = (Write { key: number.to_string(), expected: None, new: Some(new) }, room.clone().try_acquire_owned());
                assert!(queue.try_send(Job { writes: vec![write], answer, _room: _room.unwrap() }).is_ok());
                answered
            };
            let answers: Vec<_> = (0..waiting).map(wait).collect();
            drop(queue);
            let (log, clock) = (folder.path().join("records.sqlite3-wal"), Clock::system());
            Writer { db, disk, cache: Arc::default(), values: Arc::new(values), clock, log, truncated: Timestamp::MAX }.run(jobs);
            for mut answered in answers {
                answered.try_recv().unwrap().pop().unwrap().unwrap();
            }
            assert_eq!(commits(&folder.path().join("records.sqlite3-wal")), expected, "for {waiting} changes");
        }
    }

    #[tokio::test]
    async fn somebody_elses_lock_is_no_failure_of_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let store = Local::open(folder.path()).unwrap();
        let other = Connection::open(folder.path().join("records.sqlite3")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert!(matches!(store.create("k", Bytes::from_static(b"1").into()).await, Err(Failure::Busy)));
        other.execute_batch("ROLLBACK").unwrap();
        store.create("k", Bytes::from_static(b"1").into()).await.unwrap();
    }
}

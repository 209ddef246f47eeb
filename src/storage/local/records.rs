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
use super::{Disk, Failure, OpenError, Record, Version};
use bytes::Bytes;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Writes in one transaction.
const MOST_AT_ONCE: usize = 256;
/// KiB of values that may wait for the writer.
const ROOM: u32 = 64 << 10;
/// Pages in the write-ahead log after which they are moved into the table.
const CHECKPOINT: usize = 1000;

pub(super) struct Records {
    /// `None` only while being dropped.
    queue: Option<mpsc::Sender<Write>>,
    writer: Option<JoinHandle<()>>,
    room: Arc<Semaphore>,
    /// As many idle connections as ever read at once.
    readers: Mutex<Vec<Connection>>,
    cache: Arc<Cache>,
    values: Arc<Values>,
    file: PathBuf,
    disk: Disk,
}

/// `expected: None` creates, `value: None` deletes.
struct Write {
    key: String,
    expected: Option<Version>,
    new: Version,
    value: Option<Value>,
    answer: oneshot::Sender<Result<Version, Failure>>,
    _room: OwnedSemaphorePermit,
}

/// As it stands in the table: bytes, or an empty text for what is in a file.
enum Value {
    Here(Bytes),
    InFile,
}

impl Value {
    fn len(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::InFile => 0,
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Here(bytes) => ToSqlOutput::from(&bytes[..]),
            Self::InFile => ToSqlOutput::from(""),
        })
    }
}

impl FromSql for Value {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Blob(bytes) => Ok(Self::Here(Bytes::copy_from_slice(bytes))),
            ValueRef::Text(b"") => Ok(Self::InFile),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl Records {
    pub(super) fn open(file: &Path, values: Values, disk: Disk) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Records { file: file.to_owned(), source };
        if file.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return Err(OpenError::NoRecords { file: file.to_owned() });
        }
        let db = open_for_writing(file, disk.is_durable()).map_err(failed)?;
        let values = Arc::new(values);
        let (queue, jobs) = mpsc::channel(1024);
        let cache = Arc::new(Cache::default());
        let (of_writer, caching, files) = (disk.clone(), cache.clone(), values.clone());
        let writer = std::thread::Builder::new().name("records".into()).spawn(move || write_loop(db, jobs, &of_writer, &caching, &files));
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
                match self.select(key)? {
                    None => return Ok(None),
                    Some((version, Value::Here(value))) => return Ok(Some(Record { version, value })),
                    Some((version, Value::InFile)) => match self.values.read(version) {
                        // The record may have changed, and its file gone, since the table was read.
                        Err(Failure::Missing) if before != Some(version) => before = Some(version),
                        value => return Ok(Some(Record { version, value: value? })),
                    },
                }
            }
        })
    }

    fn select(&self, key: &str) -> Result<Option<(Version, Value)>, Failure> {
        self.read(|db| {
            let mut select = db.prepare_cached("SELECT version, value FROM records WHERE key = ?1")?;
            select.query_row([key], |row| Ok((Version(row.get(0)?), row.get(1)?))).optional()
        })
    }

    /// See [`super::Local::check`].
    pub(super) fn check(&self) -> Result<(Vec<String>, usize), Failure> {
        let (mut wrong, expected) = self.read(|db| {
            let mut check = db.prepare("PRAGMA integrity_check")?;
            let mut wrong: Vec<String> = check.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            wrong.retain(|line| line != "ok");
            let mut select = db.prepare("SELECT version FROM records WHERE typeof(value) = 'text'")?;
            let expected: HashSet<Version> = select.query_map([], |row| Ok(Version(row.get(0)?)))?.collect::<Result<_, _>>()?;
            Ok((wrong, expected))
        })?;
        let (found, unreadable) = self.values.versions();
        wrong.extend(unreadable);
        let found: HashSet<Version> = found.into_iter().collect();
        wrong.extend(expected.difference(&found).map(|version| format!("a record's value is missing: its file would be {version:?}")));
        Ok((wrong, found.difference(&expected).count()))
    }

    pub(super) fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>, Failure> {
        // The least key that may be meant: the one right after `after`. With two bounds SQLite would seek to one of them and walk.
        let from = if after < prefix { prefix.to_owned() } else { format!("{after}\0") };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|db| {
            let mut select = db.prepare_cached("SELECT key FROM records WHERE key >= ?1 ORDER BY key LIMIT ?2")?;
            let mut rows = select.query(params![from, limit])?;
            let mut keys = Vec::new();
            while let Some(row) = rows.next()? {
                let key: String = row.get(0)?;
                if !key.starts_with(prefix) {
                    break;
                }
                keys.push(key);
            }
            Ok(keys)
        })
    }

    pub(super) async fn write(&self, key: &str, expected: Option<Version>, value: Option<Bytes>) -> Result<Version, Failure> {
        self.disk.check()?;
        let new = Version(fastrand::i64(..)); // one of 2^64, so never used twice
        let value = match value {
            Some(value) if value.len() > LARGE => {
                let values = self.values.clone();
                blocking(move || values.write(new, &value)).await?;
                Some(Value::InFile)
            }
            value => value.map(Value::Here),
        };
        let size = value.as_ref().map_or(0, Value::len).div_ceil(1024);
        let size = u32::try_from(size).unwrap_or(ROOM).min(ROOM);
        let room = self.room.clone().acquire_many_owned(size).await.map_err(|_| Failure::Stopped)?;
        let (answer, answered) = oneshot::channel();
        let job = Write { key: key.to_owned(), expected, new, value, answer, _room: room };
        let queue = self.queue.as_ref().ok_or(Failure::Stopped)?;
        queue.send(job).await.map_err(|_| Failure::Stopped)?;
        answered.await.map_err(|_| Failure::Stopped)?
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

fn write_loop(mut db: Connection, mut jobs: mpsc::Receiver<Write>, disk: &Disk, cache: &Cache, values: &Values) {
    let (mut batch, mut pages) = (Vec::with_capacity(MOST_AT_ONCE), 0);
    while jobs.blocking_recv_many(&mut batch, MOST_AT_ONCE) > 0 {
        if disk.check().is_err() {
            return; // whoever waits hears that it stopped, since their answers are dropped
        }
        pages += batch.iter().map(|job| 2 + job.value.as_ref().map_or(0, Value::len) / 4096).sum::<usize>(); // about
        match cache.change(batch.iter().map(|job| job.key.as_str()), || apply(&mut db, &batch)) {
            Ok(outcomes) => {
                for (job, changed) in batch.drain(..).zip(outcomes) {
                    let useless = if changed { job.expected } else { Some(job.new).filter(|_| job.value.is_some()) };
                    // A caller that has gone does not want to know.
                    drop(job.answer.send(if changed { Ok(job.new) } else { Err(Failure::Conflict) }));
                    if let Some(version) = useless {
                        values.remove(version);
                    }
                }
            }
            Err(error) => {
                let failure = Failure::from(error);
                let nothing_happened = matches!(failure, Failure::Full | Failure::Busy);
                if !nothing_happened {
                    disk.stop(&failure);
                }
                for job in batch.drain(..) {
                    drop(job.answer.send(Err(failure.clone())));
                    // After another failure only a restart can tell.
                    if nothing_happened && job.value.is_some() {
                        values.remove(job.new);
                    }
                }
            }
        }
        if pages >= CHECKPOINT {
            match db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(Failure::from) {
                Ok(()) | Err(Failure::Full | Failure::Busy) => {}
                Err(failure) => disk.stop(&failure),
            }
            pages = 0;
        }
    }
}

/// All or nothing for the disk, each for itself for the callers: `false` is a conflict, which does not disturb its neighbours.
fn apply(db: &mut Connection, batch: &[Write]) -> Result<Vec<bool>, rusqlite::Error> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let one = |job: &Write| -> Result<bool, rusqlite::Error> {
        let changed = match (&job.expected, &job.value) {
            (None, Some(value)) => transaction
                .prepare_cached("INSERT INTO records (key, version, value) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
                .execute(params![job.key, job.new.0, value])?,
            (Some(old), Some(value)) => transaction
                .prepare_cached("UPDATE records SET version = ?3, value = ?4 WHERE key = ?1 AND version = ?2")?
                .execute(params![job.key, old.0, job.new.0, value])?,
            (Some(old), None) => {
                transaction.prepare_cached("DELETE FROM records WHERE key = ?1 AND version = ?2")?.execute(params![job.key, old.0])?
            }
            (None, None) => 0,
        };
        Ok(changed == 1)
    };
    let outcomes = batch.iter().map(one).collect::<Result<_, _>>()?;
    transaction.commit()?;
    Ok(outcomes)
}

/// Makes the table of a new store, unless an attempt that was cut short has made it.
pub(super) fn make(file: &Path) -> Result<(), OpenError> {
    let made = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE).and_then(|db| {
        db.execute_batch(
            "CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL)",
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
    db.prepare("SELECT key, version, value FROM records")?;
    // What a process before this one wrote and could not sync may be in the kernel's memory only, and would be built on. This syncs it.
    let busy: bool = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(busy, Some("another program is reading or writing them".to_owned())));
    }
    Ok(db)
}

fn connect(file: &Path, flags: OpenFlags) -> Result<Connection, rusqlite::Error> {
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
        drop(Local::open_with(folder.path(), Settings { commit: false }).unwrap());
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
        store.create("k", Bytes::from_static(b"1")).await.unwrap();
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
                let (value, _room) = (Some(Value::Here(Bytes::from_static(b"1"))), room.clone().try_acquire_owned().unwrap());
                let new = Version(i64::try_from(number).unwrap());
                assert!(queue.try_send(Write { key: number.to_string(), expected: None, new, value, answer, _room }).is_ok());
                answered
            };
            let answers: Vec<_> = (0..waiting).map(wait).collect();
            drop(queue);
            write_loop(db, jobs, &disk, &Cache::default(), &values);
            for mut answered in answers {
                answered.try_recv().unwrap().unwrap();
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
        assert!(matches!(store.create("k", Bytes::from_static(b"1")).await, Err(Failure::Busy)));
        other.execute_batch("ROLLBACK").unwrap();
        store.create("k", Bytes::from_static(b"1")).await.unwrap();
    }
}

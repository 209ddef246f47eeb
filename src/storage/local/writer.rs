//! The one thread that writes records, and what it is given to write.

use super::cache::Cache;
use super::records::BUSY;
use super::values::Values;
use super::{Clock, Disk, Failure, Number, Record, Timestamp, Version};
use bytes::Bytes;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, TransactionBehavior, params};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Jobs in one transaction.
const MOST_AT_ONCE: usize = 256;
/// Pages in the write-ahead log after which they are moved into the table.
const CHECKPOINT: usize = 1000;
/// A log of so many bytes is cut off …
const LARGE_LOG: u64 = 32 << 20;
/// … but not more often than so.
const BETWEEN_TRUNCATIONS: Duration = Duration::from_secs(60);
/// So many free pages stay in the table for the next records. Of more, the disk gets some back …
const FREE: u32 = 1024;
/// … at each checkpoint, so that callers do not wait long.
const GIVEN_BACK: u32 = 256;

pub(super) struct Writer {
    db: Connection,
    disk: Disk,
    cache: Arc<Cache>,
    values: Arc<Values>,
    clock: Clock,
    /// The write-ahead log.
    log: PathBuf,
    /// When the log was cut off last.
    truncated: Option<Timestamp>,
}

impl Writer {
    pub(super) const fn new(db: Connection, disk: Disk, cache: Arc<Cache>, values: Arc<Values>, clock: Clock, log: PathBuf) -> Self {
        Self { db, disk, cache, values, clock, log, truncated: None }
    }

    /// Returns when whoever gives jobs is gone.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
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
        let done = self.give_back().and_then(|()| self.move_log());
        match done.map_err(Failure::from) {
            Ok(()) | Err(Failure::Full | Failure::Busy) => {}
            Err(failure) => self.disk.stop(&failure),
        }
    }

    fn move_log(&mut self) -> rusqlite::Result<()> {
        let now = self.clock.now();
        let large = self.log.metadata().is_ok_and(|log| log.len() > LARGE_LOG);
        // A clock that was set back is no reason to wait until it has caught up.
        let due = self.truncated.is_none_or(|before| now < before || now.since(before) >= BETWEEN_TRUNCATIONS);
        if !(large && due) {
            return self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
        if truncate(&self.db)? {
            self.truncated = Some(now);
        }
        Ok(())
    }

    /// Gives pages that hold nothing any more back to the disk, if there are many.
    fn give_back(&self) -> rusqlite::Result<()> {
        let free: u32 = self.db.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        if free > FREE {
            // Each step is a page.
            let mut vacuum = self.db.prepare(&format!("PRAGMA incremental_vacuum({GIVEN_BACK})"))?;
            let mut pages = vacuum.query([])?;
            while pages.next()?.is_some() {}
        }
        Ok(())
    }
}

/// Whether the log was cut off. Does not wait for readers: while one is at work, it is a checkpoint and the log keeps its size.
fn truncate(db: &Connection) -> rusqlite::Result<bool> {
    db.busy_timeout(Duration::ZERO)?;
    let busy = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    db.busy_timeout(BUSY)?;
    busy.map(|busy| !busy)
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

/// What one caller waits for.
pub(super) struct Job {
    pub writes: Vec<Write>,
    pub answer: oneshot::Sender<Vec<Result<Option<Version>, Failure>>>,
    pub _room: OwnedSemaphorePermit,
}

/// `expected: None` creates, `new: None` deletes.
pub(super) struct Write {
    pub key: String,
    pub expected: Option<Number>,
    pub new: Option<New>,
}

pub(super) struct New {
    pub version: Number,
    pub hidden: bool,
    pub value: Cell,
}

/// A value as it stands in the table: bytes, or an empty text for what is in a file.
pub(super) enum Cell {
    Here(Bytes),
    InFile,
}

impl Write {
    /// How many bytes of it are written into the table.
    pub(super) fn size(&self) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::local::folder::Folder;
    use crate::storage::local::records::open_for_writing;
    use crate::storage::local::space::Space;
    use crate::storage::local::testing::commits;
    use crate::storage::local::{Local, Settings};
    use crate::storage::{Change, RecordStore};
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    /// A sync of the log each: that there is one is for the tests that watch system calls.
    #[test]
    fn whatever_waits_for_the_writer_shares_one_commit() {
        for (waiting, expected) in [(1, 1), (64, 1), (MOST_AT_ONCE + 1, 2)] {
            let folder = tempfile::tempdir().unwrap();
            drop(Local::open(folder.path()).unwrap());
            let (file, disk) = (folder.path().join("records.sqlite3"), Disk::new(true));
            let folder_of_store = Arc::new(Folder::open(folder.path()).unwrap());
            let space = Arc::new(Space::new(folder_of_store.folder("v").unwrap()));
            let values = Values::open(folder_of_store, space, disk.clone()).unwrap();
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
            let log = folder.path().join("records.sqlite3-wal");
            Writer::new(db, disk, Arc::default(), Arc::new(values), Clock::system(), log).run(jobs);
            for mut answered in answers {
                answered.try_recv().unwrap().pop().unwrap().unwrap();
            }
            assert_eq!(commits(folder.path()), expected, "for {waiting} changes");
        }
    }

    /// Somebody who reads the records as they are now, until it is dropped.
    fn reader(folder: &Path) -> Connection {
        let db = Connection::open(folder.join("records.sqlite3")).unwrap();
        db.execute_batch("BEGIN; SELECT count(*) FROM records").unwrap();
        db
    }

    /// As much as moves the log into the table once it is committed.
    async fn write_much(store: &Local, round: usize) {
        let create = |number| {
            let value = Some(Bytes::from(vec![7; 64 << 10]).into());
            Change { key: format!("{round:03}/{number:03}"), expected: None, value }
        };
        for done in store.change_all((0..60).map(create).collect()).await {
            done.unwrap();
        }
    }

    #[tokio::test]
    async fn a_large_log_is_cut_off_as_soon_as_nobody_reads_it_but_not_often() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(Timestamp::from_secs(1_800_000_000));
        let store = Local::open_with(folder.path(), Settings { clock, ..Settings::default() }).unwrap();
        let log = || folder.path().join("records.sqlite3-wal").metadata().unwrap().len();
        let mut rounds = 0..;
        // When the last change has its answer, the log may still be about to be cut off. The next one waits for that.
        let mut write_more = async || {
            for _ in 0..2 {
                write_much(&store, rounds.next().unwrap()).await;
            }
        };
        // While somebody reads, the log grows, although each checkpoint tries to cut it off. Writers go on.
        let reading = reader(folder.path());
        while log() <= LARGE_LOG {
            write_more().await;
        }
        drop(reading);
        write_more().await;
        assert!(log() < LARGE_LOG, "{}", log());
        // It has grown again.
        let reading = reader(folder.path());
        while log() <= LARGE_LOG {
            write_more().await;
        }
        drop(reading);
        write_more().await;
        let large = log();
        assert!(large > LARGE_LOG, "it was cut off a moment ago");
        write_more().await;
        assert_eq!(log(), large, "used again from its beginning");
        // Back to before it was cut off: nobody knows how long ago that was.
        hand.set(Timestamp::from_secs(1_700_000_000));
        write_more().await;
        assert!(log() < LARGE_LOG, "{}", log());
    }

    #[tokio::test]
    async fn a_table_that_has_lost_much_becomes_smaller() {
        let folder = tempfile::tempdir().unwrap();
        let store = Local::open(folder.path()).unwrap();
        let table = || folder.path().join("records.sqlite3").metadata().unwrap().len();
        let mut there = Vec::new();
        for number in 0..300 {
            let key = format!("{number:03}");
            let version = store.create(&key, Bytes::from(vec![7; 64 << 10]).into()).await.unwrap();
            there.push(Change { key, expected: Some(version), value: None });
        }
        for done in store.change_all(there).await {
            done.unwrap();
        }
        let mut version = store.create("k", Bytes::from(vec![7; 64 << 10]).into()).await.unwrap();
        let mut before = 0;
        for _ in 0..1500 {
            version = store.swap("k", &version, Bytes::from(vec![7; 64 << 10]).into()).await.unwrap();
            before = before.max(table());
        }
        assert!(before > 250 << 16, "{before} bytes");
        let kept = u64::from(FREE + GIVEN_BACK) * 4096;
        assert!(table() < kept, "{} of {before} bytes are left", table());
        assert_eq!(store.check().unwrap(), (Vec::new(), 0));
    }

    #[test]
    fn to_cut_the_log_off_waits_for_no_reader() {
        static WAITED: AtomicUsize = AtomicUsize::new(0);
        let folder = tempfile::tempdir().unwrap();
        drop(Local::open(folder.path()).unwrap());
        let mut db = open_for_writing(&folder.path().join("records.sqlite3"), true).unwrap();
        let write = |db: &Connection, key: &str| db.execute("INSERT INTO records VALUES (?1, 1, 0, 0, '')", [key]).unwrap();
        write(&db, "before");
        let _reading = reader(folder.path());
        write(&db, "after");
        db.busy_handler(Some(|_| WAITED.fetch_add(1, Ordering::SeqCst) == usize::MAX)).unwrap();
        assert!(!truncate(&db).unwrap());
        assert_eq!(WAITED.load(Ordering::SeqCst), 0);
        assert_ne!(folder.path().join("records.sqlite3-wal").metadata().unwrap().len(), 0, "the reader needs it");
        let found: u128 = db.query_row("PRAGMA busy_timeout", [], |row| row.get::<_, u32>(0)).unwrap().into();
        assert_eq!(found, BUSY.as_millis(), "for what comes next");
    }
}

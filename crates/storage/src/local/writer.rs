//! The thread that writes records, and the jobs that it is given.

use super::cache::Cache;
use super::log::{Log, is_full};
use super::space::Space;
use super::values::Values;
use super::{Clock, Disk, Failure, Number, Record, Timestamp, Version};
use bytes::Bytes;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, TransactionBehavior, params};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// The most jobs in one transaction.
const MOST_AT_ONCE: usize = 256;
/// The most bytes of values in one transaction. A larger job has a transaction of its own.
const MOST_BYTES: usize = 4 << 20;

pub(super) struct Writer {
    pub(super) db: Connection,
    pub(super) disk: Disk,
    pub(super) cache: Arc<Cache>,
    pub(super) values: Arc<Values>,
    pub(super) clock: Clock,
    pub(super) space: Arc<Space>,
    pub(super) log: Log,
}

impl Writer {
    /// Returns when the queue is closed.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut waiting = Vec::with_capacity(MOST_AT_ONCE);
        let mut pages = 0;
        while jobs.blocking_recv_many(&mut waiting, MOST_AT_ONCE) > 0 {
            while !waiting.is_empty() {
                if self.disk.check().is_err() {
                    return; // dropping the waiting jobs answers them with `Failure::Stopped`
                }
                let mut batch: Vec<Job> = waiting.drain(..at_once(&waiting)).collect();
                let full = self.space.check().err();
                if let Some(full) = &full {
                    self.refuse(&mut batch, full);
                }
                let written: usize = batch
                    .iter()
                    .flat_map(|job| &job.writes)
                    .map(|write| 2 + write.size() / 4096)
                    .sum(); // an estimate
                pages += written;
                self.log.untidy |= written > 0;
                self.commit(batch);
                // On a full disk the log must not grow, so each batch is followed by a checkpoint.
                if self.log.is_due(pages) || (full.is_some() && self.log.untidy) {
                    let now = self.clock.now();
                    if let Err(failure) = self.log.checkpoint(&self.db, now, full.is_some()) {
                        self.disk.stop(&failure);
                    }
                    pages = 0;
                }
            }
            if jobs.is_empty()
                && let Err(failure) = self.log.shrink_table(&self.db, self.clock.now())
            {
                self.disk.stop(&failure);
            }
        }
    }

    /// Rejects, in each job, the first write that frees no space and all writes after it.
    fn refuse(&self, batch: &mut [Job], failure: &Failure) {
        for job in batch {
            let Some(first) = job.writes.iter().position(|write| !write.frees()) else {
                continue;
            };
            let refused = job.writes.split_off(first);
            refused
                .iter()
                .filter_map(|write| write.useless(false))
                .for_each(|version| self.values.remove(version));
            job.refused
                .splice(0..0, refused.iter().map(|_| Err(failure.clone())));
        }
    }

    fn commit(&mut self, mut batch: Vec<Job>) {
        let space = self.space.clone();
        let mut done = self.attempt(&batch);
        let _freeing = done.as_ref().is_err_and(is_full).then(|| space.freeing());
        while done.as_ref().is_err_and(is_full) && self.space.release() {
            self.refuse(&mut batch, &Failure::Full);
            done = self.attempt(&batch);
        }
        self.answer(batch, done);
    }

    fn attempt(&mut self, batch: &[Job]) -> rusqlite::Result<Outcomes> {
        let keys = batch
            .iter()
            .flat_map(|job| &job.writes)
            .map(|write| write.key.as_str());
        if keys.clone().next().is_none() {
            return Ok(Outcomes {
                written: self.clock.now(),
                changed: batch.iter().map(|_| Vec::new()).collect(),
            });
        }
        let db = &mut self.db;
        let now = self.clock.now();
        self.cache
            .change(keys, || apply(db, batch, now))
            .map(|changed| Outcomes {
                written: now,
                changed,
            })
    }

    fn answer(&self, batch: Vec<Job>, done: rusqlite::Result<Outcomes>) {
        match done {
            Ok(Outcomes { written, changed }) => {
                let writes = batch
                    .iter()
                    .flat_map(|job| &job.writes)
                    .zip(changed.iter().flatten());
                writes
                    .filter(|(_, changed)| **changed)
                    .for_each(|(write, _)| write.remember(&self.cache, written));
                for (mut job, changed) in batch.into_iter().zip(changed) {
                    let done = |(write, changed): (&Write, &bool)| {
                        if *changed {
                            Ok(write.done())
                        } else {
                            Err(Failure::Conflict)
                        }
                    };
                    let mut answer: Vec<_> = job.writes.iter().zip(&changed).map(done).collect();
                    answer.append(&mut job.refused);
                    // The send fails if the caller has gone.
                    drop(job.answer.send(answer));
                    let useless = job
                        .writes
                        .iter()
                        .zip(&changed)
                        .filter_map(|(write, changed)| write.useless(*changed));
                    useless.for_each(|version| self.values.remove(version));
                }
            }
            Err(error) => {
                let full = is_full(&error);
                let failure = Failure::from(error);
                let nothing_happened = matches!(failure, Failure::Full | Failure::Busy);
                if !nothing_happened && !full {
                    self.disk.stop(&failure);
                }
                for mut job in batch {
                    let mut answer = vec![Err(failure.clone()); job.writes.len()];
                    answer.append(&mut job.refused);
                    drop(job.answer.send(answer));
                    // After any other failure only a restart can find out what is on the disk.
                    if nothing_happened {
                        job.writes
                            .iter()
                            .filter_map(|write| write.useless(false))
                            .for_each(|version| self.values.remove(version));
                    }
                }
            }
        }
    }
}

/// When the changes were made, and which writes of each job succeeded.
struct Outcomes {
    written: Timestamp,
    changed: Vec<Vec<bool>>,
}

/// How many of the jobs fit into one transaction.
fn at_once(jobs: &[Job]) -> usize {
    let mut bytes = 0;
    let rest = jobs.iter().skip(1).take_while(|job| {
        bytes += job.writes.iter().map(Write::size).sum::<usize>();
        bytes < MOST_BYTES
    });
    (1 + rest.count()).min(jobs.len())
}

/// One transaction for the disk, with a result for each write: `false` is a conflict, which does not affect
/// the others.
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
    let outcomes = batch
        .iter()
        .map(|job| job.writes.iter().map(one).collect())
        .collect::<Result<_, _>>()?;
    transaction.commit()?;
    Ok(outcomes)
}

/// The writes that one caller waits for.
pub(super) struct Job {
    pub writes: Vec<Write>,
    /// The answers to the rejected writes after these.
    pub refused: Vec<Result<Option<Version>, Failure>>,
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
    pub frees: bool,
    pub value: Cell,
}

/// A value as stored in the table: its bytes, or an empty text if it is in a file.
pub(super) enum Cell {
    Here(Bytes),
    InFile,
}

impl Write {
    /// How many bytes of the value are written into the table.
    pub(super) fn size(&self) -> usize {
        match &self.new {
            Some(New {
                value: Cell::Here(bytes),
                ..
            }) => bytes.len(),
            _ => 0,
        }
    }

    /// Whether it helps to free space.
    fn frees(&self) -> bool {
        self.new.as_ref().is_none_or(|new| new.frees)
    }

    /// The answer once it is committed.
    fn done(&self) -> Option<Version> {
        self.new.as_ref().map(|new| new.version.into())
    }

    /// Caches what was committed, since the writer of a record usually reads it next.
    fn remember(&self, cache: &Cache, written: Timestamp) {
        match &self.new {
            Some(New {
                version,
                value: Cell::Here(bytes),
                ..
            }) => {
                let value = Bytes::copy_from_slice(bytes); // the encoded buffer may be larger than its content
                cache.put(
                    &self.key,
                    Record {
                        version: (*version).into(),
                        value,
                        written,
                    },
                );
            }
            _ => cache.forget(&self.key),
        }
    }

    /// The version whose file is no longer needed.
    fn useless(&self, changed: bool) -> Option<Number> {
        if changed {
            self.expected
        } else {
            self.new.as_ref().map(|new| new.version)
        }
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
    use crate::local::Local;
    use crate::local::folder::Folder;
    use crate::local::space::Space;
    use crate::local::table::{Index, open_for_writing};
    use tokio::sync::Semaphore;
    use wharfinger_testkit::commits;

    /// Each commit syncs the log. The tests that watch system calls check the sync itself.
    #[test]
    fn waiting_changes_share_one_commit() {
        for (waiting, expected) in [(1, 1), (64, 1), (MOST_AT_ONCE + 1, 2)] {
            let folder = tempfile::tempdir().unwrap();
            drop(Local::open(folder.path()).unwrap());
            let file = folder.path().join("records.sqlite3");
            let disk = Disk::new(true);
            let folder_of_store = Arc::new(Folder::open(folder.path()).unwrap());
            let space = Arc::new(Space::new(folder_of_store.folder("v").unwrap()));
            let values = Values::open(folder_of_store, space, disk.clone()).unwrap();
            let db = open_for_writing(&file, true, Index::Mapped).unwrap();
            // The last connection to close removes the log, so keep one open.
            let _open = open_for_writing(&file, true, Index::Mapped).unwrap();
            let (queue, jobs) = mpsc::channel(1024);
            let room = Arc::new(Semaphore::new(waiting));
            let wait = |number: usize| {
                let (answer, answered) = oneshot::channel();
                let new = New {
                    version: Number(i64::try_from(number).unwrap()),
                    hidden: false,
                    frees: false,
                    value: Cell::Here(Bytes::from_static(b"1")),
                };
                let write = Write {
                    key: number.to_string(),
                    expected: None,
                    new: Some(new),
                };
                let _room = room.clone().try_acquire_owned();
                assert!(
                    queue
                        .try_send(Job {
                            writes: vec![write],
                            refused: Vec::new(),
                            answer,
                            _room: _room.unwrap()
                        })
                        .is_ok()
                );
                answered
            };
            let answers: Vec<_> = (0..waiting).map(wait).collect();
            drop(queue);
            let space = Arc::new(Space::new(std::fs::File::open(folder.path()).unwrap()));
            let log = Log::new(
                folder.path().join("records.sqlite3-wal"),
                Arc::default(),
                space.clone(),
            );
            let writer = Writer {
                db,
                disk,
                cache: Arc::default(),
                values: Arc::new(values),
                clock: Clock::system(),
                space,
                log,
            };
            writer.run(jobs);
            for mut answered in answers {
                answered.try_recv().unwrap().pop().unwrap().unwrap();
            }
            assert_eq!(commits(folder.path()), expected, "for {waiting} changes");
        }
    }
}

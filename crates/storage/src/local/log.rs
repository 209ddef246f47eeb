//! The write-ahead log of the table. Checkpoints move it into the table, restart it from its beginning, and
//! truncate its file, so that it stays small. Overlapping readers of this process, or another program with a
//! long read, would prevent the restart.

use super::space::Space;
use super::table::BUSY;
use super::{Failure, Timestamp};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// A checkpoint is due after so many pages in the log.
const CHECKPOINT: usize = 1000;
/// A log of so many pages is restarted even while records are being read; the readers wait for it.
const LONG: u64 = 4 * CHECKPOINT as u64;
/// The log's file is truncated when it is larger than this, in bytes.
const LARGE: u64 = 32 << 20;
/// The same on a full disk. A smaller log keeps its blocks for the next changes.
const LARGE_ON_A_FULL_DISK: u64 = 8 << 20;
/// The shortest time between two truncations, and between two warnings about the log.
const BETWEEN: Duration = Duration::from_secs(60);
/// How many free pages stay in the table for the next records. If there are more, some go back to the disk.
const FREE: u32 = 1024;
/// How many pages go back at each checkpoint. It is few, so that callers do not wait long.
const GIVEN_BACK: u32 = 256;
/// How many steps of that size are made at once while no change waits, and the shortest time between two such
/// times. The readiness probe writes every two seconds, so an idle registry gives back 2 MiB a second.
const STEPS_WHEN_IDLE: u32 = 4;
const BETWEEN_IDLE_STEPS: Duration = Duration::from_secs(1);
/// On a full disk the pages go back in small steps, since each step needs room in the log.
const STEPS_ON_A_FULL_DISK: u32 = 4;
const STEP_ON_A_FULL_DISK: u32 = 32;
/// The size of a page in the log.
const FRAME: u64 = 4096 + 24;

/// Readers of this process hold it shared during a statement. Holding it exclusively keeps all of them out.
pub(super) type Gate = RwLock<()>;

pub(super) struct Log {
    file: PathBuf,
    gate: Arc<Gate>,
    space: Arc<Space>,
    /// When the file was last truncated.
    truncated: Option<Timestamp>,
    /// When the last warning about the log was logged.
    warned: Option<Timestamp>,
    /// When free pages were last given back while no change waited.
    shrunk: Option<Timestamp>,
    /// Whether the next checkpoint has something to do.
    pub(super) untidy: bool,
}

/// The result of a checkpoint.
struct Moved {
    /// Whether a reader prevented a part of it.
    busy: bool,
    /// Pages in the log.
    pages: u64,
    /// How many of these have been moved into the table.
    done: u64,
}

impl Log {
    pub(super) fn new(file: PathBuf, gate: Arc<Gate>, space: Arc<Space>) -> Self {
        Self {
            file,
            gate,
            space,
            truncated: None,
            warned: None,
            shrunk: None,
            untidy: true,
        }
    }

    /// Whether a checkpoint is due after this many more pages.
    pub(super) fn is_due(&self, pages: usize) -> bool {
        pages >= CHECKPOINT || (pages >= CHECKPOINT / 10 && pages >= self.space.most_pages())
    }

    /// Moves the log into the table. Its file keeps its size and is reused from the beginning; now and then
    /// it is truncated. Free pages of the table go back to the disk, more of them if the disk is `full`.
    pub(super) fn checkpoint(&mut self, db: &Connection, now: Timestamp, full: bool) -> Result<(), Failure> {
        let steps = if full { STEPS_ON_A_FULL_DISK } else { 1 };
        for _ in 0..steps {
            if !self.step(db, now, full)? {
                break;
            }
        }
        Ok(())
    }

    /// Gives free pages of the table back to the disk at a bounded pace. The writer calls it when no change
    /// waits, so that the file also shrinks when few changes follow many deletions.
    pub(super) fn shrink_table(&mut self, db: &Connection, now: Timestamp) -> Result<(), Failure> {
        let waits_for_reader = self.space.is_copying() || self.space.has_held_log();
        if waits_for_reader || !has_passed(BETWEEN_IDLE_STEPS, self.shrunk, now) {
            return Ok(());
        }
        self.shrunk = Some(now);
        for _ in 0..STEPS_WHEN_IDLE {
            if free_pages(db)? <= FREE || !self.step(db, now, self.space.is_full())? {
                break;
            }
        }
        Ok(())
    }

    /// Does one step. Returns whether another step would give more space back to the disk.
    fn step(&mut self, db: &Connection, now: Timestamp, full: bool) -> Result<bool, Failure> {
        let space = self.space.clone();
        let (kept, most) = if full {
            (STEP_ON_A_FULL_DISK, STEP_ON_A_FULL_DISK)
        } else {
            (FREE, GIVEN_BACK)
        };
        let more = match space.or_from_reserve(|| give_back(db, kept, most), is_full) {
            Ok(more) => more,
            Err(why) if is_full(&why) || is_busy(&why) => false,
            Err(why) => return Err(why.into()),
        };
        let moved = space.or_from_reserve(|| self.move_log(db, now, full), is_full);
        // If a reader prevented the restart, that is still to do, even when all pages are in the table.
        self.untidy = more
            || moved
                .as_ref()
                .map_or(true, |moved| moved.busy || moved.done < moved.pages);
        match moved {
            Err(why) if is_full(&why) => {
                self.warn(now, "the disk is full, so the log of the records cannot be moved into the table: the registry serves reads and accepts only deletions until there is room");
                // The whole log may still have to be moved into the table.
                self.space.log_has(self.size());
                Ok(false)
            }
            Err(why) if !is_busy(&why) => Err(why.into()),
            _ => Ok(more),
        }
    }

    fn move_log(&mut self, db: &Connection, now: Timestamp, full: bool) -> rusqlite::Result<Moved> {
        let mut moved = moved(db, "PASSIVE")?;
        // If the clock was set back, do not wait until it has caught up.
        let due = has_passed(BETWEEN, self.truncated, now);
        let large = if full { LARGE_ON_A_FULL_DISK } else { LARGE };
        let cut_off = (full || due) && self.size() > large;
        if cut_off || full || moved.pages > LONG {
            moved = {
                let _no_reader = self.gate.write().unwrap_or_else(PoisonError::into_inner);
                without_waiting(db, if cut_off { "TRUNCATE" } else { "RESTART" })?
            };
            if cut_off && !moved.busy {
                self.truncated = Some(now);
            }
        }
        self.check_size(&moved, now);
        Ok(moved)
    }

    /// Another program may hold a read open forever, and the log must keep everything since. A backup of this
    /// process ends, so until then the log only has to fit on the disk.
    fn check_size(&mut self, moved: &Moved, now: Timestamp) {
        self.space.log_has(moved.pages.saturating_sub(moved.done) * FRAME);
        let size = moved.pages * FRAME;
        let most = self.space.most_log();
        let copying = self.space.is_copying();
        let held = moved.busy && size > most && (!copying || self.space.has_held_log());
        self.space.log_is_held(held);
        if held {
            self.warn(now, "the log of the records is too large, because another program keeps a read of records.sqlite3 open: stop that program. Pushes are rejected until then");
        } else if moved.busy && size > most / 2 && !copying {
            self.warn(now, "the log of the records is growing, because another program keeps a read of records.sqlite3 open: stop that program, or pushes will be rejected");
        }
    }

    fn warn(&mut self, now: Timestamp, what: &'static str) {
        if has_passed(BETWEEN, self.warned, now) {
            self.warned = Some(now);
            tracing::warn!(file = %self.file.display(), bytes = self.size(), "{what}");
        }
    }

    fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |log| log.len())
    }
}

fn has_passed(period: Duration, since: Option<Timestamp>, now: Timestamp) -> bool {
    since.is_none_or(|since| now < since || now.since(since) >= period)
}

pub(super) fn is_full(why: &rusqlite::Error) -> bool {
    // SQLite reports the second error if there is no room for the index of the log.
    why.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
        || why
            .sqlite_error()
            .is_some_and(|why| why.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

fn is_busy(why: &rusqlite::Error) -> bool {
    why.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

fn moved(db: &Connection, mode: &str) -> rusqlite::Result<Moved> {
    db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let pages = |at| {
            row.get::<_, i64>(at)
                .map(|pages| u64::try_from(pages).unwrap_or(0))
        };
        Ok(Moved {
            busy: row.get(0)?,
            pages: pages(1)?,
            done: pages(2)?,
        })
    })
}

/// Does not wait for readers. While there are any, the log keeps its size.
fn without_waiting(db: &Connection, mode: &str) -> rusqlite::Result<Moved> {
    db.busy_timeout(Duration::ZERO)?;
    let moved = moved(db, mode);
    db.busy_timeout(BUSY)?;
    moved
}

/// Gives free pages of the table back to the disk if there are many. Returns whether there are more.
fn give_back(db: &Connection, kept: u32, most: u32) -> rusqlite::Result<bool> {
    let free = free_pages(db)?;
    if free > kept {
        // Each step is a page.
        let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({most})"))?;
        let mut pages = vacuum.query([])?;
        while pages.next()?.is_some() {}
    }
    Ok(free > kept.saturating_add(most))
}

fn free_pages(db: &Connection) -> rusqlite::Result<u32> {
    db.query_row("PRAGMA freelist_count", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::super::table::{Index, open_for_writing};
    use super::*;
    use crate::local::{Local, Settings};
    use crate::{Change, RecordStore};
    use bytes::Bytes;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use wharfinger_base::clock::Clock;

    /// The bound of the log on the disk that the tests simulate.
    const LOG_BOUND: u64 = 16 << 20;

    /// A program that holds a read of the records open until this is dropped.
    fn reader(folder: &Path) -> Connection {
        let db = Connection::open(folder.join("records.sqlite3")).unwrap();
        db.execute_batch("BEGIN; SELECT count(*) FROM records").unwrap();
        db
    }

    fn log_bytes(folder: &tempfile::TempDir) -> u64 {
        let log = folder.path().join("records.sqlite3-wal");
        log.metadata().unwrap().len()
    }

    /// Writes enough to make a checkpoint due.
    async fn write_much(store: &Local, round: usize) {
        let create = |number| {
            let value = Some(Bytes::from(vec![7; 64 << 10]).into());
            Change {
                key: format!("{round:03}/{number:03}"),
                expected: None,
                value,
            }
        };
        for done in store.change_all((0..60).map(create).collect()).await {
            done.unwrap();
        }
    }

    #[tokio::test]
    async fn a_large_log_is_truncated_once_it_has_no_reader_but_not_often() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(Timestamp::from_secs(1_800_000_000));
        let store = Local::open_with(
            folder.path(),
            Settings {
                clock,
                ..Settings::default()
            },
        )
        .unwrap();
        let log = || log_bytes(&folder);
        let mut rounds = 0..;
        // When the last change is answered, the log may not be truncated yet. The next change waits for that.
        let mut write_more = async || {
            for _ in 0..2 {
                write_much(&store, rounds.next().unwrap()).await;
            }
        };
        // While there is a reader, the log grows, although each checkpoint tries to truncate it. Writers
        // continue.
        let reading = reader(folder.path());
        while log() <= LARGE {
            write_more().await;
        }
        drop(reading);
        write_more().await;
        assert!(log() < LARGE, "{}", log());
        // It has grown again.
        let reading = reader(folder.path());
        while log() <= LARGE {
            write_more().await;
        }
        drop(reading);
        write_more().await;
        let large = log();
        assert!(large > LARGE, "it was truncated a moment ago");
        write_more().await;
        assert_eq!(log(), large, "reused from its beginning");
        // Set the clock back to before the truncation.
        hand.set(Timestamp::from_secs(1_700_000_000));
        write_more().await;
        assert!(log() < LARGE, "{}", log());
    }

    /// Leaves many free pages.
    async fn write_and_delete_much(store: &Local) {
        let mut there = Vec::new();
        for number in 0..300 {
            let key = format!("{number:03}");
            let version = store
                .create(&key, Bytes::from(vec![7; 64 << 10]).into())
                .await
                .unwrap();
            there.push(Change {
                key,
                expected: Some(version),
                value: None,
            });
        }
        for done in store.change_all(there).await {
            done.unwrap();
        }
    }

    #[tokio::test]
    async fn a_table_shrinks_after_many_deletions() {
        let folder = tempfile::tempdir().unwrap();
        // The clock stands still, so that the table hardly shrinks before the first look at it.
        let (clock, _) = Clock::manual(Timestamp::from_secs(1_800_000_000));
        let settings = Settings {
            clock,
            ..Settings::default()
        };
        let store = Local::open_with(folder.path(), settings).unwrap();
        let table = || folder.path().join("records.sqlite3").metadata().unwrap().len();
        write_and_delete_much(&store).await;
        let mut version = store
            .create("k", Bytes::from(vec![7; 64 << 10]).into())
            .await
            .unwrap();
        let mut before = 0;
        for _ in 0..1500 {
            version = store
                .swap("k", &version, Bytes::from(vec![7; 64 << 10]).into())
                .await
                .unwrap();
            before = before.max(table());
        }
        assert!(before > 200 << 16, "{before} bytes");
        let kept = u64::from(FREE + GIVEN_BACK) * 4096;
        assert!(table() < kept, "{} of {before} bytes are left", table());
        assert_eq!(store.check().unwrap(), (Vec::new(), 0));
    }

    #[tokio::test]
    async fn a_table_shrinks_while_hardly_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(Timestamp::from_secs(1_800_000_000));
        let settings = Settings {
            clock,
            ..Settings::default()
        };
        let store = Local::open_with(folder.path(), settings).unwrap();
        let table = || folder.path().join("records.sqlite3").metadata().unwrap().len();
        write_and_delete_much(&store).await;
        // It shrinks once a second at most, however many changes follow.
        for number in 0..20 {
            store
                .create(&format!("k{number}"), Bytes::from("v").into())
                .await
                .unwrap();
        }
        let before = table();
        assert!(before > 200 << 16, "{before} bytes");
        // The answer comes before the step, and the writer leaves a step out if the next change is there already.
        let kept = u64::from(FREE + GIVEN_BACK) * 4096;
        for number in 20..2000 {
            if table() < kept {
                break;
            }
            hand.advance(BETWEEN_IDLE_STEPS);
            store
                .create(&format!("k{number}"), Bytes::from("v").into())
                .await
                .unwrap();
        }
        assert!(table() < kept, "{} of {before} bytes are left", table());
        assert_eq!(store.check().unwrap(), (Vec::new(), 0));
    }

    #[test]
    fn truncating_the_log_does_not_wait_for_a_reader() {
        static WAITED: AtomicUsize = AtomicUsize::new(0);
        let folder = tempfile::tempdir().unwrap();
        drop(Local::open(folder.path()).unwrap());
        let mut db = open_for_writing(&folder.path().join("records.sqlite3"), true, Index::Mapped).unwrap();
        let write = |db: &Connection, key: &str| {
            db.execute("INSERT INTO records VALUES (?1, 1, 0, 0, '')", [key])
                .unwrap()
        };
        write(&db, "before");
        let _reading = reader(folder.path());
        write(&db, "after");
        db.busy_handler(Some(|_| WAITED.fetch_add(1, Ordering::SeqCst) == usize::MAX))
            .unwrap();
        assert!(without_waiting(&db, "TRUNCATE").unwrap().busy);
        assert_eq!(WAITED.load(Ordering::SeqCst), 0);
        assert_ne!(
            folder
                .path()
                .join("records.sqlite3-wal")
                .metadata()
                .unwrap()
                .len(),
            0,
            "the reader needs it"
        );
        let found: u128 = db
            .query_row("PRAGMA busy_timeout", [], |row| row.get::<_, u32>(0))
            .unwrap()
            .into();
        assert_eq!(found, BUSY.as_millis(), "for the next statement");
    }

    #[tokio::test]
    async fn readers_that_follow_each_other_closely_do_not_make_the_log_grow() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Local::open(folder.path()).unwrap());
        let log = || log_bytes(&folder);
        // Holds a read open until the test ends it.
        let read = || {
            let (begins, begun) = mpsc::channel::<()>();
            let (end, ends) = mpsc::channel::<()>();
            let store = store.clone();
            let reader = std::thread::spawn(move || {
                let reading = store.records.read(|db| {
                    let transaction = db.unchecked_transaction()?;
                    transaction.query_row("SELECT count(*) FROM records WHERE key < '1'", [], |row| {
                        row.get::<_, i64>(0)
                    })?;
                    let _ = begins.send(());
                    // A checkpoint may wait for its end.
                    let _ = ends.recv_timeout(Duration::from_millis(100));
                    Ok(())
                });
                reading.unwrap();
            });
            // It waits if the log is being restarted.
            let _ = begun.recv_timeout(Duration::from_millis(100));
            (reader, end)
        };
        let mut largest = 0;
        let mut reading = read();
        for round in 0..20 {
            write_much(&store, round).await;
            // The next one begins before the last one ends.
            let (reader, end) = std::mem::replace(&mut reading, read());
            drop(end);
            reader.join().unwrap();
            largest = largest.max(log());
        }
        drop(reading.1);
        reading.0.join().unwrap();
        assert!(largest < LONG * FRAME + (12 << 20), "{largest}");
    }

    #[tokio::test]
    async fn while_a_read_stays_open_the_log_has_a_bound_and_deletions_work() {
        let folder = tempfile::tempdir().unwrap();
        let store = Local::open(folder.path()).unwrap();
        store.space.pretend(Some(100 << 20), Some(90 << 20));
        let log = || log_bytes(&folder);
        let create = |key: String| Change {
            key,
            expected: None,
            value: Some(Bytes::from(vec![7; 64 << 10]).into()),
        };
        let reading = reader(folder.path());
        let mut there = Vec::new();
        let refused = loop {
            let key = there.len().to_string();
            match store.change_all(vec![create(key.clone())]).await.pop().unwrap() {
                Ok(version) => there.push((key, version.unwrap())),
                Err(why) => break why,
            }
            assert!(log() < 2 * LOG_BOUND, "{} bytes", log());
        };
        assert!(matches!(refused, Failure::LogHeld), "{refused}");
        assert!(log() >= LOG_BOUND, "{} bytes", log());
        let (key, version) = there.pop().unwrap();
        store.delete(&key, &version).await.unwrap();
        drop(reading);
        // The rejected change triggers the checkpoint that empties the log.
        drop(store.create("a", Bytes::new().into()).await);
        store.create("b", Bytes::new().into()).await.unwrap();
        assert_eq!(store.check().unwrap(), (Vec::new(), 0));
    }

    #[tokio::test]
    async fn pushes_continue_after_overlapping_readers_have_ended() {
        let folder = tempfile::tempdir().unwrap();
        let store = Local::open(folder.path()).unwrap();
        store.space.pretend(Some(100 << 20), Some(90 << 20));
        let push = async |key: &str| store.create(key, Bytes::from(vec![7; 64 << 10]).into()).await;
        let old = reader(folder.path());
        let mut pushed = 0;
        while push(&pushed.to_string()).await.is_ok() {
            pushed += 1;
        }
        // The new reader needs only the newest state, so all of the log can be moved into the table. But the
        // log cannot be restarted.
        let new = reader(folder.path());
        drop(old);
        for _ in 0..3 {
            // The answer comes before the log is emptied, so only the next change finds it empty.
            assert!(matches!(push("a").await, Err(Failure::LogHeld)));
        }
        drop(new);
        drop(push("a").await);
        push("b").await.unwrap();
    }
}

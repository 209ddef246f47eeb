//! The SQLite file with the table of records: how it is made, and how it is opened.

use super::OpenError;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// How long to wait for another program that has locked the records.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// Where SQLite keeps the index of the write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    /// In a file that is mapped into memory. If the disk has no block for a page of it, the process is
    /// killed.
    Mapped,
    /// In memory. No other process can read the records then.
    InMemory,
}

/// Creates the table of a new store, unless an interrupted attempt has created it.
pub(super) fn make(file: &Path) -> Result<(), OpenError> {
    let made = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE).and_then(|db| {
        db.execute_batch(
            "PRAGMA auto_vacuum = INCREMENTAL;
             CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, hidden INTEGER NOT NULL,
                 written INTEGER NOT NULL, value BLOB NOT NULL);
             CREATE INDEX IF NOT EXISTS hidden ON records (key) WHERE hidden",
        )
    });
    made.map_err(|source| OpenError::Records {
        file: file.to_owned(),
        source,
    })
}

pub(super) fn open_for_writing(
    file: &Path,
    durable: bool,
    index: Index,
) -> Result<Connection, rusqlite::Error> {
    let db = connect_to_write(file, durable, index)?;
    // The log of an earlier process may be in the kernel's memory only, and new changes would build on it.
    // This syncs it.
    let busy: bool = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(
            busy,
            Some("another program is reading or writing them".to_owned()),
        ));
    }
    Ok(db)
}

/// Like [`open_for_writing`], on a disk that has no room to move the log into the table. The log stays where
/// it is, and is synced there.
pub(super) fn open_unmoved(
    file: &Path,
    log: &Path,
    durable: bool,
    index: Index,
) -> Result<Connection, rusqlite::Error> {
    let db = connect_to_write(file, durable, index)?;
    let synced = std::fs::File::open(log).and_then(|log| log.sync_all());
    synced.map_err(|why| {
        let failed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        rusqlite::Error::SqliteFailure(failed, Some(format!("their log cannot be synced: {why}")))
    })?;
    tracing::warn!(
        "the disk is full, so the log of the records cannot be moved into the table: the registry serves reads and accepts only deletions until there is room"
    );
    Ok(db)
}

fn connect_to_write(file: &Path, durable: bool, index: Index) -> Result<Connection, rusqlite::Error> {
    let db = connect_with(file, OpenFlags::SQLITE_OPEN_READ_WRITE, index)?;
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // With NORMAL a power cut loses the last changes, but the table stays consistent.
    db.pragma_update(None, "synchronous", if durable { "FULL" } else { "NORMAL" })?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.busy_timeout(BUSY)?;
    db.prepare("SELECT key, version, hidden, written, value FROM records")?;
    Ok(db)
}

pub(super) fn connect(file: &Path, flags: OpenFlags) -> Result<Connection, rusqlite::Error> {
    connect_with(file, flags, Index::Mapped)
}

pub(super) fn connect_with(
    file: &Path,
    flags: OpenFlags,
    index: Index,
) -> Result<Connection, rusqlite::Error> {
    // https://www.sqlite.org/vfs.html#standard_unix_vfses
    let vfs = match index {
        Index::Mapped => c"unix",
        Index::InMemory => c"unix-excl",
    };
    Connection::open_with_flags_and_vfs(
        file,
        flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW,
        vfs,
    )
}

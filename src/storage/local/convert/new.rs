//! The table of format 2 while it is being made. A second table in the same file says how far that is; both change in one transaction.

use super::super::records::{connect, make};
use super::super::{Failure, Number};
use super::old::{Cell, Text};
use crate::clock::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

pub(super) struct NewTable(Connection);

/// How far the conversion is.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The old table's rows up to this key are converted.
    pub after: Text,
    pub done: u64,
}

pub(super) struct NewRow {
    pub key: Text,
    pub version: Number,
    pub hidden: bool,
    pub written: Timestamp,
    pub cell: Cell,
}

impl NewTable {
    /// Makes it where there is none, or where that was cut short.
    pub(super) fn open(file: &Path) -> Result<Self, Failure> {
        make(file).map_err(|why| Failure::Io(Arc::new(why)))?;
        let table = Self::open_whole(file)?;
        // What is appended needs no journal, so this writes less than a write-ahead log, which has every page twice.
        table.0.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
        table.0.pragma_update(None, "synchronous", "FULL")?;
        table.0.pragma_update(None, "cache_size", -CACHE)?;
        table.0.execute_batch("CREATE TABLE IF NOT EXISTS conversion (after TEXT NOT NULL, done INTEGER NOT NULL)")?;
        Ok(table)
    }

    pub(super) fn open_whole(file: &Path) -> Result<Self, Failure> {
        Ok(Self(connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?))
    }

    pub(super) fn progress(&self) -> Result<Progress, Failure> {
        let progress = self.0.query_row("SELECT after, done FROM conversion", [], |row| {
            Ok(Progress { after: row.get(0)?, done: row.get::<_, i64>(1)?.unsigned_abs() })
        });
        Ok(progress.optional()?.unwrap_or_default())
    }

    pub(super) fn begin(&mut self) -> Result<Batch<'_>, Failure> {
        Ok(Batch(self.0.transaction_with_behavior(TransactionBehavior::Immediate)?))
    }

    /// Of the records whose values are files.
    pub(super) fn versions_in_files(&self) -> Result<HashSet<Number>, Failure> {
        let mut select = self.0.prepare("SELECT version FROM records WHERE typeof(value) = 'text'")?;
        Ok(select.query_map([], |row| row.get(0).map(Number))?.collect::<Result<_, _>>()?)
    }

    pub(super) fn forget_progress(&self) -> Result<(), Failure> {
        Ok(self.0.execute_batch("DROP TABLE IF EXISTS conversion")?)
    }

    pub(super) fn close(self) -> Result<(), Failure> {
        Ok(self.0.close().map_err(|(_, why)| why)?)
    }
}

/// Rows that become durable together.
pub(super) struct Batch<'a>(Transaction<'a>);

impl Batch<'_> {
    /// `false` if there is a record under that key.
    pub(super) fn insert(&self, NewRow { key, version, hidden, written, cell }: &NewRow) -> Result<bool, Failure> {
        let mut insert = self.0.prepare_cached(
            "INSERT INTO records (key, version, hidden, written, value) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        )?;
        Ok(insert.execute(params![key, version.0, hidden, written.as_millis(), cell])? == 1)
    }

    pub(super) fn commit(self, progress: &Progress) -> Result<(), Failure> {
        self.0.execute("DELETE FROM conversion", [])?;
        self.0.execute("INSERT INTO conversion (after, done) VALUES (?1, ?2)", params![progress.after, progress.done.cast_signed()])?;
        Ok(self.0.commit()?)
    }
}

/// KiB of pages in memory. The conversion adds keys out of their order, whose pages would be read again and again.
const CACHE: i64 = 64 << 10;

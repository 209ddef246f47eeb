//! The table of format 2 while it is being made. A second table in the same file holds the progress. Both
//! change in one transaction.

use super::super::table::{connect, make};
use super::super::{Failure, Number};
use super::old::{Cell, Mark, Text};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use wharfinger_base::clock::Timestamp;

pub(super) struct NewTable(Connection);

/// The progress of the conversion.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The old table's rows up to this key are converted.
    pub after: Text,
    pub done: u64,
    /// How many of them could not be converted.
    pub left: u64,
    /// The number of rows in the new table.
    pub rows: u64,
}

pub(super) struct NewRow {
    pub key: String,
    pub version: Number,
    pub hidden: bool,
    pub written: Timestamp,
    /// The size of its value in bytes, in a file or in the table.
    pub size: usize,
    pub cell: Cell,
}

impl NewTable {
    /// Opens the new table. Creates it, or completes an interrupted creation.
    pub(super) fn open(file: &Path, mark: Mark) -> Result<Self, Failure> {
        make(file).map_err(|why| Failure::Io(Arc::new(why)))?;
        let table = Self::open_whole(file)?;
        // Appending needs no journal, so this writes less than a write-ahead log, which writes every page
        // twice.
        table
            .0
            .pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
        table.0.pragma_update(None, "synchronous", "FULL")?;
        table.0.pragma_update(None, "cache_size", -CACHE)?;
        table.0.execute_batch(
            "CREATE TABLE IF NOT EXISTS conversion
                 (after TEXT NOT NULL, done INTEGER NOT NULL, left_over INTEGER NOT NULL, rows INTEGER NOT NULL)",
        )?;
        table.0.pragma_update(None, "user_version", mark.0)?;
        Ok(table)
    }

    pub(super) fn open_whole(file: &Path) -> Result<Self, rusqlite::Error> {
        Ok(Self(connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?))
    }

    pub(super) fn mark(&self) -> Result<Mark, rusqlite::Error> {
        self.0
            .query_row("PRAGMA user_version", [], |row| row.get(0).map(Mark))
    }

    pub(super) fn progress(&self) -> Result<Progress, Failure> {
        let progress = self
            .0
            .query_row("SELECT after, done, left_over, rows FROM conversion", [], |row| {
                let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
                Ok(Progress {
                    after: row.get(0)?,
                    done: number(1)?,
                    left: number(2)?,
                    rows: number(3)?,
                })
            });
        Ok(progress.optional()?.unwrap_or_default())
    }

    /// Fails unless all `of` the old rows are done and every row that was written is there.
    pub(super) fn check(&self, of: u64) -> Result<(), Failure> {
        let wrong = |why: String| Err(Failure::Io(Arc::new(std::io::Error::other(why))));
        let found: String = self.0.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            return wrong(format!("the new table is damaged: {found}"));
        }
        let Progress { done, rows, .. } = self.progress()?;
        let count: i64 = self
            .0
            .query_row("SELECT count(*) FROM records", [], |row| row.get(0))?;
        if (done, rows) != (of, count.unsigned_abs()) {
            return wrong(format!(
                "the new table has {count} records of {rows}, made of {done} old ones of {of}"
            ));
        }
        Ok(())
    }

    pub(super) fn begin(&mut self) -> Result<Batch<'_>, Failure> {
        Ok(Batch(
            self.0.transaction_with_behavior(TransactionBehavior::Immediate)?,
        ))
    }

    /// The versions of the records whose values are files.
    pub(super) fn versions_in_files(&self) -> Result<HashSet<Number>, Failure> {
        let mut select = self
            .0
            .prepare("SELECT version FROM records WHERE typeof(value) = 'text'")?;
        Ok(select
            .query_map([], |row| row.get(0).map(Number))?
            .collect::<Result<_, _>>()?)
    }

    /// Removes the progress. Returns how many records were not converted, if that is still known.
    pub(super) fn forget_progress(&self) -> Result<u64, Failure> {
        let known = self.0.table_exists(None, "conversion")?;
        let left = if known { self.progress()?.left } else { 0 };
        self.0.execute_batch("PRAGMA synchronous = FULL; BEGIN; DROP TABLE IF EXISTS conversion; PRAGMA user_version = 0; COMMIT")?;
        Ok(left)
    }

    pub(super) fn close(self) -> Result<(), Failure> {
        Ok(self.0.close().map_err(|(_, why)| why)?)
    }
}

/// Rows that become durable together.
pub(super) struct Batch<'a>(Transaction<'a>);

impl Batch<'_> {
    /// `false` if there already is a record with that key.
    pub(super) fn insert(
        &self,
        NewRow {
            key,
            version,
            hidden,
            written,
            cell,
            ..
        }: &NewRow,
    ) -> Result<bool, Failure> {
        let mut insert = self.0.prepare_cached(
            "INSERT INTO records (key, version, hidden, written, value) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        )?;
        Ok(insert.execute(params![key, version.0, hidden, written.as_millis(), cell])? == 1)
    }

    pub(super) fn commit(self, progress: &Progress) -> Result<(), Failure> {
        self.0.execute("DELETE FROM conversion", [])?;
        let Progress {
            after,
            done,
            left,
            rows,
        } = progress;
        let insert = "INSERT INTO conversion (after, done, left_over, rows) VALUES (?1, ?2, ?3, ?4)";
        self.0.execute(
            insert,
            params![after, done.cast_signed(), left.cast_signed(), rows.cast_signed()],
        )?;
        Ok(self.0.commit()?)
    }
}

/// The page cache in KiB. The conversion does not add keys in order, so it would read the same pages again
/// and again.
const CACHE: i64 = 64 << 10;

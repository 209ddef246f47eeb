//! The table of format 1: `records(key, version, value)`. An empty text stands for a value in a file.

use super::super::table::connect;
use super::super::{Failure, Number};
use bytes::Bytes;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OpenFlags};
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

pub(super) struct OldTable(Connection);

/// A row of the table.
pub(super) struct OldRow {
    pub key: Text,
    /// `None` if it is not a number.
    pub version: Option<Number>,
    pub cell: Cell,
}

/// A number that the conversion writes into both tables, so that it knows which new table was made from which
/// old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(pub i32);

/// A value as stored in a table.
pub(super) enum Cell {
    Here(Bytes),
    InFile,
    /// A value of a type that no program writes.
    Damaged(Value),
}

/// A text whose bytes may be damaged.
#[derive(Clone, Debug, Default)]
pub(super) struct Text(Vec<u8>);

impl OldTable {
    pub(super) fn open(file: &Path) -> Result<Self, Failure> {
        let db = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        db.prepare("SELECT key, version, value FROM records")?;
        Ok(Self(db))
    }

    /// The mark, if only conversions have opened the table since [`OldTable::mark`]. A program of format 1
    /// turns the write-ahead log on when it opens the store, and may have changed records.
    pub(super) fn marked(&self) -> Result<Option<Mark>, Failure> {
        let mode: String = self.0.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        let mark = self
            .0
            .query_row("PRAGMA user_version", [], |row| row.get(0).map(Mark))?;
        Ok(Some(mark).filter(|mark| mode != "wal" && *mark != Mark(0)))
    }

    /// Moves the write-ahead log into the table, turns the log off, and gives the table a new mark.
    pub(super) fn mark(&self) -> Result<Mark, Failure> {
        let mode: String = self
            .0
            .query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
        if mode != "delete" {
            return Err(Failure::Busy);
        }
        let mark = Mark(fastrand::i32(1..));
        self.0.pragma_update(None, "user_version", mark.0)?;
        Ok(mark)
    }

    pub(super) fn count(&self) -> Result<u64, Failure> {
        let count: i64 = self
            .0
            .query_row("SELECT count(*) FROM records", [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// Calls `each` for the rows with a text key after `after`, in order, for as long as it returns `true`.
    /// Returns whether the last row was reached. An error of `each` goes to `failed`.
    pub(super) fn walk<E>(
        &self,
        after: &Text,
        mut each: impl FnMut(OldRow) -> Result<bool, E>,
        failed: &mut Option<E>,
    ) -> Result<bool, Failure> {
        let select = "SELECT key, version, value FROM records WHERE key > ?1 AND key < x'' ORDER BY key";
        let mut select = self.0.prepare_cached(select)?;
        let mut rows = select.query([after])?;
        while let Some(row) = rows.next()? {
            let version = match row.get_ref(1)? {
                ValueRef::Integer(version) => Some(Number(version)),
                _ => None,
            };
            match each(OldRow {
                key: row.get(0)?,
                version,
                cell: row.get(2)?,
            }) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(why) => {
                    *failed = Some(why);
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The keys that are not text.
    pub(super) fn keys_of_no_text(&self) -> Result<Vec<Text>, Failure> {
        let mut select = self.0.prepare("SELECT key FROM records WHERE key >= x''")?;
        Ok(select
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?)
    }

    /// The versions of the records whose values are files, and whether each key is after `after`.
    pub(super) fn versions_in_files(&self, after: &Text) -> Result<HashMap<Number, bool>, Failure> {
        let select = "SELECT version, key > ?1 FROM records WHERE typeof(value) = 'text' AND typeof(version) = 'integer'";
        let mut select = self.0.prepare(select)?;
        Ok(select
            .query_map([after], |row| Ok((Number(row.get(0)?), row.get(1)?)))?
            .collect::<Result<_, _>>()?)
    }
}

impl Text {
    pub(super) fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl Cell {
    /// How many bytes of the value are in the table.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::InFile | Self::Damaged(_) => 0,
        }
    }
}

impl FromSql for Cell {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value {
            ValueRef::Blob(bytes) => Self::Here(Bytes::copy_from_slice(bytes)),
            ValueRef::Text(b"") => Self::InFile,
            ValueRef::Text(bytes) => Self::Damaged(Value::Text(String::from_utf8_lossy(bytes).into_owned())),
            other => Self::Damaged(other.try_into()?),
        })
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Here(bytes) => ToSqlOutput::from(&bytes[..]),
            Self::InFile => ToSqlOutput::from(""),
            Self::Damaged(value) => value.to_sql()?,
        })
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl FromSql for Text {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(Self(bytes.to_vec())),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for Text {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

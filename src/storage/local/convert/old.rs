//! The table of format 1: `records(key, version, value)`, where an empty text stands for a value that is a file.

use super::super::records::connect;
use super::super::{Failure, Number};
use bytes::Bytes;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OpenFlags};
use std::fmt;
use std::path::Path;

pub(super) struct OldTable(Connection);

/// A row as it stands there.
pub(super) struct OldRow {
    pub key: Text,
    pub version: Number,
    pub cell: Cell,
}

/// A value as it stands in a table.
pub(super) enum Cell {
    Here(Bytes),
    InFile,
    /// What no program wrote.
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

    /// Whether nobody but conversions had the table open since [`OldTable::mark`]. A program of format 1 turns the write-ahead log on when
    /// it opens the store, and may have changed records then.
    pub(super) fn is_marked(&self) -> Result<bool, Failure> {
        let mode: String = self.0.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        Ok(mode != "wal")
    }

    /// Moves what is in the write-ahead log into the table, and turns the log off.
    pub(super) fn mark(&self) -> Result<(), Failure> {
        let mode: String = self.0.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
        if mode == "delete" { Ok(()) } else { Err(Failure::Busy) }
    }

    pub(super) fn count(&self) -> Result<u64, Failure> {
        let count: i64 = self.0.query_row("SELECT count(*) FROM records", [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// The rows after this key, in order, for as long as `each` wants more. Whether it has seen the last one.
    pub(super) fn walk(&self, after: &Text, mut each: impl FnMut(OldRow) -> Result<bool, Failure>) -> Result<bool, Failure> {
        let mut select = self.0.prepare_cached("SELECT key, version, value FROM records WHERE key > ?1 ORDER BY key")?;
        let mut rows = select.query([after])?;
        while let Some(row) = rows.next()? {
            if !each(OldRow { key: row.get(0)?, version: Number(row.get(1)?), cell: row.get(2)? })? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Cell {
    /// How many bytes of it are written into the table.
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

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
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
            ValueRef::Text(bytes) => Ok(Self(bytes.to_vec())),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for Text {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

//! Conversion of a store of format 1, under the lock of its folder. A stop at any point leaves a store that the next start goes on with,
//! and never one that is half of each:
//!
//! | in the folder | is |
//! |---|---|
//! | `format` 1, `records.sqlite3` | a store of format 1; a `records.converting` beside it is a part of the new table |
//! | `format` 1, `records.sqlite3`, `records.converted` | a store of format 1 still, and the whole new table |
//! | `format` 2, `records.sqlite3`, `records.converted` | a store of format 2, which older programs refuse; the old table is still to be replaced |
//! | `format` 2, `records.sqlite3` | a store of format 2 |
//!
//! The bytes of blobs are not touched. Large values are written anew, since a file belongs to one version of a record.

mod new;
mod old;
#[cfg(test)]
mod tests;

use super::folder::{Folder, Layout, inspect};
use super::space::Space;
use super::values::{LARGE, Values};
use super::{Disk, Failure, Number, OpenError, Value};
use crate::clock::Timestamp;
use bytes::Bytes;
use new::{NewRow, NewTable};
use old::{Cell, OldRow, OldTable};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Turns the records of format 1 into those of format 2.
pub trait Convert {
    /// The records that take the place of this one. An error says why it cannot be read: it stays as it is then, under its key.
    fn convert(&mut self, key: &str, value: &Bytes) -> Result<Vec<Converted>, Unreadable>;

    /// Hears how many records of how many are done, each time that more of it would survive a power cut.
    fn progress(&mut self, done: u64, of: u64);
}

/// Why a record cannot be read.
pub type Unreadable = Box<dyn std::error::Error + Send + Sync>;

/// A record of format 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    pub key: String,
    pub value: Value,
    /// When the store says that it took this state of the record.
    pub written: Timestamp,
}

#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "the store in {} has format 1, and its conversion needs {} MB of free space, where its disk has {} MB: make room, or move the store to a larger disk. Nothing was changed",
        folder.display(), needed.div_ceil(MB), left / MB
    )]
    NoSpace { folder: PathBuf, needed: u64, left: u64 },
    #[error("the conversion of the store in {} stopped at {file}: {source}. Nothing is lost: the next start goes on with it", folder.display())]
    Stopped { folder: PathBuf, file: &'static str, source: Failure },
}

/// Converts the store in the folder to format 2, if it has format 1. Whether there was something to do. Blocks meanwhile. `now` becomes the
/// time of a record that cannot be read.
pub fn convert(folder: &Path, now: Timestamp, convert: &mut dyn Convert) -> Result<bool, ConvertError> {
    convert_if_room(folder, now, convert, &Space::left)
}

/// The same, where somebody says how much room there is.
fn convert_if_room(path: &Path, now: Timestamp, convert: &mut dyn Convert, left: Left<'_>) -> Result<bool, ConvertError> {
    if !matches!(inspect(path), Err(OpenError::Older { .. } | OpenError::Unfinished { .. })) {
        return Ok(false); // whoever opens it says what else is the matter
    }
    let folder = Arc::new(Folder::lock(path)?);
    let layout = folder.layout()?;
    if layout == Layout::Current {
        return Ok(false); // somebody was faster
    }
    let values = Values::open(folder.clone(), Disk::new(true))?;
    let conversion = Conversion { folder: &folder, values, now };
    if layout == Layout::Old {
        let all = conversion.convert_records(convert, left)?;
        folder.write_format()?;
        convert.progress(all, all);
    }
    conversion.replace()?;
    Ok(true)
}

type Left<'a> = &'a dyn Fn(&Space) -> Result<Option<u64>, Failure>;

struct Conversion<'a> {
    folder: &'a Folder,
    values: Values,
    now: Timestamp,
}

impl Conversion<'_> {
    /// Leaves the whole new table beside the old one, and says how many records that one has.
    fn convert_records(&self, convert: &mut dyn Convert, left: Left<'_>) -> Result<u64, ConvertError> {
        let old = self.at(RECORDS, OldTable::open(&self.path(RECORDS)))?;
        let marked = self.at(RECORDS, old.is_marked())?;
        if !marked {
            // Whatever was converted before, an older program may have changed since.
            for name in [CONVERTED, CONVERTING, "records.converting-journal"] {
                self.folder.remove(name)?;
            }
            self.folder.sync()?;
        }
        let of = self.at(RECORDS, old.count())?;
        if self.path(CONVERTED).exists() {
            return Ok(of);
        }
        self.check_space(left)?;
        tracing::info!(store.folder = %self.folder.path().display(), records = of, "converting the store to format 2");
        self.at(RECORDS, old.mark())?;
        let mut new = self.at(CONVERTING, NewTable::open(&self.path(CONVERTING)))?;
        loop {
            let (done, whole) = self.batch(&old, &mut new, convert)?;
            convert.progress(done, of);
            if whole {
                break;
            }
        }
        self.at(CONVERTING, new.close())?;
        self.folder.rename(CONVERTING, CONVERTED)?;
        convert.progress(of, of);
        Ok(of)
    }

    /// Converts some records more, durably. How many have been so far, and whether these were the last.
    fn batch(&self, old: &OldTable, new: &mut NewTable, convert: &mut dyn Convert) -> Result<(u64, bool), ConvertError> {
        let mut progress = self.at(CONVERTING, new.progress())?;
        let batch = self.at(CONVERTING, new.begin())?;
        let (mut records, mut bytes) = (0, 0);
        let walked = old.walk(&progress.after.clone(), |row| {
            progress.after = row.key.clone();
            progress.done += 1;
            records += 1;
            for row in self.converted(row, convert)? {
                bytes += row.cell.len();
                if !batch.insert(&row)? {
                    tracing::error!(record.key = %row.key, "the record is not converted, since another one took its place");
                }
            }
            Ok(records < RECORDS_AT_ONCE && bytes < BYTES_AT_ONCE)
        });
        let whole = self.at(RECORDS, walked)?;
        self.at(CONVERTING, batch.commit(&progress))?;
        Ok((progress.done, whole))
    }

    /// The rows of the new table that take the place of one of the old table.
    fn converted(&self, OldRow { key, version, cell }: OldRow, convert: &mut dyn Convert) -> Result<Vec<NewRow>, Failure> {
        let value = match &cell {
            Cell::Here(bytes) => Ok(bytes.clone()),
            Cell::InFile => self.values.read(version).map_err(Unreadable::from),
            Cell::Damaged(_) => Err("its value is not one that a program wrote".into()),
        };
        match value.and_then(|value| convert.convert(&key.to_string(), &value)) {
            Ok(records) => records.into_iter().map(|record| self.row(record)).collect(),
            Err(why) => {
                tracing::error!(record.key = %key, "the record cannot be read and stays as it is; `wharfinger fsck` names it: {why}");
                // With its version: the file that may be its value is named for that.
                Ok(vec![NewRow { key, version, hidden: false, written: self.now, cell }])
            }
        }
    }

    fn row(&self, Converted { key, value: Value { bytes, hidden }, written }: Converted) -> Result<NewRow, Failure> {
        let version = Number::random();
        let cell = if bytes.len() > LARGE {
            self.values.write(version, &bytes)?;
            Cell::InFile
        } else {
            Cell::Here(bytes)
        };
        Ok(NewRow { key: key.into(), version, hidden, written, cell })
    }

    /// The new table takes the place of the old one, whose values go.
    fn replace(&self) -> Result<(), ConvertError> {
        let new = self.at(CONVERTED, NewTable::open_whole(&self.path(CONVERTED)))?;
        let kept = self.at(CONVERTED, new.versions_in_files())?;
        self.at(CONVERTED, new.forget_progress())?;
        self.at(CONVERTED, new.close())?;
        self.values.versions().0.into_iter().filter(|version| !kept.contains(version)).for_each(|version| self.values.remove(version));
        // A log that is left beside a table is taken for that table's.
        for log in ["records.sqlite3-wal", "records.sqlite3-shm", "records.sqlite3-journal"] {
            self.folder.remove(log)?;
        }
        self.folder.sync()?;
        self.folder.rename(CONVERTED, RECORDS)?;
        tracing::info!(store.folder = %self.folder.path().display(), "the store has format 2");
        Ok(())
    }

    /// The new table is about as large as the old one. While it is made, both are there, and so are both files of each large value.
    fn check_space(&self, left: Left<'_>) -> Result<(), ConvertError> {
        let size = |name| self.path(name).symlink_metadata().map_or(0, |file| file.len());
        let table = size(RECORDS) + size("records.sqlite3-wal");
        let values = self.at("v", self.values.size())?;
        let needed = (table + table / 2 + values).saturating_sub(size(CONVERTING)) + MB;
        let space = Space::new(self.folder.folder("d")?);
        match self.at("d", left(&space))? {
            Some(left) if left < needed => Err(ConvertError::NoSpace { folder: self.folder.path().to_owned(), needed, left }),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn at<T>(&self, file: &'static str, result: Result<T, Failure>) -> Result<T, ConvertError> {
        result.map_err(|source| ConvertError::Stopped { folder: self.folder.path().to_owned(), file, source })
    }
}

const RECORDS: &str = "records.sqlite3";
/// The new table while it is being made, and when it is whole.
const CONVERTING: &str = "records.converting";
pub(super) const CONVERTED: &str = "records.converted";
/// So many records become durable together, or so many bytes of them. A stop loses that much work.
const RECORDS_AT_ONCE: u64 = if cfg!(test) { 10 } else { 20_000 };
const BYTES_AT_ONCE: usize = 16 << 20;
const MB: u64 = 1_000_000;

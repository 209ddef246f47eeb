//! Converts a store of format 1 while its folder is locked. An interruption at any point leaves a store that
//! the next start can continue with, and never a mixture of both formats:
//!
//! | in the folder | what it is |
//! |---|---|
//! | `format` 1, `records.sqlite3` | a store of format 1; a `records.converting` beside it is a part of the new table |
//! | `format` 1, `records.sqlite3`, `records.converted` | a store of format 1 still, and the whole new table |
//! | `format` 2, `records.sqlite3`, `records.converted` | a store of format 2, which older programs reject; the old table is still to be replaced |
//! | `format` 2, `records.sqlite3`, an empty `records.converting` | a store of format 2; the values of the old table are still to be removed |
//! | `format` 2, `records.sqlite3` | a store of format 2 |
//!
//! The bytes of blobs are not touched. Large values are rewritten, since a file belongs to one version of a
//! record.

mod new;
mod old;
mod room;
#[cfg(test)]
mod tests;

use super::file_names::{CONVERTED, CONVERTING, RECORDS};
use super::folder::{Folder, Layout, inspect};
use super::space::Space;
use super::values::{LARGE, Values};
use super::{Disk, Failure, Number, OpenError, Value};
use bytes::Bytes;
use new::{NewRow, NewTable};
use old::{Cell, Mark, OldRow, OldTable};
pub use room::room_to_convert;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wharfinger_base::clock::Timestamp;

/// Turns the records of format 1 into those of format 2.
pub trait Convert {
    /// Returns the records that replace this one.
    fn convert(&mut self, key: &str, value: &Bytes) -> Result<Vec<Converted>, Unconverted>;

    /// Whether to keep this record unchanged if it cannot be read. Otherwise it is dropped.
    fn keeps(&self, key: &str) -> bool;

    /// Called after each durable batch with the number of records done and the total.
    fn progress(&mut self, done: u64, of: u64);
}

/// Why a record is not converted.
#[derive(Debug, thiserror::Error)]
pub enum Unconverted {
    /// The record is damaged. The others are converted.
    #[error("{0}")]
    Unreadable(Box<dyn std::error::Error + Send + Sync>),
    /// The failure is not the record's, so the conversion stops.
    #[error("{0}")]
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

/// A record of format 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    pub key: String,
    pub value: Value,
    /// The time at which the store wrote this state of the record.
    pub written: Timestamp,
}

#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "the store in {} has format 1, and the rest of its conversion needs {} MB of free space, but its disk has {} MB: free some space, or move the store to a larger disk. {}",
        folder.display(), needed.div_ceil(MB), left / MB, if *begun { "Records that are already converted are kept" } else { "Nothing was changed" }
    )]
    NoSpace {
        folder: PathBuf,
        needed: u64,
        left: u64,
        begun: bool,
    },
    #[error(
        "the clock says {now}, but {} was last written at {written}: correct the clock, since the conversion gives times to records. If the clock is right, `touch` the file",
        file.display()
    )]
    Clock {
        file: PathBuf,
        written: Timestamp,
        now: Timestamp,
    },
    #[error(
        "a part of {} is damaged, so not all of its records can be read: restore the store from a backup, or salvage the rest with the command .recover of `sqlite3`. Nothing was changed: {source}",
        file.display()
    )]
    Malformed { file: PathBuf, source: Failure },
    #[error("the conversion of the store stopped at {}: {source}. The old records are unchanged. Fix the cause and start again", file.display())]
    Stopped { file: PathBuf, source: Failure },
}

/// Converts the store in the folder to format 2 if it has format 1. Returns whether there was anything to do.
/// Blocks until it is done. `now` becomes the time of records that cannot be read.
pub fn convert(folder: &Path, now: Timestamp, convert: &mut dyn Convert) -> Result<bool, ConvertError> {
    convert_if_room(folder, now, convert, &Space::left)
}

/// Like [`convert`], with the free space as a parameter.
fn convert_if_room(
    path: &Path,
    now: Timestamp,
    convert: &mut dyn Convert,
    left: Left<'_>,
) -> Result<bool, ConvertError> {
    match inspect(path) {
        Err(OpenError::Older { .. } | OpenError::Unfinished { .. }) => {}
        Ok(()) if path.join(CONVERTING).symlink_metadata().is_ok() => {}
        _ => return Ok(false), // opening the store reports any other problem
    }
    let folder = Arc::new(Folder::lock(path)?);
    let layout = folder.layout()?;
    let to_tidy = layout == Layout::Current && path.join(CONVERTING).symlink_metadata().is_ok();
    if !to_tidy && !matches!(layout, Layout::Old | Layout::Unfinished) {
        return Ok(false); // another process has converted it
    }
    let space = Arc::new(Space::new(folder.folder("v")?));
    let values = Values::open(folder.clone(), space, Disk::new(true))?;
    let conversion = Conversion {
        folder: &folder,
        values,
        now,
    };
    if layout == Layout::Old {
        let all = conversion.convert_records(convert, left)?;
        folder.write_format()?;
        convert.progress(all, all);
    }
    if !to_tidy {
        conversion.replace()?;
    }
    conversion.remove_old_values()?;
    Ok(true)
}

type Left<'a> = &'a dyn Fn(&Space) -> Result<Option<u64>, Failure>;

struct Conversion<'a> {
    folder: &'a Folder,
    values: Values,
    now: Timestamp,
}

impl Conversion<'_> {
    /// Makes the complete new table beside the old one. Returns how many records the old one has.
    fn convert_records(&self, convert: &mut dyn Convert, left: Left<'_>) -> Result<u64, ConvertError> {
        let made = self.make_new_table(convert, left);
        match &made {
            Ok(_)
            | Err(
                ConvertError::NoSpace { .. }
                | ConvertError::Clock { .. }
                | ConvertError::Stopped {
                    source: Failure::Full,
                    ..
                },
            ) => {}
            // After a failed sync the content of the disk is unknown.
            Err(_) => {
                if let Err(why) = self.begin_anew() {
                    tracing::error!("the incomplete new table could not be removed: {why}");
                }
            }
        }
        made
    }

    fn make_new_table(&self, convert: &mut dyn Convert, left: Left<'_>) -> Result<u64, ConvertError> {
        let old = self.at(RECORDS, OldTable::open(&self.path(RECORDS)))?;
        let mark = self.at(RECORDS, old.marked())?;
        let of_mark = |name| mark.filter(|mark| self.is_marked(name, *mark));
        let whole = of_mark(CONVERTED);
        let begun = of_mark(CONVERTING);
        if whole.is_none() && begun.is_none() {
            self.check_clock()?;
            // The old table may have been changed or replaced since an earlier conversion began.
            self.begin_anew()?;
        }
        tracing::info!(store.folder = %self.folder.path().display(), "counting the records to convert");
        let of = self.at(RECORDS, old.count())?;
        if whole.is_none() {
            self.check_space(&old, begun.is_some(), left)?;
            tracing::info!(store.folder = %self.folder.path().display(), records = of, "converting the store to format 2");
            let mark = match begun {
                Some(mark) => mark,
                None => self.at(RECORDS, old.mark())?,
            };
            let mut new = self.at(CONVERTING, NewTable::open(&self.path(CONVERTING), mark))?;
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
        }
        tracing::info!(store.folder = %self.folder.path().display(), "checking the new records");
        self.at(
            CONVERTED,
            NewTable::open_whole(&self.path(CONVERTED))
                .map_err(Failure::from)
                .and_then(|new| new.check(of)),
        )?;
        Ok(of)
    }

    /// Whether the new table was made from the old table with this mark.
    fn is_marked(&self, name: &str, mark: Mark) -> bool {
        let file = self.path(name);
        file.symlink_metadata().is_ok()
            && NewTable::open_whole(&file)
                .and_then(|new| new.mark())
                .is_ok_and(|found| found == mark)
    }

    fn begin_anew(&self) -> Result<(), OpenError> {
        for name in [
            CONVERTED,
            CONVERTING,
            "records.converted-journal",
            "records.converting-journal",
        ] {
            self.folder.remove(name)?;
        }
        self.folder.sync()
    }

    /// Converts another batch of records, durably. Returns how many are done so far, and whether this was the
    /// last batch.
    fn batch(
        &self,
        old: &OldTable,
        new: &mut NewTable,
        convert: &mut dyn Convert,
    ) -> Result<(u64, bool), ConvertError> {
        let mut progress = self.at(CONVERTING, new.progress())?;
        let batch = self.at(CONVERTING, new.begin())?;
        if progress.done == 0 {
            for key in self.at(RECORDS, old.keys_of_no_text())? {
                tracing::error!(record.key = %key, "the record is not converted: its key is not text, so no program can read it");
                progress.done += 1;
                progress.left += 1;
            }
        }
        let mut records = 0;
        let mut bytes = 0;
        // The file that a failure belongs to, unless it is the old table.
        let mut failed = None;
        let walked = old.walk(
            &progress.after.clone(),
            |row| {
                progress.after = row.key.clone();
                progress.done += 1;
                records += 1;
                let (rows, converted) = self.converted(row, convert).map_err(|why| ("v", why))?;
                progress.left += u64::from(!converted);
                for row in rows {
                    bytes += row.size;
                    if batch.insert(&row).map_err(|why| (CONVERTING, why))? {
                        progress.rows += 1;
                    } else {
                        tracing::error!(
                            record.key = row.key,
                            "the record is not converted, because another record has its new key"
                        );
                        progress.left += 1;
                    }
                }
                Ok(records < RECORDS_AT_ONCE && bytes < BYTES_AT_ONCE)
            },
            &mut failed,
        );
        if let Some((file, why)) = failed {
            return self.at(file, Err(why));
        }
        let whole = self.at(RECORDS, walked)?;
        self.at(CONVERTING, batch.commit(&progress))?;
        Ok((progress.done, whole))
    }

    /// The rows of the new table that replace one of the old table, and whether the old one could be read.
    fn converted(
        &self,
        OldRow { key, version, cell }: OldRow,
        convert: &mut dyn Convert,
    ) -> Result<(Vec<NewRow>, bool), Failure> {
        let Some(key) = key.as_str() else {
            tracing::error!(record.key = %key, "the record is not converted: its key is not UTF-8, so no program can read it");
            return Ok((Vec::new(), false));
        };
        let value = match (&cell, version) {
            (Cell::Here(bytes), _) => Ok(bytes.clone()),
            (Cell::InFile, Some(version)) => match self.values.read(version) {
                Err(Failure::Missing) => Err("its value is missing"),
                read => Ok(read?),
            },
            (Cell::InFile, None) => Err("its version is not a number, so the file of its value is unknown"),
            (Cell::Damaged(_), _) => Err("its value is not of a type that a program writes"),
        };
        let value = value.map_err(|why| Unconverted::Unreadable(why.into()));
        let why = match value.and_then(|value| convert.convert(key, &value)) {
            Ok(records) => {
                return Ok((
                    records
                        .into_iter()
                        .map(|record| self.row(record))
                        .collect::<Result<_, _>>()?,
                    true,
                ));
            }
            Err(Unconverted::Failed(why)) => return Err(Failure::Io(why.into())),
            Err(Unconverted::Unreadable(why)) => why,
        };
        if !convert.keeps(key) {
            tracing::warn!(
                record.key = key,
                "the record cannot be read and is dropped: {why}"
            );
            return Ok((Vec::new(), false));
        }
        tracing::error!(
            record.key = key,
            "the record cannot be read and is kept unchanged; `wharfinger fsck` lists it: {why}"
        );
        // It keeps its version, since the file of its value is named for that.
        let version = version.unwrap_or_else(Number::random);
        Ok((
            vec![NewRow {
                key: key.to_owned(),
                version,
                hidden: false,
                written: self.now,
                size: cell.len(),
                cell,
            }],
            false,
        ))
    }

    fn row(
        &self,
        Converted {
            key,
            value: Value { bytes, hidden, .. },
            written,
        }: Converted,
    ) -> Result<NewRow, Failure> {
        let version = Number::random();
        let size = bytes.len();
        let cell = if size > LARGE {
            self.values.write(version, &bytes)?;
            Cell::InFile
        } else {
            Cell::Here(bytes)
        };
        Ok(NewRow {
            key,
            version,
            hidden,
            written,
            size,
            cell,
        })
    }

    /// Replaces the old table by the new one.
    fn replace(&self) -> Result<(), ConvertError> {
        let new = self.at(
            CONVERTED,
            NewTable::open_whole(&self.path(CONVERTED)).map_err(Failure::from),
        )?;
        let left = self.at(CONVERTED, new.forget_progress())?;
        self.at(CONVERTED, new.close())?;
        // SQLite would apply a log of the old table to the new one.
        for log in [
            "records.sqlite3-wal",
            "records.sqlite3-shm",
            "records.sqlite3-journal",
            "records.converted-journal",
            "records.converting-journal",
        ] {
            self.folder.remove(log)?;
        }
        // The old values are removed last. Until then this file marks that they are there.
        self.folder.remove(CONVERTING)?;
        let marked = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.path(CONVERTING))
            .map(drop);
        self.at(CONVERTING, marked.map_err(Failure::from))?;
        self.folder.sync()?;
        self.folder.rename(CONVERTED, RECORDS)?;
        tracing::info!(store.folder = %self.folder.path().display(), "the store has format 2");
        if left > 0 {
            tracing::warn!(
                records = left,
                "some records were not converted: the log lines above name them"
            );
        }
        Ok(())
    }

    fn remove_old_values(&self) -> Result<(), ConvertError> {
        tracing::info!(store.folder = %self.folder.path().display(), "removing the large values of the old records");
        let new = self.at(
            RECORDS,
            NewTable::open_whole(&self.path(RECORDS)).map_err(Failure::from),
        )?;
        let kept = self.at(RECORDS, new.versions_in_files())?;
        self.at(RECORDS, new.close())?;
        self.values
            .versions()
            .0
            .into_iter()
            .filter(|version| !kept.contains(version))
            .for_each(|version| self.values.remove(version));
        Ok(self.folder.remove(CONVERTING)?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn at<T>(&self, name: &'static str, result: Result<T, Failure>) -> Result<T, ConvertError> {
        result.map_err(|source| {
            let file = self.path(name);
            match &source {
                Failure::Io(why) if name == RECORDS && is_malformed(&**why) => {
                    ConvertError::Malformed { file, source }
                }
                _ => ConvertError::Stopped { file, source },
            }
        })
    }
}

fn is_malformed(why: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let why = why
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error_code);
    matches!(
        why,
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
    )
}

/// A batch ends after so many records or so many bytes, including large values. A kill loses at most one
/// batch of work.
const RECORDS_AT_ONCE: u64 = if cfg!(test) { 10 } else { 20_000 };
const BYTES_AT_ONCE: usize = 16 << 20;
const MB: u64 = 1_000_000;

//! Computes how much space the conversion needs. Until it is done, both tables exist, and both files of each
//! large value.

use super::super::file_names::{CONVERTED, CONVERTING, RECORDS};
use super::super::folder::inspect;
use super::super::space::Space;
use super::super::{Failure, Number, OpenError};
use super::new::NewTable;
use super::old::{OldTable, Text};
use super::{Conversion, ConvertError, Left, MB};
use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use wharfinger_base::clock::Timestamp;

impl Conversion<'_> {
    /// Fails if the rest of the conversion needs more space than there is. Otherwise removes files that an
    /// interrupted conversion left and no table refers to.
    pub(super) fn check_space(
        &self,
        old: &OldTable,
        begun: bool,
        left: Left<'_>,
    ) -> Result<(), ConvertError> {
        let (after, new) = if begun {
            self.at(CONVERTING, so_far(&self.path(CONVERTING)))?
        } else {
            Default::default()
        };
        let old = self.at(RECORDS, old.versions_in_files(&after))?;
        let mut values = 0;
        let mut unnamed = Vec::new();
        let mut freed = 0;
        for (version, size) in self.at("v", self.values.sizes())? {
            match old.get(&version) {
                Some(true) => values += size,
                Some(false) => {}
                None if new.contains(&version) => {}
                None => {
                    unnamed.push(version);
                    freed += size;
                }
            }
        }
        let needed = needed(self.folder.path(), values);
        let root = File::open(self.folder.path()).map_err(Failure::from);
        if let Some(left) = self.at("", root.and_then(|root| left(&Space::new(root))))?
            && left.saturating_add(freed) < needed
        {
            return Err(ConvertError::NoSpace {
                folder: self.folder.path().to_owned(),
                needed,
                left,
                begun,
            });
        }
        unnamed
            .into_iter()
            .for_each(|version| self.values.remove(version));
        Ok(())
    }

    /// Fails if the clock is far behind the time of the last write. Records written now would look old as
    /// soon as the clock is right.
    pub(super) fn check_clock(&self) -> Result<(), ConvertError> {
        for name in [RECORDS, "records.sqlite3-wal"] {
            let file = self.path(name);
            // An empty log may have been created just now, for reading.
            let found = file.symlink_metadata().ok().filter(|file| file.len() > 0);
            let written = found.and_then(|file| file.modified().ok());
            let Some(since) = written.and_then(|written| written.duration_since(UNIX_EPOCH).ok()) else {
                continue;
            };
            let written = Timestamp::from_secs(0).plus(since);
            if written.since(self.now) > BEHIND {
                return Err(ConvertError::Clock {
                    file,
                    written,
                    now: self.now,
                });
            }
        }
        Ok(())
    }
}

/// Fails if a conversion of the store in this folder would fail for lack of space. Opens no table and changes
/// nothing. Succeeds if the folder cannot be inspected, or if the conversion has already begun.
pub fn room_to_convert(folder: &Path) -> Result<(), ConvertError> {
    room_if_left(folder, &Space::left)
}

pub(super) fn room_if_left(folder: &Path, left: Left<'_>) -> Result<(), ConvertError> {
    let begun = [CONVERTING, CONVERTED]
        .iter()
        .any(|name| folder.join(name).symlink_metadata().is_ok());
    if begun || !matches!(inspect(folder), Err(OpenError::Older { .. })) {
        return Ok(());
    }
    let shards = fs::read_dir(folder.join("v")).into_iter().flatten().flatten();
    let files = shards
        .filter_map(|shard| fs::read_dir(shard.path()).ok())
        .flatten()
        .flatten();
    let needed = needed(
        folder,
        files
            .filter_map(|file| file.metadata().ok())
            .map(|file| file.len())
            .sum(),
    );
    match File::open(folder)
        .map_err(Failure::from)
        .and_then(|root| left(&Space::new(root)))
    {
        Ok(Some(left)) if left < needed => Err(ConvertError::NoSpace {
            folder: folder.to_owned(),
            needed,
            left,
            begun,
        }),
        _ => Ok(()),
    }
}

/// The space for the new table, part of which may exist, and for values of this size. The new table is about
/// as large as the old one.
fn needed(folder: &Path, values: u64) -> u64 {
    let size = |name| folder.join(name).symlink_metadata().map_or(0, |file| file.len());
    let table = size(RECORDS) + size("records.sqlite3-wal");
    (table + table / 2).saturating_sub(size(CONVERTING)) + values + MB
}

/// How far an interrupted conversion got, and the versions whose values it wrote.
fn so_far(file: &Path) -> Result<(Text, HashSet<Number>), Failure> {
    let new = NewTable::open_whole(file)?;
    Ok((new.progress()?.after, new.versions_in_files()?))
}

const BEHIND: Duration = Duration::from_secs(24 * 60 * 60);

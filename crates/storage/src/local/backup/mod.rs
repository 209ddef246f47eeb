//! A consistent copy of an open store in another folder. The copy is a store itself: to restore it, start the
//! registry on it.
//!
//! 1. Removals are held back ([`Hold`]), so everything that a record refers to from now on stays readable.
//! 2. The records are copied as of one moment, in one read transaction. Writers continue meanwhile.
//! 3. Every file that these records refer to is copied to a temporary name, synced, and renamed. So a file
//!    under its final name is complete, and a later run keeps it if its size and time are those of the
//!    source.
//! 4. The records get their final name, then the file `format` does. Last, files that the records do not
//!    refer to are removed.
//!
//! Only step 4 changes existing files. So an earlier backup stays usable while it is refreshed, and stays as
//! it was if the run fails. A first backup has no `format` until it is complete, so no store opens on it.

mod copy;
mod error;
mod inventory;
mod target;
#[cfg(test)]
mod tests;

pub use error::BackupError;
pub use inventory::{Kind, Named, Names};

use super::file_names::FORMAT;
use super::hold::Hold;
use super::table::{Index, open_for_writing};
use super::{Failure, Local, Number, blobs, values};
use crate::Progress;
use bytes::Bytes;
use copy::Copier;
use inventory::{Inventory, Item, copy_records};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::path::Path;
use std::sync::TryLockError;
use target::Target;

/// The parameters of a backup.
#[derive(Clone, Copy, Debug)]
pub struct Backup<'a> {
    pub to: &'a Path,
    /// Whether to make hard links to files of the store that are never written again, instead of copying
    /// them.
    pub hard_link: bool,
    /// The store's ID. A later run writes only into a backup of the same store.
    pub store_id: &'a str,
    pub names: &'a dyn Names,
}

/// The result of a complete backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackedUp {
    /// Files in addition to the records, and their bytes.
    pub files: u64,
    pub bytes: u64,
    /// Of these, files that an earlier run had copied.
    pub kept: u64,
    pub linked: u64,
    /// Files that share their blocks with the store until one of them changes.
    pub cloned: u64,
    pub copied: u64,
    pub copied_bytes: u64,
    /// Files of an earlier backup that were no longer needed.
    pub removed: u64,
    /// How many damaged or missing files of the store the backup met.
    pub damages: u64,
    /// Descriptions of the first of these.
    pub damaged: Vec<String>,
}

fn check(progress: &Progress) -> Result<(), BackupError> {
    if progress.is_stopped() {
        Err(BackupError::Stopped)
    } else {
        Ok(())
    }
}

impl BackedUp {
    fn damage(&mut self, what: String) {
        self.damages += 1;
        if self.damaged.len() < NAMED {
            self.damaged.push(what);
        }
    }
}

impl Local {
    /// Copies the store as of one moment, while it is in use. Blocks until it is done. Damage in the store
    /// does not stop the copy of the rest, and is reported in the result.
    pub fn back_up(&self, backup: Backup<'_>, progress: &Progress) -> Result<BackedUp, BackupError> {
        let _only = match self.backing_up.try_lock() {
            Ok(only) => only,
            Err(TryLockError::Poisoned(only)) => only.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(BackupError::Running),
        };
        let target = Target::open(backup.to, self.folder.path(), backup.store_id)?;
        let held =
            Held::begin([self.records.values().files().1, self.blobs.files().1]).map_err(|source| {
                BackupError::Store {
                    folder: self.folder.path().to_owned(),
                    source,
                }
            })?;
        let new_records = target.new_records()?;
        let db = copy_records(&self.records, &new_records, progress)?;
        let mut done = BackedUp::default();
        let read_value = |version| self.read_value(version, &held);
        let inventory = Inventory::read(&db, backup.names, read_value, &mut done)
            .map_err(|failed| failed.at(&new_records))?;
        db.close()
            .map_err(|(_, source)| target.records_failed()(source))?;
        inventory.announce(progress);
        if !backup.hard_link && !target.can_clone(&self.folder.path().join(FORMAT)) {
            target.check_room(&inventory)?;
        }
        self.copy_files(backup, &target, &inventory, progress, &mut done)?;
        drop(held);
        target.publish()?;
        done.removed = target.remove_others(&inventory)?;
        Ok(done)
    }

    /// Reads the value of a record, which may have been removed meanwhile. `None` if the store has lost it.
    fn read_value(&self, version: Number, held: &Held<'_>) -> Result<Option<Bytes>, BackupError> {
        let read = match self.records.values().read(version) {
            Err(Failure::Missing) => held.read_value(version),
            Err(why) => Err(io::Error::other(why)),
            Ok(value) => Ok(Some(value)),
        };
        match read {
            Ok(None) if held.is_broken() => Err(BackupError::HoldBroken),
            read => read.map_err(|source| BackupError::Value {
                file: self.folder.path().join(values::place(version)),
                source,
            }),
        }
    }

    fn copy_files(
        &self,
        backup: Backup<'_>,
        target: &Target,
        inventory: &Inventory,
        progress: &Progress,
        done: &mut BackedUp,
    ) -> Result<(), BackupError> {
        let (from, hold) = self.records.values().files();
        let mut copier = Copier::new(from, hold, target, "v", backup.hard_link, progress)?;
        for version in &inventory.values {
            copier.copy(
                &values::shard(*version),
                &values::name(*version),
                None,
                Kind::Sealed,
                done,
            )?;
        }
        copier.end()?;
        let (from, hold) = self.blobs.files();
        let mut copier = Copier::new(from, hold, target, "d", backup.hard_link, progress)?;
        for item @ Item { size, kind, .. } in &inventory.blobs {
            let name = item.name();
            copier.copy(blobs::shard(name), name, Some(*size), *kind, done)?;
        }
        copier.end()
    }
}

/// Removals are held back until this is dropped.
struct Held<'a>([&'a Hold; 2]);

impl<'a> Held<'a> {
    fn begin(holds: [&'a Hold; 2]) -> io::Result<Self> {
        let held = Self(holds);
        holds.iter().try_for_each(|hold| hold.begin())?;
        Ok(held)
    }

    /// Reads the value of a record that was removed meanwhile. `None` if there is none.
    fn read_value(&self, version: Number) -> io::Result<Option<Bytes>> {
        let [values, _] = self.0;
        let mut file = match values.open_held(&values::name(version)) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened?,
        };
        let mut value = Vec::new();
        file.read_to_end(&mut value)?;
        Ok(Some(value.into()))
    }

    fn is_broken(&self) -> bool {
        let [values, _] = self.0;
        values.is_broken()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|hold| hold.end());
    }
}

/// How many damaged or missing files are described.
const NAMED: usize = 100;

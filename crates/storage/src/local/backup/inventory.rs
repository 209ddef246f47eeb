//! The copy of the records, and the list of files that they refer to.

use super::super::records::Records;
use super::super::table::{BUSY, connect};
use super::super::writer::Cell;
use super::super::{Number, values};
use super::{BackedUp, BackupError, check};
use crate::Progress;
use crate::contract::check_name;
use bytes::Bytes;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::fmt;
use std::path::Path;

/// Knows which records refer to bytes, which the store itself does not.
pub trait Names: fmt::Debug + Send + Sync {
    /// The prefixes of the keys of such records.
    fn prefixes(&self) -> Vec<String>;
    /// The bytes that the record refers to. An error says why the record cannot be read.
    fn named(
        &self,
        key: &str,
        value: &Bytes,
    ) -> Result<Option<Named>, Box<dyn std::error::Error + Send + Sync>>;
}

/// The bytes that a record refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub size: u64,
    pub kind: Kind,
}

/// If several records refer to the same bytes, the first kind in this order applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// They are never written again.
    Sealed,
    /// More may be appended. The first `size` bytes do not change.
    Unsealed,
    /// They may be missing, which is not damage. If they are there, they are sealed.
    Spare,
}

/// All files that the copied records refer to.
pub(super) struct Inventory {
    /// Sorted by name.
    pub(super) blobs: Vec<Item>,
    /// Sorted.
    pub(super) values: Vec<Number>,
}

pub(super) struct Item {
    name: [u8; 32],
    pub(super) size: u64,
    pub(super) kind: Kind,
}

impl Item {
    pub(super) fn name(&self) -> &str {
        str::from_utf8(&self.name).unwrap_or_default()
    }
}

impl Inventory {
    /// Lists the files that the records in `db` refer to. A record whose value is lost (`read_value` returns
    /// `None`) or invalid is reported as damage. Any other failure ends the backup, since files of that
    /// record would be missing from it, and would be removed from an earlier backup.
    pub(super) fn read(
        db: &Connection,
        names: &dyn Names,
        read_value: impl Fn(Number) -> Result<Option<Bytes>, BackupError>,
        done: &mut BackedUp,
    ) -> Result<Self, Failed> {
        let mut blobs = Vec::new();
        for prefix in names.prefixes() {
            let mut select =
                db.prepare("SELECT key, version, value FROM records WHERE key >= ?1 ORDER BY key")?;
            let mut rows = select.query([&prefix])?;
            while let Some(row) = rows.next()? {
                let key: String = row.get(0)?;
                if !key.starts_with(&prefix) {
                    break;
                }
                let value = match row.get(2)? {
                    Cell::Here(value) => value,
                    Cell::InFile => {
                        let version = Number(row.get(1)?);
                        match read_value(version).map_err(Failed::Ended)? {
                            Some(value) => value,
                            None => {
                                done.damage(format!(
                                    "{key}: its file {} is missing from the store",
                                    values::place(version)
                                ));
                                continue;
                            }
                        }
                    }
                };
                match item(names, &key, &value) {
                    Ok(item) => blobs.extend(item),
                    Err(why) => done.damage(format!("{key}: {why}")),
                }
            }
        }
        blobs.sort_unstable_by_key(|item: &Item| (item.name, item.kind));
        blobs.dedup_by_key(|item| item.name);
        let mut select = db.prepare("SELECT version FROM records WHERE typeof(value) = 'text'")?;
        let mut values = select
            .query_map([], |row| Ok(Number(row.get(0)?)))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        values.sort_unstable_by_key(|version| version.0.cast_unsigned());
        Ok(Self { blobs, values })
    }

    pub(super) fn announce(&self, progress: &Progress) {
        let files = self.blobs.len() + self.values.len();
        let bytes = self.blobs.iter().map(|item| item.size).sum();
        progress.expect(files as u64, bytes);
    }

    pub(super) fn has_blob(&self, name: &str) -> bool {
        self.blobs
            .binary_search_by(|item| item.name.as_slice().cmp(name.as_bytes()))
            .is_ok()
    }

    pub(super) fn has_value(&self, version: Number) -> bool {
        self.values
            .binary_search_by_key(&version.0.cast_unsigned(), |version| version.0.cast_unsigned())
            .is_ok()
    }
}

fn item(
    names: &dyn Names,
    key: &str,
    value: &Bytes,
) -> Result<Option<Item>, Box<dyn std::error::Error + Send + Sync>> {
    let Some(Named { name, size, kind }) = names.named(key, value)? else {
        return Ok(None);
    };
    check_name(&name)?;
    Ok(Some(Item {
        name: name.as_bytes().try_into()?,
        size,
        kind,
    }))
}

/// Copies the table of the store as it is now into the empty file `to`, and opens the copy. One transaction
/// reads the source, so the copy does not restart when writers continue. Until it is done, the log grows by
/// what they write.
pub(super) fn copy_records(
    from: &Records,
    to: &Path,
    progress: &Progress,
) -> Result<Connection, BackupError> {
    copy_table(from, to, || check(progress)).map_err(|failed| failed.at(to))
}

/// Why the records could not be copied or read.
pub(super) enum Failed {
    Ended(BackupError),
    Records(rusqlite::Error),
}

impl Failed {
    /// `file` is the copy of the records.
    pub(super) fn at(self, file: &Path) -> BackupError {
        match self {
            Self::Ended(why) => why,
            Self::Records(source) => BackupError::Records {
                file: file.to_owned(),
                source,
            },
        }
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(why: rusqlite::Error) -> Self {
        Self::Records(why)
    }
}

fn copy_table(
    from: &Records,
    to: &Path,
    between: impl Fn() -> Result<(), BackupError>,
) -> Result<Connection, Failed> {
    let _copying = from.space().copying();
    let source = from.connect()?;
    source.busy_timeout(BUSY)?;
    let mut db = connect(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // An interrupted copy is started again, and a complete one is synced before it is used.
    db.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "OFF")?;
    let snapshot = source.unchecked_transaction()?;
    snapshot.query_row("SELECT count(*) FROM (SELECT 1 FROM records LIMIT 1)", [], |_| {
        Ok(())
    })?;
    let copying = Backup::new(&snapshot, &mut db)?;
    loop {
        between().map_err(Failed::Ended)?;
        match copying.step(PAGES)? {
            StepResult::Done => break,
            StepResult::More => {}
            _ => {
                return Err(rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                    None,
                )
                .into());
            }
        }
    }
    drop(copying);
    drop(snapshot);
    // The copy needs no other file. Opening the store turns the log on again.
    db.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    Ok(db)
}

/// Pages of 4 KiB to copy in one step.
const PAGES: std::ffi::c_int = if cfg!(test) { 1 } else { 2560 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecordStore as _;
    use crate::local::Local;

    #[test]
    fn writers_continue_and_the_copy_is_of_one_moment() {
        let store = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        let open = Local::open(store.path()).unwrap();
        let from = store.path().join("records.sqlite3");
        let to = to.path().join("copy");
        let writer = Connection::open(&from).unwrap();
        let insert = |key: String| {
            writer
                .execute("INSERT INTO records VALUES (?1, 1, 0, 0, zeroblob(9000))", [key])
                .unwrap()
        };
        for number in 0..20 {
            insert(format!("before {number:02}"));
        }
        std::fs::write(&to, "").unwrap();
        let steps = std::cell::Cell::new(0);
        let db = copy_table(&open.records, &to, || {
            steps.set(steps.get() + 1);
            insert(format!("after {}", steps.get()));
            writer
                .execute(
                    "DELETE FROM records WHERE key = ?1",
                    [format!("before {:02}", steps.get())],
                )
                .unwrap();
            Ok(())
        });
        let Ok(db) = db else { panic!("no copy") };
        assert!(
            steps.get() > 40,
            "{}: it took several steps and was not restarted",
            steps.get()
        );
        let found: (u32, String) = db
            .query_row("SELECT count(*), max(key) FROM records", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(found, (20, "before 19".to_owned()));
        assert_eq!(
            db.query_row("PRAGMA auto_vacuum", [], |row| row.get::<_, u32>(0))
                .unwrap(),
            2,
            "it can give space back"
        );
        db.close().unwrap();
        assert_eq!(
            std::fs::read(&to).unwrap()[18..20],
            [1, 1],
            "a log is not needed to read it"
        );
        assert_eq!(std::fs::read_dir(to.parent().unwrap()).unwrap().count(), 1);
    }

    /// The log may grow beyond the bound for other programs, since a backup ends by itself.
    #[test]
    fn pushes_are_not_refused_for_the_log_while_the_records_are_copied() {
        let store = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        let open = Local::open(store.path()).unwrap();
        open.space.pretend(Some(100 << 20), Some(90 << 20));
        let to = to.path().join("copy");
        std::fs::write(&to, "").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let push = |number: usize| {
            let value = Bytes::from(vec![7; 64 << 10]).into();
            runtime.block_on(open.create(&number.to_string(), value)).unwrap();
        };
        let pushed = std::cell::Cell::new(0);
        let copied = copy_table(&open.records, &to, || {
            while pushed.get() < 500 {
                push(pushed.get());
                pushed.set(pushed.get() + 1);
            }
            Ok(())
        });
        assert!(copied.is_ok());
        let log = store.path().join("records.sqlite3-wal").metadata().unwrap().len();
        assert!(log > 24 << 20 && open.space.most_log() == 16 << 20, "{log}");
        for number in 500..520 {
            push(number);
        }
    }
}

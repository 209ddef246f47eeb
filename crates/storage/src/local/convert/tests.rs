//! A store of format 1 becomes one of format 2, even if the conversion is interrupted.

mod interrupted;

use super::super::{Local, Settings};
use super::*;
use crate::{Range, RecordStore, Show};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use tempfile::TempDir;
use wharfinger_base::clock::Clock;

const NOW: Timestamp = Timestamp::from_secs(4_000_000_000);
const THEN: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Converts `old <value>` to `new <value>`, and adds a hidden record to each record whose key begins with
/// `two`.
#[derive(Default)]
struct Mapping<'a> {
    at_each_step: Option<&'a mut dyn FnMut(u64, u64)>,
}

impl Convert for Mapping<'_> {
    fn convert(&mut self, key: &str, value: &Bytes) -> Result<Vec<Converted>, Unconverted> {
        if value.starts_with(b"fails") {
            return Err(Unconverted::Failed("no randomness".into()));
        }
        let unreadable = || Unconverted::Unreadable("it does not say that it is old".into());
        let value = value.strip_prefix(b"old ").ok_or_else(unreadable)?;
        let record = |key: String, hidden| {
            let bytes = [b"new ", value].concat().into();
            Converted {
                key,
                value: Value {
                    bytes,
                    hidden,
                    frees: false,
                },
                written: THEN,
            }
        };
        let mut records = vec![record(key.to_owned(), false)];
        if key.starts_with("two") {
            records.push(record(format!("beside/{key}"), true));
        }
        Ok(records)
    }

    fn keeps(&self, key: &str) -> bool {
        !key.starts_with("many/")
    }

    fn progress(&mut self, done: u64, of: u64) {
        if let Some(step) = &mut self.at_each_step {
            step(done, of);
        }
    }
}

/// A store of format 1 with a row for each part of the conversion, and enough of them for several batches.
fn old_store() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("format"), "wharfinger store 1\n").unwrap();
    fs::create_dir_all(folder.path().join("d/ab")).unwrap();
    fs::write(folder.path().join("d/ab/bytes"), "of a blob").unwrap();
    let db = Connection::open(folder.path().join("records.sqlite3")).unwrap();
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .unwrap();
    db.execute_batch(
        "CREATE TABLE records (key TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL)",
    )
    .unwrap();
    let insert = |key: &str, version: i64, value: &dyn rusqlite::ToSql| {
        db.execute("INSERT INTO records VALUES (?1, ?2, ?3)", (key, version, value))
            .unwrap();
    };
    for number in 0..45_u8 {
        insert(
            &format!("many/{number:02}"),
            number.into(),
            &format!("old {number}").into_bytes(),
        );
    }
    insert("two", 100, &b"old".repeat(2));
    insert("two/good", 101, &b"old two".to_vec());
    insert("zz/large", 0x0b00_0000_0000_0001, &"");
    insert("zz/large/unreadable", 0x0c00_0000_0000_0001, &"");
    insert("zz/lost", 0x0d00_0000_0000_0001, &"");
    for (version, value) in [
        ("0b00000000000001", large("old ")),
        ("0c00000000000001", large("")),
        ("0e00000000000001", large("stray ")),
    ] {
        let shard = folder.path().join("v").join(&version[..2]);
        fs::create_dir_all(&shard).unwrap();
        fs::write(shard.join(version), value).unwrap();
    }
    folder
}

fn large(begin: &str) -> String {
    format!("{begin}{}", "x".repeat(LARGE))
}

fn convert_all(folder: &Path) -> Result<bool, ConvertError> {
    convert(folder, NOW, &mut Mapping::default())
}

/// The expected result for [`old_store`]: all readable records, and the keys of hidden ones.
async fn check(folder: &Path, case: &str) {
    let (clock, _) = Clock::manual(NOW);
    let store = Local::open_with(
        folder,
        Settings {
            clock,
            ..Settings::default()
        },
    )
    .unwrap_or_else(|why| panic!("{case}: {why}"));
    let keys = |show| {
        store.list(Range {
            prefix: "",
            after: "",
            limit: 1000,
            show,
        })
    };
    let mut found = BTreeMap::new();
    for key in keys(Show::Visible).await.unwrap() {
        let record = store.get(&key).await.map(Option::unwrap);
        found.insert(
            key,
            record
                .map(|record| (String::from_utf8(record.value.to_vec()).unwrap(), record.written))
                .map_err(|why| matches!(why, Failure::Lost { .. })),
        );
    }
    let mut expected: BTreeMap<_, _> = (0..45)
        .map(|number| (format!("many/{number:02}"), Ok((format!("new {number}"), THEN))))
        .collect();
    expected.insert("two".into(), Ok(("oldold".into(), NOW)));
    expected.insert("two/good".into(), Ok(("new two".into(), THEN)));
    expected.insert("zz/large".into(), Ok((large("new "), THEN)));
    expected.insert("zz/large/unreadable".into(), Ok((large(""), NOW)));
    expected.insert("zz/lost".into(), Err(true));
    assert!(found == expected, "{case}: {:?} {:?}", found.keys(), found["two"]);
    assert_eq!(keys(Show::Hidden).await.unwrap(), ["beside/two/good"], "{case}");
    let (wrong, left_over) = store.check().unwrap();
    assert!(
        wrong.len() == 1 && wrong[0].starts_with("a record's value is missing"),
        "{case}: {wrong:?}"
    );
    assert_eq!(left_over, 0, "{case}: the old values are gone");
    drop(store);
    let names: BTreeSet<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        names,
        ["d", "format", "lock", "records.sqlite3", "reserve", "v"]
            .map(str::to_owned)
            .into(),
        "{case}"
    );
    assert_eq!(
        fs::read_to_string(folder.join("format")).unwrap(),
        "wharfinger store 2\n"
    );
    assert_eq!(
        fs::read_to_string(folder.join("d/ab/bytes")).unwrap(),
        "of a blob"
    );
    let db = Connection::open(folder.join("records.sqlite3")).unwrap();
    let number = |query: &str| db.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("PRAGMA auto_vacuum"), 2, "{case}: incremental");
    assert_eq!(
        number("SELECT count(*) FROM sqlite_schema"),
        3,
        "{case}: the table and its two indexes"
    );
    assert!(
        !convert_all(folder).unwrap(),
        "{case}: a second conversion finds nothing to do"
    );
}

fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_into(from, to.path());
    to
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let path = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&path).unwrap();
            copy_into(&entry.path(), &path);
        } else {
            fs::copy(entry.path(), path).unwrap();
        }
    }
}

/// The content of the folder's files, without the lock.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if path.file_name().unwrap() != "lock" {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[tokio::test]
async fn a_store_of_format_1_is_converted_once() {
    let folder = old_store();
    assert!(convert_all(folder.path()).unwrap());
    check(folder.path(), "at once").await;
}

#[test]
fn a_conversion_without_room_changes_nothing() {
    let folder = old_store();
    let before = contents(folder.path());
    let refused = convert_if_room(folder.path(), NOW, &mut Mapping::default(), &|_| {
        Ok(Some(100_000))
    })
    .unwrap_err();
    assert!(
        matches!(&refused, ConvertError::NoSpace { needed, left: 100_000, .. } if *needed > 100_000),
        "{refused}"
    );
    assert_eq!(contents(folder.path()), before);
    let said = refused.to_string();
    assert!(
        said.contains("MB of free space") && said.contains("free some space"),
        "{said}"
    );
    assert!(
        convert_if_room(folder.path(), NOW, &mut Mapping::default(), &|_| Ok(Some(
            100_000_000
        )))
        .unwrap()
    );
}

#[test]
fn a_folder_without_an_old_store_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!convert_all(folder.path()).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    for format in ["wharfinger store 3\n", "something else", "wharfinger store 2\n"] {
        fs::write(folder.path().join("format"), format).unwrap();
        assert!(!convert_all(folder.path()).unwrap(), "{format}");
        assert_eq!(fs::read_to_string(folder.path().join("format")).unwrap(), format);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{format}");
    }
}

#[test]
fn one_process_at_a_time_converts() {
    let folder = old_store();
    let mut refused = None;
    let mut second = |_, _| refused = Some(convert_all(folder.path()));
    convert(
        folder.path(),
        NOW,
        &mut Mapping {
            at_each_step: Some(&mut second),
        },
    )
    .unwrap();
    assert!(
        matches!(refused, Some(Err(ConvertError::Open(OpenError::InUse { .. })))),
        "{refused:?}"
    );
}

fn db(folder: &TempDir) -> Connection {
    Connection::open(folder.path().join("records.sqlite3")).unwrap()
}

/// The folders as a conversion leaves them at each step.
fn steps(folder: &TempDir) -> Vec<TempDir> {
    let mut left = Vec::new();
    let mut keep = |_, _| left.push(copy(folder.path()));
    convert(
        folder.path(),
        NOW,
        &mut Mapping {
            at_each_step: Some(&mut keep),
        },
    )
    .unwrap();
    left
}

#[tokio::test]
async fn rows_that_no_program_can_read_do_not_stop_it() {
    let folder = old_store();
    db(&folder)
        .execute_batch(
            "UPDATE records SET version = 'none' WHERE key IN ('many/07', 'zz/large/unreadable');
             UPDATE records SET value = CAST('damaged' AS BLOB) WHERE key = 'many/08';
             INSERT INTO records VALUES (x'ff', 7, CAST('old' AS BLOB)), (CAST(x'6dff' AS TEXT), 8, CAST('old' AS BLOB))",
        )
        .unwrap();
    for folder in steps(&folder).iter().chain([&folder]) {
        convert_all(folder.path()).unwrap();
        let store = Local::open(folder.path()).unwrap();
        let listed = store
            .list(Range {
                prefix: "",
                after: "",
                limit: 1000,
                show: Show::All,
            })
            .await
            .unwrap();
        assert_eq!(
            listed.len(),
            50,
            "45 of many without the one that is dropped, and six others: {listed:?}"
        );
        assert_eq!(store.get("many/07").await.unwrap().unwrap().value, "new 7");
        assert!(store.get("many/08").await.unwrap().is_none());
        assert!(matches!(
            store.get("zz/large/unreadable").await,
            Err(Failure::Lost { .. })
        ));
    }
}

#[tokio::test]
async fn a_failure_that_no_record_caused_stops_it() {
    let folder = old_store();
    let value = folder.path().join("v/0b/0b00000000000001");
    let bytes = fs::read(&value).unwrap();
    fs::remove_file(&value).unwrap();
    fs::create_dir(&value).unwrap();
    let stopped = convert_all(folder.path()).unwrap_err();
    assert!(
        matches!(
            stopped,
            ConvertError::Stopped {
                source: Failure::Io(_),
                ..
            }
        ),
        "{stopped}"
    );
    assert!(
        !folder.path().join(CONVERTING).exists(),
        "the new table was removed"
    );
    fs::remove_dir(&value).unwrap();
    fs::write(&value, bytes).unwrap();
    let set = |value: &str| {
        db(&folder)
            .execute(
                "UPDATE records SET value = CAST(?1 AS BLOB) WHERE key = 'many/44'",
                [value],
            )
            .unwrap()
    };
    set("fails");
    let stopped = convert_all(folder.path()).unwrap_err();
    assert!(stopped.to_string().contains("no randomness"), "{stopped}");
    set("old 44");
    convert_all(folder.path()).unwrap();
    check(folder.path(), "after failures").await;
}

#[tokio::test]
async fn a_new_table_that_lacks_a_record_is_not_accepted() {
    let left = steps(&old_store());
    let folder = left
        .iter()
        .rfind(|left| fs::read_to_string(left.path().join("format")).unwrap() == "wharfinger store 1\n")
        .unwrap();
    let new = Connection::open(folder.path().join(CONVERTED)).unwrap();
    assert_eq!(
        new.execute("DELETE FROM records WHERE key = 'many/03'", [])
            .unwrap(),
        1
    );
    drop(new);
    let refused = convert_all(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("the new table has"), "{refused}");
    assert!(convert_all(folder.path()).unwrap());
    check(folder.path(), "after a fresh start").await;
}

#[test]
fn only_what_is_still_to_be_converted_needs_room() {
    let folder = old_store();
    // Its key sorts before those of all other large values.
    db(&folder)
        .execute("INSERT INTO records VALUES ('a', 0x0a00000000000001, '')", [])
        .unwrap();
    fs::create_dir_all(folder.path().join("v/0a")).unwrap();
    fs::write(
        folder.path().join("v/0a/0a00000000000001"),
        format!("old {}", "x".repeat(5_000_000)),
    )
    .unwrap();
    let room = |_: &Space| Ok(Some(2_000_000));
    assert!(matches!(
        room::room_if_left(folder.path(), &room),
        Err(ConvertError::NoSpace { begun: false, .. })
    ));
    assert!(room::room_if_left(folder.path(), &|_| Ok(Some(10_000_000))).is_ok());
    for left in steps(&folder)
        .iter()
        .filter(|left| left.path().join(CONVERTING).exists())
    {
        let resumed =
            |room: u64| convert_if_room(left.path(), NOW, &mut Mapping::default(), &|_| Ok(Some(room)));
        if left.path().join(CONVERTED).exists()
            || fs::read_to_string(left.path().join("format"))
                .unwrap()
                .contains('2')
        {
            continue;
        }
        let refused = resumed(100_000).unwrap_err().to_string();
        assert!(
            refused.contains("Records that are already converted are kept"),
            "{refused}"
        );
        assert!(resumed(2_000_000).unwrap());
    }
}

#[test]
fn a_clock_that_is_far_behind_is_rejected() {
    let folder = old_store();
    let before = contents(folder.path());
    let refused = convert(folder.path(), Timestamp::from_secs(1000), &mut Mapping::default()).unwrap_err();
    assert!(matches!(refused, ConvertError::Clock { .. }), "{refused}");
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_table_with_a_damaged_page_is_rejected_with_advice() {
    let folder = old_store();
    db(&folder)
        .query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
        .unwrap();
    let file = folder.path().join("records.sqlite3");
    let mut bytes = fs::read(&file).unwrap();
    bytes[4096..].fill(0xff);
    fs::write(&file, bytes).unwrap();
    let refused = convert_all(folder.path()).unwrap_err();
    assert!(
        matches!(&refused, ConvertError::Malformed { .. })
            && refused.to_string().contains("restore the store"),
        "{refused}"
    );
}

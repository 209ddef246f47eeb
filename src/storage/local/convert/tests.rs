//! A store of format 1 becomes one of format 2 whatever happens meanwhile.

use super::super::{Local, Settings};
use super::*;
use crate::clock::Clock;
use crate::storage::{Range, RecordStore, Show};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const THEN: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Writes `old <value>` anew as `new <value>`, and under a key that begins with `two` a hidden record beside it.
#[derive(Default)]
struct Mapping<'a> {
    at_each_step: Option<&'a mut dyn FnMut(u64, u64)>,
}

impl Convert for Mapping<'_> {
    fn convert(&mut self, key: &str, value: &Bytes) -> Result<Vec<Converted>, Unreadable> {
        let value = value.strip_prefix(b"old ").ok_or("it does not say that it is old")?;
        let record = |key: String, hidden| {
            let bytes = [b"new ", value].concat().into();
            Converted { key, value: Value { bytes, hidden }, written: THEN }
        };
        let mut records = vec![record(key.to_owned(), false)];
        if key.starts_with("two") {
            records.push(record(format!("beside/{key}"), true));
        }
        Ok(records)
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
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    db.execute_batch("CREATE TABLE records (key TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL)").unwrap();
    let insert = |key: &str, version: i64, value: &dyn rusqlite::ToSql| {
        db.execute("INSERT INTO records VALUES (?1, ?2, ?3)", (key, version, value)).unwrap();
    };
    for number in 0..45_u8 {
        insert(&format!("many/{number:02}"), number.into(), &format!("old {number}").into_bytes());
    }
    insert("two", 100, &b"old".repeat(2));
    insert("two/good", 101, &b"old two".to_vec());
    insert("zz/large", 0x0b00_0000_0000_0001, &"");
    insert("zz/large/unreadable", 0x0c00_0000_0000_0001, &"");
    insert("zz/lost", 0x0d00_0000_0000_0001, &"");
    for (version, value) in [("0b00000000000001", large("old ")), ("0c00000000000001", large("")), ("0e00000000000001", large("stray "))] {
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

/// What a conversion of [`old_store`] comes to: everything that can be read, and the keys of hidden records.
async fn check(folder: &Path, case: &str) {
    let (clock, _) = Clock::manual(NOW);
    let store = Local::open_with(folder, Settings { clock, ..Settings::default() }).unwrap_or_else(|why| panic!("{case}: {why}"));
    let keys = |show| store.list(Range { prefix: "", after: "", limit: 1000, show });
    let mut found = BTreeMap::new();
    for key in keys(Show::Visible).await.unwrap() {
        let record = store.get(&key).await.map(Option::unwrap);
        found.insert(
            key,
            record.map(|record| (String::from_utf8(record.value.to_vec()).unwrap(), record.written)).map_err(|why| why.to_string()),
        );
    }
    let mut expected: BTreeMap<_, _> = (0..45).map(|number| (format!("many/{number:02}"), Ok((format!("new {number}"), THEN)))).collect();
    expected.insert("two".into(), Ok(("oldold".into(), NOW)));
    expected.insert("two/good".into(), Ok(("new two".into(), THEN)));
    expected.insert("zz/large".into(), Ok((large("new "), THEN)));
    expected.insert("zz/large/unreadable".into(), Ok((large(""), NOW)));
    expected.insert("zz/lost".into(), Err(Failure::Missing.to_string()));
    assert!(found == expected, "{case}: {:?} {:?}", found.keys(), found["two"]);
    assert_eq!(keys(Show::Hidden).await.unwrap(), ["beside/two/good"], "{case}");
    let (wrong, left_over) = store.check().unwrap();
    assert!(wrong.len() == 1 && wrong[0].starts_with("a record's value is missing"), "{case}: {wrong:?}");
    assert_eq!(left_over, 0, "{case}: the old values are gone");
    drop(store);
    let names: BTreeSet<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, ["d", "format", "lock", "records.sqlite3", "v"].map(str::to_owned).into(), "{case}");
    assert_eq!(fs::read_to_string(folder.join("format")).unwrap(), "wharfinger store 2\n");
    assert_eq!(fs::read_to_string(folder.join("d/ab/bytes")).unwrap(), "of a blob");
    let db = Connection::open(folder.join("records.sqlite3")).unwrap();
    let number = |query: &str| db.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("PRAGMA auto_vacuum"), 2, "{case}: incremental");
    assert_eq!(number("SELECT count(*) FROM sqlite_schema"), 3, "{case}: the table and its two indexes");
    assert!(!convert_all(folder).unwrap(), "{case}: a second conversion finds nothing to do");
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

/// What is in the folder's files, but for the lock.
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

#[tokio::test]
async fn what_is_only_in_the_log_of_a_killed_process_is_converted_too() {
    let folder = old_store();
    let db = Connection::open(folder.path().join("records.sqlite3")).unwrap();
    db.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    let write = |value: &str| db.execute("UPDATE records SET value = CAST(?1 AS BLOB) WHERE key = 'two/good'", [value]).unwrap();
    write("old one, which nobody reads any more");
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    write("old two");
    let killed = copy(folder.path());
    assert!(killed.path().join("records.sqlite3-wal").metadata().unwrap().len() > 0);
    convert_all(killed.path()).unwrap();
    check(killed.path(), "killed").await;
}

/// What a kill leaves at each step, and what stands in the folder while the next step goes on.
#[tokio::test]
async fn a_conversion_that_is_killed_at_any_step_goes_on() {
    let folder = old_store();
    let mut left = Vec::new();
    let mut keep = |done, of| left.push((done, of, copy(folder.path())));
    convert(folder.path(), NOW, &mut Mapping { at_each_step: Some(&mut keep) }).unwrap();
    check(folder.path(), "not killed").await;
    assert!(left.len() > 6, "several batches and the last steps: {}", left.len());
    assert!(left.windows(2).all(|pair| pair[0].0 <= pair[1].0), "it never begins again");
    for (step, (done, of, folder)) in left.iter().enumerate() {
        let before = contents(folder.path());
        let refused = Local::open(folder.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Older { .. } | OpenError::Unfinished { .. }), "{step}: {refused}");
        assert_eq!(contents(folder.path()), before, "{step}: who only reads changes nothing");
        let mut first = None;
        let mut note = |done, _| first = first.or(Some(done));
        assert!(convert(folder.path(), NOW, &mut Mapping { at_each_step: Some(&mut note) }).unwrap());
        if done < of {
            assert_eq!(first, Some(left[step + 1].0), "{step}: it goes on where it was");
        }
        check(folder.path(), &format!("killed at step {step}")).await;
    }
}

#[tokio::test]
async fn what_an_older_program_changed_since_is_converted_anew() {
    for whole in [false, true] {
        let folder = old_store();
        let mut left = Vec::new();
        let mut keep = |_, _| left.push(copy(folder.path()));
        convert(folder.path(), NOW, &mut Mapping { at_each_step: Some(&mut keep) }).unwrap();
        let stopped = left.iter().rfind(|left| {
            left.path().join(if whole { CONVERTED } else { CONVERTING }).exists()
                && fs::read_to_string(left.path().join("format")).unwrap() == "wharfinger store 1\n"
        });
        let stopped = stopped.unwrap().path();
        // As a program of format 1 opens its records.
        let db = Connection::open(stopped.join("records.sqlite3")).unwrap();
        db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
        db.execute("UPDATE records SET value = CAST('old later' AS BLOB) WHERE key = 'many/00'", []).unwrap();
        drop(db);
        convert_all(stopped).unwrap();
        let store = Local::open(stopped).unwrap();
        assert_eq!(store.get("many/00").await.unwrap().unwrap().value, "new later", "{whole}");
    }
}

#[test]
fn a_conversion_without_room_changes_nothing() {
    let folder = old_store();
    let before = contents(folder.path());
    let refused = convert_if_room(folder.path(), NOW, &mut Mapping::default(), &|_| Ok(Some(100_000))).unwrap_err();
    assert!(matches!(&refused, ConvertError::NoSpace { needed, left: 100_000, .. } if *needed > 100_000), "{refused}");
    assert_eq!(contents(folder.path()), before);
    let said = refused.to_string();
    assert!(said.contains("MB of free space") && said.contains("make room"), "{said}");
    assert!(convert_if_room(folder.path(), NOW, &mut Mapping::default(), &|_| Ok(Some(100_000_000))).unwrap());
}

#[test]
fn what_is_no_old_store_is_left_alone() {
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
    convert(folder.path(), NOW, &mut Mapping { at_each_step: Some(&mut second) }).unwrap();
    assert!(matches!(refused, Some(Err(ConvertError::Open(OpenError::InUse { .. })))), "{refused:?}");
}

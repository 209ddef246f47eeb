//! Commits, what a killed process left, a full disk, and files of large values.

use super::*;
use crate::RecordStore;
use crate::contract::Token;
use crate::local::{Local, Settings};
use bytes::Bytes;
use wharfinger_testkit::commits;

#[test]
fn without_commit_a_power_cut_leaves_the_table_whole() {
    let folder = tempfile::tempdir().unwrap();
    drop(
        Local::open_with(
            folder.path(),
            Settings {
                commit: false,
                ..Settings::default()
            },
        )
        .unwrap(),
    );
    for (durable, level) in [(false, 1), (true, 2)] {
        let db = open_for_writing(&folder.path().join("records.sqlite3"), durable, Index::Mapped).unwrap();
        let found: i64 = db.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
        assert_eq!(found, level, "1 is NORMAL, 2 is FULL");
    }
}

#[tokio::test]
async fn a_log_left_by_a_killed_process_is_synced_before_use() {
    let killed = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Local::open(killed.path()).unwrap();
    store.create("k", Bytes::from_static(b"1").into()).await.unwrap();
    for name in ["format", "records.sqlite3", "records.sqlite3-wal"] {
        std::fs::copy(killed.path().join(name), folder.path().join(name)).unwrap();
    }
    for name in ["d", "v"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let log = folder.path().join("records.sqlite3-wal");
    assert_ne!(log.metadata().unwrap().len(), 0);
    let store = Local::open(folder.path()).unwrap();
    assert_eq!(log.metadata().unwrap().len(), 0);
    assert_eq!(store.get("k").await.unwrap().unwrap().value, "1");
}

#[tokio::test]
async fn a_lock_of_another_program_is_not_a_disk_failure() {
    let folder = tempfile::tempdir().unwrap();
    let store = Local::open(folder.path()).unwrap();
    let other = Connection::open(folder.path().join("records.sqlite3")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(
        store.create("k", Bytes::from_static(b"1").into()).await,
        Err(Failure::Busy)
    ));
    other.execute_batch("ROLLBACK").unwrap();
    store.create("k", Bytes::from_static(b"1").into()).await.unwrap();
}

#[test]
fn a_new_store_can_give_space_back() {
    let folder = tempfile::tempdir().unwrap();
    drop(Local::open(folder.path()).unwrap());
    let db = Connection::open(folder.path().join("records.sqlite3")).unwrap();
    let found: i64 = db.query_row("PRAGMA auto_vacuum", [], |row| row.get(0)).unwrap();
    assert_eq!(found, 2, "2 is INCREMENTAL");
}

#[tokio::test]
async fn several_changes_in_one_call_are_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = Local::open(folder.path()).unwrap();
    let value = |size: usize| Some(Value::from(Bytes::from(vec![7; size])));
    let create = |number: usize| Change {
        key: format!("{number:04}"),
        expected: None,
        value: value(1 + number % 300),
    };
    // One change is large, one belongs to another store, and one conflicts.
    let mut changes: Vec<_> = (0..1000).map(create).collect();
    changes.push(Change {
        key: "large".to_owned(),
        expected: None,
        value: value(LARGE + 1),
    });
    changes.push(create(7));
    changes.push(Change {
        key: "none".to_owned(),
        expected: Some(Version(Token::Text("another store's".into()))),
        value: value(1),
    });
    let before = commits(folder.path());
    let done = store.change_all(changes).await;
    assert_eq!(commits(folder.path()), before + 1);
    assert_eq!(done.iter().filter(|one| one.is_ok()).count(), 1001);
    assert_eq!(store.change_all(Vec::new()).await.len(), 0);
    assert_eq!(
        commits(folder.path()),
        before + 1,
        "an empty call makes no commit"
    );
}

#[tokio::test]
async fn a_full_disk_accepts_only_changes_that_free_space() {
    let folder = tempfile::tempdir().unwrap();
    let store = Local::open(folder.path()).unwrap();
    let large = || Some(Value::from(Bytes::from(vec![7; LARGE + 1])));
    let frees = |value| Value { frees: true, ..value };
    let change = |key: &str, expected: Option<&Version>, value| Change {
        key: key.to_owned(),
        expected: expected.cloned(),
        value,
    };
    let both = store
        .change_all(vec![change("a", None, large()), change("b", None, large())])
        .await;
    let [Ok(Some(a)), Ok(Some(b))] = &both[..] else {
        panic!("{both:?}")
    };
    store.space.fill();
    let done = store
        .change_all(vec![
            change("a", Some(a), large().map(frees)),
            change("small", None, Some(frees(Bytes::from_static(b"1").into()))),
            change("b", Some(b), None),
            change("b", None, Some(Bytes::from_static(b"1").into())),
            change("small", None, None),
        ])
        .await;
    assert!(
        matches!(
            done[..],
            [Ok(_), Ok(_), Ok(_), Err(Failure::Full), Err(Failure::Full)]
        ),
        "{done:?}"
    );
    assert!(matches!(
        store.create("c", large().unwrap()).await,
        Err(Failure::Full)
    ));
    assert!(matches!(
        store.create("c", Bytes::from_static(b"1").into()).await,
        Err(Failure::Full)
    ));
    assert_eq!(store.get("a").await.unwrap().unwrap().value.len(), LARGE + 1);
    drop(store);
    assert_eq!(
        Local::open(folder.path()).unwrap().check().unwrap(),
        (Vec::new(), 0),
        "the old file is gone"
    );
}

#[tokio::test]
async fn a_cancelled_change_leaves_no_file_of_its_large_value() {
    let folder = tempfile::tempdir().unwrap();
    let store = Local::open(folder.path()).unwrap();
    let room = store.records.room.clone().acquire_many_owned(ROOM).await.unwrap();
    let large = |key: &str| Change {
        key: key.to_owned(),
        expected: None,
        value: Some(Bytes::from(vec![7; LARGE + 1]).into()),
    };
    // The last change waits for room while the files of the others exist.
    let small = Change {
        key: "small".to_owned(),
        expected: None,
        value: Some(Bytes::from_static(b"1").into()),
    };
    let files = || store.records.values.versions().0.len();
    {
        let mut change = std::pin::pin!(store.change_all(vec![large("a"), large("b"), small]));
        while files() < 2 {
            assert!(futures_util::FutureExt::now_or_never(change.as_mut()).is_none());
            tokio::task::yield_now().await;
        }
    }
    drop(room);
    // A file that is still being written is removed by its writer.
    while files() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.get("a").await.unwrap(), None);
}

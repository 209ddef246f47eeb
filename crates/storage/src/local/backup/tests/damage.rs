//! Damage of the store that a backup finds.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_the_store_is_reported_and_an_earlier_backup_keeps_its_files() {
    let store = Store::with_files().await;
    store.blob("c", "charlie", "sealed").await;
    store.back_up().unwrap();
    std::fs::remove_file(store.bytes("a")).unwrap();
    std::fs::write(store.bytes("c"), "cha").unwrap();
    store.blob("d", "delta", "sealed").await;
    std::fs::remove_file(store.bytes("d")).unwrap();
    store.record("b/e", "nonsense").await;
    let done = store.back_up().unwrap();
    let expected = [
        "b/e: not three words",
        "a missing from",
        "c has 3 bytes in the store, not 7",
        "d is missing",
    ];
    assert_eq!(done.damages, 4, "{done:?}");
    let [e, a, c, d] = &done.damaged[..] else {
        panic!("{done:?}")
    };
    assert_eq!(e, expected[0]);
    assert!(
        a.contains(&name("a")) && a.ends_with("is missing from the store; an earlier run had copied it"),
        "{a}"
    );
    assert!(
        c.ends_with(&format!("{} has 3 bytes in the store, not 7", name("c"))),
        "{c}"
    );
    assert!(
        d.ends_with(&format!("{} is missing from the store", name("d"))),
        "{d}"
    );
    let now = Local::open_existing(&store.to()).unwrap();
    assert_eq!(
        (
            text_of(&now, "a").await.as_str(),
            text_of(&now, "c").await.as_str()
        ),
        ("alpha", "charlie")
    );
}

#[tokio::test]
async fn a_folder_of_the_store_that_cannot_be_opened_ends_the_backup() {
    let store = Store::with_files().await;
    let file = store.bytes("a");
    let shard = file.parent().unwrap();
    std::fs::rename(shard, store.elsewhere.path().join("shard")).unwrap();
    std::fs::write(shard, "").unwrap();
    let failed = store.back_up();
    assert!(matches!(&failed, Err(BackupError::Store { .. })), "{failed:?}");
    assert!(!store.to().join("format").exists());
}

/// Its files would be missing from the backup, and would be removed from an earlier one.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_record_that_cannot_be_read_ends_the_backup_unless_it_is_lost() {
    let store = Store::with_files().await;
    let size = format!("{}5", "0".repeat(LARGE));
    store.blob("c", "charl", "sealed").await;
    store.delete("b/c").await;
    store.record("b/c", &format!("sealed {size} {}", name("c"))).await;
    let file = || {
        let list = |folder: PathBuf| {
            std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
        };
        let mut values = list(store.folder.path().join("v")).flat_map(list);
        values
            .find(|file| std::fs::read_to_string(file).unwrap().starts_with("sealed"))
            .unwrap()
    };
    let file = file();
    let aside = store.elsewhere.path().join("value");
    assert_eq!(store.back_up().unwrap().damages, 0);
    assert_eq!(std::fs::read_to_string(store.copy("c")).unwrap(), "charl");
    std::fs::rename(&file, &aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    let failed = store.back_up().unwrap_err();
    assert!(
        matches!(&failed, BackupError::Value { file: named, .. } if *named == file),
        "{failed:?}"
    );
    let words = failed.to_string();
    assert!(
        words.contains(file.to_str().unwrap()) && words.contains("Run the same command again"),
        "{words}"
    );
    assert_eq!(std::fs::read_to_string(store.copy("c")).unwrap(), "charl");
    std::fs::remove_dir(&file).unwrap();
    let done = store.back_up().unwrap();
    assert!(
        done.damaged
            .iter()
            .any(|damage| damage.starts_with("b/c: its file v/")
                && damage.ends_with("is missing from the store")),
        "{done:?}"
    );
}

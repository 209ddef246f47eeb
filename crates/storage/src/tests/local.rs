//! What a store in a folder guarantees beyond the contract.

use super::*;

#[tokio::test]
async fn a_store_is_closed_tidily() {
    let folder = tempfile::tempdir().unwrap();
    let store = Local::open(folder.path()).unwrap();
    store.create("k", value_of("1")).await.unwrap();
    assert!(folder.path().join("records.sqlite3-wal").exists());
    drop(store);
    assert!(!folder.path().join("records.sqlite3-wal").exists());
}

#[tokio::test]
async fn a_rejected_large_value_leaves_no_file() {
    let place = InFolder::new().unwrap();
    let store = place.open().await;
    let large = || Value::from(Bytes::from(vec![7; 100_000]));
    let first = store.create("k", large()).await.unwrap();
    let foreign = Memory::new().create("k", large()).await.unwrap();
    let change = |key: &str, expected: Option<&Version>| Change {
        key: key.to_owned(),
        expected: expected.cloned(),
        value: Some(large()),
    };
    let done = store
        .change_all(vec![
            change("k", None),
            change("l", Some(&first)),
            change("k", Some(&foreign)),
            change("l", None),
        ])
        .await;
    assert_eq!(
        done.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [false, false, false, true]
    );
    drop(store); // what is of no use any more is removed after the answer
    assert_eq!(place.open().await.check().unwrap(), (Vec::new(), 0));
}

#[tokio::test]
async fn files_that_a_crash_left_without_a_record_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let file = |version: u64| {
        let shard = folder.path().join(format!("v/{:02x}", version >> 56));
        std::fs::create_dir_all(&shard).unwrap();
        shard.join(format!("{version:016x}"))
    };
    let large = || Value::from(Bytes::from(vec![7; 100_000]));
    let store = Local::open(folder.path()).unwrap();
    let kept = store.create("kept", large()).await.unwrap();
    drop(store);
    // Many small records, so that the table is read in several parts.
    let store = Local::open(folder.path()).unwrap();
    let small = |number: usize| Change {
        key: format!("small/{number:05}"),
        expected: None,
        value: Some(value_of("small")),
    };
    store.change_all((0..2500).map(small).collect()).await;
    let last = store.create("z", large()).await.unwrap();
    drop(store);
    let left = [file(0x00aa), file(0xbb << 56), file(0xbb << 56 | 1)];
    for path in &left {
        std::fs::write(path, "left").unwrap();
    }

    let store = Local::open(folder.path()).unwrap();
    let new = store.create("new", large()).await.unwrap();
    let swapped = store.swap("kept", &kept, large()).await.unwrap();
    // The writer removes a replaced file after its answer and before it takes the next change.
    store.create("next", value_of("small")).await.unwrap();
    assert_eq!(store.check().unwrap(), (Vec::new(), left.len()));
    assert_eq!(store.remove_leftovers().unwrap(), left.len());
    assert!(left.iter().all(|path| !path.exists()));
    assert_eq!(store.check().unwrap(), (Vec::new(), 0));
    for (key, version) in [("new", new), ("kept", swapped), ("z", last)] {
        assert_eq!(store.get(key).await.unwrap().unwrap().version, version);
    }
    // Later calls find nothing, since each change removes the file that it replaces.
    std::fs::write(&left[0], "left").unwrap();
    assert_eq!(store.remove_leftovers().unwrap(), 0);
}

#[tokio::test]
async fn foreign_files_beside_the_blobs_are_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Local::open(folder.path()).unwrap();
    write(&store, NAME, 0, vec![text("bytes")]).await.unwrap();
    let d = folder.path().join("d");
    for (name, is_folder) in [
        ("lost+found", true),
        ("note.txt", false),
        ("00", false),
        ("0", true),
        ("0A", true),
        ("01/note.txt", false),
        ("01/0123456789abcdef0123456789abcde", false),
        ("01/0123456789ABCDEF0123456789ABCDEF", false),
        ("01/ffffffffffffffffffffffffffffffff", false),
        ("01/01ffffffffffffffffffffffffffffff", true),
    ] {
        if is_folder {
            std::fs::create_dir(d.join(name))
        } else {
            std::fs::write(d.join(name), "stray")
        }
        .unwrap();
    }
    std::os::unix::fs::symlink(d.join("note.txt"), d.join("01").join(OTHER)).unwrap();
    std::os::unix::fs::symlink(&d, d.join("a link")).unwrap();
    let listed = store.list_bytes("", 100).await.unwrap();
    assert_eq!(
        listed.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(),
        [NAME]
    );
    let now = Clock::system().now();
    assert!(
        listed[0].written <= now && now.since(listed[0].written).as_secs() < 3600,
        "by the clock of the file system"
    );
}

#[tokio::test]
async fn a_local_store_follows_no_link_to_a_blob() {
    let folder = tempfile::tempdir().unwrap();
    let store = Local::open(folder.path()).unwrap();
    let outside = folder.path().join("outside");
    std::fs::write(&outside, "secret").unwrap();
    std::fs::create_dir(folder.path().join("d/01")).unwrap();
    std::os::unix::fs::symlink(&outside, folder.path().join("d/01").join(NAME)).unwrap();
    assert!(matches!(BlobStore::open(&store, NAME).await, Err(Failure::Io(_))));
    assert!(matches!(
        write(&store, NAME, 0, vec![text("overwritten")]).await,
        Err(Failure::Io(_))
    ));
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "secret");
}

/// Replaces the folder by a link, and returns its new place.
fn moved(folder: &std::path::Path, outside: &tempfile::TempDir) -> std::path::PathBuf {
    let to = outside.path().join("moved");
    std::fs::rename(folder, &to).unwrap();
    std::os::unix::fs::symlink(&to, folder).unwrap();
    to
}

#[tokio::test]
async fn a_local_store_follows_no_link_to_a_folder_of_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let store = Local::open(folder.path()).unwrap();
    write(&store, NAME, 0, vec![text("sealed")]).await.unwrap();
    store.seal(NAME, 6, &NEW).await.unwrap();
    let moved = moved(&folder.path().join("d/01"), &outside);
    drop(store);
    let store = Local::open(folder.path()).unwrap();
    assert!(matches!(BlobStore::open(&store, NAME).await, Err(Failure::Io(_))));
    for (name, offset) in [(NAME, 0), (NAME, 6), (OTHER, 0)] {
        assert!(matches!(
            write(&store, name, offset, vec![text("overwritten")]).await,
            Err(Failure::Io(_))
        ));
    }
    assert!(matches!(store.seal(NAME, 6, &NEW).await, Err(Failure::Io(_))));
    assert!(matches!(store.remove(NAME, &NEW).await, Err(Failure::Io(_))));
    assert!(matches!(store.list_bytes("", 10).await, Err(Failure::Io(_))));
    let left: Vec<_> = std::fs::read_dir(&moved)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(left, [NAME]);
    assert_eq!(std::fs::read_to_string(moved.join(NAME)).unwrap(), "sealed");
}

#[tokio::test]
async fn a_local_store_follows_no_link_to_a_value() {
    for whole_folder in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let store = Local::open(folder.path()).unwrap();
        store
            .create("k", Bytes::from(vec![7; 100_000]).into())
            .await
            .unwrap();
        drop(store);
        let shard = std::fs::read_dir(folder.path().join("v"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let file = std::fs::read_dir(&shard).unwrap().next().unwrap().unwrap().path();
        moved(if whole_folder { &shard } else { &file }, &outside);
        let store = Local::open(folder.path()).unwrap();
        assert!(
            matches!(store.get("k").await, Err(Failure::Lost { .. })),
            "{whole_folder}"
        );
    }
}

#[tokio::test]
async fn a_local_store_writes_no_value_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let store = Local::open(folder.path()).unwrap();
    for shard in 0..=u8::MAX {
        std::os::unix::fs::symlink(outside.path(), folder.path().join(format!("v/{shard:02x}"))).unwrap();
    }
    assert!(matches!(
        store.create("k", Bytes::from(vec![7; 100_000]).into()).await,
        Err(Failure::Io(_))
    ));
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    store.create("k", value_of("goes on")).await.unwrap();
}

#[tokio::test]
async fn a_large_value_is_a_file_until_it_is_replaced_or_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let files = || -> Vec<std::path::PathBuf> {
        let shards = std::fs::read_dir(folder.path().join("v")).unwrap();
        shards
            .flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap())
            .map(|file| file.unwrap().path())
            .collect()
    };
    let large = Bytes::from(vec![7; 100_000]);
    let store = Local::open(folder.path()).unwrap();
    let first = store.create("k", large.clone().into()).await.unwrap();
    let before = files();
    assert_eq!(before.len(), 1);
    let second = store.swap("k", &first, large.clone().into()).await.unwrap();
    assert!(is_conflict(store.swap("k", &first, large.clone().into()).await));
    drop(store); // what is of no use any more is removed after the answer
    assert_eq!(files().len(), 1);
    assert_ne!(files(), before);

    let store = Local::open(folder.path()).unwrap();
    assert_eq!(value(&store, "k").await, Some(large.clone()));
    assert_eq!(store.check().unwrap(), (Vec::new(), 0));
    let third = store.swap("k", &second, value_of("small")).await.unwrap();
    store.create("l", large.into()).await.unwrap();
    drop(store);
    assert_eq!(files().len(), 1);
    std::fs::rename(&files()[0], files()[0].with_file_name("0123456789abcdef")).unwrap();
    let store = Local::open(folder.path()).unwrap();
    let (wrong, left_over) = store.check().unwrap();
    assert_eq!((wrong.len(), left_over), (1, 1), "{wrong:?}");
    // The record without its value can still be replaced.
    let Err(Failure::Lost { version, what }) = store.get("l").await else {
        panic!("it is not lost")
    };
    assert!(what.contains("its file v/"), "{what}");
    store
        .swap("l", &version, Bytes::from_static(b"again").into())
        .await
        .unwrap();
    assert_eq!(store.get("k").await.unwrap().unwrap().version, third);
}

#[tokio::test]
async fn a_store_that_does_not_wait_for_the_disk_keeps_the_same_contract() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        commit: false,
        ..Settings::default()
    };
    let store = Local::open_with(folder.path(), settings.clone()).unwrap();
    store
        .create("k", Bytes::from(vec![7; 100_000]).into())
        .await
        .unwrap();
    write(&store, NAME, 0, vec![text("sealed")]).await.unwrap();
    store.seal(NAME, 6, &NEW).await.unwrap();
    drop(store);
    let store = Local::open_with(folder.path(), settings.clone()).unwrap();
    assert_eq!(value(&store, "k").await.unwrap().len(), 100_000);
    assert_eq!(all(&store, NAME).await, b"sealed");
}

/// Runs in a separate process, since the limit applies to the whole process.
#[test]
fn too_many_open_files_are_not_a_disk_failure() {
    const CHILD: &str = "WHARFINGER_TEST_FEW_OPEN_FILES";
    if std::env::var_os(CHILD).is_some() {
        return with_few_open_files();
    }
    let name = "tests::local::too_many_open_files_are_not_a_disk_failure";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
}

fn with_few_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use std::sync::atomic::{AtomicBool, Ordering};
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Local::open(folder.path()).unwrap();
    let few = Rlimit {
        current: Some(64),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, few).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    // Uses up all descriptors, frees some, and so on.
    let until = done.clone();
    let hog = std::thread::spawn(move || {
        let mut held = Vec::new();
        while !until.load(Ordering::Relaxed) {
            match std::fs::File::open("/dev/null") {
                Ok(file) => held.push(file),
                Err(_) => held.truncate(held.len().saturating_sub(3)),
            }
        }
    });
    let mut refused = 0;
    runtime.block_on(async {
        for round in 0..400 {
            let name = format!("{round:032}");
            let written = write(&store, &name, 0, vec![text("bytes")]).await;
            let sealed = if written.is_ok() {
                store.seal(&name, 5, &NEW).await
            } else {
                written
            };
            let made = store
                .create(&name, Bytes::from(vec![7; 100_000]).into())
                .await
                .map(drop);
            for result in [sealed, made] {
                assert!(!matches!(result, Err(Failure::Stopped)), "in round {round}");
                refused += usize::from(result.is_err());
            }
        }
    });
    done.store(true, Ordering::Relaxed);
    hog.join().unwrap();
    assert!(refused > 0, "there were always enough");
    runtime.block_on(store.create("k", value_of("goes on"))).unwrap();
}

#[tokio::test]
async fn a_value_is_not_removed_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let store = Local::open(folder.path()).unwrap();
    let version = store
        .create("k", Bytes::from(vec![7; 100_000]).into())
        .await
        .unwrap();
    let shard = std::fs::read_dir(folder.path().join("v"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let moved = outside.path().join("moved");
    std::fs::rename(&shard, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &shard).unwrap();
    store.delete("k", &version).await.unwrap();
    drop(store); // what is of no use any more is removed after the answer
    assert_eq!(std::fs::read_dir(&moved).unwrap().count(), 1);
}

#[cfg(target_os = "linux")]
/// Otherwise a sync might not report bytes that the kernel could not write earlier.
#[tokio::test]
async fn a_blobs_file_stays_open_until_it_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Local::open(folder.path()).unwrap();
    write(&store, NAME, 0, vec![text("start ")]).await.unwrap();
    let at = folder.path().join("d/01").join(NAME);
    let moved = folder.path().join("moved");
    std::fs::rename(&at, &moved).unwrap();
    write(&store, NAME, 6, vec![text("end")]).await.unwrap();
    assert_eq!(std::fs::read(&moved).unwrap(), b"start end");
    std::fs::rename(&moved, &at).unwrap();
    store.seal(NAME, 9, &NEW).await.unwrap();
    let open = || {
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
        descriptors
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .any(|path| path == at)
    };
    assert!(!open());
}

#[tokio::test]
async fn an_open_blob_outlives_its_name() {
    let place = InFolder::new().unwrap();
    let store = place.open().await;
    write(&*store, NAME, 0, vec![text("abc")]).await.unwrap();
    store.seal(NAME, 3, &NEW).await.unwrap();
    let file = store.open(NAME).await.unwrap();
    store.remove(NAME, &NEW).await.unwrap();
    assert_eq!(file.read(0, 10).await.unwrap(), text("abc"));
}

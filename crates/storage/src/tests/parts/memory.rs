//! The memory for parts.

use super::super::buckets::settings;
use super::*;
use crate::bucket::{Parts, Settings};
use futures_util::future::join_all;
use wharfinger_testkit::s3::{Fake, Operation};

/// A bucket whose uploads have the least memory, 64 MiB.
async fn small(fake: &Fake) -> Arc<Bucket> {
    let settings = Settings {
        parts: Parts {
            memory: 0,
            equal: false,
        },
        ..settings(fake.place())
    };
    Arc::new(Bucket::open(settings).await.unwrap())
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:032}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_uploads_than_fit_the_memory_take_turns() {
    let fake = Fake::start().await;
    let store = small(&fake).await;
    let whole = content(20 * MIB);
    let uploads = names(12).into_iter().map(|name| {
        let store = store.clone();
        let whole = whole.clone();
        tokio::spawn(async move {
            let mut at = 0;
            while at < whole.len() {
                let end = whole.len().min(at + 2 * MIB);
                let chunk = vec![whole.slice(at..end)];
                write(&*store, &name, at as u64, chunk).await.unwrap();
                assert!(store.memory_in_use() <= 64 << 20);
                at = end;
            }
            store.seal(&name, whole.len() as u64, &NEW).await.unwrap();
            assert!(read(&store, &name).await == whole);
        })
    });
    for done in join_all(uploads).await {
        done.unwrap();
    }
    assert_eq!(store.memory_in_use(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_wait_for_their_clients_give_their_memory_to_others() {
    let fake = Fake::start().await;
    let store = small(&fake).await;
    let whole = content(7 * MIB);
    let names = names(12);
    for name in &names {
        let first = vec![whole.slice(..6 * MIB)];
        write(&*store, name, 0, first).await.unwrap();
    }
    assert!(store.memory_in_use() <= 64 << 20);
    assert!(fake.count(Operation::Put) > 0, "some are rests by now");
    for name in &names {
        let last = vec![whole.slice(6 * MIB..)];
        write(&*store, name, 6 << 20, last).await.unwrap();
        store.seal(name, whole.len() as u64, &NEW).await.unwrap();
        assert!(read(&store, name).await == whole);
    }
    assert_eq!(store.memory_in_use(), 0);
}

#[tokio::test]
async fn an_upload_that_is_kept_or_fails_holds_no_memory() {
    let fake = Fake::start().await;
    let store = small(&fake).await;
    write(&*store, NAME, 0, vec![content(6 * MIB)]).await.unwrap();
    assert!(store.memory_in_use() >= 6 << 20);
    let kept = store.keep(NAME, 6 << 20, &NEW).await.unwrap();
    assert_eq!(store.memory_in_use(), 0);
    write_on(&*store, NAME, 6 << 20, &kept, vec![text("more")])
        .await
        .unwrap();
    assert!(store.memory_in_use() > 0);
    store.remove(NAME, &kept).await.unwrap();
    assert_eq!(store.memory_in_use(), 0);
    write(&*store, OTHER, 0, vec![text("more")]).await.unwrap();
    fake.set_unreachable(true);
    store.seal(OTHER, 4, &NEW).await.unwrap_err();
    assert_eq!(store.memory_in_use(), 0);
}

//! Which requests an upload and a pull make.

use super::super::buckets::settings;
use super::*;
use std::time::Duration;
use wharfinger_testkit::s3::{Fake, Operation, in_a_row};

/// A store in the process and a bucket in it. No request of the start is counted.
pub(super) async fn fake() -> (Fake, Arc<Bucket>) {
    let fake = Fake::start().await;
    let store = another(&fake).await;
    fake.forget_requests();
    (fake, store)
}

/// The bucket as another process opens it.
pub(super) async fn another(fake: &Fake) -> Arc<Bucket> {
    let settings = crate::bucket::Settings {
        root: "root".to_owned(),
        ..settings(fake.place())
    };
    Arc::new(Bucket::open(settings).await.unwrap())
}

fn operations(fake: &Fake) -> Vec<Operation> {
    fake.requests().iter().map(|seen| seen.operation).collect()
}

#[tokio::test]
async fn a_blob_that_fits_a_part_is_one_request() {
    let (fake, store) = fake().await;
    for size in [0, 5, 8 * MIB] {
        let name = format!("{size:032}");
        write(&*store, &name, 0, vec![content(size)]).await.unwrap();
        store.seal(&name, size as u64, &NEW).await.unwrap();
        assert_eq!(operations(&fake), [Operation::Put], "{size}");
        fake.forget_requests();
    }
}

#[tokio::test]
async fn a_larger_blob_is_one_request_for_each_part_and_two() {
    let (fake, store) = fake().await;
    let whole = content(20 * MIB);
    write_all(&store, &NEW, &whole, 0, whole.len()).await;
    store.seal(NAME, whole.len() as u64, &NEW).await.unwrap();
    let mut found = operations(&fake);
    found.sort_by_key(|operation| format!("{operation:?}"));
    let part = Operation::UploadPart;
    assert_eq!(
        found,
        [
            Operation::CompleteUpload,
            Operation::CreateUpload,
            part,
            part,
            part
        ]
    );
    assert!(read(&store, NAME).await == whole);
}

#[tokio::test]
async fn parts_are_sent_while_the_next_bytes_come() {
    let (fake, store) = fake().await;
    fake.set_rules(|rules| rules.latency = Duration::from_millis(200));
    let whole = content(40 * MIB);
    write_all(&store, &NEW, &whole, 0, whole.len()).await;
    store.seal(NAME, whole.len() as u64, &NEW).await.unwrap();
    let mut parts = fake.requests();
    parts.retain(|seen| seen.operation == Operation::UploadPart);
    assert_eq!(parts.len(), 5);
    assert!(in_a_row(&parts) < 5, "two at once");
}

#[tokio::test]
async fn a_pull_is_one_request() {
    let (fake, store) = fake().await;
    let whole = content(20 * MIB);
    write_all(&store, &NEW, &whole, 0, whole.len()).await;
    store.seal(NAME, whole.len() as u64, &NEW).await.unwrap();
    write(&*store, OTHER, 0, vec![text("abc")]).await.unwrap();
    store.seal(OTHER, 3, &NEW).await.unwrap();
    for first in [0, 1, whole.len() - 1] {
        fake.forget_requests();
        let file = store.open_at(NAME, first as u64).await.unwrap();
        assert_eq!(file.size(), whole.len() as u64);
        let mut bytes = Vec::new();
        while first + bytes.len() < whole.len() {
            let at = (first + bytes.len()) as u64;
            let part = match file.at_hand(at, 1000) {
                Some(part) => part,
                None => file.read(at, MIB).await.unwrap(),
            };
            bytes.extend_from_slice(&part);
        }
        assert!(bytes == whole.slice(first..));
        assert_eq!(operations(&fake), [Operation::Get]);
    }
    let shorter = store.open_at(OTHER, 7).await.unwrap();
    assert_eq!(shorter.size(), 3, "the caller was wrong");
    assert!(is_missing(store.open_at(&"a".repeat(32), 0).await));
}

/// As clients push that send the bytes and the digest separately.
#[tokio::test]
async fn a_small_blob_that_was_kept_is_copied_by_the_store() {
    let (fake, store) = fake().await;
    write(&*store, NAME, 0, vec![text("Hello, world")]).await.unwrap();
    let kept = store.keep(NAME, 12, &NEW).await.unwrap();
    write_on(&*store, NAME, 12, &kept, Vec::new()).await.unwrap();
    store.seal(NAME, 12, &kept).await.unwrap();
    assert_eq!(operations(&fake)[..2], [Operation::Put, Operation::Copy]);
    assert_eq!(fake.count(Operation::Get), 0);
    assert_eq!(all(&*store, NAME).await, b"Hello, world");
}

/// Chunks of the size that the registry asks for are not written twice.
#[tokio::test]
async fn chunks_of_the_least_size_are_parts() {
    let (fake, store) = fake().await;
    let size = usize::try_from(store.least_chunk().unwrap()).unwrap();
    let whole = content(3 * size);
    let mut resume = NEW.clone();
    for at in [0, size, 2 * size] {
        write_all(&store, &resume, &whole, at, at + size).await;
        resume = store.keep(NAME, (at + size) as u64, &resume).await.unwrap();
    }
    store.seal(NAME, whole.len() as u64, &resume).await.unwrap();
    assert_eq!(fake.count(Operation::Put), 0);
    assert_eq!(fake.count(Operation::UploadPart), 3);
    assert!(read(&store, NAME).await == whole);
}

#[tokio::test]
async fn what_is_left_of_sealed_blobs_is_found_and_removed() {
    let (fake, store) = fake().await;
    let [first, second, open] = [1, 2, 3].map(|number| format!("{number:032}"));
    for name in [&first, &second] {
        write(&*store, name, 0, vec![content(5)]).await.unwrap();
        store.seal(name, 5, &NEW).await.unwrap();
    }
    write(&*store, &open, 0, vec![content(5)]).await.unwrap();
    store.keep(&open, 5, &NEW).await.unwrap();
    assert_eq!(store.list_remains("", 10).await.unwrap(), []);
    // A request arrives late.
    fake.put(&format!("root/d/00/{first}.0123456789abcdef"), "late");
    let late = another(&fake).await;
    write(&*late, &second, 0, vec![content(20 * MIB)]).await.unwrap();
    assert_eq!(fake.uploads().len(), 1);
    let names = async |after: &str, limit| {
        let found = store.list_remains(after, limit).await.unwrap();
        found.into_iter().map(|one| one.key).collect::<Vec<_>>()
    };
    let both = [first.as_str(), &second];
    assert_eq!(names("", 10).await, both);
    assert_eq!(names("", 1).await, both[..1]);
    assert_eq!(names(&first, 10).await, both[1..]);
    for name in [&first, &second] {
        store.remove_remains(name).await.unwrap();
    }
    assert_eq!(names("", 10).await, [""; 0]);
    assert!(fake.uploads().is_empty());
    assert!(read(&store, &first).await == content(5));
    let listed = store.list_bytes("", 10).await.unwrap();
    let listed: Vec<String> = listed.into_iter().map(|one| one.key).collect();
    assert_eq!(listed, [first, second, open]);
}

//! What the store tells of its requests, objects and uploads.

use super::super::{Fake, Operation, in_a_row};
use super::client;
use futures_util::future::join_all;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use std::time::Duration;
use wharfinger_base::clock::{Clock, Timestamp};

#[tokio::test]
async fn requests_are_counted_and_those_in_a_row_too() {
    let store = Fake::start().await;
    store.set_rules(|rules| rules.latency = Duration::from_millis(100));
    let client = client(store.place());
    let keys = ["a", "b", "c"].map(Path::from);
    join_all(keys.iter().map(|key| client.put(key, "x".into()))).await;
    client.get(&keys[0]).await.unwrap();
    client.head(&keys[1]).await.unwrap();
    let requests = store.requests();
    assert_eq!(requests.len(), 5);
    assert_eq!(store.count(Operation::Put), 3);
    assert_eq!(in_a_row(&requests), 3);
    let last = &requests[4];
    assert_eq!((last.method.as_str(), last.key.as_str()), ("HEAD", "b"));
    assert_eq!((last.operation, last.status), (Operation::Head, Some(200)));
    store.forget_requests();
    assert_eq!(in_a_row(&store.requests()), 0);
    assert!(client.get(&Path::from("d")).await.is_err());
    assert_eq!(store.requests()[0].status, Some(404));
}

#[tokio::test]
async fn dates_follow_the_clock() {
    let (clock, hand) = Clock::manual(Timestamp::from_secs(1_795_409_759));
    let store = Fake::start_at(clock).await;
    let client = client(store.place());
    let key = Path::from("a");
    client.put(&key, "x".into()).await.unwrap();
    hand.advance(Duration::from_hours(1));
    let head = client.head(&key).await.unwrap();
    assert_eq!(head.last_modified.timestamp(), 1_795_409_759);
    let listed = client.list_with_delimiter(None).await.unwrap();
    assert_eq!(listed.objects[0].last_modified.timestamp(), 1_795_409_759);
    assert_eq!(
        store.object("a").unwrap().written,
        Timestamp::from_secs(1_795_409_759)
    );
}

#[tokio::test]
async fn open_uploads_are_shown_until_they_end() {
    let store = Fake::start().await;
    let client = client(store.place());
    let key = Path::from("a");
    let id = client.create_multipart(&key).await.unwrap();
    let part = client.put_part(&key, &id, 0, "part".into()).await.unwrap();
    let uploads = store.uploads();
    assert_eq!(uploads[&id].key, "a");
    assert_eq!(uploads[&id].parts[&1].body, "part");
    client.complete_multipart(&key, &id, vec![part]).await.unwrap();
    assert!(store.uploads().is_empty());
    assert!(store.object("a").unwrap().tag.ends_with("-1\""));
}

//! Keys that are revoked or expired, and presigned URLs.

use super::super::{Fake, Operation, engines};
use super::client;
use http::Method;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use object_store::signer::Signer as _;
use std::time::Duration;
use wharfinger_base::clock::Clock;

#[tokio::test]
async fn keys_are_good_until_they_are_revoked_or_expire() {
    for (end, code) in [
        (Fake::revoke as fn(&Fake, &str), "InvalidAccessKeyId"),
        (Fake::expire, "ExpiredToken"),
    ] {
        let store = Fake::start().await;
        let client = client(store.place());
        client.put(&Path::from("a"), "x".into()).await.unwrap();
        end(&store, &store.place().access_key);
        let refused = client.get(&Path::from("a")).await;
        assert!(format!("{refused:?}").contains(code), "{refused:?}");
    }
}

#[tokio::test]
async fn presigned_urls_expire() {
    let (clock, hand) = Clock::manual(Clock::system().now());
    let store = Fake::start_at(clock).await;
    let client = client(store.place());
    let key = Path::from("a");
    client.put(&key, "x".into()).await.unwrap();
    let url = client
        .signed_url(Method::GET, &key, Duration::from_mins(1))
        .await
        .unwrap();
    assert_eq!(ask(&url).await, Some(200));
    hand.advance(Duration::from_mins(2));
    assert_eq!(ask(&url).await, Some(403));
    assert_eq!(store.count(Operation::Get), 2);
}

async fn ask(url: &impl std::fmt::Display) -> Option<u16> {
    let url: http::Uri = url.to_string().parse().unwrap();
    let address = url.authority().unwrap().as_str().parse().unwrap();
    let target = url.path_and_query().unwrap().to_string();
    let asked = tokio::task::spawn_blocking(move || engines::ask(address, "GET", &target));
    asked.await.unwrap()
}

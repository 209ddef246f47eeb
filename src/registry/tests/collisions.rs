//! A deletion that must not delete several tags. Another tag is pushed between any two of its requests.

use super::*;
use crate::storage::{Answer, Range, Record, Value, Version, Written};
use futures_util::future::BoxFuture;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const R: &str = "team/app";

/// Runs an action before one of the requests.
struct Held {
    store: Arc<Memory>,
    requests: AtomicUsize,
    before: usize,
    happens: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Held {
    async fn count(&self) {
        if self.requests.fetch_add(1, Ordering::SeqCst) == self.before {
            let happens = self.happens.lock().unwrap().take();
            happens.unwrap().await;
        }
    }
}

impl RecordStore for Held {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        Box::pin(async move {
            self.count().await;
            self.store.get(key).await
        })
    }

    fn create<'a>(&'a self, key: &'a str, value: Value) -> Answer<'a, Version> {
        Box::pin(async move {
            self.count().await;
            self.store.create(key, value).await
        })
    }

    fn swap<'a>(&'a self, key: &'a str, expected: &'a Version, value: Value) -> Answer<'a, Version> {
        Box::pin(async move {
            self.count().await;
            self.store.swap(key, expected, value).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str, expected: &'a Version) -> Answer<'a, ()> {
        Box::pin(async move {
            self.count().await;
            self.store.delete(key, expected).await
        })
    }

    fn list<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<String>> {
        Box::pin(async move {
            self.count().await;
            self.store.list(range).await
        })
    }

    fn list_written<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<Written>> {
        self.store.list_written(range)
    }

    fn now(&self) -> Timestamp {
        self.store.now()
    }
}

#[tokio::test]
async fn a_deletion_does_not_delete_two_tags_when_one_is_pushed_meanwhile() {
    for sparse in [Repositories::default(), Repositories::parse(R).unwrap()] {
        let settings = || Settings {
            sparse: sparse.clone(),
            ..any_sizes()
        };
        let mut refused = 0;
        let mut before = 0;
        loop {
            let bench = Bench::new();
            let plain = bench.restarted().with(settings());
            let digest = push_image(&plain, R, "config", &json!({})).await;
            plain
                .put_tag(&write(R), &"first".parse().unwrap(), &digest)
                .await
                .unwrap();
            let bytes = plain
                .manifest(&read(R), &tag("first"))
                .await
                .unwrap()
                .bytes
                .clone();
            let pusher = plain.clone();
            let push = async move {
                drop(
                    pusher
                        .put_manifest(&write(R), &tag("second"), Some(IMAGE), bytes)
                        .await
                        .unwrap(),
                )
            };
            let happens = Mutex::new(Some(Box::pin(push) as BoxFuture<'static, ()>));
            let held = Arc::new(Held {
                store: bench.store.clone(),
                requests: AtomicUsize::new(0),
                before,
                happens,
            });
            let registry = Registry::new(held.clone(), bench.store.clone()).with(settings());
            let deleted = registry
                .delete_manifest(
                    &Permit::for_test_detecting(R, alice()),
                    &Reference::Digest(digest.clone()),
                )
                .await;
            if held.happens.lock().unwrap().is_some() {
                deleted.unwrap();
                break;
            }
            let now = async |name: &str| {
                plain
                    .manifest(&read(R), &tag(name))
                    .await
                    .map(|found| found.digest.clone())
                    .ok()
            };
            assert_eq!(
                now("second").await,
                Some(digest.clone()),
                "pushed before request {before}: {deleted:?}"
            );
            match deleted {
                Ok(()) => assert_eq!(now("first").await, None, "pushed before request {before}"),
                Err(Error::SeveralTags) => {
                    refused += 1;
                    assert_eq!(now("first").await, Some(digest), "pushed before request {before}");
                }
                Err(other) => panic!("pushed before request {before}: {other}"),
            }
            before += 1;
        }
        assert!(refused > 0 && refused < before, "{refused} of {before}");
    }
}

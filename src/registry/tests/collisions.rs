//! A deletion that must not delete several tags. Another tag is pushed between any two of its requests.

use super::*;
use crate::storage::Failure;
use futures_util::future::BoxFuture;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use wharfinger_testkit::{Hook, Hooked, Request};

const R: &str = "team/app";

/// Runs an action before one of the requests.
struct Held {
    requests: AtomicUsize,
    before: usize,
    happens: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Hook for Held {
    async fn before(&self, _: Request<'_>) -> Result<(), Failure> {
        if self.requests.fetch_add(1, Ordering::SeqCst) == self.before {
            let happens = self.happens.lock().unwrap().take();
            happens.unwrap().await;
        }
        Ok(())
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
                requests: AtomicUsize::new(0),
                before,
                happens,
            });
            let records = Hooked::over(bench.store.clone(), held.clone());
            let registry = Registry::new(records, bench.store.clone()).with(settings());
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

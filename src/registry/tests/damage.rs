//! A full or damaged store, and what it still serves.

use super::*;
use crate::storage::{Failure, Resume};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use wharfinger_testkit::{Hook, Hooked, Request};

const R: &str = "team/app";

/// Reports a full disk only when bytes are made durable, and then drops them, as a disk may.
struct FullLate {
    store: Arc<Memory>,
    full: AtomicBool,
}

impl Hook for FullLate {
    async fn before(&self, request: Request<'_>) -> Result<(), Failure> {
        match request {
            Request::Keep(name) | Request::Seal(name) if self.full.load(Ordering::SeqCst) => {
                self.store.remove(name, &Resume::default()).await?;
                Err(Failure::Full)
            }
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn an_upload_whose_bytes_found_no_room_is_gone() {
    for closing in [false, true] {
        let bench = Bench::new();
        let disk = Arc::new(FullLate {
            store: bench.store.clone(),
            full: AtomicBool::new(false),
        });
        let bytes = Hooked::over(bench.store.clone(), disk.clone());
        let registry = Registry::new(bench.store.clone(), bytes).with(any_sizes());
        let upload = registry.start_upload(&create(R), None).await.unwrap();
        registry
            .append(&create(R), &upload.id, None, None, body(&[b"abc"]))
            .await
            .unwrap();
        disk.full.store(true, Ordering::SeqCst);
        let refused = if closing {
            registry
                .finish(
                    &blind(create(R)),
                    &upload.id,
                    None,
                    &sha256(b"abcdef"),
                    body(&[b"def"]),
                )
                .await
                .map(drop)
        } else {
            registry
                .append(&create(R), &upload.id, None, None, body(&[b"def"]))
                .await
                .map(drop)
        };
        assert!(
            matches!(refused, Err(Error::Storage(Failure::Full))),
            "{refused:?}"
        );
        disk.full.store(false, Ordering::SeqCst);
        let next = registry
            .append(&create(R), &upload.id, None, None, body(&[b"def"]))
            .await;
        assert!(matches!(next, Err(Error::UploadUnknown)), "{next:?}");
        assert_eq!(bench.keys("u/").await, Vec::<String>::new());
    }
}

impl Bench {
    pub(super) async fn damage(&self, key: &str, value: impl Into<Bytes>) {
        let value: Bytes = value.into();
        let version = self.store.get(key).await.unwrap().unwrap().version;
        self.store.swap(key, &version, value.into()).await.unwrap();
    }
}

#[tokio::test]
async fn an_unreadable_upload_does_not_block_others() {
    let bench = Bench::new();
    for _ in 0..5 {
        bench.registry.start_upload(&create("other"), None).await.unwrap();
    }
    let damaged = bench.keys("u/").await[0].clone();
    bench.damage(&damaged, "{").await;
    // Deleting the last manifest of a repository checks whether the repository is still in use.
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    bench
        .registry
        .delete_manifest(&delete(R), &Reference::Digest(digest))
        .await
        .unwrap();
    assert_eq!(bench.keys("c/").await, ["c/other!"]);

    bench
        .hand
        .advance(std::time::Duration::from_secs(2 * 24 * 60 * 60));
    assert_eq!(bench.registry.expire_uploads().await.unwrap(), 4);
    assert_eq!(bench.keys("u/").await, [damaged]);
}

#[tokio::test]
async fn a_manifest_that_has_changed_on_the_disk_is_not_served() {
    let bench = Bench::new();
    let digest = push_image(
        &bench.registry,
        R,
        "config",
        &json!({"annotations": {"who": "alice"}}),
    )
    .await;
    let key = bench.keys(&format!("r/{R}!/m/")).await[0].clone();
    let value = bench.store.get(&key).await.unwrap().unwrap().value;
    bench
        .damage(
            &key,
            String::from_utf8(value.to_vec())
                .unwrap()
                .replace("alice", "mally"),
        )
        .await;
    for registry in [bench.registry.clone(), bench.restarted()] {
        let read = registry
            .manifest(&read(R), &Reference::Digest(digest.clone()))
            .await;
        let Err(Error::Unreadable {
            key: damaged,
            newer: false,
            ..
        }) = read
        else {
            panic!("{read:?}")
        };
        assert_eq!(damaged, key);
    }
    // The next push repairs it.
    assert_eq!(
        push_image(
            &bench.registry,
            R,
            "config",
            &json!({"annotations": {"who": "alice"}})
        )
        .await,
        digest
    );
    let whole = bench
        .registry
        .manifest(&read(R), &Reference::Digest(digest.clone()))
        .await
        .unwrap();
    assert_eq!(sha256(&whole.bytes), digest);
}

#[tokio::test]
async fn a_long_listing_yields_to_other_tasks_and_a_page_ends() {
    let bench = Bench::new();
    let subject = sha256(b"subject");
    for number in 0..1100 {
        push_image(
            &bench.registry,
            R,
            "config",
            &json!({"number": number, "subject": descriptor(IMAGE, &subject)}),
        )
        .await;
    }
    let turns = Arc::new(AtomicUsize::new(0));
    let counting = turns.clone();
    // This task shares the test's thread, so it runs only when the test yields.
    let other = tokio::spawn(async move {
        loop {
            counting.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    let before = turns.load(Ordering::SeqCst);
    let first = bench
        .registry
        .referrers(&read(R), &subject, None, None)
        .await
        .unwrap();
    assert!(
        turns.load(Ordering::SeqCst) > before + 3,
        "others ran {} times",
        turns.load(Ordering::SeqCst) - before
    );
    other.abort();
    assert_eq!(first.manifests.len(), 1000);
    assert_eq!(
        first.next.as_ref(),
        first.manifests.last().map(|last| &last.digest)
    );
    let rest = bench
        .registry
        .referrers(&read(R), &subject, None, first.next.as_ref())
        .await
        .unwrap();
    assert_eq!((rest.manifests.len(), rest.next), (100, None));
}

//! Immutable tags: the write of the tag decides, and a deletion by digest leaves nothing half done.

use super::super::states::manifest::ManifestState;
use super::super::states::tag::TagRecord;
use super::*;
use futures_util::future::{join, join4, join5};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const R: &str = "team/app";
const ORDERS: u64 = 400;

fn pinned<A>() -> Permit<A> {
    Permit::for_test_immutable(R, alice(), &["v*"])
}

fn name(tag: &str) -> crate::oci::Tag {
    tag.parse().unwrap()
}

fn by_digest(digest: &Digest) -> Reference {
    Reference::Digest(digest.clone())
}

async fn target(registry: &Registry, of: &str) -> Option<Digest> {
    registry
        .manifest(&read(R), &tag(of))
        .await
        .ok()
        .map(|found| found.digest)
}

fn is_immutable<T>(done: Result<T, Error>) -> bool {
    matches!(done, Err(Error::TagImmutable(rule)) if rule.pattern == "v*" && rule.repositories == "**")
}

/// Two requests create the tag, two delete the manifests that they tag, and a reader runs beside them.
/// Returns what the reader saw, and which requests succeeded.
async fn race(seed: u64, create: &Permit<Write>) -> (Vec<Digest>, Vec<Digest>) {
    let bench = Bench::new();
    let config = push_blob(&bench.registry, R, b"{}").await;
    let images = [1, 2].map(|n| image(&config, &json!({"n": n})));
    for bytes in &images {
        let reference = by_digest(&sha256(bytes));
        bench
            .registry
            .put_manifest(&write(R), &reference, None, bytes.clone())
            .await
            .unwrap();
    }
    let registry = bench.interleaved(seed);
    let over = AtomicBool::new(false);
    let seen = Mutex::new(Vec::new());
    let look = async || {
        if let Some(digest) = target(&registry, "v1").await {
            let mut seen = seen.lock().unwrap();
            if seen.last() != Some(&digest) {
                seen.push(digest);
            }
        }
    };
    let reader = async {
        while !over.load(Ordering::SeqCst) {
            look().await;
        }
        look().await;
    };
    let put = async |bytes: &Bytes| {
        let put = registry
            .put_manifest(create, &tag("v1"), None, bytes.clone())
            .await;
        put.ok().map(|pushed| pushed.digest)
    };
    let remove = async |bytes: &Bytes| {
        drop(
            registry
                .delete_manifest(&pinned(), &by_digest(&sha256(bytes)))
                .await,
        );
    };
    let writers = async {
        let both = join4(
            put(&images[0]),
            put(&images[1]),
            remove(&images[0]),
            remove(&images[1]),
        )
        .await;
        over.store(true, Ordering::SeqCst);
        [both.0, both.1].into_iter().flatten().collect::<Vec<_>>()
    };
    let (created, ()) = join(writers, reader).await;
    bench.check(seed).await;
    (seen.into_inner().unwrap(), created)
}

#[tokio::test]
async fn exactly_one_creation_wins_and_no_second_value_is_ever_readable() {
    for seed in 0..ORDERS {
        let (seen, created) = race(seed, &pinned()).await;
        assert!(seen.len() <= 1, "seed {seed}: {seen:?}");
        assert!(created.len() <= 1, "seed {seed}: {created:?}");
        assert!(
            created.iter().all(|digest| seen.contains(digest)),
            "seed {seed}: {seen:?} {created:?}"
        );
    }
    // A creation that is not announced shows that the deletions make the difference.
    let unannounced = Permit::for_test_limited(R, alice(), true, false);
    let mut seed = 0;
    while race(seed, &unannounced).await.0.len() <= 1 {
        seed += 1;
        assert!(seed < 100 * ORDERS, "no order shows a second value");
    }
}

#[tokio::test]
async fn of_many_movers_one_creates_the_tag_and_the_others_are_refused() {
    for seed in 0..ORDERS {
        let bench = Bench::new();
        let config = push_blob(&bench.registry, R, b"{}").await;
        let registry = bench.interleaved(seed);
        let put = async |n: u32| {
            let bytes = image(&config, &json!({"n": n}));
            registry.put_manifest(&pinned(), &tag("v1"), None, bytes).await
        };
        let all = join5(put(1), put(2), put(3), put(4), put(5)).await;
        let mut winners = Vec::new();
        for done in [all.0, all.1, all.2, all.3, all.4] {
            match done {
                Ok(pushed) => winners.push(pushed.digest),
                refused => assert!(is_immutable(refused), "seed {seed}"),
            }
        }
        assert_eq!(winners.len(), 1, "seed {seed}");
        assert_eq!(target(&bench.registry, "v1").await, winners.pop(), "seed {seed}");
        assert_eq!(bench.hidden().await, [""; 0], "seed {seed}");
        bench.check(seed).await;
    }
}

impl Bench {
    async fn hidden(&self) -> Vec<String> {
        let range = Range {
            prefix: "r/",
            after: "",
            limit: 100,
            show: Show::Hidden,
        };
        self.store.list(range).await.unwrap()
    }
}

#[tokio::test]
async fn a_deletion_by_digest_that_an_immutable_tag_forbids_leaves_every_tag() {
    let bench = Bench::new();
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    let tags = ["a", "v1", "z"];
    for tag in tags {
        bench
            .registry
            .put_tag(&pinned(), &name(tag), &digest)
            .await
            .unwrap();
    }
    let refused = bench
        .registry
        .delete_manifest(&pinned(), &by_digest(&digest))
        .await;
    assert!(is_immutable(refused));
    for tag in tags {
        assert_eq!(target(&bench.registry, tag).await, Some(digest.clone()), "{tag}");
    }
    let key = keys::manifest(&R.parse().unwrap(), &digest);
    let found = bench.registry.records.read(&key).await.unwrap().unwrap();
    assert_eq!(found.record.header.state, ManifestState::Com);
    // Tags that are not immutable may be deleted alone, and with `override` all tags may be.
    bench
        .registry
        .delete_manifest(&pinned(), &tag("a"))
        .await
        .unwrap();
    assert!(is_immutable(
        bench.registry.delete_manifest(&pinned(), &tag("v1")).await
    ));
    let overriding = pinned().overriding();
    bench
        .registry
        .delete_manifest(&overriding, &by_digest(&digest))
        .await
        .unwrap();
    assert_eq!(bench.keys("r/").await, [""; 0]);
}

/// Either the deletion is rejected and deletes nothing, or it comes first and deletes all existing tags.
#[tokio::test]
async fn a_deletion_beside_the_creation_of_an_immutable_tag_is_all_or_nothing() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..ORDERS {
        let bench = Bench::new();
        let digest = push_image(&bench.registry, R, "config", &json!({})).await;
        bench
            .registry
            .put_tag(&write(R), &name("dev"), &digest)
            .await
            .unwrap();
        let registry = bench.interleaved(seed);
        let bytes = image(&sha256(b"config"), &json!({}));
        let permit = pinned();
        let v1 = tag("v1");
        let reference = by_digest(&digest);
        let push = registry.put_manifest(&permit, &v1, None, bytes);
        let may_delete = pinned();
        let (pushed, deleted) = join(push, registry.delete_manifest(&may_delete, &reference)).await;
        pushed.unwrap();
        let stays = target(&bench.registry, "dev").await.is_some();
        assert_eq!(target(&bench.registry, "v1").await, Some(digest), "seed {seed}");
        match deleted {
            Ok(()) => assert!(!stays, "seed {seed}"),
            refused => assert!(is_immutable(refused) && stays, "seed {seed}"),
        }
        outcomes.insert(stays);
        bench.check(seed).await;
    }
    assert_eq!(outcomes.len(), 2, "both orders were tried");
}

#[tokio::test]
async fn a_push_of_the_same_digest_succeeds_and_of_another_one_needs_the_right_to_override() {
    let bench = Bench::new();
    let one = push_image(&bench.registry, R, "1", &json!({})).await;
    let two = push_image(&bench.registry, R, "2", &json!({})).await;
    let registry = &bench.registry;
    for _ in 0..2 {
        registry.put_tag(&pinned(), &name("v1"), &one).await.unwrap();
    }
    assert!(is_immutable(registry.put_tag(&pinned(), &name("v1"), &two).await));
    assert!(is_immutable(
        registry.check_tags(&pinned(), &[name("v1")], &two).await
    ));
    assert_eq!(target(registry, "v1").await, Some(one));
    registry
        .put_tag(&pinned().overriding(), &name("v1"), &two)
        .await
        .unwrap();
    assert_eq!(target(registry, "v1").await, Some(two));
}

/// The tag's former value is unknown, so a push may change it.
#[tokio::test]
async fn an_immutable_tag_that_cannot_be_read_needs_the_right_to_override() {
    let bench = Bench::new();
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    let registry = &bench.registry;
    registry.put_tag(&pinned(), &name("v1"), &digest).await.unwrap();
    bench.damage(&format!("r/{R}!/t/v1"), "{").await;
    assert!(is_immutable(
        registry.put_tag(&pinned(), &name("v1"), &digest).await
    ));
    assert!(is_immutable(
        registry.delete_manifest(&pinned(), &tag("v1")).await
    ));
    assert!(is_immutable(
        registry.delete_manifest(&pinned(), &by_digest(&digest)).await
    ));
    registry
        .put_tag(&pinned().overriding(), &name("v1"), &digest)
        .await
        .unwrap();
    assert_eq!(target(registry, "v1").await, Some(digest));
}

/// The process died after the announcement.
#[tokio::test]
async fn an_announcement_that_a_crash_left_hides_nothing_and_is_removed() {
    let bench = Bench::new();
    let one = push_image(&bench.registry, R, "1", &json!({})).await;
    let registry = &bench.registry;
    let left = async || {
        let event = states::tag::Event {
            by: String::new(),
            at: 0,
            id: "e".to_owned(),
        };
        let states::Next::Write(record, _) = TagRecord::announce(None, &one, &event) else {
            panic!("nothing was written")
        };
        let key = keys::tag(&R.parse().unwrap(), &name("v1"));
        registry.records.create(&key, &record).await.unwrap().unwrap();
    };
    left().await;
    assert_eq!(registry.tags(&read(R), "", 10).await.unwrap().entries, [""; 0]);
    let found = bench.fsck().await.0.findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].severity, Severity::Leftover);
    assert_eq!(bench.restarted().finish_what_a_crash_left().await.unwrap(), 1);
    assert_eq!(bench.hidden().await, [""; 0]);
    left().await;
    registry.put_tag(&pinned(), &name("v1"), &one).await.unwrap();
    assert_eq!(bench.hidden().await, [""; 0]);
    assert_eq!(bench.fsck().await.0.findings, []);
}

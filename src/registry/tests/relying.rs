//! Content that was pushed, or found by a caller who may push, stays for half of the grace period after which
//! a collector deletes unreferenced content.

use super::super::states::Condemnable;
use super::super::states::manifest::ManifestState;
use super::super::states::tag::TagRecord;
use super::super::typed_store::Found;
use super::*;
use crate::storage::Failure;
use std::time::Duration;

const R: &str = "team/app";
const HOUR: Duration = Duration::from_secs(3600);

impl Bench {
    async fn written(&self, digest: &Digest) -> Timestamp {
        let key = keys::manifest(&R.parse().unwrap(), digest);
        self.registry.records.read(&key).await.unwrap().unwrap().written
    }

    async fn tag(&self, name: &str) -> Found<TagRecord> {
        let key = keys::tag(&R.parse().unwrap(), &name.parse().unwrap());
        self.registry.records.read(&key).await.unwrap().unwrap()
    }

    /// An image of this number, under this tag.
    async fn push(&self, reference: &Reference, number: u32) -> Digest {
        let config = push_blob(&self.registry, R, b"{}").await;
        let bytes = image(&config, &json!({"number": number}));
        self.registry
            .put_manifest(&write(R), reference, Some(IMAGE), bytes)
            .await
            .unwrap()
            .digest
    }
}

/// A shorter grace period makes records old earlier, so that half of it is still a promise.
#[tokio::test]
async fn the_refresh_age_follows_the_grace_period_of_the_collector() {
    let minutes = |minutes: u32| HOUR * minutes / 60;
    for (grace, fresh) in [
        (None, HOUR * 12),
        (Some(HOUR * 72), HOUR * 12),
        (Some(HOUR), minutes(30)),
        (Some(Duration::ZERO), HOUR * 12),
    ] {
        let mut bench = Bench::new();
        bench.registry = bench.registry.with(Settings { grace, ..any_sizes() });
        let digest = bench.push(&tag("v1"), 1).await;
        let pushed = bench.written(&digest).await;
        let ask = async || {
            bench
                .registry
                .keep_manifest(&read(R), &create(R), &tag("v1"))
                .await
        };
        bench.hand.advance(fresh - minutes(1));
        ask().await.unwrap();
        assert_eq!(bench.written(&digest).await, pushed, "{grace:?}");
        bench.hand.advance(minutes(1));
        let asked = bench.store.now();
        ask().await.unwrap();
        assert_eq!(bench.written(&digest).await, asked, "{grace:?}");
    }
}

#[tokio::test]
async fn a_pusher_that_finds_a_manifest_may_rely_on_it_for_half_a_day() {
    let bench = Bench::new();
    let digest = bench.push(&tag("v1"), 1).await;
    let by_digest = Reference::Digest(digest.clone());
    for reference in [&tag("v1"), &by_digest] {
        for head in [true, false] {
            let pushed = bench.written(&digest).await;
            let ask = || async {
                if head {
                    let found = bench
                        .registry
                        .keep_manifest(&read(R), &create(R), reference)
                        .await
                        .unwrap();
                    assert_eq!(
                        found,
                        bench.registry.manifest(&read(R), &by_digest).await.unwrap()
                    );
                } else {
                    assert_eq!(bench.push(reference, 1).await, digest);
                }
            };
            bench.hand.advance(HOUR * 11);
            ask().await;
            assert_eq!(
                bench.written(&digest).await,
                pushed,
                "young enough: {reference:?} {head}"
            );
            bench.hand.advance(HOUR);
            for reference in [&tag("v1"), &by_digest] {
                bench.registry.manifest(&read(R), reference).await.unwrap();
            }
            assert_eq!(
                bench.written(&digest).await,
                pushed,
                "reading alone changes nothing"
            );
            let tagged = bench.tag("v1").await;
            ask().await;
            assert_eq!(
                bench.written(&digest).await,
                bench.store.now(),
                "{reference:?} {head}"
            );
            let tagged_now = bench.tag("v1").await;
            let young = if reference == &tag("v1") {
                bench.store.now()
            } else {
                tagged.written
            };
            assert_eq!(
                (tagged_now.written, tagged_now.record),
                (young, tagged.record),
                "{reference:?} {head}"
            );
        }
    }
}

#[tokio::test]
async fn a_head_by_a_pusher_rescues_a_manifest_and_creates_nothing() {
    let bench = Bench::new();
    let digest = bench.push(&tag("v1"), 1).await;
    let key = keys::manifest(&R.parse().unwrap(), &digest);
    let records = &bench.registry.records;
    let found = records.read(&key).await.unwrap().unwrap();
    let condemned = records
        .swap(&key, &found.base(), &found.record.condemned())
        .await
        .unwrap()
        .unwrap();
    bench
        .registry
        .keep_manifest(&read(R), &create(R), &tag("v1"))
        .await
        .unwrap();
    assert!(
        !records.delete(&key, &condemned).await.unwrap(),
        "the collector's decision fails after the rescue"
    );
    assert_eq!(
        records.read(&key).await.unwrap().unwrap().record.header.state,
        ManifestState::Com
    );

    let before = bench.keys("").await;
    let ask = |repository: &'static str, reference| {
        let registry = bench.registry.clone();
        async move {
            registry
                .keep_manifest(&read(repository), &create(repository), &reference)
                .await
        }
    };
    assert!(matches!(ask(R, tag("v2")).await, Err(Error::ManifestUnknown)));
    assert!(matches!(
        ask("other", Reference::Digest(digest.clone())).await,
        Err(Error::RepositoryUnknown)
    ));
    assert_eq!(bench.keys("").await, before);
    // If it was deleted meanwhile, a client that does not find it pushes it again.
    let found = records.read(&key).await.unwrap().unwrap();
    records
        .swap(&key, &found.base(), &found.record.dying())
        .await
        .unwrap()
        .unwrap();
    for reference in [tag("v1"), Reference::Digest(digest)] {
        assert!(matches!(ask(R, reference).await, Err(Error::ManifestUnknown)));
    }
}

#[tokio::test]
async fn a_tag_that_is_pushed_again_is_young_and_its_last_event_is_the_same() {
    let bench = Bench::new();
    bench.push(&tag("v1"), 1).await;
    let digest = bench.push(&tag("v1"), 2).await;
    let first = bench.tag("v1").await;
    assert_eq!((first.record.seq, first.record.previous.is_some()), (2, true));
    for by_tag in [true, false] {
        bench.hand.advance(HOUR);
        if by_tag {
            assert_eq!(bench.push(&tag("v1"), 2).await, digest);
        } else {
            bench.put_tag(R, "v1", &digest).await;
        }
        let again = bench.tag("v1").await;
        assert_eq!(again.written, bench.store.now());
        assert_eq!(again.record, first.record);
    }
}

#[tokio::test]
async fn a_store_that_accepts_no_changes_still_answers_pushers() {
    let bench = Bench::new();
    let digest = bench.push(&tag("v1"), 1).await;
    let config = sha256(b"{}");
    let (registry, store) = bench.watched();
    bench.hand.advance(HOUR * 13);
    for failure in [Failure::Full, Failure::Stopped] {
        store.refuses(Some(failure));
        for reference in [tag("v1"), Reference::Digest(digest.clone())] {
            assert_eq!(
                registry
                    .keep_manifest(&read(R), &create(R), &reference)
                    .await
                    .unwrap()
                    .digest,
                digest
            );
        }
        assert_eq!(
            registry.keep_blob(&read(R), &create(R), &config).await.unwrap(),
            2
        );
    }
    // A deletion may be under way, because a full store accepts deletions.
    let key = keys::manifest(&R.parse().unwrap(), &digest);
    let records = &bench.registry.records;
    let found = records.read(&key).await.unwrap().unwrap();
    store.refuses(None);
    records
        .swap(&key, &found.base(), &found.record.condemned())
        .await
        .unwrap()
        .unwrap();
    store.refuses(Some(Failure::Full));
    let condemned = registry.keep_manifest(&read(R), &create(R), &tag("v1")).await;
    assert!(
        matches!(condemned, Err(Error::Storage(Failure::Full))),
        "{condemned:?}"
    );
    store.refuses(Some(Failure::Busy));
    assert!(matches!(
        registry.keep_manifest(&read(R), &create(R), &tag("v1")).await,
        Err(Error::Storage(Failure::Busy))
    ));
}

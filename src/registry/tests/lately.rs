//! The collector checks only what lost a reference, and an interrupted pass continues.

use super::super::collect::{Goes, Observer, Options, Phase, Report, Rules};
use super::super::states::blob::BlobRecord;
use super::watched::Asked;
use super::*;
use crate::access::Maintenance;
use crate::storage::Failure;
use std::time::Duration;

const R: &str = "team/app";
const HOUR: Duration = Duration::from_secs(60 * 60);

fn options(grace: Duration) -> Options {
    Options {
        grace,
        rules: Rules::giving_up(true, true),
        ..Options::default()
    }
}

async fn lately(registry: &Registry, grace: Duration) -> Vec<(Goes, u64)> {
    let owner = Maintenance::by_the_stores_owner();
    let report = registry
        .collect_lately(&owner, &options(grace), &mut ())
        .await
        .unwrap();
    counts(&report)
}

fn counts(report: &Report) -> Vec<(Goes, u64)> {
    report
        .goes()
        .into_iter()
        .map(|(why, amount)| (why, amount.count))
        .collect()
}

async fn tag_it(registry: &Registry, name: &str, digest: &Digest) {
    registry
        .put_tag(&write(R), &name.parse().unwrap(), digest)
        .await
        .unwrap();
}

async fn delete_it(registry: &Registry, reference: Reference) {
    registry.delete_manifest(&delete(R), &reference).await.unwrap();
}

#[tokio::test]
async fn a_deletion_frees_what_only_the_manifest_needed() {
    let bench = Bench::new();
    let (registry, store) = bench.watched();
    registry.remember_garbage();
    let shared = push_image(&registry, R, "shared", &json!({})).await;
    let digest = push_image(&registry, R, "own", &json!({})).await;
    let both = image(
        &sha256(b"own"),
        &json!({"layers": [descriptor("x/y", &sha256(b"shared"))]}),
    );
    let both = registry
        .put_manifest(&write(R), &tag("both"), Some(IMAGE), both)
        .await
        .unwrap()
        .digest;
    tag_it(&registry, "kept", &shared).await;
    push_blob(&registry, R, b"garbage of another").await;
    assert_eq!(lately(&registry, Duration::ZERO).await, []);
    delete_it(&registry, Reference::Digest(digest)).await;
    assert_eq!(
        lately(&registry, Duration::ZERO).await,
        [],
        "another manifest needs it"
    );
    delete_it(&registry, Reference::Digest(both)).await;
    store.asked();
    assert_eq!(
        lately(&registry, Duration::ZERO).await,
        [(Goes::UnneededLink, 1), (Goes::UnlinkedBlob, 1)]
    );
    for asked in store.asked() {
        let whole =
            matches!(&asked, Asked::List { prefix, .. } if ["", "b/", "l/", "r/"].contains(&prefix.as_str()));
        assert!(!whole, "{asked:?}");
    }
    assert!(content(&registry, R, &sha256(b"shared")).await.is_ok());
    assert!(content(&registry, R, &sha256(b"own")).await.is_err());
    assert_eq!(registry.remembered_garbage(), (0, 0));
}

#[tokio::test]
async fn young_content_is_checked_again_when_it_is_old() {
    let bench = Bench::new();
    let registry = &bench.registry;
    registry.remember_garbage();
    let digest = push_image(registry, R, "own", &json!({})).await;
    bench.hand.advance(HOUR);
    delete_it(registry, Reference::Digest(digest)).await;
    assert_eq!(lately(registry, 24 * HOUR).await, []);
    bench.hand.advance(23 * HOUR - Duration::from_secs(1));
    assert_eq!(lately(registry, 24 * HOUR).await, []);
    assert_eq!(registry.remembered_garbage(), (1, 0));
    bench.hand.advance(Duration::from_secs(1));
    assert_eq!(
        lately(registry, 24 * HOUR).await,
        [(Goes::UnneededLink, 1), (Goes::UnlinkedBlob, 1)]
    );
    assert_eq!(bench.keys("").await, Vec::<String>::new());
}

#[tokio::test]
async fn moving_or_deleting_a_tag_frees_what_it_pointed_at() {
    let bench = Bench::new();
    let registry = &bench.registry;
    registry.remember_garbage();
    let mut images = Vec::new();
    for name in ["a", "b", "c"] {
        images.push(push_image(registry, R, name, &json!({})).await);
    }
    for image in &images {
        tag_it(registry, "v1", image).await;
    }
    let subject = json!({"subject": descriptor(IMAGE, &images[1])});
    push_image(registry, R, "signature", &subject).await;
    assert_eq!(
        lately(registry, Duration::ZERO).await,
        [
            (Goes::UntaggedManifest, 2),
            (Goes::ReferrerWithoutSubject, 1),
            (Goes::UnneededLink, 3),
            (Goes::UnlinkedBlob, 3)
        ]
    );
    delete_it(registry, tag("v1")).await;
    assert_eq!(
        lately(registry, Duration::ZERO).await,
        [
            (Goes::UntaggedManifest, 1),
            (Goes::UnneededLink, 1),
            (Goes::UnlinkedBlob, 1)
        ]
    );
    assert_eq!(bench.keys("").await, Vec::<String>::new());
}

#[tokio::test]
async fn replaced_bytes_and_deleted_blobs_are_checked() {
    let bench = Bench::new();
    let registry = &bench.registry;
    registry.remember_garbage();
    push_image(registry, R, "content", &json!({})).await;
    let key = keys::blob(&sha256(b"content"));
    let name = registry
        .records
        .read(&key)
        .await
        .unwrap()
        .unwrap()
        .record
        .generation;
    let suspect = |found: Option<typed_store::Found<BlobRecord>>| {
        Ok(BlobRecord::suspected(found.map(|found| found.record), &name))
    };
    registry.records.change(&key, suspect).await.unwrap();
    push_blob(registry, R, b"content").await;
    let deleted = push_blob(registry, R, b"deleted").await;
    registry.delete_blob(&delete(R), &deleted).await.unwrap();
    assert_eq!(
        lately(registry, Duration::ZERO).await,
        [(Goes::UnlinkedBlob, 1), (Goes::ReplacedBytes, 1)]
    );
    assert_eq!(bench.store.list_bytes("", 10).await.unwrap().len(), 1);
}

/// Candidates that could not be checked are kept.
#[tokio::test]
async fn candidates_wait_until_the_store_works_again() {
    let bench = Bench::new();
    let (registry, store) = bench.watched();
    registry.remember_garbage();
    let digest = push_image(&registry, R, "own", &json!({})).await;
    delete_it(&registry, Reference::Digest(digest)).await;
    store.refuses(Some(Failure::Stopped));
    let owner = Maintenance::by_the_stores_owner();
    let failed = registry
        .collect_lately(&owner, &options(Duration::ZERO), &mut ())
        .await;
    assert!(
        matches!(failed, Err(Error::Storage(Failure::Stopped))),
        "{failed:?}"
    );
    store.refuses(None);
    assert_eq!(
        lately(&registry, Duration::ZERO).await,
        [(Goes::UnneededLink, 1), (Goes::UnlinkedBlob, 1)]
    );
}

#[tokio::test]
async fn no_candidates_are_kept_if_no_collector_runs() {
    let bench = Bench::new();
    let digest = push_image(&bench.registry, R, "own", &json!({})).await;
    delete_it(&bench.registry, Reference::Digest(digest)).await;
    assert_eq!(bench.registry.remembered_garbage(), (0, 0));
}

#[derive(Default)]
struct Phases(Vec<Phase>);

impl Observer for Phases {
    fn looked(&mut self, phase: Phase, _: u64) {
        if self.0.last() != Some(&phase) {
            self.0.push(phase);
        }
    }
}

#[tokio::test]
async fn an_interrupted_pass_continues() {
    let bench = Bench::new();
    let (registry, store) = bench.watched();
    let digest = push_image(&registry, R, "own", &json!({})).await;
    delete_it(&registry, Reference::Digest(digest)).await;
    let owner = Maintenance::by_the_stores_owner();
    let resuming = Options {
        resume: true,
        ..options(Duration::ZERO)
    };
    store.refuses_changes_of("l/", Failure::Busy);
    registry.collect(&owner, &resuming, &mut ()).await.unwrap_err();
    assert_eq!(bench.keys("g/").await, ["g/pass"]);
    let position = registry.collection_position(&owner).await;
    assert!(position.is_some());
    registry.collect(&owner, &resuming, &mut ()).await.unwrap_err();
    assert_eq!(registry.collection_position(&owner).await, position);
    assert_eq!(bench.damages().await, Vec::<String>::new());
    store.refuses(None);
    // A pass that an operator starts begins at the beginning.
    let dry = Options {
        dry_run: true,
        ..resuming.clone()
    };
    assert!(!registry.collect(&owner, &dry, &mut ()).await.unwrap().resumed);
    let mut phases = Phases::default();
    let report = registry.collect(&owner, &resuming, &mut phases).await.unwrap();
    assert!(report.resumed);
    assert_eq!(
        phases.0,
        [
            Phase::Uploads,
            Phase::References,
            Phase::Links,
            Phase::Blobs,
            Phase::Bytes
        ]
    );
    assert_eq!(
        counts(&report),
        [(Goes::UnneededLink, 1), (Goes::UnlinkedBlob, 1)]
    );
    assert_eq!(
        bench.keys("").await,
        Vec::<String>::new(),
        "the position is gone as well"
    );
    assert_eq!(registry.collection_position(&owner).await, None);
    let report = registry.collect(&owner, &resuming, &mut ()).await.unwrap();
    assert!(!report.resumed);
}

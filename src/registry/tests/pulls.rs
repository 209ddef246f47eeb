//! When manifests were last pulled.

use super::*;
use crate::access::Maintenance;
use std::future::ready;
use std::time::Duration;

const R: &str = "team/app";
const RECORDS: &str = "r/team/app!/p/";
const HOUR: Duration = Duration::from_secs(60 * 60);

async fn flush(registry: &Registry) -> usize {
    let owner = Maintenance::by_the_stores_owner();
    registry.write_pulls(&owner, || ready(())).await.unwrap()
}

async fn last(registry: &Registry, digest: &Digest) -> Timestamp {
    registry.last_pull(&R.parse().unwrap(), digest).await.unwrap()
}

async fn delete_it(registry: &Registry, digest: &Digest) {
    let reference = Reference::Digest(digest.clone());
    registry.delete_manifest(&delete(R), &reference).await.unwrap();
}

#[tokio::test]
async fn pulls_are_written_later_and_once_for_each_manifest() {
    let bench = Bench::new();
    bench.registry.begin_recording_pulls().await.unwrap();
    let begun = bench.store.now();
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    let other = push_image(&bench.registry, R, "other", &json!({})).await;
    bench.hand.advance(HOUR);
    for _ in 0..3 {
        bench.registry.note_pull(&read(R), &digest);
    }
    assert_eq!(bench.keys(RECORDS).await, [""; 0], "a pull writes nothing");
    let pulled = bench.store.now();
    assert_eq!(
        last(&bench.registry, &digest).await,
        pulled,
        "it is known before it is written"
    );
    assert_eq!(flush(&bench.registry).await, 1);
    assert_eq!(bench.keys(RECORDS).await.len(), 1);
    assert_eq!(flush(&bench.registry).await, 0, "nothing is written twice");
    let restarted = bench.restarted();
    restarted.begin_recording_pulls().await.unwrap();
    assert_eq!(last(&restarted, &digest).await, pulled);
    assert_eq!(last(&restarted, &other).await, begun, "it was not pulled since");
    bench.hand.advance(HOUR);
    restarted.note_pull(&read(R), &digest);
    assert_eq!(flush(&restarted).await, 1);
    assert_eq!(last(&bench.restarted(), &digest).await, pulled.plus(HOUR));
}

/// The first start of a version that records pulls must not delete what was in use until then.
#[tokio::test]
async fn before_pulls_are_recorded_everything_may_have_been_pulled() {
    let bench = Bench::new();
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    bench.hand.advance(HOUR * 1000);
    assert_eq!(last(&bench.registry, &digest).await, bench.store.now());
    bench.registry.begin_recording_pulls().await.unwrap();
    let begun = bench.store.now();
    bench.hand.advance(HOUR);
    let restarted = bench.restarted();
    restarted.begin_recording_pulls().await.unwrap();
    assert_eq!(last(&restarted, &digest).await, begun);
}

#[tokio::test]
async fn the_pull_record_is_deleted_with_its_manifest() {
    let bench = Bench::new();
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    bench.registry.note_pull(&read(R), &digest);
    flush(&bench.registry).await;
    assert_eq!(bench.keys(RECORDS).await.len(), 1);
    delete_it(&bench.registry, &digest).await;
    assert_eq!(bench.keys(RECORDS).await, [""; 0]);
    // A pull that was noted before the deletion is written after it.
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    bench.registry.note_pull(&read(R), &digest);
    delete_it(&bench.registry, &digest).await;
    flush(&bench.registry).await;
    assert_eq!(bench.keys(RECORDS).await, [""; 0]);
    assert_eq!(flush(&bench.registry).await, 0);
}

#[tokio::test]
async fn a_damaged_record_is_replaced_by_the_next_pull_and_does_not_stop_a_deletion() {
    let bench = Bench::new();
    bench.registry.begin_recording_pulls().await.unwrap();
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    for pulled in [true, false] {
        bench.registry.note_pull(&read(R), &digest);
        flush(&bench.registry).await;
        let key = bench.keys(RECORDS).await.remove(0);
        let record = bench.store.get(&key).await.unwrap().unwrap();
        let damage = Bytes::from_static(b"no record").into();
        bench.store.swap(&key, &record.version, damage).await.unwrap();
        bench.hand.advance(HOUR);
        if pulled {
            bench.registry.note_pull(&read(R), &digest);
            assert_eq!(flush(&bench.registry).await, 1);
            assert_eq!(last(&bench.restarted(), &digest).await, bench.store.now());
        } else {
            delete_it(&bench.registry, &digest).await;
            assert_eq!(bench.keys(RECORDS).await, [""; 0]);
        }
    }
}

#[tokio::test]
async fn a_record_of_a_later_version_does_not_keep_other_pulls_from_being_written() {
    let bench = Bench::new();
    bench.registry.begin_recording_pulls().await.unwrap();
    let later = push_image(&bench.registry, R, "later", &json!({})).await;
    bench.registry.note_pull(&read(R), &later);
    flush(&bench.registry).await;
    let key = bench.keys(RECORDS).await.remove(0);
    let of_later_version = |record: &str| Some(record.replace("\"format\":2", "\"format\":3"));
    bench.tamper(&key, of_later_version).await;
    bench.hand.advance(HOUR);
    bench.registry.note_pull(&read(R), &later);
    for number in 0..20 {
        let other = push_image(&bench.registry, R, &format!("{number}"), &json!({})).await;
        bench.registry.note_pull(&read(R), &other);
    }
    assert_eq!(flush(&bench.registry).await, 20);
    assert_eq!(flush(&bench.registry).await, 0);
    assert_eq!(bench.keys(RECORDS).await.len(), 21);
}

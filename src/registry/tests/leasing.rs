//! Leases on a store that several processes share.

use super::*;
use crate::access::Maintenance;
use crate::storage::RecordStore as _;
use std::time::Duration;

fn owner() -> Maintenance {
    Maintenance::by_the_stores_owner()
}

/// Two processes on one store in memory.
fn two(bench: &Bench) -> [Registry; 2] {
    ["one", "two"].map(|name| {
        bench.restarted().with(Settings {
            shared: true,
            process: name.to_owned(),
            ..any_sizes()
        })
    })
}

async fn lease(registry: &Registry, work: Work) -> Result<Lease, String> {
    match registry.lease(&owner(), work).await.unwrap() {
        Leased::Granted(lease) => Ok(lease),
        Leased::Held { by } => Err(by),
    }
}

/// Time passes for the processes and for the store.
async fn passes(bench: &Bench, seconds: u64) {
    for _ in 0..seconds {
        bench.hand.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_process_at_a_time_has_a_lease() {
    let bench = Bench::new();
    let [one, two] = two(&bench);
    let held = lease(&one, Work::Collection).await.unwrap();
    assert_eq!(lease(&two, Work::Collection).await.unwrap_err(), "one");
    drop(lease(&two, Work::Scrub).await.unwrap());
    // It is renewed.
    passes(&bench, 200).await;
    assert_eq!(lease(&two, Work::Collection).await.unwrap_err(), "one");
    assert_eq!(two.since_completed(&owner(), Work::Collection).await, None);
    held.complete().await;
    passes(&bench, 5).await;
    let age = two.since_completed(&owner(), Work::Collection).await;
    assert_eq!(age, Some(Duration::from_secs(5)));
    let held = lease(&two, Work::Collection).await.unwrap();
    drop(held);
    passes(&bench, 1).await;
    drop(lease(&one, Work::Collection).await.unwrap());
    let age = two.since_completed(&owner(), Work::Collection).await;
    assert_eq!(
        age,
        Some(Duration::from_secs(6)),
        "a pass that was cut off completes nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_process_that_was_killed_passes_to_another() {
    let bench = Bench::new();
    let [one, two] = two(&bench);
    lease(&one, Work::Collection).await.unwrap().die();
    passes(&bench, 89).await;
    assert_eq!(lease(&two, Work::Collection).await.unwrap_err(), "one");
    passes(&bench, 1).await;
    let held = lease(&two, Work::Collection).await.unwrap();
    // A process with the same name is the same one after a restart.
    held.die();
    drop(lease(&two, Work::Collection).await.unwrap());
    passes(&bench, 1).await;
    // A process that comes back does not end the lease of another.
    let late = lease(&one, Work::Collection).await.unwrap();
    bench.hand.advance(Duration::from_secs(100));
    let held = lease(&two, Work::Collection).await.unwrap();
    drop(late);
    passes(&bench, 30).await;
    assert_eq!(lease(&one, Work::Collection).await.unwrap_err(), "two");
    drop(held);
}

#[tokio::test]
async fn a_store_of_one_process_has_no_lease() {
    let bench = Bench::new();
    let held = lease(&bench.registry, Work::Collection).await.unwrap();
    held.complete().await;
    assert_eq!(bench.keys("g/").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_damaged_lease_is_replaced() {
    let bench = Bench::new();
    let [one, _] = two(&bench);
    let key = keys::collecting();
    let damaged = Bytes::from_static(b"{").into();
    bench.store.create(key.as_str(), damaged).await.unwrap();
    lease(&one, Work::Collection).await.unwrap().complete().await;
    assert_eq!(
        one.since_completed(&owner(), Work::Collection).await,
        Some(Duration::ZERO)
    );
}

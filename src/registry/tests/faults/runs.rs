//! Many seeds, each a different crowd in a different order.

use super::super::*;
use super::actors::{Actor, CONTENT, Client, History, REPOSITORIES, manifest};
use super::collectors::Care;
use super::invariants;
use super::store::{Odds, Process, World};
use std::time::Duration;

/// How many seeds are tried; more with `WHARFINGER_FAULT_SEEDS`.
fn seeds(default: u64) -> u64 {
    std::env::var("WHARFINGER_FAULT_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(default)
}

/// Of links, after which a collector takes what nobody needs.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A crowd of anybody, and collectors without any grace.
fn run(seed: u64, odds: Odds, care: Care) -> Result<(), String> {
    crowd(seed, odds, care, Duration::ZERO, Actor::random).map(drop)
}

/// One crowd on one store. What is broken in the end, if anything is, or how many promises were that a HEAD had made.
fn crowd(seed: u64, odds: Odds, care: Care, grace: Duration, actor: fn(&World) -> Actor) -> Result<u64, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (clock, hand) = Clock::manual(Timestamp::from_secs(1_800_000_000));
        let world = World::new(seed, odds, clock);
        // In most of the runs the blob is there from before, linked, so that it can be collected from under somebody.
        for repository in REPOSITORIES.into_iter().take(world.roll(4) as usize) {
            let quiet = Registry::new(world.store.clone(), world.store.clone());
            push_blob(&quiet, repository, CONTENT).await;
            // And at times a manifest without a tag.
            if world.roll(2) == 0 {
                let (bytes, permit) = (manifest(1), write(repository));
                quiet.put_manifest(&permit, &Reference::Digest(sha256(&bytes)), None, bytes).await.unwrap();
            }
        }
        hand.advance(2 * DAY);
        let history = Arc::new(History::default());
        let actors: Vec<Actor> = (0..2 + world.roll(5)).map(|_| actor(&world)).collect();
        let mut tasks = Vec::new();
        for actor in &actors {
            let process = Process::new(&world, true);
            let registry = Registry::new(process.clone(), process.clone());
            let client = Client { registry, process, history: history.clone(), care, grace };
            tasks.push(tokio::spawn(client.run(*actor)));
        }
        for task in tasks {
            task.await.unwrap();
        }
        // What comes late has come by now.
        for _ in 0..2000 {
            tokio::task::yield_now().await;
        }
        let broken = invariants::broken(&world, &history, &hand).await;
        broken.map(|()| history.broken_promises()).map_err(|why| format!("seed {seed}: {why}\n{actors:?}"))
    })
}

#[test]
fn the_invariants_hold_whatever_the_store_does() {
    for seed in 0..seeds(1500) {
        if let Err(why) = run(seed, Odds::ALL, Care::Full) {
            panic!("{why}");
        }
    }
}

#[test]
fn the_invariants_hold_in_every_order_of_a_store_that_works() {
    for seed in 0..seeds(1000) {
        if let Err(why) = run(seed, Odds::NONE, Care::Full) {
            panic!("{why}");
        }
    }
}

#[test]
fn what_an_index_lists_stays_though_collectors_meet_its_push() {
    for seed in 0..seeds(1000) {
        for odds in [Odds::ALL, Odds::NONE] {
            assert_eq!(crowd(seed, odds, Care::Full, Duration::ZERO, Actor::listing), Ok(0), "seed {seed}");
        }
    }
}

/// distribution-spec, Checking if content exists: a client that finds a blob does not push it.
#[test]
fn whoever_was_told_that_a_blob_is_here_may_push_what_needs_it() {
    for seed in 0..seeds(1000) {
        for odds in [Odds::ALL, Odds::NONE] {
            assert_eq!(crowd(seed, odds, Care::Full, DAY, Actor::relying), Ok(0), "seed {seed}");
        }
    }
    // Nobody could rely on collectors that take what was asked for a moment ago, and the runs see it.
    let found = (0..seeds(20_000)).find(|seed| crowd(*seed, Odds::NONE, Care::Full, Duration::ZERO, Actor::relying) != Ok(0));
    assert!(found.is_some());
}

/// A protocol without one of its steps loses something, and the runs see it.
#[test]
fn a_collector_that_leaves_a_step_out_is_found_out() {
    for care in [Care::NoSecondLook, Care::NoCondemning] {
        let found = (0..seeds(20_000)).find(|seed| run(*seed, Odds::NONE, care).is_err());
        assert!(found.is_some(), "{care:?}");
    }
}

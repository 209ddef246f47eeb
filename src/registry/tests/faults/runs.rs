//! Many seeds, each a different crowd in a different order.

use super::super::*;
use super::actors::{Actor, CONTENT, Client, History, REPOSITORIES};
use super::collectors::Care;
use super::invariants;
use super::store::{Odds, Process, World};

/// How many seeds are tried; more with `WHARFINGER_FAULT_SEEDS`.
fn seeds(default: u64) -> u64 {
    std::env::var("WHARFINGER_FAULT_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(default)
}

/// One crowd on one store. What is broken in the end, if anything is.
fn run(seed: u64, odds: Odds, care: Care) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let world = World::new(seed, odds);
        // In half of the runs the blob is there from before, linked, so that it can be collected from under somebody.
        for repository in REPOSITORIES.into_iter().take(world.roll(4) as usize) {
            let quiet = Registry::new(world.store.clone(), world.store.clone(), Clock::system());
            push_blob(&quiet, repository, CONTENT).await;
        }
        let history = Arc::new(History::default());
        let actors: Vec<Actor> = (0..2 + world.roll(5)).map(|_| Actor::random(&world)).collect();
        let mut tasks = Vec::new();
        for actor in &actors {
            let process = Process::new(&world, true);
            let registry = Registry::new(process.clone(), process.clone(), Clock::system());
            let client = Client { registry, process, history: history.clone(), care };
            tasks.push(tokio::spawn(client.run(*actor)));
        }
        for task in tasks {
            task.await.unwrap();
        }
        // What comes late has come by now.
        for _ in 0..2000 {
            tokio::task::yield_now().await;
        }
        let broken = invariants::broken(&world, &history).await;
        broken.map_err(|why| format!("seed {seed}: {why}\n{actors:?}"))
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

/// A protocol without one of its steps loses something, and the runs see it.
#[test]
fn a_collector_that_leaves_a_step_out_is_found_out() {
    for care in [Care::NoSecondLook, Care::NoCondemning] {
        let found = (0..seeds(20_000)).find(|seed| run(*seed, Odds::NONE, care).is_err());
        assert!(found.is_some(), "{care:?}");
    }
}

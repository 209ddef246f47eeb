//! Many seeds, each a different crowd in a different order.

use super::super::*;
use super::actors::{Actor, CONTENT, LISTED, REPOSITORIES, TAGS, manifest};
use super::client::Client;
use super::collectors::Conduct;
use super::history::History;
use super::invariants;
use super::planted::Fault;
use super::store::{Odds, Process, World};
use std::time::Duration;

/// The number of seeds. `WHARFINGER_FAULT_SEEDS` sets another one.
fn seeds(default: u64) -> u64 {
    std::env::var("WHARFINGER_FAULT_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(default)
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// The grace period, after which a collector deletes unreferenced content.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A crowd of actors, and how often their store misbehaves.
#[derive(Clone, Copy)]
struct Crowd {
    odds: Odds,
    actor: fn(&World) -> Actor,
    conduct: Conduct,
}

impl Crowd {
    const fn of(actor: fn(&World) -> Actor, odds: Odds) -> Self {
        Self {
            odds,
            actor,
            conduct: Conduct {
                grace: Duration::ZERO,
                pinned: false,
                fault: None,
            },
        }
    }

    const fn grace(mut self, grace: Duration) -> Self {
        self.conduct.grace = grace;
        self
    }

    const fn pinned(mut self) -> Self {
        self.conduct.pinned = true;
        self
    }

    const fn with(mut self, fault: Fault) -> Self {
        self.conduct.fault = Some(fault);
        self
    }

    /// The first of this many seeds that violates an invariant.
    fn loses_something(self, seeds: u64) -> Option<u64> {
        (0..seeds).find(|seed| self.run(*seed).is_err())
    }

    /// The error that is found at the end, if any.
    fn run(self, seed: u64) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.meet(seed))
    }

    async fn meet(self, seed: u64) -> Result<(), String> {
        let world = World::new(seed, self.odds);
        let history = Arc::new(History::default());
        self.prepare(&world, &history).await;
        let actors: Vec<Actor> = (0..2 + world.roll(5)).map(|_| (self.actor)(&world)).collect();
        let mut tasks = Vec::new();
        for actor in &actors {
            tasks.push(tokio::spawn(
                self.client(Process::new(&world, true), &history).run(*actor),
            ));
        }
        for task in tasks {
            task.await.unwrap();
        }
        // All late requests have arrived by now.
        for _ in 0..2000 {
            tokio::task::yield_now().await;
        }
        let broken = invariants::broken(&world, &history).await;
        broken.map_err(|why| format!("seed {seed}: {why}\n{actors:?}"))?;
        if let Some((one, other)) = history.moved().filter(|_| self.conduct.pinned) {
            return Err(format!("seed {seed}: {one:?} and then {other:?}\n{actors:?}"));
        }
        // Without a grace period, content that clients found may be deleted at once.
        match history.broken_promises() {
            promises if promises > 0 && !self.conduct.grace.is_zero() => {
                Err(format!("seed {seed}: {promises} promises\n{actors:?}"))
            }
            _ => Ok(()),
        }
    }

    /// In most runs, the blob already exists and is linked, so that it can be collected during the run. In
    /// some runs there is also a manifest with all tags or without tags.
    async fn prepare(self, world: &Arc<World>, history: &Arc<History>) {
        let quiet = Registry::new(world.store.clone(), world.store.clone()).with(any_sizes());
        quiet.begin_recording_pulls().await.unwrap();
        for (number, repository) in REPOSITORIES.into_iter().enumerate().take(world.roll(4) as usize) {
            push_blob(&quiet, repository, CONTENT).await;
            match world.roll(4) {
                0 | 1 => {
                    let bytes = manifest(LISTED);
                    let permit = write(repository);
                    quiet
                        .put_manifest(&permit, &Reference::Digest(sha256(&bytes)), None, bytes)
                        .await
                        .unwrap();
                }
                2 => {
                    let process = Process::new(world, false);
                    let client = Client {
                        registry: quiet.clone(),
                        ..self.client(process, history)
                    };
                    for tag in 0..TAGS.len() {
                        client.push(number, LISTED, tag).await.unwrap();
                    }
                }
                _ => {}
            }
        }
        world.hand.advance(if world.roll(3) == 0 {
            world.roll(24) * HOUR
        } else {
            2 * DAY
        });
    }

    fn client(self, process: Arc<Process>, history: &Arc<History>) -> Client {
        let registry = Registry::new(process.clone(), process.clone()).with(any_sizes());
        Client {
            registry,
            process,
            history: history.clone(),
            conduct: self.conduct,
        }
    }
}

/// Checks that no seed of this many violates an invariant.
fn hold(crowd: Crowd, count: u64) {
    for seed in 0..seeds(count) {
        if let Err(why) = crowd.run(seed) {
            panic!("{why}");
        }
    }
}

#[test]
fn the_invariants_hold_whatever_the_store_does() {
    hold(Crowd::of(Actor::random, Odds::ALL), 1000);
}

#[test]
fn the_invariants_hold_in_every_order_of_a_store_that_works() {
    hold(Crowd::of(Actor::random, Odds::NONE), 600);
}

#[test]
fn walks_through_the_whole_store_lose_nothing() {
    for odds in [Odds::ALL, Odds::NONE] {
        hold(Crowd::of(Actor::walking, odds), 400);
        hold(Crowd::of(Actor::moving, odds), 200);
    }
}

#[test]
fn what_an_index_lists_stays_though_its_push_meets_collectors_and_deletions() {
    for odds in [Odds::ALL, Odds::NONE] {
        hold(Crowd::of(Actor::listing, odds), 600);
    }
}

#[test]
fn a_deletion_that_is_interrupted_anywhere_leaves_no_wrong_tag() {
    for odds in [Odds::ALL, Odds::NONE] {
        hold(Crowd::of(Actor::deleting, odds), 600);
    }
}

#[test]
fn bytes_that_were_found_to_be_damaged_are_not_given_to_later_clients() {
    for odds in [Odds::ALL, Odds::NONE] {
        hold(Crowd::of(Actor::scrubbing, odds), 400);
    }
}

/// distribution-spec, Checking if content exists: a client that finds a blob does not push it.
#[test]
fn a_client_that_finds_a_blob_can_push_a_manifest_that_needs_it() {
    for odds in [Odds::ALL, Odds::NONE] {
        hold(Crowd::of(Actor::relying, odds).grace(DAY), 300);
    }
    // Clients cannot rely on collectors without a grace period, and the runs show it.
    assert!(
        Crowd::of(Actor::relying, Odds::NONE)
            .grace(SECOND)
            .loses_something(2000)
            .is_some()
    );
}

#[test]
fn a_pushed_child_stays_for_half_of_the_grace_until_its_index_is_pushed() {
    for odds in [Odds::ALL, Odds::NONE] {
        hold(Crowd::of(Actor::refreshing, odds).grace(DAY), 300);
    }
    assert!(
        Crowd::of(Actor::refreshing, Odds::NONE)
            .grace(DAY / 4)
            .loses_something(2000)
            .is_some()
    );
}

/// Its second value is never readable, and it stays when it was readable once.
#[test]
fn an_immutable_tag_stays_on_what_it_was_created_on() {
    for odds in [Odds::ALL, Odds::NONE] {
        hold(Crowd::of(Actor::pinning, odds).pinned(), 600);
    }
}

/// If the protocol omits one of its steps, the runs find a violation.
#[test]
fn every_omitted_step_is_found() {
    for (fault, actor, seeds) in [
        (Fault::NoSecondLook, Actor::needing as fn(&World) -> Actor, 2000),
        (Fault::NoCondemning, Actor::needing, 2000),
        (Fault::PendingIsIgnored, Actor::collecting, 4000),
        (Fault::EntriesAreClearedBlindly, Actor::moving, 4000),
        (Fault::CheckedBeforeMarked, Actor::listing, 1000),
        (Fault::TagIsLeft, Actor::deleting, 4000),
        (Fault::DyingIsNotHelped, Actor::deleting, 1000),
        (Fault::SuspectIsMounted, Actor::scrubbing, 2000),
        (Fault::MarksAreTakenBlindly, Actor::listing, 1000),
        (Fault::MarkerIsTakenBlindly, Actor::deleting, 4000),
    ] {
        // A forgotten deletion shows best if the deleting process dies.
        let odds = if fault == Fault::MarkerIsTakenBlindly {
            Odds::ALL
        } else {
            Odds::NONE
        };
        let found = Crowd::of(actor, odds).with(fault).loses_something(seeds);
        assert!(
            found.is_some(),
            "{fault:?} is not found with one of {seeds} seeds"
        );
    }
}

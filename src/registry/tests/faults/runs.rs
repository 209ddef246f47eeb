//! Many seeds, each a different crowd in a different order.

use super::actors::Actor;
use super::before::Before;
use super::crowd::{Crowd, DAY};
use super::planted::Fault;
use super::scheduler::{Odds, Random};
use super::setting::say;
use std::time::Duration;
use tokio::time::Instant;

/// A number that the environment may set.
fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

const SECOND: Duration = Duration::from_secs(1);

/// Checks that no seed of this many violates an invariant. `WHARFINGER_FAULT_SEEDS` sets another number, and
/// `WHARFINGER_FAULT_FIRST` the first seed.
fn hold(crowd: Crowd, count: u64) {
    let run = |seed| {
        crowd
            .run(seed)
            .map_err(|why| format!("{why}\n{}", crowd.trace(seed).join("\n")))
    };
    hold_seeds(count, run);
}

pub(super) fn hold_seeds(count: u64, run: impl Fn(u64) -> Result<(), String>) {
    let count = from_environment("WHARFINGER_FAULT_SEEDS", count);
    let first = from_environment("WHARFINGER_FAULT_FIRST", 0);
    let begun = Instant::now();
    for seed in first..first + count {
        if let Err(why) = run(seed) {
            panic!("{why}");
        }
        let done = seed - first + 1;
        if done.is_multiple_of(10_000) || done == count {
            say(&format!("{done} seeds in {} s", begun.elapsed().as_secs()));
        }
    }
}

#[test]
fn a_seed_is_always_the_same_run() {
    for actor in [Actor::random, Actor::walking, Actor::scrubbing, Actor::refreshing] {
        for seed in 0..5 {
            let crowd = Crowd::of(actor, Odds::ALL).grace(DAY);
            let trace = crowd.trace(seed);
            assert!(!trace.is_empty());
            assert_eq!(crowd.trace(seed), trace, "seed {seed}");
        }
    }
    let crowd = Crowd::of(Actor::random, Odds::ALL);
    assert_ne!(crowd.trace(0), crowd.trace(1));
}

/// A bucket makes no commit of several changes, and its requests may come late or twice.
#[test]
fn the_invariants_hold_on_a_bucket() {
    hold(Crowd::of(Actor::random, Odds::ALL).on_a_bucket(), 300);
}

#[test]
fn the_invariants_hold_whatever_the_store_does() {
    hold(Crowd::of(Actor::random, Odds::ALL), 400);
}

#[test]
fn the_invariants_hold_in_every_order_of_a_store_that_works() {
    hold(Crowd::of(Actor::random, Odds::NONE), 200);
}

#[test]
fn walks_through_the_whole_store_lose_nothing() {
    for odds in [Odds::ALL, Odds::NONE] {
        hold(Crowd::of(Actor::walking, odds), 150);
        hold(Crowd::of(Actor::moving, odds), 100);
    }
}

#[test]
fn children_stay_while_the_push_of_their_index_meets_collectors_and_deletions() {
    for odds in [Odds::ALL, Odds::NONE] {
        hold(Crowd::of(Actor::listing, odds), 200);
    }
}

#[test]
fn a_deletion_that_is_interrupted_anywhere_leaves_no_wrong_tag() {
    for odds in [Odds::ALL, Odds::NONE] {
        hold(Crowd::of(Actor::deleting, odds), 200);
    }
}

#[test]
fn bytes_that_were_found_to_be_damaged_are_not_given_to_later_clients() {
    for odds in [Odds::ALL, Odds::NONE] {
        hold(Crowd::of(Actor::scrubbing, odds), 150);
    }
}

/// distribution-spec, Checking if content exists: a client that finds a blob does not push it.
#[test]
fn a_client_that_finds_a_blob_can_push_a_manifest_that_needs_it() {
    for odds in [Odds::ALL, Odds::NONE] {
        hold(Crowd::of(Actor::relying, odds).grace(DAY), 100);
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
        hold(Crowd::of(Actor::refreshing, odds).grace(DAY), 100);
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
        hold(Crowd::of(Actor::pinning, odds).pinned(), 150);
    }
}

type MakeActor = fn(&mut Random) -> Actor;

/// Each fault, the crowd in which it shows, what that crowd begins with, and how many seeds are tried. The first
/// six faults are those that other collectors are known for.
const FAULTS: &[(Fault, MakeActor, Option<Before>, u64)] = &[
    (Fault::CheckThenWrite, Actor::needing, Some(Before::Link), 500),
    (Fault::NoRescue, Actor::needing, Some(Before::Link), 1000),
    (Fault::NoCondemning, Actor::needing, Some(Before::Link), 500),
    (Fault::GenerationReused, Actor::taking, Some(Before::Blob), 2000),
    (Fault::PlainTombstones, Actor::taking, Some(Before::Blob), 500),
    (
        Fault::EntriesAreClearedBlindly,
        Actor::moving,
        Some(Before::Tagged),
        500,
    ),
    (Fault::NoSecondLook, Actor::needing, Some(Before::Link), 500),
    (
        Fault::PendingIsIgnored,
        Actor::collecting,
        Some(Before::Untagged),
        20_000,
    ),
    (
        Fault::CheckedBeforeMarked,
        Actor::listing,
        Some(Before::Untagged),
        4000,
    ),
    (Fault::TagIsLeft, Actor::deleting, Some(Before::Tagged), 4000),
    (
        Fault::DyingIsNotHelped,
        Actor::deleting,
        Some(Before::Tagged),
        4000,
    ),
    (Fault::SuspectIsMounted, Actor::scrubbing, None, 16_000),
    (
        Fault::MarksAreTakenBlindly,
        Actor::listing,
        Some(Before::Untagged),
        4000,
    ),
    (
        Fault::MarkerIsTakenBlindly,
        Actor::hiding,
        Some(Before::Tagged),
        8000,
    ),
];

/// If the protocol omits one of its steps, the runs find a violation.
#[test]
fn every_omitted_step_is_found() {
    for (fault, actor, before, seeds) in FAULTS {
        // Equal tombstones show only if requests come late.
        let odds = match fault {
            Fault::PlainTombstones => Odds::ALL,
            _ => Odds::NONE,
        };
        let crowd = Crowd::of(*actor, odds).begins_with(*before).with(*fault);
        let found = crowd.loses_something(*seeds);
        let (seed, why) = found.unwrap_or_else(|| panic!("{fault:?} is not found with {seeds} seeds"));
        let first = why.lines().next().unwrap_or_default();
        say(&format!("{fault:?}: {} seeds, {first}", seed + 1));
    }
}

//! Several passes of one process: what each of them reports.

use super::super::collect::{Goes, Observer, Options, Phase, Reached, Report, Rules};
use super::*;
use crate::access::Maintenance;
use crate::storage::Failure;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use wharfinger_testkit::{Hook, Hooked, Request};

const R: &str = "team/app";
const BLOBS: u64 = 5;

/// Holds back each removal of bytes until it is let through.
struct Gate {
    arrived: AtomicUsize,
    let_through: Semaphore,
}

impl Hook for Gate {
    async fn before(&self, request: Request<'_>) -> Result<(), Failure> {
        if let Request::Remove(_) = request {
            self.arrived.fetch_add(1, Ordering::SeqCst);
            self.let_through.acquire().await.unwrap().forget();
        }
        Ok(())
    }
}

impl Gate {
    /// Waits until this many removals have been requested, and until everything that can run has run.
    async fn reached(&self, count: usize) {
        while self.arrived.load(Ordering::SeqCst) < count {
            yield_now().await;
        }
        for _ in 0..100 {
            yield_now().await;
        }
    }

    fn open(&self) {
        self.let_through.add_permits(1000);
    }
}

/// A registry with blobs that nothing needs, and the gate before their bytes.
async fn gated() -> (Registry, Arc<Gate>) {
    let bench = Bench::new();
    for number in 0..BLOBS {
        push_blob(&bench.registry, R, format!("garbage {number}").as_bytes()).await;
    }
    bench.hand.advance(Duration::from_secs(60));
    let gate = Arc::new(Gate {
        arrived: AtomicUsize::new(0),
        let_through: Semaphore::new(0),
    });
    let store = Hooked::over(bench.store.clone(), gate.clone());
    (Registry::new(store.clone(), store).with(any_sizes()), gate)
}

async fn pass(registry: &Registry, by_hand: bool, observer: &mut dyn Observer) -> Report {
    let rules = Rules {
        by_hand,
        ..Rules::default()
    };
    let options = Options {
        grace: Duration::ZERO,
        rules,
        ..Options::default()
    };
    let owner = Maintenance::by_the_stores_owner();
    registry.collect(&owner, &options, observer).await.unwrap()
}

fn blobs(report: &Report) -> u64 {
    report
        .goes()
        .get(&Goes::UnlinkedBlob)
        .map_or(0, |amount| amount.count)
}

#[tokio::test]
async fn two_passes_that_meet_count_each_blob_once() {
    let (registry, gate) = gated().await;
    let mut first = ();
    let mut second = ();
    let (first, second, ()) = tokio::join!(
        pass(&registry, false, &mut first),
        pass(&registry, false, &mut second),
        async {
            gate.reached(2).await;
            gate.open();
        }
    );
    assert_eq!(blobs(&first) + blobs(&second), BLOBS, "{first:?} {second:?}");
}

#[tokio::test]
async fn background_work_does_not_begin_while_a_requested_pass_runs() {
    let (registry, gate) = gated().await;
    let mut asking = ();
    let mut waiting = ();
    let (asked, background, ()) = tokio::join!(
        pass(&registry, true, &mut asking),
        pass(&registry, false, &mut waiting),
        async {
            gate.reached(1).await;
            assert_eq!(gate.arrived.load(Ordering::SeqCst), 1);
            gate.open();
        }
    );
    assert_eq!((blobs(&asked), background.going()), (BLOBS, 0));
}

#[tokio::test]
async fn background_work_pauses_for_a_requested_pass() {
    let (registry, gate) = gated().await;
    let mut asking = ();
    let mut pausing = ();
    let (background, asked, ()) = tokio::join!(
        pass(&registry, false, &mut pausing),
        pass(&registry, true, &mut asking),
        async {
            gate.reached(1).await;
            gate.open();
        }
    );
    assert_eq!(
        (blobs(&background), blobs(&asked)),
        (0, BLOBS),
        "it pauses before its second removal"
    );
}

#[derive(Default)]
struct Phases(Vec<Phase>);

impl Observer for Phases {
    fn reached(&mut self, reached: Reached) {
        self.0.push(reached.phase);
    }
}

#[tokio::test]
async fn a_second_requested_pass_reports_that_it_waits() {
    let (registry, gate) = gated().await;
    let mut first = Phases::default();
    let mut second = Phases::default();
    let (one, two, ()) = tokio::join!(
        pass(&registry, true, &mut first),
        pass(&registry, true, &mut second),
        async {
            gate.reached(1).await;
            gate.open();
        }
    );
    assert_eq!((blobs(&one), two.going()), (BLOBS, 0));
    assert!(!first.0.contains(&Phase::Waiting));
    assert_eq!(second.0.first(), Some(&Phase::Waiting));
}

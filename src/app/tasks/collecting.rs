//! Collects garbage while the registry serves. Every minute it checks what lost a reference, and once in a
//! while it walks through the whole store.

use super::super::collect::count;
use super::every;
use crate::access::Maintenance;
use crate::clock::Clock;
use crate::config::{Collecting, Window};
use crate::registry::collect::{Report, Rules};
use crate::registry::{Error, Lease, Leased, Registry, Work};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Never ends, unless the configuration turns the collector off.
pub(super) async fn collect(
    registry: Registry,
    (settings, rules): (Collecting, watch::Receiver<Rules>),
    clock: Clock,
) {
    if !settings.runs {
        return;
    }
    registry.remember_garbage();
    let collector = Collector {
        registry,
        settings,
        rules,
        clock,
    };
    tokio::join!(collector.lately(), collector.everything());
}

struct Collector {
    registry: Registry,
    settings: Collecting,
    /// A reload changes them.
    rules: watch::Receiver<Rules>,
    clock: Clock,
}

impl Collector {
    /// Checks what lost a reference by a deletion, a moved tag or an expired upload.
    async fn lately(&self) {
        let mut ticks = every(LATELY_EVERY.min(self.settings.delay.max(SHORTEST)));
        let mut logged = Logged::default();
        let owner = Maintenance::by_the_stores_owner();
        loop {
            ticks.tick().await;
            let (waiting, dropped) = self.registry.remembered_garbage();
            metrics::gauge!("wharfinger_collection_candidates").set(number(waiting));
            metrics::counter!("wharfinger_collection_candidates_dropped_total").absolute(dropped);
            if waiting == 0 || !self.is_open() {
                continue;
            }
            let mut observer = ();
            let options = self.settings.options(self.rules.borrow().clone());
            let done = tokio::select! {
                done = self.registry.collect_lately(&owner, &options, &mut observer) => done,
                () = self.closes() => continue,
            };
            logged.log("recent", &done);
        }
    }

    /// Walks through the whole store.
    async fn everything(&self) {
        let mut logged = Logged::default();
        let owner = Maintenance::by_the_stores_owner();
        let mut rules = self.rules.clone();
        let mut windows = Windows::default();
        // A registry that keeps restarting should not begin with this work each time.
        sleep(FIRST_AFTER.min(self.settings.delay)).await;
        loop {
            self.opens().await;
            let lease = self.turn().await;
            let began = Instant::now();
            let mut observer = ();
            let options = self.settings.options(rules.borrow_and_update().clone());
            let done = tokio::select! {
                done = self.registry.collect(&owner, &options, &mut observer) => done,
                // The walk continues in the next window.
                () = self.closes() => {
                    if windows.ended_without_progress(self.registry.collection_position(&owner).await) {
                        tracing::warn!(
                            "the collector got nowhere in a whole storage.gcTimeWindow and starts the same part of its walk again, \
                             so it never gets to the rest: set a longer window or a higher storage.gcPace"
                        );
                    }
                    continue;
                }
                // The walk continues with the new policies.
                Ok(()) = rules.changed() => continue,
            };
            windows = Windows::default();
            logged.log("full", &done);
            if done.is_err() {
                sleep(AGAIN_AFTER.min(self.settings.delay.max(SHORTEST))).await;
                continue;
            }
            lease.complete().await;
            metrics::gauge!("wharfinger_collection_seconds").set(began.elapsed().as_secs_f64());
            if self.settings.interval.is_zero() {
                return;
            }
            sleep(self.settings.interval.saturating_sub(began.elapsed())).await;
        }
    }

    /// Waits until the next pass is due and no other process of a shared store makes one. If the window closes
    /// meanwhile, the pass stops at once and continues in the next one.
    async fn turn(&self) -> Lease {
        let owner = Maintenance::by_the_stores_owner();
        let mut said = false;
        loop {
            let age = self.registry.since_completed(&owner, Work::Collection).await;
            let due = age.map_or(Duration::ZERO, |age| self.settings.interval.saturating_sub(age));
            if !due.is_zero() {
                sleep(due).await;
                continue;
            }
            match self.registry.lease(&owner, Work::Collection).await {
                Ok(Leased::Granted(lease)) => return lease,
                Ok(Leased::Held { by }) if !said => {
                    tracing::info!("another process makes a pass of the collector, so this one waits: {by}");
                    said = true;
                }
                Ok(Leased::Held { .. }) => {}
                Err(why) => tracing::warn!(
                    "cannot find out whether another process makes a pass of the collector, and will try again: {why}"
                ),
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    fn is_open(&self) -> bool {
        let window = self.settings.window;
        window.is_none_or(|window: Window| window.contains(self.clock.now()))
    }

    /// Waits for the time of day in which garbage may be removed.
    async fn opens(&self) {
        while !self.is_open() {
            sleep(SHORTEST).await;
        }
    }

    async fn closes(&self) {
        if self.settings.window.is_none() {
            return std::future::pending().await;
        }
        while self.is_open() {
            sleep(SHORTEST).await;
        }
    }
}

/// Where a walk was at the end of the last time window, if a window ended during this walk.
struct Windows<T>(Option<T>);

impl<T> Default for Windows<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: PartialEq> Windows<T> {
    /// Whether the walk was at the same position when the window before ended. The first window of a walk may
    /// have been a part of one.
    fn ended_without_progress(&mut self, position: T) -> bool {
        self.0
            .replace(position)
            .is_some_and(|before| Some(before) == self.0)
    }
}

/// What was logged before, so that each state is logged once.
#[derive(Default)]
struct Logged {
    failed: Option<String>,
    stopped: BTreeSet<String>,
}

impl Logged {
    fn log(&mut self, kind: &'static str, done: &Result<Report, Error>) {
        count(kind, done.as_ref().ok());
        match done {
            Ok(report) => {
                self.failed = None;
                self.report(kind, report);
            }
            Err(why) => {
                let why = why.to_string();
                if self.failed.as_ref() != Some(&why) {
                    tracing::error!(
                        collection.kind = kind,
                        "garbage collection failed and will be tried again: {why}"
                    );
                    self.failed = Some(why);
                }
            }
        }
    }

    fn report(&mut self, kind: &'static str, report: &Report) {
        let items = report.going();
        if items > 0 {
            let bytes = report.freed_bytes();
            tracing::info!(
                collection.kind = kind,
                collection.items = items,
                collection.bytes = bytes,
                "garbage collection removed unreferenced content"
            );
        }
        let stopped: BTreeSet<String> = report.stopped().map(|(name, _)| name.to_owned()).collect();
        for (repository, why) in report.stopped().filter(|(name, _)| !self.stopped.contains(*name)) {
            tracing::error!(
                repo.name = repository,
                "no garbage is collected in a repository, because one of its manifests cannot be read and may need anything: {why}"
            );
        }
        if kind == "full" {
            metrics::gauge!("wharfinger_collection_stopped_repositories").set(number(stopped.len()));
            self.stopped = stopped;
        } else {
            self.stopped.extend(stopped);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
const fn number(value: usize) -> f64 {
    value as f64
}

/// How often candidates are checked. Those of one minute share one walk through the manifests of their
/// repository.
const LATELY_EVERY: Duration = Duration::from_secs(60);
const FIRST_AFTER: Duration = Duration::from_secs(10 * 60);
/// The pause after a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Settings;
    use crate::registry::collect::Pace;
    use crate::storage::memory::Memory;
    use std::sync::Arc;

    fn replica(store: &Arc<Memory>, name: &str) -> Registry {
        Registry::new(store.clone(), store.clone()).with(Settings {
            shared: true,
            process: name.to_owned(),
            ..Settings::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_waits_for_the_pass_of_another_and_takes_over_when_that_is_killed() {
        let (clock, hand) = Clock::manual(Clock::system().now());
        let store = Arc::new(Memory::with_clock(clock.clone()));
        let [one, two] = ["one", "two"].map(|name| replica(&store, name));
        let owner = Maintenance::by_the_stores_owner();
        let Leased::Granted(held) = one.lease(&owner, Work::Collection).await.unwrap() else {
            panic!("nobody holds it");
        };
        let settings = Collecting {
            runs: true,
            delay: Duration::ZERO,
            interval: Duration::from_secs(24 * 60 * 60),
            window: None,
            pace: Pace::UNBOUNDED,
        };
        let (_rules, rules) = watch::channel(Rules::default());
        let collecting = tokio::spawn(collect(two.clone(), (settings, rules), clock));
        let passes = async |minutes: u32| {
            for _ in 0..minutes * 6 {
                hand.advance(Duration::from_secs(10));
                sleep(Duration::from_secs(10)).await;
            }
        };
        passes(10).await;
        assert_eq!(two.since_completed(&owner, Work::Collection).await, None);
        held.die();
        passes(4).await;
        let first = two.since_completed(&owner, Work::Collection).await.unwrap();
        assert!(first < Duration::from_secs(4 * 60), "{first:?}");
        // The next pass of any replica is due a day after the last one.
        passes(60).await;
        let age = two.since_completed(&owner, Work::Collection).await.unwrap();
        assert_eq!(age, first + Duration::from_secs(60 * 60));
        collecting.abort();
    }

    #[test]
    fn a_window_without_progress_is_noticed_from_the_second_on() {
        let mut windows = Windows::default();
        let positions = [None, None, Some(1), Some(1), Some(1), Some(2)];
        assert_eq!(
            positions.map(|position| windows.ended_without_progress(position)),
            [false, true, false, true, true, false]
        );
    }
}

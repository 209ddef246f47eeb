//! Where keys wait to be used. A source fills its [`Slot`]; verification asks [`Authorities`] for a [`Held`] snapshot and reads it
//! without a lock. Sources are never united: the first listed one that has keys within its staleness bound counts.

use crate::clock::Timestamp;
use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names one state of one source. Never used twice in a process, so another source taking over is another generation too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation(u64);

impl Generation {
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// What one source last said. Immutable.
#[derive(Debug)]
pub struct Held<T> {
    pub keys: T,
    pub generation: Generation,
    /// The source's name for logs: `file prod.bundle.json`, `https://issuer.example.org`.
    pub source: Arc<str>,
    pub as_of: Timestamp,
    /// The staleness bound: from then on these keys count for nothing. [`Timestamp::MAX`] for files.
    pub usable_until: Timestamp,
}

/// One source's place among a trust domain's or an issuer's sources. Written by the source only.
#[derive(Debug)]
pub struct Slot<T> {
    source: Arc<str>,
    held: ArcSwapOption<Held<T>>,
    failure: ArcSwapOption<String>,
}

impl<T> Slot<T> {
    #[must_use]
    pub fn new(source: impl Into<Arc<str>>) -> Arc<Self> {
        Arc::new(Self { source: source.into(), held: ArcSwapOption::empty(), failure: ArcSwapOption::empty() })
    }

    #[must_use]
    pub fn source(&self) -> &Arc<str> {
        &self.source
    }

    /// Puts a good answer in place. An empty one is an answer too: it revokes.
    pub fn publish(&self, keys: T, as_of: Timestamp, usable_until: Timestamp) {
        let held = Held { keys, generation: Generation::next(), source: self.source.clone(), as_of, usable_until };
        self.held.store(Some(Arc::new(held)));
        self.failure.store(None);
    }

    /// The same keys were confirmed: they live longer, under the same generation.
    pub fn confirm(&self, as_of: Timestamp, usable_until: Timestamp)
    where
        T: Clone,
    {
        if let Some(held) = self.held.load_full() {
            let Held { keys, generation, source, .. } = &*held;
            let held = Held { keys: keys.clone(), generation: *generation, source: source.clone(), as_of, usable_until };
            self.held.store(Some(Arc::new(held)));
        }
        self.failure.store(None);
    }

    /// Notes why the last attempt failed. What is held stays.
    pub fn fail(&self, why: impl Into<String>) {
        self.failure.store(Some(Arc::new(why.into())));
    }

    #[must_use]
    pub fn held(&self) -> Option<Arc<Held<T>>> {
        self.held.load_full()
    }
}

/// Asks a source that is fetched on demand (OIDC discovery, `jwksURL`) to fetch. Implemented by `source`.
pub trait Refetch: Send + Sync {
    /// Returns when a fetch that began at or after this call has ended, or at once if the source's limits forbid one now.
    /// Calls are merged: many waiters, one fetch. The outcome is in the slot.
    fn refetch(&self) -> BoxFuture<'_, ()>;
}

/// A trust domain's sources for one kind of key, or an issuer's, in order of preference.
pub struct Authorities<T> {
    slots: Vec<Arc<Slot<T>>>,
    refetch: Option<Arc<dyn Refetch>>,
}

impl<T> Authorities<T> {
    #[must_use]
    pub fn new(slots: Vec<Arc<Slot<T>>>) -> Self {
        Self { slots, refetch: None }
    }

    #[must_use]
    pub fn with_refetch(slots: Vec<Arc<Slot<T>>>, refetch: Arc<dyn Refetch>) -> Self {
        Self { slots, refetch: Some(refetch) }
    }

    /// The keys that count now.
    pub fn view(&self, now: Timestamp) -> Result<Arc<Held<T>>, NoKeys> {
        let fresh = |slot: &Arc<Slot<T>>| slot.held().filter(|held| now < held.usable_until);
        self.slots.iter().find_map(fresh).ok_or_else(|| NoKeys { why: self.slots.iter().map(|slot| slot.state(now)).collect() })
    }

    /// The generation that counts now, to compare with one that vouched earlier.
    #[must_use]
    pub fn generation(&self, now: Timestamp) -> Option<Generation> {
        self.view(now).ok().map(|held| held.generation)
    }

    /// Waits for a fetch if the source can be asked. Says whether it could.
    pub async fn refetch(&self) -> bool {
        match &self.refetch {
            Some(source) => {
                source.refetch().await;
                true
            }
            None => false,
        }
    }
}

impl<T> Slot<T> {
    fn state(&self, now: Timestamp) -> String {
        let failure = self.failure.load_full().map_or_else(String::new, |why| format!(" ({why})"));
        match self.held() {
            Some(held) if held.usable_until <= now => format!("{}: stale since {}{failure}", self.source, held.usable_until),
            Some(_) => format!("{}: has keys", self.source),
            None => format!("{}: never answered{failure}", self.source),
        }
    }
}

impl<T> fmt::Debug for Authorities<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.slots.iter().map(|slot| &slot.source)).finish()
    }
}

/// No source has keys that may be used now: nothing can be decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no usable keys: {}", why.join("; "))]
pub struct NoKeys {
    why: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn the_first_fresh_source_counts_and_sources_are_never_united() {
        let (first, second) = (Slot::new("first"), Slot::new("second"));
        let all = Authorities::new(vec![first.clone(), second.clone()]);
        assert_eq!(all.view(at(0)).unwrap_err().to_string(), "no usable keys: first: never answered; second: never answered");
        second.publish(vec![2], at(0), Timestamp::MAX);
        let from_second = all.generation(at(1));
        first.publish(vec![1], at(1), at(10));
        assert_eq!(all.view(at(2)).unwrap().keys, [1]);
        assert_ne!(all.generation(at(2)), from_second);
        assert_eq!(all.generation(at(10)), from_second, "past its staleness bound the next source takes over");
    }

    #[test]
    fn an_empty_answer_does_not_fall_through() {
        let (first, second) = (Slot::new("first"), Slot::new("second"));
        first.publish(vec![], at(0), Timestamp::MAX);
        second.publish(vec![2], at(0), Timestamp::MAX);
        assert!(Authorities::new(vec![first, second]).view(at(1)).unwrap().keys.is_empty());
    }

    #[test]
    fn a_failure_keeps_what_is_held_and_confirming_keeps_the_generation() {
        let slot = Slot::new("one");
        slot.publish(vec![1], at(0), at(10));
        let all = Authorities::new(vec![slot.clone()]);
        let before = all.generation(at(1));
        slot.fail("connection refused");
        assert_eq!(all.generation(at(1)), before);
        assert_eq!(all.view(at(10)).unwrap_err().to_string(), "no usable keys: one: stale since 1970-01-01T00:00:10Z (connection refused)");
        slot.confirm(at(9), at(20));
        assert_eq!(all.generation(at(15)), before);
    }
}

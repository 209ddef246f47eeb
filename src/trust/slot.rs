//! Where a source publishes its keys. A source fills its [`Slot`], and verification reads the [`Held`]
//! snapshot in it without a lock. The slot also has the source's status, which is only shown.

use super::generation::Generation;
use super::keys::Keys;
use super::skipped::Skipped;
use super::status::{SourceKind, Status};
use crate::clock::Timestamp;
use arc_swap::ArcSwapOption;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The last keys of one source. Immutable.
#[derive(Debug)]
pub struct Held<T> {
    pub keys: T,
    pub generation: Generation,
    /// The source's name for logs: `file prod.bundle.json`, `https://issuer.example.org`.
    pub source: Arc<str>,
    pub as_of: Timestamp,
    /// The staleness bound: from then on these keys are not used. [`Timestamp::MAX`] for files.
    pub usable_until: Timestamp,
}

/// One source's place among the sources of a trust domain or an issuer. Only the source writes it.
#[derive(Debug)]
pub struct Slot<T> {
    source: Arc<str>,
    kind: SourceKind,
    held: ArcSwapOption<Held<T>>,
    history: Mutex<History>,
}

/// The history of the source, which is only shown.
#[derive(Clone, Debug, Default)]
struct History {
    attempts: u64,
    failures: u64,
    last_error: Option<String>,
    next_refresh: Option<Timestamp>,
    sequence: Option<u64>,
    skipped: Vec<Skipped>,
    from_disk: bool,
}

impl<T> Slot<T> {
    /// A slot for text in the configuration.
    #[must_use]
    pub fn new(source: impl Into<Arc<str>>) -> Arc<Self> {
        Self::of(SourceKind::Inline, source)
    }

    #[must_use]
    pub fn of(kind: SourceKind, source: impl Into<Arc<str>>) -> Arc<Self> {
        Arc::new(Self {
            source: source.into(),
            kind,
            held: ArcSwapOption::empty(),
            history: Mutex::default(),
        })
    }

    #[must_use]
    pub fn source(&self) -> &Arc<str> {
        &self.source
    }

    /// Publishes valid keys. An empty set is valid too, and revokes all earlier keys.
    pub fn publish(&self, keys: T, as_of: Timestamp, usable_until: Timestamp) {
        let held = Held {
            keys,
            generation: Generation::next(),
            source: self.source.clone(),
            as_of,
            usable_until,
        };
        self.held.store(Some(Arc::new(held)));
        self.succeeded();
    }

    /// Records that the same keys are still valid. They keep their generation and get a later staleness
    /// bound.
    pub fn confirm(&self, as_of: Timestamp, usable_until: Timestamp)
    where
        T: Clone,
    {
        if let Some(held) = self.held.load_full() {
            let Held {
                keys,
                generation,
                source,
                ..
            } = &*held;
            let held = Held {
                keys: keys.clone(),
                generation: *generation,
                source: source.clone(),
                as_of,
                usable_until,
            };
            self.held.store(Some(Arc::new(held)));
        }
        self.succeeded();
    }

    /// Publishes the copy on disk, because the source does not answer. This is not counted as an attempt.
    pub fn recall(&self, keys: T, as_of: Timestamp, usable_until: Timestamp) {
        let held = Held {
            keys,
            generation: Generation::next(),
            source: self.source.clone(),
            as_of,
            usable_until,
        };
        self.held.store(Some(Arc::new(held)));
        self.history().from_disk = true;
    }

    /// Records why the last attempt failed. The current keys stay.
    pub fn fail(&self, why: impl Into<String>) {
        let mut history = self.history();
        history.attempts += 1;
        history.failures += 1;
        history.last_error = Some(why.into());
    }

    /// Records that the source can be read but has no keys of this kind.
    pub(super) fn says_nothing(&self) {
        self.history().last_error = None;
    }

    /// Records what came with the current keys.
    pub fn annotate(&self, sequence: Option<u64>, skipped: Vec<Skipped>) {
        let mut history = self.history();
        (history.sequence, history.skipped) = (sequence, skipped);
    }

    /// Records when the source will fetch again.
    pub fn plan(&self, next_refresh: Timestamp) {
        self.history().next_refresh = Some(next_refresh);
    }

    #[must_use]
    pub fn held(&self) -> Option<Arc<Held<T>>> {
        self.held.load_full()
    }

    /// Returns why the latest attempt to get keys failed, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.history()
            .last_error
            .as_ref()
            .map(|why| format!("{}: {why}", self.source))
    }

    /// Returns one line that explains why there are no keys.
    pub(super) fn state(&self, now: Timestamp) -> String {
        let failure = self
            .history()
            .last_error
            .clone()
            .map_or_else(String::new, |why| format!(" ({why})"));
        match self.held() {
            Some(held) if held.usable_until <= now => {
                format!("{}: stale since {}{failure}", self.source, held.usable_until)
            }
            Some(_) => format!("{}: has keys", self.source),
            None if self.history().attempts == 0 => format!("{}: no answer yet", self.source),
            None => format!("{}: never answered{failure}", self.source),
        }
    }

    fn succeeded(&self) {
        let mut history = self.history();
        history.attempts += 1;
        (history.last_error, history.from_disk) = (None, false);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Keys> Slot<T> {
    /// Returns the status of the source.
    #[must_use]
    pub fn status(&self) -> Status {
        let History {
            attempts,
            failures,
            last_error,
            next_refresh,
            sequence,
            skipped,
            from_disk,
        } = self.history().clone();
        let held = self.held();
        Status {
            source: self.source.clone(),
            kind: self.kind,
            keys: held.as_ref().map_or_else(Vec::new, |held| held.keys.describe()),
            generation: held.as_ref().map(|held| held.generation),
            as_of: held.as_ref().map(|held| held.as_of),
            usable_until: held.as_ref().map(|held| held.usable_until),
            sequence,
            next_refresh,
            attempts,
            failures,
            last_error,
            skipped,
            from_disk,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Authorities;
    use crate::trust::jwks::{self, UseRule};
    use crate::trust::source::testing::jwk_set;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn a_failure_keeps_the_keys_and_confirming_keeps_the_generation() {
        let slot = Slot::new("one");
        slot.publish(vec![1], at(0), at(10));
        let all = Authorities::new(vec![slot.clone()]);
        let before = all.generation(at(1));
        slot.fail("connection refused");
        assert_eq!(all.generation(at(1)), before);
        assert_eq!(
            all.view(at(10)).unwrap_err().to_string(),
            "no usable keys: one: stale since 1970-01-01T00:00:10Z (connection refused)"
        );
        slot.confirm(at(9), at(20));
        assert_eq!(all.generation(at(15)), before);
    }

    #[test]
    fn the_status_shows_the_history_of_the_source() {
        let slot = Slot::of(SourceKind::Federation, "https://prod.example.org/bundle");
        slot.fail("connection refused");
        slot.plan(at(60));
        let status = slot.status();
        assert_eq!(
            (status.attempts, status.failures, status.last_error.as_deref()),
            (1, 1, Some("connection refused"))
        );
        assert_eq!(
            (
                status.as_of,
                status.usable_until,
                status.next_refresh,
                status.keys.len()
            ),
            (None, None, Some(at(60)), 0)
        );

        let keys = jwks::parse(&jwk_set(&["k1"]), UseRule::Ignored).unwrap().value;
        slot.recall(keys.clone(), at(5), at(50));
        let status = slot.status();
        assert!(
            status.from_disk && status.last_error.is_some(),
            "using the copy on disk is not a success"
        );
        let skipped = Skipped::new("keys[1]", "expected kty");
        slot.publish(keys, at(61), at(161));
        slot.annotate(Some(7), vec![skipped.clone()]);
        let status = slot.status();
        assert_eq!(
            (&*status.source, status.kind),
            ("https://prod.example.org/bundle", SourceKind::Federation)
        );
        assert_eq!(
            (
                status.attempts,
                status.failures,
                status.last_error,
                status.from_disk
            ),
            (2, 1, None, false)
        );
        assert_eq!((status.as_of, status.usable_until), (Some(at(61)), Some(at(161))));
        assert_eq!((status.sequence, status.skipped), (Some(7), vec![skipped]));
        assert_eq!(
            (status.keys[0].id.as_deref(), &*status.keys[0].algorithms),
            (Some("k1"), &["ES256"][..])
        );
    }
}

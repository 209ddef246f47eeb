//! The objects that were read last, by the keys of their records. The store is asked whether an object still
//! has its entity tag. Only a client's read may be answered from here without asking, and only for seconds.

use super::super::objects::Object;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use wharfinger_base::recent::Recent;

/// The most bytes of keys and objects.
const MOST: usize = 32 << 20;
/// The estimated memory of an entry beside its key and its object.
const OVERHEAD: usize = 256;
/// How long a client's read may be answered without asking the store.
const FRESH: Duration = Duration::from_secs(3);
/// Keys with the same remainder share a counter of changes.
const COUNTERS: usize = 256;

pub(super) struct Seen {
    state: Mutex<State>,
    hasher: RandomState,
}

struct State {
    objects: Recent<String, Entry>,
    /// How often this process changed a record, by the hash of its key.
    changes: [u64; COUNTERS],
}

#[derive(Clone)]
struct Entry {
    object: Arc<Object>,
    /// When the request began to which the store answered that this is its state.
    asked: Instant,
}

/// The beginning of a read. If a change of the record ends before the read does, the read may return an older
/// state, which must not be kept.
pub(super) struct Look {
    asked: Instant,
    changes: u64,
}

/// A change of a record. However it ends, and even if its caller goes away, the state before it is forgotten.
pub(super) struct Changing<'a> {
    seen: &'a Seen,
    key: &'a str,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let counter = self.seen.counter(self.key);
        let mut state = self.seen.state();
        if let Some(changes) = state.changes.get_mut(counter) {
            *changes += 1;
        }
        state.objects.remove(self.key);
    }
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                objects: Recent::new(MOST),
                changes: [0; COUNTERS],
            }),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.state().objects.get(key).map(|entry| entry.object)
    }

    /// The object, if the store had it in this state a few seconds ago.
    pub(super) fn get_fresh(&self, key: &str) -> Option<Arc<Object>> {
        let entry = self.state().objects.get(key)?;
        (entry.asked.elapsed() < FRESH).then_some(entry.object)
    }

    pub(super) fn look(&self, key: &str) -> Look {
        let counter = self.counter(key);
        Look {
            changes: self.state().changes.get(counter).copied().unwrap_or_default(),
            asked: Instant::now(),
        }
    }

    pub(super) fn keep(&self, key: &str, object: Arc<Object>, look: &Look) {
        let weight = key.len() + object.bytes.len() + OVERHEAD;
        let counter = self.counter(key);
        let mut state = self.state();
        if state.changes.get(counter) == Some(&look.changes) {
            let entry = Entry {
                object,
                asked: look.asked,
            };
            state.objects.put(key.to_owned(), entry, weight);
        }
    }

    pub(super) const fn changing<'a>(&'a self, key: &'a str) -> Changing<'a> {
        Changing { seen: self, key }
    }

    pub(super) fn forget(&self, key: &str) {
        self.state().objects.remove(key);
    }

    fn counter(&self, key: &str) -> usize {
        usize::try_from(self.hasher.hash_one(key) % COUNTERS as u64).unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seen")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use wharfinger_base::clock::Timestamp;

    fn object(tag: &str) -> Arc<Object> {
        Arc::new(Object {
            tag: tag.into(),
            bytes: Bytes::new(),
            written: Timestamp::from_secs(1),
        })
    }

    fn tags(seen: &Seen) -> [Option<String>; 2] {
        [seen.get("k"), seen.get_fresh("k")].map(|found| found.map(|object| object.tag.to_string()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_is_fresh_for_seconds_after_the_request_began() {
        let seen = Seen::new();
        let look = seen.look("k");
        tokio::time::advance(FRESH / 2).await;
        seen.keep("k", object("1"), &look);
        assert_eq!(tags(&seen), [Some("1".to_owned()), Some("1".to_owned())]);
        tokio::time::advance(FRESH / 2).await;
        assert_eq!(tags(&seen), [Some("1".to_owned()), None]);
        seen.keep("k", object("1"), &seen.look("k"));
        assert_eq!(tags(&seen), [Some("1".to_owned()), Some("1".to_owned())]);
        seen.forget("k");
        assert_eq!(tags(&seen), [None, None]);
    }

    #[tokio::test]
    async fn a_read_that_began_before_a_change_does_not_bring_the_old_state_back() {
        let seen = Seen::new();
        seen.keep("k", object("1"), &seen.look("k"));
        let look = seen.look("k");
        drop(seen.changing("k"));
        assert_eq!(tags(&seen), [None, None]);
        seen.keep("k", object("1"), &look);
        assert_eq!(tags(&seen), [None, None]);
        seen.keep("k", object("2"), &seen.look("k"));
        assert_eq!(tags(&seen), [Some("2".to_owned()), Some("2".to_owned())]);
    }
}

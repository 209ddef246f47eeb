//! Records in memory. The process owns the store, and the cache stands between its readers and its one
//! writer, so it never serves stale records. Before a change is committed, the record leaves the cache, and
//! readers cannot put it back until the commit is over. Then the writer puts the new state in. Meanwhile
//! readers see the table.

use super::{Failure, Record};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wharfinger_base::recent::Recent;

/// How many parts the cache has, each with its own lock.
const SHARDS: usize = 16;
/// The most bytes of keys and values in the whole cache.
const MOST: usize = 32 << 20;
/// Larger values are not cached.
const LARGEST: usize = 512 << 10;
/// The estimated memory of an entry beside its key and its value.
const OVERHEAD: usize = 128;

pub(super) struct Cache {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

struct Shard {
    records: Recent<String, Record>,
    /// The keys that are being committed.
    changing: HashSet<String>,
    /// How many times a key was added to or removed from `changing`.
    changes: u64,
}

impl Default for Cache {
    fn default() -> Self {
        let shard = |_| Shard {
            records: Recent::new(MOST / SHARDS),
            changing: HashSet::new(),
            changes: 0,
        };
        Self {
            shards: std::array::from_fn(|index| Mutex::new(shard(index))),
            hasher: RandomState::new(),
        }
    }
}

impl Cache {
    /// Returns the record, and calls `read` if it is not cached.
    pub(super) fn get(
        &self,
        key: &str,
        read: impl FnOnce() -> Result<Option<Record>, Failure>,
    ) -> Result<Option<Record>, Failure> {
        let changes = {
            let mut shard = self.shard(key);
            if let Some(record) = shard.records.get(key) {
                return Ok(Some(record));
            }
            shard.changes
        };
        let found = read()?;
        if let Some(record) = &found
            && record.value.len() <= LARGEST
        {
            let mut shard = self.shard(key);
            // The record may be older than a commit that began or ended meanwhile.
            if shard.changes == changes && !shard.changing.contains(key) {
                shard.records.put(
                    key.to_owned(),
                    record.clone(),
                    key.len() + record.value.len() + OVERHEAD,
                );
            }
        }
        Ok(found)
    }

    /// Runs `commit`, which may change only these records.
    pub(super) fn change<'a, T>(
        &self,
        keys: impl Iterator<Item = &'a str> + Clone,
        commit: impl FnOnce() -> T,
    ) -> T {
        for key in keys.clone() {
            let mut shard = self.shard(key);
            shard.records.remove(key);
            shard.changes += 1;
            shard.changing.insert(key.to_owned());
        }
        let done = commit();
        for key in keys {
            let mut shard = self.shard(key);
            shard.changes += 1;
            shard.changing.remove(key);
        }
        done
    }

    /// Caches a record that was just committed. Only the writer calls this, before it changes anything else.
    pub(super) fn put(&self, key: &str, record: Record) {
        if record.value.len() <= LARGEST {
            let weight = key.len() + record.value.len() + OVERHEAD;
            self.shard(key).records.put(key.to_owned(), record, weight);
        }
    }

    /// Removes a record: one that was put and then deleted in the same commit, or one whose stored state is
    /// being checked.
    pub(super) fn forget(&self, key: &str) {
        self.shard(key).records.remove(key);
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        #[expect(
            clippy::indexing_slicing,
            reason = "the remainder is smaller than the number of shards"
        )]
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::Number;
    use bytes::Bytes;
    use std::cell::Cell;
    use wharfinger_base::clock::Timestamp;

    fn record(version: i64) -> Record {
        Record {
            version: Number(version).into(),
            value: Bytes::from(vec![0; 10]),
            written: Timestamp::from_secs(0),
        }
    }

    /// What the cache returns for "k" when the table has `version`, and whether it read the table.
    fn get(cache: &Cache, version: i64) -> (i64, bool) {
        let asked = Cell::new(false);
        let found = cache.get("k", || {
            asked.set(true);
            Ok(Some(record(version)))
        });
        (
            Number::of(&found.unwrap().unwrap().version).unwrap().0,
            asked.get(),
        )
    }

    #[test]
    fn a_record_is_read_once() {
        let cache = Cache::default();
        assert_eq!(get(&cache, 1), (1, true));
        assert_eq!(get(&cache, 2), (1, false));
        assert_eq!(cache.get("other", || Ok(None)).unwrap(), None);
        assert_eq!(
            cache.get("other", || Ok(Some(record(3)))).unwrap(),
            Some(record(3)),
            "a missing record is not cached"
        );
    }

    #[test]
    fn while_a_record_changes_readers_see_the_table_and_once_more_afterwards() {
        let cache = Cache::default();
        get(&cache, 1);
        cache.change(["k"].into_iter(), || {
            assert_eq!(get(&cache, 1), (1, true), "not committed yet");
            assert_eq!(get(&cache, 2), (2, true), "committed, and not yet acknowledged");
        });
        assert_eq!(get(&cache, 2), (2, true));
        assert_eq!(get(&cache, 3), (2, false));
    }

    #[test]
    fn a_record_read_before_a_commit_is_not_cached_after_it() {
        let cache = Cache::default();
        let old = cache.get("k", || {
            cache.change(["k", "k"].into_iter(), || ());
            Ok(Some(record(1)))
        });
        assert_eq!(old.unwrap(), Some(record(1)));
        assert_eq!(get(&cache, 2), (2, true));
    }

    #[test]
    fn a_record_read_before_a_commit_is_not_cached_while_it_runs() {
        let cache = Cache::default();
        cache.change(["k"].into_iter(), || {
            assert_eq!(get(&cache, 1), (1, true));
            assert_eq!(get(&cache, 2), (2, true));
        });
    }

    #[test]
    fn a_committed_record_is_not_read_again() {
        let cache = Cache::default();
        cache.change(["k"].into_iter(), || ());
        cache.put("k", record(2));
        assert_eq!(get(&cache, 3), (2, false));
        // A reader from before the commit does not put the old record back.
        let old = cache.get("other", || {
            cache.change(["other"].into_iter(), || ());
            cache.put("other", record(5));
            Ok(Some(record(4)))
        });
        assert_eq!(old.unwrap(), Some(record(4)));
        assert_eq!(cache.get("other", || Ok(None)).unwrap(), Some(record(5)));
        cache.forget("k");
        assert_eq!(get(&cache, 3), (3, true));
    }

    #[test]
    fn large_values_are_not_cached() {
        let cache = Cache::default();
        cache.put(
            "k",
            Record {
                value: Bytes::from(vec![0; LARGEST + 1]),
                ..record(1)
            },
        );
        let large = || {
            Ok(Some(Record {
                value: Bytes::from(vec![0; LARGEST + 1]),
                ..record(1)
            }))
        };
        assert!(cache.get("k", large).unwrap().is_some());
        assert_eq!(get(&cache, 2), (2, true));
    }
}

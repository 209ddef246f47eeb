//! A cache with bounded weight: it drops entries that were not used recently.
//!
//! It has two generations. Entries that are added or used go into the young one. When that weighs half of the
//! limit, it becomes the old one, and the entries left in the previous old one are dropped. So each operation
//! costs the same for any number of entries, and entries in use stay.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Entries that were recently added or used. The values are cheap to clone.
#[derive(Debug)]
pub struct Recent<K, V> {
    young: HashMap<K, Weighted<V>>,
    old: HashMap<K, Weighted<V>>,
    /// The weight of the young generation.
    weight: usize,
    most: usize,
}

#[derive(Debug)]
struct Weighted<V> {
    value: V,
    weight: usize,
}

impl<K: Hash + Eq, V: Clone> Recent<K, V> {
    /// All entries together weigh at most `most`, in the unit of [`Recent::put`].
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            weight: 0,
            most,
        }
    }

    pub fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if let Some(found) = self.young.get(key) {
            return Some(found.value.clone());
        }
        let (key, found) = self.old.remove_entry(key)?;
        let value = found.value.clone();
        self.put(key, found.value, found.weight);
        Some(value)
    }

    /// Adds an entry, unless it weighs more than half of the limit.
    pub fn put(&mut self, key: K, value: V, weight: usize) {
        self.remove(&key);
        let most = self.most / 2;
        if weight > most {
            return;
        }
        if self.weight + weight > most {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += weight;
        self.young.insert(key, Weighted { value, weight });
    }

    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some(removed) = self.young.remove(key) {
            self.weight -= removed.weight;
        }
        self.old.remove(key);
    }

    /// Removes the entries whose keys are not `wanted`. Looks at all entries.
    pub fn retain(&mut self, wanted: impl Fn(&K) -> bool) {
        self.young.retain(|key, _| wanted(key));
        self.old.retain(|key, _| wanted(key));
        self.weight = self.young.values().map(|kept| kept.weight).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_stays_within_the_limit() {
        let mut recent = Recent::new(100);
        for key in 0..1000 {
            recent.put(key, key, 1 + key % 7);
            let weight =
                |map: &HashMap<usize, Weighted<usize>>| map.values().map(|found| found.weight).sum::<usize>();
            assert_eq!(recent.weight, weight(&recent.young));
            assert!(weight(&recent.young) + weight(&recent.old) <= 100);
        }
        recent.put(0, 0, 51);
        assert_eq!(recent.get(&0), None, "too heavy");
    }

    #[test]
    fn unwanted_entries_are_removed_with_their_weight() {
        let mut recent = Recent::new(10);
        for key in 0..8 {
            recent.put(key, key, 1);
        }
        recent.retain(|key| key % 2 == 0);
        assert_eq!(
            (0..8).filter_map(|key| recent.get(&key)).collect::<Vec<_>>(),
            [0, 2, 4, 6]
        );
        assert_eq!(recent.weight, recent.young.len());
    }

    #[test]
    fn used_entries_stay_and_others_are_dropped() {
        let mut recent = Recent::new(10);
        recent.put("kept", 1, 1);
        recent.put("forgotten", 2, 1);
        for key in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"] {
            assert_eq!(recent.get("kept"), Some(1));
            recent.put(key, 0, 1);
        }
        assert_eq!(recent.get("forgotten"), None);
    }

    #[test]
    fn a_later_value_replaces_an_earlier_one_and_a_removed_one_is_gone() {
        let mut recent = Recent::new(10);
        recent.put("k", 1, 2);
        recent.put("k", 2, 3);
        assert_eq!((recent.get("k"), recent.weight), (Some(2), 3));
        recent.put("other", 0, 5); // makes "k" old
        recent.remove("k");
        assert_eq!((recent.get("k"), recent.get("other")), (None, Some(0)));
        recent.remove("other");
        assert_eq!(recent.weight, 0);
    }
}

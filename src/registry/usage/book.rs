//! The counters, the reservations of pushes, and the quotas that both count towards.

use super::super::states::usage::{Change, Difference, Part, UsageRecord};
use super::census::Census;
use super::exceeded::QuotaExceeded;
use super::standing::Standing;
use crate::oci::{Digest, RepositoryName};
use std::collections::{HashMap, HashSet};

#[derive(Debug)]
pub(super) struct Book {
    quotas: Vec<Standing>,
    /// Whether the counters were read or counted. Until then the quotas allow everything.
    is_known: bool,
    /// The whole store. A blob counts once.
    store: Counter,
    /// A blob counts in each repository that has it.
    repositories: HashMap<RepositoryName, Counter>,
    reserved: HashMap<Item, Reservation>,
}

#[derive(Debug)]
struct Counter {
    record: UsageRecord,
    /// What this process has added since it last wrote the counter.
    added: Difference,
    /// The sum of all changes since the current count of everything began.
    moved: u64,
    /// Whether it differs from the record in the store.
    is_new: bool,
    /// The places of the quotas that it counts towards.
    quotas: Vec<usize>,
}

/// A counter that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) struct Taken {
    /// `None` is the store.
    pub repository: Option<RepositoryName>,
    pub record: UsageRecord,
    /// What this process has added since it last wrote the counter.
    pub added: Difference,
}

/// What a push is about to add. Two pushes of the same content need room for it only once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Item {
    /// A blob in a repository.
    Link(RepositoryName, Digest),
    /// A blob in the store.
    Blob(Digest),
    Manifest(RepositoryName, Digest),
}

#[derive(Debug)]
struct Reservation {
    /// How many pushes hold it.
    holders: usize,
    /// 0 once the item is counted as used.
    bytes: u64,
    quotas: Vec<usize>,
}

/// Why there is no room.
#[derive(Debug)]
pub(super) enum Refused {
    Exceeded(QuotaExceeded),
    /// Other pushes have reserved it. They may need less, or fail.
    ByReservations,
}

/// What a push of a blob adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) struct Adds {
    /// The repository does not have it.
    pub to_repository: bool,
    /// The store does not have it.
    pub to_store: bool,
}

impl Adds {
    /// The digest is not known yet.
    pub(in crate::registry) const PERHAPS: Self = Self {
        to_repository: true,
        to_store: true,
    };
    pub(in crate::registry) const NOTHING: Self = Self {
        to_repository: false,
        to_store: false,
    };
}

impl Counter {
    const fn new(quotas: Vec<usize>) -> Self {
        Self {
            record: UsageRecord::EMPTY,
            added: Difference::between(&UsageRecord::EMPTY, &UsageRecord::EMPTY),
            moved: 0,
            is_new: false,
            quotas,
        }
    }

    fn change(&mut self, part: Part, bytes: u64, change: Change) {
        let difference = change.of(part, bytes);
        self.record = self.record.plus(difference);
        self.added = self.added.and(difference);
        self.moved = self.moved.saturating_add(bytes);
        self.is_new = true;
    }

    /// It is regarded as written from now on.
    fn take(&mut self, repository: Option<&RepositoryName>) -> Taken {
        self.is_new = false;
        Taken {
            repository: repository.cloned(),
            record: self.record.clone(),
            added: std::mem::take(&mut self.added),
        }
    }

    /// Corrects the counter of a shared store by a count. Returns what must be added to the stored one.
    fn corrected(&mut self, counted: &UsageRecord, was_known: bool) -> Option<Taken> {
        if !self.is_corrected_by(counted, was_known) || self.record == *counted {
            return None;
        }
        let added = Difference::between(&self.record, counted);
        self.record = counted.clone();
        Some(Taken {
            repository: None,
            record: counted.clone(),
            added,
        })
    }

    /// Another process may have changed the stored counter.
    fn learn(&mut self, stored: &UsageRecord) {
        let record = stored.plus(self.added);
        self.moved = self
            .moved
            .saturating_add(record.bytes.abs_diff(self.record.bytes));
        self.record = record;
    }

    /// Whether a count is more likely to be right than the counter. It is unknown which of the changes during
    /// the count it has seen. So a difference that these changes explain does not correct a counter that was
    /// right before.
    const fn is_corrected_by(&self, counted: &UsageRecord, was_known: bool) -> bool {
        if was_known {
            let difference = self.record.bytes.abs_diff(counted.bytes);
            difference > self.moved || self.moved == 0
        } else {
            counted.bytes >= self.record.bytes
        }
    }

    /// Corrects the counter by a count.
    fn correct(&mut self, counted: UsageRecord, was_known: bool) {
        if self.is_corrected_by(&counted, was_known) && self.record != counted {
            self.record = counted;
            self.is_new = true;
        }
    }
}

impl Book {
    pub(super) fn new(quotas: Vec<Standing>) -> Self {
        let of_the_store = quotas.iter().enumerate();
        let of_the_store = of_the_store.filter(|(_, quota)| quota.is_of_the_store());
        Self {
            store: Counter::new(of_the_store.map(|(place, _)| place).collect()),
            quotas,
            is_known: false,
            repositories: HashMap::new(),
            reserved: HashMap::new(),
        }
    }

    /// Fails if a quota of the repository or the store is used up.
    pub(super) fn check_begin(&self, repository: &RepositoryName) -> Result<(), QuotaExceeded> {
        let mut used_up = self
            .counting(repository, Adds::PERHAPS)
            .filter(|quota| quota.is_used_up());
        match used_up.next() {
            Some(quota) if self.is_known => Err(quota.exceeded(0)),
            _ => Ok(()),
        }
    }

    /// Fails if a blob of this size would not fit. It reserves nothing.
    pub(super) fn check(
        &self,
        repository: &RepositoryName,
        adds: Adds,
        bytes: u64,
    ) -> Result<(), QuotaExceeded> {
        let mut full = self
            .counting(repository, adds)
            .filter(|quota| !quota.has_room(bytes));
        match full.next() {
            Some(quota) if self.is_known => Err(quota.exceeded(bytes)),
            _ => Ok(()),
        }
    }

    /// The quotas that a blob would count towards.
    fn counting(&self, repository: &RepositoryName, adds: Adds) -> impl Iterator<Item = &Standing> {
        let of_patterns = if adds.to_repository {
            self.matching(repository)
        } else {
            Vec::new()
        };
        let of_the_store: &[usize] = if adds.to_store { &self.store.quotas } else { &[] };
        let places: Vec<_> = of_patterns.iter().chain(of_the_store).copied().collect();
        places.into_iter().filter_map(|place| self.quotas.get(place))
    }

    /// The places of the quotas of patterns that the repository matches.
    fn matching(&self, repository: &RepositoryName) -> Vec<usize> {
        if let Some(counter) = self.repositories.get(repository) {
            return counter.quotas.clone();
        }
        let quotas = self.quotas.iter().enumerate();
        let matching = quotas.filter(|(_, quota)| quota.matches(repository));
        matching.map(|(place, _)| place).collect()
    }

    fn quotas_of(&self, item: &Item) -> Vec<usize> {
        match item {
            Item::Link(repository, _) => self.matching(repository),
            Item::Blob(_) => self.store.quotas.clone(),
            Item::Manifest(repository, _) => {
                let mut quotas = self.matching(repository);
                quotas.extend(&self.store.quotas);
                quotas
            }
        }
    }

    /// Reserves room for all items or for none. An item for which another push has reserved room needs no
    /// more.
    pub(super) fn reserve(&mut self, items: &[Item], bytes: u64) -> Result<(), Refused> {
        let new = items.iter().filter(|item| !self.reserved.contains_key(item));
        let new: Vec<(Item, Vec<usize>)> = new.map(|item| (item.clone(), self.quotas_of(item))).collect();
        // No quota counts two of the items.
        let places = new.iter().flat_map(|(_, quotas)| quotas);
        let counting = || places.clone().filter_map(|place| self.quotas.get(*place));
        if self.is_known {
            if let Some(full) = counting().find(|quota| !quota.has_room(bytes)) {
                return Err(Refused::Exceeded(full.exceeded(bytes)));
            }
            if counting().any(|quota| !quota.has_room_beside_others(bytes)) {
                return Err(Refused::ByReservations);
            }
        }
        for (item, quotas) in new {
            for place in &quotas {
                if let Some(quota) = self.quotas.get_mut(*place) {
                    quota.reserve(bytes);
                }
            }
            let reservation = Reservation {
                holders: 0,
                bytes,
                quotas,
            };
            self.reserved.insert(item, reservation);
        }
        for item in items {
            if let Some(reservation) = self.reserved.get_mut(item) {
                reservation.holders += 1;
            }
        }
        Ok(())
    }

    pub(super) fn release(&mut self, items: &[Item]) {
        for item in items {
            let Some(reservation) = self.reserved.get_mut(item) else {
                continue;
            };
            reservation.holders = reservation.holders.saturating_sub(1);
            if reservation.holders == 0 {
                self.settle(item);
                self.reserved.remove(item);
            }
        }
    }

    /// Returns the reserved bytes of the item.
    fn settle(&mut self, item: &Item) {
        let Some(reservation) = self.reserved.get_mut(item) else {
            return;
        };
        for place in &reservation.quotas {
            if let Some(quota) = self.quotas.get_mut(*place) {
                quota.release(reservation.bytes);
            }
        }
        reservation.bytes = 0;
    }

    /// The reserved bytes of the item are now used.
    pub(super) fn gained(&mut self, item: &Item, bytes: u64) {
        self.settle(item);
        self.changed(item, bytes, Change::Gain);
    }

    pub(super) fn lost(&mut self, item: &Item, bytes: u64) {
        self.changed(item, bytes, Change::Loss);
    }

    fn changed(&mut self, item: &Item, bytes: u64, change: Change) {
        match item {
            Item::Link(repository, _) => self.change_of(repository, Part::Blob, bytes, change),
            Item::Blob(_) => self.change_of_store(Part::Blob, bytes, change),
            Item::Manifest(repository, _) => {
                self.change_of(repository, Part::Manifest, bytes, change);
                self.change_of_store(Part::Manifest, bytes, change);
            }
        }
    }

    fn change_of(&mut self, repository: &RepositoryName, part: Part, bytes: u64, change: Change) {
        self.adjust(repository, |counter| counter.change(part, bytes, change));
    }

    fn change_of_store(&mut self, part: Part, bytes: u64, change: Change) {
        self.store.change(part, bytes, change);
        self.update_quotas_of_the_store();
    }

    /// Changes a counter, and with it the use of its quotas. `None` is the store.
    fn adjust_any(&mut self, repository: Option<&RepositoryName>, change: impl FnOnce(&mut Counter)) {
        match repository {
            Some(repository) => self.adjust(repository, change),
            None => {
                change(&mut self.store);
                self.update_quotas_of_the_store();
            }
        }
    }

    fn update_quotas_of_the_store(&mut self) {
        for place in &self.store.quotas {
            if let Some(quota) = self.quotas.get_mut(*place) {
                quota.set_used(self.store.record.bytes);
            }
        }
        self.warn();
    }

    /// Changes the counter of a repository, and with it the use of its quotas.
    fn adjust(&mut self, repository: &RepositoryName, change: impl FnOnce(&mut Counter)) {
        if !self.repositories.contains_key(repository) {
            let counter = Counter::new(self.matching(repository));
            self.repositories.insert(repository.clone(), counter);
        }
        let Some(counter) = self.repositories.get_mut(repository) else {
            return;
        };
        let before = counter.record.bytes;
        change(counter);
        let after = counter.record.bytes;
        for place in &counter.quotas {
            if let Some(quota) = self.quotas.get_mut(*place) {
                quota.set_used(quota.used().saturating_add(after).saturating_sub(before));
            }
        }
        self.warn();
    }

    fn warn(&mut self) {
        if self.is_known {
            self.quotas.iter_mut().for_each(Standing::warn);
        }
    }

    /// Begins with the counters that the last process wrote.
    pub(super) fn load(&mut self, store: UsageRecord, repositories: Vec<(RepositoryName, UsageRecord)>) {
        for (repository, record) in repositories {
            self.adjust(&repository, |counter| counter.record = record);
        }
        self.store.record = store;
        self.is_known = true;
        self.update_quotas_of_the_store();
    }

    /// The counters that differ from their records, which are regarded as written from now on. `None` is the
    /// store.
    pub(super) fn take_new(&mut self) -> Vec<Taken> {
        // A start that finds the store's record trusts the others.
        if !self.is_known {
            return Vec::new();
        }
        let changed = self.repositories.iter_mut().filter(|(_, counter)| counter.is_new);
        let taken = changed.map(|(repository, counter)| counter.take(Some(repository)));
        let mut taken: Vec<_> = taken.collect();
        if self.store.is_new {
            taken.push(self.store.take(None));
        }
        self.repositories
            .retain(|_, counter| counter.moved > 0 || !counter.record.is_empty());
        taken
    }

    /// Takes back counters that could not be written.
    pub(super) fn put_back(&mut self, taken: Vec<Taken>) {
        for Taken {
            repository, added, ..
        } in taken
        {
            self.adjust_any(repository.as_ref(), |counter| {
                counter.added = counter.added.and(added);
                counter.is_new = true;
            });
        }
    }

    /// The stored counter, to which other processes add as well. `None` is the store.
    pub(super) fn learn(&mut self, repository: Option<&RepositoryName>, stored: &UsageRecord) {
        self.adjust_any(repository, |counter| counter.learn(stored));
    }

    /// The counters of repositories that have a use, apart from these.
    pub(super) fn in_use_apart_from(&self, listed: &HashSet<RepositoryName>) -> Vec<RepositoryName> {
        let used = self
            .repositories
            .iter()
            .filter(|(_, counter)| !counter.record.is_empty());
        let names = used.map(|(name, _)| name);
        names.filter(|name| !listed.contains(*name)).cloned().collect()
    }

    /// What a count adds to the stored counters. Others write them too, so they are not replaced.
    pub(super) fn corrections(&mut self, census: Census) -> Vec<Taken> {
        let Census {
            mut repositories,
            stored,
        } = census;
        for known in self.repositories.keys() {
            repositories.entry(known.clone()).or_default();
        }
        let was_known = std::mem::replace(&mut self.is_known, true);
        let mut corrections = Vec::new();
        for (repository, counted) in repositories {
            let mut found = None;
            self.adjust(&repository, |counter| {
                found = counter.corrected(&counted, was_known)
            });
            corrections.extend(found.map(|found| Taken {
                repository: Some(repository),
                ..found
            }));
        }
        // The store's record says that the others were counted, so it comes last, and even if it is empty.
        let of_store = self.store.corrected(&stored, was_known);
        self.update_quotas_of_the_store();
        if !was_known || of_store.is_some() {
            corrections.push(of_store.unwrap_or_else(|| self.store.take(None)));
        }
        corrections
    }

    pub(super) const fn is_known(&self) -> bool {
        self.is_known
    }

    /// From now on changes are summed up. Their sum shows whether a count differs by more than they explain.
    pub(super) fn count_begins(&mut self) {
        self.store.moved = 0;
        self.repositories
            .values_mut()
            .for_each(|counter| counter.moved = 0);
    }

    pub(super) fn count_ended(&mut self, census: Census) {
        let Census {
            mut repositories,
            stored,
        } = census;
        let was_known = std::mem::replace(&mut self.is_known, false);
        let known: Vec<_> = self.repositories.keys().cloned().collect();
        for repository in known {
            repositories.entry(repository).or_default();
        }
        for (repository, counted) in repositories {
            self.adjust(&repository, |counter| counter.correct(counted, was_known));
        }
        self.store.correct(stored, was_known);
        // The next start needs this record even if nothing is stored.
        self.store.is_new |= !was_known;
        self.is_known = true;
        self.update_quotas_of_the_store();
    }

    /// Each quota with its use. There are none until the use is known.
    pub(super) fn quotas(&self) -> impl Iterator<Item = &Standing> {
        self.quotas.iter().filter(|_| self.is_known)
    }
}

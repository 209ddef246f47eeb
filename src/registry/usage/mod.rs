//! How many bytes the repositories and the whole store have, and the quotas on them.
//!
//! The counters are in memory, so a request writes nothing for them. Every link, blob and manifest that comes
//! or goes changes them, so they are exact in a process that has the store to itself. A push reserves its
//! bytes before it publishes them, so pushes that end together stay within a quota. [`super::quotas`] reads
//! and writes the records of the counters. A collector counts everything now and then, which corrects them
//! after a process was killed. Processes that share a store add their differences to the stored counters, and
//! learn there what the others have added.

mod book;
mod census;
mod exceeded;
mod standing;
#[cfg(test)]
mod tests;

pub(super) use book::{Adds, Taken};
pub(super) use census::Census;
pub use exceeded::{QuotaExceeded, TOTAL};

use super::states::usage::UsageRecord;
use crate::access::Repositories;
use crate::clock::Timestamp;
use crate::oci::{Digest, RepositoryName};
use book::{Book, Item, Refused};
use standing::Standing;
use std::collections::HashSet;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The most bytes that may be stored. Without any quota nothing is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Of the whole store. A blob counts once, however many repositories have it.
    pub total: Option<u64>,
    pub repositories: Vec<RepositoryQuota>,
}

/// The most bytes of all repositories of a pattern together. A blob counts in each repository that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryQuota {
    pub pattern: String,
    pub repositories: Repositories,
    pub bytes: u64,
}

/// How much of a quota is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaUse {
    /// The repository pattern, or [`TOTAL`].
    pub quota: String,
    pub used: u64,
    pub allowed: u64,
}

/// The counters. All clones share them. Without quotas there are none.
#[derive(Clone, Default)]
pub(super) struct Usage(Option<Arc<Counters>>);

struct Counters {
    book: Mutex<Book>,
    /// Wakes the pushes that wait for the reservations of others.
    released: Notify,
    /// Held while everything is counted, because two counts would disturb each other.
    counting: tokio::sync::Mutex<()>,
    /// Held while counters are written and read.
    exchanging: tokio::sync::Mutex<()>,
    /// Counters of a shared store that were written before this are known.
    known_until: Mutex<Option<Timestamp>>,
    /// A count of a shared store, and when it may correct the counters.
    counted: Mutex<Option<(Census, Instant)>>,
}

/// A count of everything, which continues until it is passed to [`Usage::end_census`].
pub(super) struct Counting<'a> {
    pub(super) census: Census,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

/// Bytes that a push is about to add. They count until this is dropped. By then the push has failed, or its
/// bytes are counted as used.
#[must_use]
pub(super) struct Reserved {
    counters: Arc<Counters>,
    items: Vec<Item>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.counters.book().release(&self.items);
        self.counters.released.notify_waiters();
    }
}

impl Counters {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// If other pushes have reserved the room that is left, this waits until they end. It reserves nothing
    /// meanwhile, so two pushes never wait for each other.
    async fn take_room(&self, items: &[Item], bytes: u64) -> Result<(), QuotaExceeded> {
        loop {
            let mut released = pin!(self.released.notified());
            released.as_mut().enable();
            let reserved = self.book().reserve(items, bytes);
            match reserved {
                Ok(()) => return Ok(()),
                Err(Refused::Exceeded(why)) => return Err(why),
                Err(Refused::ByReservations) => released.await,
            }
        }
    }
}

impl Usage {
    pub(super) fn new(quotas: &Quotas) -> Self {
        let total = quotas.total.map(|bytes| Standing::new(None, bytes));
        let of_patterns = quotas.repositories.iter().map(|quota| {
            let of = (quota.pattern.clone(), quota.repositories.clone());
            Standing::new(Some(of), quota.bytes)
        });
        let standings: Vec<_> = total.into_iter().chain(of_patterns).collect();
        if standings.is_empty() {
            return Self(None);
        }
        Self(Some(Arc::new(Counters {
            book: Mutex::new(Book::new(standings)),
            released: Notify::new(),
            counting: tokio::sync::Mutex::default(),
            exchanging: tokio::sync::Mutex::default(),
            known_until: Mutex::default(),
            counted: Mutex::default(),
        })))
    }

    pub(super) const fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Fails if a quota is used up.
    pub(super) fn check_begin(&self, repository: &RepositoryName) -> Result<(), QuotaExceeded> {
        let Some(counters) = &self.0 else { return Ok(()) };
        counters.book().check_begin(repository)
    }

    /// Fails if a blob of this size would not fit now. It reserves nothing.
    pub(super) fn check(
        &self,
        repository: &RepositoryName,
        adds: Adds,
        bytes: u64,
    ) -> Result<(), QuotaExceeded> {
        let Some(counters) = &self.0 else { return Ok(()) };
        counters.book().check(repository, adds, bytes)
    }

    /// Reserves the bytes of a blob.
    pub(super) async fn reserve_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        adds: Adds,
        bytes: u64,
    ) -> Result<Option<Reserved>, QuotaExceeded> {
        let link = adds
            .to_repository
            .then(|| Item::Link(repository.clone(), digest.clone()));
        let blob = adds.to_store.then(|| Item::Blob(digest.clone()));
        self.reserve(|| link.into_iter().chain(blob).collect(), bytes)
            .await
    }

    pub(super) async fn reserve_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        bytes: usize,
    ) -> Result<Option<Reserved>, QuotaExceeded> {
        let item = || vec![Item::Manifest(repository.clone(), digest.clone())];
        self.reserve(item, bytes as u64).await
    }

    async fn reserve(
        &self,
        items: impl FnOnce() -> Vec<Item>,
        bytes: u64,
    ) -> Result<Option<Reserved>, QuotaExceeded> {
        let Some(counters) = &self.0 else { return Ok(None) };
        let items = items();
        // The future of a push is no larger for what quotas need.
        Box::pin(counters.take_room(&items, bytes)).await?;
        Ok(Some(Reserved {
            counters: counters.clone(),
            items,
        }))
    }

    /// The repository now has this blob.
    pub(super) fn gained_link(&self, repository: &RepositoryName, digest: &Digest, bytes: u64) {
        self.change(|book| book.gained(&Item::Link(repository.clone(), digest.clone()), bytes));
    }

    pub(super) fn lost_link(&self, repository: &RepositoryName, digest: &Digest, bytes: u64) {
        self.change(|book| book.lost(&Item::Link(repository.clone(), digest.clone()), bytes));
    }

    /// The store now has this blob.
    pub(super) fn gained_blob(&self, digest: &Digest, bytes: u64) {
        self.change(|book| book.gained(&Item::Blob(digest.clone()), bytes));
    }

    pub(super) fn lost_blob(&self, digest: &Digest, bytes: u64) {
        self.change(|book| book.lost(&Item::Blob(digest.clone()), bytes));
    }

    pub(super) fn gained_manifest(&self, repository: &RepositoryName, digest: &Digest, bytes: usize) {
        self.change(|book| book.gained(&Item::Manifest(repository.clone(), digest.clone()), bytes as u64));
    }

    pub(super) fn lost_manifest(&self, repository: &RepositoryName, digest: &Digest, bytes: usize) {
        self.change(|book| book.lost(&Item::Manifest(repository.clone(), digest.clone()), bytes as u64));
    }

    pub(super) fn load(&self, store: UsageRecord, repositories: Vec<(RepositoryName, UsageRecord)>) {
        self.change(|book| book.load(store, repositories));
    }

    /// The counters that differ from their records, which are regarded as written from now on. `None` is the
    /// store.
    pub(super) fn take_new(&self) -> Vec<Taken> {
        self.0
            .as_ref()
            .map(|counters| counters.book().take_new())
            .unwrap_or_default()
    }

    /// Takes back counters that could not be written.
    pub(super) fn put_back(&self, taken: Vec<Taken>) {
        self.change(|book| book.put_back(taken));
    }

    /// Waits until no other task writes or reads the stored counters. `None` without quotas.
    pub(super) async fn exchange(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        Some(self.0.as_ref()?.exchanging.lock().await)
    }

    /// The counter as stored, with what other processes have added. `None` is the store.
    pub(super) fn learn(&self, repository: Option<&RepositoryName>, stored: &UsageRecord) {
        self.change(|book| book.learn(repository, stored));
    }

    pub(super) fn in_use_apart_from(&self, listed: &HashSet<RepositoryName>) -> Vec<RepositoryName> {
        let Some(counters) = &self.0 else {
            return Vec::new();
        };
        counters.book().in_use_apart_from(listed)
    }

    /// Whether the counters were read or counted.
    pub(super) fn is_known(&self) -> bool {
        self.0.as_ref().is_some_and(|counters| counters.book().is_known())
    }

    /// Counters that were written before this time are known. From now on, `until` is that time.
    pub(super) fn replace_known_until(&self, until: Timestamp) -> Option<Timestamp> {
        let known = &self.0.as_ref()?.known_until;
        known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(until)
    }

    /// What a count of a shared store adds to the stored counters, if one is due.
    pub(super) fn corrections(&self) -> Vec<Taken> {
        let Some(counters) = &self.0 else {
            return Vec::new();
        };
        let mut counted = counters.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let due = counted.take_if(|(_, due)| *due <= Instant::now());
        due.map(|(census, _)| counters.book().corrections(census))
            .unwrap_or_default()
    }

    fn change(&self, change: impl FnOnce(&mut Book)) {
        if let Some(counters) = &self.0 {
            change(&mut counters.book());
        }
    }

    /// Begins a count of everything. Requests continue beside it. `None` without quotas, and while another count
    /// runs. Nothing may wait for that one, because it may pause for a pass that an operator started.
    pub(super) fn begin_census(&self) -> Option<Counting<'_>> {
        let counters = self.0.as_ref()?;
        let turn = counters.counting.try_lock().ok()?;
        counters.book().count_begins();
        Some(Counting {
            census: Census::default(),
            _turn: turn,
        })
    }

    /// Corrects the counters by the count.
    pub(super) fn end_census(&self, counting: Counting<'_>) {
        self.change(|book| book.count_ended(counting.census));
    }

    /// Like [`end_census`](Self::end_census) on a shared store. The counters are corrected when the other
    /// processes have had the time to write what they added during the count.
    pub(super) fn end_shared_census(&self, counting: Counting<'_>) {
        let Some(counters) = &self.0 else { return };
        let settles = if self.is_known() {
            SETTLED_AFTER
        } else {
            Duration::ZERO
        };
        let parked = (counting.census, Instant::now() + settles);
        *counters.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some(parked);
    }

    /// Each quota with its use. There are none until the use is known.
    pub(super) fn quotas(&self) -> Vec<QuotaUse> {
        let Some(counters) = &self.0 else {
            return Vec::new();
        };
        let book = counters.book();
        let quotas = book.quotas().map(|quota| QuotaUse {
            quota: quota.name().to_owned(),
            used: quota.used(),
            allowed: quota.allowed(),
        });
        quotas.collect()
    }
}

/// Each process writes its counters once a minute.
const SETTLED_AFTER: Duration = Duration::from_secs(150);

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Usage").field(&self.quotas()).finish()
    }
}

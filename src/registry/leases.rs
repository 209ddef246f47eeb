//! Leases on a shared store. They keep its processes from doing the same long work at the same time. A lease is
//! only advice: two processes that work at once cost requests and harm nothing. So a process that lost its lease
//! goes on, and one that was killed loses it when its record is old.

use super::keys::{self, Key};
use super::states::Next;
use super::states::lease::LeaseRecord;
use super::typed_store::{Base, TypedStore};
use super::{Error, Registry};
use crate::access::Maintenance;
use crate::clock::Timestamp;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Work that one process at a time should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A pass of the collector through the whole store.
    Collection,
    /// A walk of the scrubber.
    Scrub,
}

impl Work {
    fn key(self) -> Key<LeaseRecord> {
        match self {
            Self::Collection => keys::collecting(),
            Self::Scrub => keys::scrubbing(),
        }
    }
}

/// The answer to a process that wants to work.
#[derive(Debug)]
pub enum Leased {
    Granted(Lease),
    /// Another process works, or was killed a moment ago.
    Held {
        by: String,
    },
}

/// The lease of this process. It ends when this is dropped.
#[must_use]
pub struct Lease(Option<Held>);

struct Held {
    store: Arc<Store>,
    renewing: JoinHandle<()>,
}

struct Store {
    records: TypedStore,
    key: Key<LeaseRecord>,
    owner: String,
    completed: Option<i64>,
    /// The state of the record. `None` if another process has changed it.
    base: Mutex<Option<Base>>,
}

impl Registry {
    /// Asks for the lease of this work. Grants it at once if no other process may use the store.
    pub async fn lease(&self, _: &Maintenance, work: Work) -> Result<Leased, Error> {
        if !self.settings.shared {
            return Ok(Leased::Granted(Lease(None)));
        }
        let records = self.records.freeing();
        let key = work.key();
        let owner = self.settings.process.clone();
        let taken = match take(&records, &key, &owner).await {
            Err(why) if why.is_damage() => {
                records.delete_damaged(&key).await?;
                take(&records, &key, &owner).await?
            }
            taken => taken?,
        };
        let (base, completed) = match taken {
            Ok(taken) => taken,
            Err(by) => return Ok(Leased::Held { by }),
        };
        let store = Arc::new(Store {
            records,
            key,
            owner,
            completed,
            base: Mutex::new(base),
        });
        let renewed = store.clone();
        let renewing = tokio::spawn(async move { renewed.keep().await });
        Ok(Leased::Granted(Lease(Some(Held { store, renewing }))))
    }

    /// How long ago any process did this work completely. `None` if that is not known.
    pub async fn since_completed(&self, _: &Maintenance, work: Work) -> Option<Duration> {
        if !self.settings.shared {
            return None;
        }
        let found = self.records.read(&work.key()).await.ok()??;
        let completed = Timestamp::from_secs(found.record.completed?);
        Some(self.records.now().since(completed))
    }
}

/// Puts the owner into the record, unless another process has renewed it lately. Returns the record's new state and
/// when the work was last completed, or the other process.
async fn take(
    records: &TypedStore,
    key: &Key<LeaseRecord>,
    owner: &str,
) -> Result<Result<(Option<Base>, Option<i64>), String>, Error> {
    let now = records.now();
    let (taken, base) = records
        .change(key, |found| {
            let (record, written) = found
                .map(|found| (found.record, found.written))
                .unwrap_or((LeaseRecord::default(), now));
            let other = record.owner.filter(|other| other != owner);
            if let Some(other) = other.filter(|_| now.since(written) < LAPSES_AFTER) {
                return Ok(Next::Keep(Err(other)));
            }
            let mine = LeaseRecord {
                owner: Some(owner.to_owned()),
                completed: record.completed,
            };
            Ok(Next::Write(mine, Ok(record.completed)))
        })
        .await?;
    Ok(taken.map(|completed| (base, completed)))
}

impl Lease {
    /// Ends the lease after the work was done completely.
    pub async fn complete(mut self) {
        if let Some(Held { store, renewing }) = self.0.take() {
            renewing.abort();
            let now = store.records.now().as_secs();
            store.write(None, Some(now)).await;
        }
    }
}

#[cfg(test)]
impl Lease {
    /// The process is killed.
    pub(crate) fn die(mut self) {
        if let Some(held) = self.0.take() {
            held.renewing.abort();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(Held { store, renewing }) = self.0.take() {
            renewing.abort();
            // Without this the lease lapses by its age.
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(async move { store.write(None, store.completed).await });
            }
        }
    }
}

impl Store {
    async fn keep(&self) {
        loop {
            sleep(RENEWED_EVERY).await;
            self.write(Some(self.owner.clone()), self.completed).await;
        }
    }

    /// A failure only means that another process may work too.
    async fn write(&self, owner: Option<String>, completed: Option<i64>) {
        let base = self.base.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(base) = base else { return };
        let record = LeaseRecord { owner, completed };
        let next = match self.records.swap(&self.key, &base, &record).await {
            Ok(version) => version.map(|version| base.at(version)),
            Err(why) => {
                tracing::warn!(
                    "cannot renew or end a lease of the store, so another process may do the same work: {why}"
                );
                return;
            }
        };
        *self.base.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.0.as_ref().map(|held| &held.store.key);
        f.debug_tuple("Lease").field(&key).finish()
    }
}

const RENEWED_EVERY: Duration = Duration::from_secs(20);
/// A process whose record is older, by the store's clock, was killed.
const LAPSES_AFTER: Duration = Duration::from_secs(90);

//! Typed records over the store, and the protocol of the index entries that are hints: they are written before what they lead to,
//! and taken away by condemning, looking again, and deciding.

use super::Error;
use super::records::{Format, Mark, MarkState, Stored};
use crate::recent::Recent;
use crate::storage::{self, Failure, RecordStore, Version};
use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

/// How often a compare-and-swap is tried again when somebody else was faster. Each loss is somebody's progress.
pub(super) const TRIES: usize = 100;
/// How many keys are listed at once.
pub(super) const LISTED: usize = 1000;

/// Bytes of records that are kept decoded.
const DECODED: usize = 16 << 20;
/// What a decoded record weighs beside its bytes, about.
const OVERHEAD: usize = 512;

/// Cheap to clone; all clones share what is decoded.
#[derive(Clone)]
pub(super) struct Records {
    store: Arc<dyn RecordStore>,
    /// A version names one state of one record, so this is never stale: it is the store that says which version counts now.
    decoded: Arc<Mutex<Recent<Version, Arc<dyn Any + Send + Sync>>>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the record {key} cannot be read or written as this version does: {source}; it is damaged, or another version made it")]
struct Unreadable {
    key: String,
    source: serde_json::Error,
}

#[derive(Debug, thiserror::Error)]
#[error("the record {key} does not hold the content of its digest: it is damaged; see what else is with `wharfinger fsck`")]
struct Changed {
    key: String,
}

fn unreadable(key: &str) -> impl FnOnce(serde_json::Error) -> Error + '_ {
    move |source| Error::Storage(Failure::Io(Arc::new(Unreadable { key: key.to_owned(), source })))
}

/// The error for losing more often than [`TRIES`] times. Nothing is wrong; the caller may try again.
pub(super) const fn contended() -> Error {
    Error::Storage(Failure::Conflict)
}

fn unless_conflict<T>(answer: Result<T, Failure>) -> Result<Option<T>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Failure::Conflict) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

impl Records {
    pub(super) fn new(store: Arc<dyn RecordStore>) -> Self {
        Self { store, decoded: Arc::new(Mutex::new(Recent::new(DECODED))) }
    }

    /// Asks for a change that is none but the first time.
    pub(super) async fn probe(&self, key: &str) -> Result<(), Error> {
        self.store.get(key).await?;
        unless_conflict(self.store.create(key, bytes::Bytes::new()).await).map(|_| ())
    }

    /// As [`Records::read`], for those who only read: a state of a record that was decoded lately is not decoded again.
    pub(super) async fn look_up<T: Stored + Send + Sync + 'static>(&self, key: &str) -> Result<Option<Arc<T>>, Error> {
        let Some(storage::Record { version, value }) = self.get(key).await? else { return Ok(None) };
        let known = self.decoded.lock().unwrap_or_else(PoisonError::into_inner).get(&version);
        if let Some(known) = known.and_then(|known| known.downcast::<T>().ok()) {
            return Ok(Some(known));
        }
        let decoded = T::decode(&value).map_err(unreadable(key))?;
        if !decoded.belongs_to(key) {
            return Err(Error::Storage(Failure::Io(Arc::new(Changed { key: key.to_owned() }))));
        }
        let decoded = Arc::new(decoded);
        self.decoded.lock().unwrap_or_else(PoisonError::into_inner).put(version, decoded.clone(), value.len() + OVERHEAD);
        Ok(Some(decoded))
    }

    /// Whoever reads thousands lets others run on the same thread meanwhile: most stores answer without ever waiting.
    async fn get(&self, key: &str) -> Result<Option<storage::Record>, Failure> {
        tokio::task::consume_budget().await;
        self.store.get(key).await
    }

    pub(super) async fn read<T: Stored>(&self, key: &str) -> Result<Option<(Version, T)>, Error> {
        let Some(storage::Record { version, value }) = self.get(key).await? else { return Ok(None) };
        Ok(Some((version, T::decode(&value).map_err(unreadable(key))?)))
    }

    /// `None` if the record exists.
    pub(super) async fn create<T: Stored>(&self, key: &str, record: &T) -> Result<Option<Version>, Error> {
        unless_conflict(self.store.create(key, record.encode().map_err(unreadable(key))?).await)
    }

    /// `None` if the record has changed.
    pub(super) async fn swap<T: Stored>(&self, key: &str, expected: Version, record: &T) -> Result<Option<Version>, Error> {
        unless_conflict(self.store.swap(key, expected, record.encode().map_err(unreadable(key))?).await)
    }

    /// `false` if the record has changed.
    pub(super) async fn delete(&self, key: &str, expected: Version) -> Result<bool, Error> {
        Ok(unless_conflict(self.store.delete(key, expected).await)?.is_some())
    }

    pub(super) async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>, Error> {
        Ok(self.store.list(prefix, after, limit).await?)
    }

    pub(super) async fn is_marked(&self, key: &str) -> Result<bool, Error> {
        Ok(self.read::<Mark>(key).await?.is_some())
    }

    /// Makes the entry stand, rescuing it from a clearing that is under way.
    pub(super) async fn mark(&self, key: &str) -> Result<(), Error> {
        let live = Mark { format: Format, state: MarkState::Live };
        for _ in 0..TRIES {
            let done = match self.read::<Mark>(key).await? {
                Some((_, mark)) if mark.state == MarkState::Live => return Ok(()),
                Some((version, _)) => self.swap(key, version, &live).await?,
                None => self.create(key, &live).await?,
            };
            if done.is_some() {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Takes the entry away unless it is `needed`, which is asked only after the entry was condemned: whoever comes to need it
    /// later meets the condemned entry and rescues it.
    pub(super) async fn clear<F>(&self, key: &str, needed: impl Fn() -> F + Send + Sync) -> Result<(), Error>
    where
        F: Future<Output = Result<bool, Error>> + Send,
    {
        for _ in 0..TRIES {
            let Some((version, mark)) = self.read::<Mark>(key).await? else { return Ok(()) };
            let condemned = match mark.state {
                MarkState::Cond => Some(version),
                MarkState::Live => self.swap(key, version, &Mark { format: Format, state: MarkState::Cond }).await?,
            };
            // Whoever changed the entry meanwhile wants it, or clears it.
            let Some(version) = condemned else { return Ok(()) };
            if needed().await? {
                self.swap(key, version, &Mark { format: Format, state: MarkState::Live }).await?;
                return Ok(());
            }
            if self.delete(key, version).await? {
                return Ok(());
            }
            // Rescued, perhaps by another clearing that looked before this one had a reason: look again.
        }
        Ok(())
    }
}

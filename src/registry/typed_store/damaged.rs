//! Unreadable records. They still have a version, so they are replaced or deleted by compare-and-swap. This
//! is safe, because a writer that relies on such a record rewrites it first.

use super::super::Error;
use super::super::keys::Key;
use super::super::large::worked;
use super::super::records::{self, More, Stored};
use super::super::states::mark::Mark;
use super::{Base, TypedStore};
use crate::storage::Failure;

impl TypedStore {
    /// The state of an unreadable record. `None` if the record is readable or does not exist.
    async fn damaged<T: Stored>(&self, key: &Key<T>) -> Result<Option<Base>, Error> {
        let version = match self.store.get(key.as_str()).await {
            Ok(Some(found)) => match records::decode(key, &found.value) {
                Err(why) if why.is_damage() => found.version,
                _ => return Ok(None),
            },
            Ok(None) => return Ok(None),
            Err(Failure::Lost { version, .. }) => version,
            Err(failure) => return Err(failure.into()),
        };
        tracing::warn!(record.key = %key, "replacing or deleting a damaged record");
        Ok(Some(Base {
            version,
            more: More::default(),
        }))
    }

    /// Replaces an unreadable record. `false` if it is readable or has changed meanwhile.
    pub(in crate::registry) async fn replace_damaged<T: Stored>(
        &self,
        key: &Key<T>,
        record: &T,
    ) -> Result<bool, Error> {
        match self.damaged(key).await? {
            Some(base) => Ok(self.swap(key, &base, record).await?.is_some()),
            None => Ok(false),
        }
    }

    /// Deletes an unreadable record. `false` if it is readable or has changed meanwhile.
    pub(in crate::registry) async fn delete_damaged<T: Stored>(&self, key: &Key<T>) -> Result<bool, Error> {
        match self.damaged(key).await? {
            Some(base) => self.delete(key, &base.version).await,
            None => Ok(false),
        }
    }

    /// Reads the record from the disk rather than from memory, and checks that its content matches its key.
    /// Returns its length too. If it is damaged, nothing of it stays in memory, so readers and pushes find
    /// the damage.
    pub(in crate::registry) async fn read_stored<T: Stored>(
        &self,
        key: &Key<T>,
    ) -> Result<Option<(T, u64)>, Error> {
        tokio::task::consume_budget().await;
        let found = match self.store.get_stored(key.as_str()).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(Failure::Lost { version, what }) => {
                self.decoded.forget(&version);
                return Err(records::lost(key.as_str(), &what));
            }
            Err(failure) => return Err(failure.into()),
        };
        let length = found.value.len();
        let turn = self.decoding.take(length).await;
        let own = key.clone();
        let read = worked(length, move || records::decode_checked(&own, &found.value)).await?;
        drop(turn);
        if read.is_err() {
            self.decoded.forget(&found.version);
        }
        Ok(Some((read?.0, length as u64)))
    }

    /// The entry and its state. An unreadable entry has only a state.
    pub(super) async fn read_mark(&self, key: &Key<Mark>) -> Result<(Option<Mark>, Option<Base>), Error> {
        match self.read(key).await {
            Err(why) if why.is_damage() => Ok((None, self.damaged(key).await?)),
            found => Ok(found?.map_or((None, None), |found| {
                (Some(found.record.clone()), Some(found.base()))
            })),
        }
    }
}

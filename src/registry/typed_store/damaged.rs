//! Records that are there and that nobody can read. They keep their version, so they are replaced or deleted
//! by it: nobody comes to rely on one without writing it anew first.

use super::super::Error;
use super::super::keys::Key;
use super::super::records::{self, More, Stored};
use super::super::states::mark::Mark;
use super::{Base, TypedStore};
use crate::storage::Failure;

impl TypedStore {
    /// The state of a record that is there and that nobody can read. `None` if it can be read.
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

    /// Replaces a record that nobody can read. `false` if it can be read, or changed meanwhile.
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

    /// Deletes a record that nobody can read. `false` if it can be read, or changed meanwhile.
    pub(in crate::registry) async fn delete_damaged<T: Stored>(&self, key: &Key<T>) -> Result<bool, Error> {
        match self.damaged(key).await? {
            Some(base) => self.delete(key, &base.version).await,
            None => Ok(false),
        }
    }

    /// The entry and its state. One that nobody can read has a state only.
    pub(super) async fn read_mark(&self, key: &Key<Mark>) -> Result<(Option<Mark>, Option<Base>), Error> {
        match self.read(key).await {
            Err(why) if why.is_damage() => Ok((None, self.damaged(key).await?)),
            found => Ok(found?.map_or((None, None), |found| {
                (Some(found.record.clone()), Some(found.base()))
            })),
        }
    }
}

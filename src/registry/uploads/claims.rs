//! Lets one request at a time write to an upload. A process that has the store to itself keeps a set of
//! uploads; processes that share a store need a lease in the upload's record.

use super::super::typed_store::TypedStore;
use super::super::upload_id::UploadId;
use super::super::{Error, Registry, to_its_end};
use super::taken::Taken;
use crate::access::{Create, Permit};
use crate::oci::RepositoryName;
use futures_util::future::BoxFuture;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Gives an upload to one request at a time.
///
/// A lease would be written into the upload's record by compare-and-swap, with a new nonce each time, and
/// could be taken over once the record is old by the store's time. The holder would write the record from the
/// version that its claim returned, so a holder that lost the lease could not move the offset. That is why a
/// claim returns the upload, and the caller must not read the record again.
pub(in crate::registry) trait Claims: Send + Sync {
    /// `None` while another request has it. [`Error::UploadUnknown`] if there is no such upload.
    fn claim<'a>(
        &'a self,
        records: &'a TypedStore,
        repository: &'a RepositoryName,
        id: &'a UploadId,
    ) -> Answer<'a>;
}

pub(in crate::registry) type Answer<'a> = BoxFuture<'a, Result<Option<(Claim, Taken)>, Error>>;

/// Held while a request writes to an upload, and released when it is dropped.
pub(in crate::registry) struct Claim {
    _guard: Box<dyn Send + Sync>,
}

/// The uploads that requests of this process write to.
#[derive(Clone, Default)]
pub(in crate::registry) struct InProcess(Arc<Mutex<HashSet<UploadId>>>);

struct Guard {
    claims: InProcess,
    id: UploadId,
}

impl Claims for InProcess {
    fn claim<'a>(
        &'a self,
        records: &'a TypedStore,
        repository: &'a RepositoryName,
        id: &'a UploadId,
    ) -> Answer<'a> {
        Box::pin(async move {
            if !self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(id.clone())
            {
                return Ok(None);
            }
            let claim = Claim {
                _guard: Box::new(Guard {
                    claims: self.clone(),
                    id: id.clone(),
                }),
            };
            Ok(Some((claim, Taken::read(records, repository, id).await?)))
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.claims
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

impl Registry {
    /// Claims an upload of the caller and returns its state.
    pub(super) async fn claim(
        &self,
        permit: &Permit<Create>,
        id: &UploadId,
    ) -> Result<(Claim, Taken), Error> {
        self.upload(permit, id).await?; // must not block another caller's upload
        let claimed = self.claims.claim(&self.records, permit.repository(), id).await?;
        let (claim, upload) = claimed.ok_or(Error::UploadBusy)?;
        Ok((claim, self.unless_expired(upload)?))
    }

    /// Runs `work` to its end with the upload's claim, even if the request is cancelled.
    pub(super) async fn detached<T: Send + 'static>(
        &self,
        claim: Claim,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        to_its_end(async move {
            let done = work.await;
            drop(claim);
            done
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::keys;
    use super::super::super::states::session::Session;
    use super::*;
    use crate::oci::Algorithm;
    use crate::storage::memory::Memory;

    #[tokio::test]
    async fn a_claim_is_exclusive_and_returns_the_current_upload() {
        let records = TypedStore::new(Arc::new(Memory::new()));
        let claims = InProcess::default();
        let id = UploadId::random().unwrap();
        let repository = "a".parse().unwrap();
        let claim = || claims.claim(&records, &repository, &id);
        assert!(matches!(claim().await, Err(Error::UploadUnknown)));
        let key = keys::upload(&repository, &id);
        records
            .create(&key, &Session::new("first".to_owned(), Algorithm::Sha256))
            .await
            .unwrap()
            .unwrap();
        let (held, upload) = claim().await.unwrap().unwrap();
        assert!(claim().await.unwrap().is_none());
        records
            .swap(
                &key,
                &upload.base,
                &Session::new("second".to_owned(), Algorithm::Sha256),
            )
            .await
            .unwrap()
            .unwrap();
        drop(held);
        let (_, upload) = claim().await.unwrap().unwrap();
        assert_eq!(upload.session.owner, "second");
    }
}

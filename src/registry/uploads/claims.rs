//! Lets one request at a time write to an upload. A process that has the store to itself keeps a set of uploads; processes that share a
//! store need a lease in the upload's record.

use super::super::{Error, Registry, to_its_end};
use super::UploadId;
use crate::oci::RepositoryName;
use futures_util::future::BoxFuture;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Gives an upload to one request at a time.
///
/// Whoever implements it with a lease: the lease is written into the upload's record by compare-and-swap, with a new nonce each time, and
/// may be taken over once the record is old by the store's time. The holder swaps from the state that it wrote, so that one who lost the
/// lease cannot move the offset; and what it writes bears the nonce, so that it cannot change bytes that another published.
pub(in crate::registry) trait Claims: Send + Sync {
    /// `None` while another request has it.
    fn claim<'a>(&'a self, repository: &'a RepositoryName, id: &'a UploadId) -> BoxFuture<'a, Result<Option<Claimed>, Error>>;
}

/// Held while a request writes to an upload, and given back when it is dropped.
pub(in crate::registry) struct Claimed {
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
    fn claim<'a>(&'a self, _: &'a RepositoryName, id: &'a UploadId) -> BoxFuture<'a, Result<Option<Claimed>, Error>> {
        Box::pin(async move {
            let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
            Ok(free.then(|| Claimed { _guard: Box::new(Guard { claims: self.clone(), id: id.clone() }) }))
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.claims.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Registry {
    pub(super) async fn claim(&self, repository: &RepositoryName, id: &UploadId) -> Result<Claimed, Error> {
        self.claims.claim(repository, id).await?.ok_or(Error::UploadBusy)
    }

    /// Runs `work` to its end with the upload's claim, even if the request is cancelled.
    pub(super) async fn detached<T: Send + 'static>(
        &self,
        claim: Claimed,
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
    use super::*;

    #[tokio::test]
    async fn a_claim_is_held_once_and_given_back() {
        let (claims, id, repository) = (InProcess::default(), UploadId::random().unwrap(), "a".parse().unwrap());
        let held = claims.claim(&repository, &id).await.unwrap();
        assert!(held.is_some());
        assert!(claims.claim(&repository, &id).await.unwrap().is_none());
        drop(held);
        assert!(claims.claim(&repository, &id).await.unwrap().is_some());
    }
}

//! Lets one request at a time write to an upload. A process that has the store to itself keeps a set of uploads.
//! Processes that share a store also claim the upload in its record.

use super::super::omitted::Step;
use super::super::states::session::{Session, SessionState};
use super::super::typed_store::{TRIES, contended};
use super::super::upload_id::UploadId;
use super::super::{Error, Registry, to_its_end};
use super::taken::Taken;
use crate::access::{Create, Permit};
use crate::oci::RepositoryName;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The uploads that requests of this process write to.
#[derive(Clone, Default)]
pub(in crate::registry) struct Claims(Arc<Mutex<HashSet<UploadId>>>);

/// Held while a request writes to an upload, and released when it is dropped.
pub(in crate::registry) struct Claim {
    claims: Claims,
    id: UploadId,
}

impl Claims {
    /// `None` while another request of this process has the upload.
    fn claim(&self, id: &UploadId) -> Option<Claim> {
        let mut claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.insert(id.clone()).then(|| Claim {
            claims: self.clone(),
            id: id.clone(),
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

impl Registry {
    /// Claims an upload of the caller and returns its state. The request must write the record only from the
    /// version that it gets here, or from its own last write. On a shared store a request of another process may
    /// take the claim over at any moment. The next write of this request then fails, and the request ends.
    pub(super) async fn claim(
        &self,
        permit: &Permit<Create>,
        id: &UploadId,
    ) -> Result<(Claim, Taken), Error> {
        let upload = self.upload(permit, id).await?; // must not block another caller's upload
        let claim = self.claims.claim(id).ok_or(Error::UploadBusy)?;
        let upload = if self.settings.shared {
            self.claim_record(upload).await?
        } else {
            Taken::read(&self.records, permit.repository(), id).await?
        };
        Ok((claim, self.unless_expired(upload)?))
    }

    /// Claims an upload for a request that sends no bytes. On a shared store nothing is written, because the request
    /// writes the record first of all.
    pub(super) async fn claim_without_bytes(
        &self,
        permit: &Permit<Create>,
        id: &UploadId,
    ) -> Result<(Claim, Taken), Error> {
        if !self.settings.shared {
            return self.claim(permit, id).await;
        }
        let claim = self.claims.claim(id);
        let upload = self.upload(permit, id).await?;
        Ok((claim.ok_or(Error::UploadBusy)?, upload))
    }

    /// Claims an upload that this request has just begun, and whose name no other request knows.
    pub(super) fn claim_new(&self, upload: Taken) -> Result<(Claim, Taken), Error> {
        let claim = self.claims.claim(&upload.id).ok_or(Error::UploadBusy)?;
        Ok((claim, upload))
    }

    /// Claims an upload that is to be ended, and returns its state. Nothing is written, because the end of an
    /// upload begins with a write of its record. `None` while another request of this process has the upload.
    pub(super) async fn claim_to_end(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<Option<(Claim, Taken)>, Error> {
        let Some(claim) = self.claims.claim(id) else {
            return Ok(None);
        };
        Ok(Some((claim, Taken::read(&self.records, repository, id).await?)))
    }

    /// Writes the record of an open upload again, so that the version changes, and the earlier writer can no longer
    /// write. Only the request that closed an upload may publish it, so a closed one is not claimed.
    async fn claim_record(&self, mut upload: Taken) -> Result<Taken, Error> {
        for _ in 0..TRIES {
            if upload.session.state != SessionState::Open {
                return Ok(upload);
            }
            match self.advance(&upload, upload.session.clone()).await? {
                Some(claimed) => return Ok(claimed),
                None => upload = Taken::read(&self.records, &upload.repository, &upload.id).await?,
            }
        }
        Err(contended())
    }

    /// Writes the session's next state, which only the request that has claimed the upload may do.
    pub(super) async fn advance_claimed(&self, upload: &Taken, session: Session) -> Result<Taken, Error> {
        match self.advance(upload, session.clone()).await? {
            Some(advanced) => Ok(advanced),
            None if self.omitted.has(Step::EndingWithoutAClaim) => {
                let now = Taken::read(&self.records, &upload.repository, &upload.id).await?;
                self.advance(&now, session).await?.ok_or_else(contended)
            }
            None => Err(self.taken_over(upload).await),
        }
    }

    /// The answer to a request that has lost its claim. It must not write the record again, because its bytes are
    /// not those that belong behind the present offset.
    pub(super) async fn taken_over(&self, upload: &Taken) -> Error {
        match Taken::read(&self.records, &upload.repository, &upload.id).await {
            Ok(now) if now.session.state == SessionState::Open => Error::UploadTakenOver {
                offset: now.session.offset,
            },
            Ok(_) => Error::UploadUnknown,
            Err(why) => why,
        }
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
    use super::*;

    #[test]
    fn a_claim_is_exclusive_within_a_process() {
        let claims = Claims::default();
        let id = UploadId::random().unwrap();
        let held = claims.claim(&id).unwrap();
        assert!(claims.claim(&id).is_none());
        drop(held);
        assert!(claims.claim(&id).is_some());
    }
}

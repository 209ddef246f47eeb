//! Uploads of blobs (distribution-spec, Pushing blobs): streamed, in chunks, or in one request. An upload
//! survives a restart with its hash state. Its session records bytes only after they are durable. It belongs
//! to the principal that started it.
//!
//! Only one request at a time writes to an upload. On a shared store, a request of another process may take the
//! upload over at any moment; the rules are in `docs/design/protocol.md`, "Upload sessions on a shared store". The
//! work runs in its own task, which holds the upload's
//! claim. A cancelled request leaves blocking work behind, and without the claim that work could write into
//! bytes that another request has published meanwhile.

mod append;
mod claims;
mod expiry;
mod finish;
mod open;
mod taken;

pub(super) use claims::Claims;
pub use finish::Pusher;
pub(super) use open::OpenUploads;

use super::states::session::{Session, SessionState};
use super::typed_store::{Base, contended};
use super::upload_id::UploadId;
use super::{Error, Registry, keys};
use crate::access::{Create, Permit};
use crate::oci::Algorithm;
use std::time::Duration;
use taken::Taken;

/// How long an upload lives after its last chunk.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The progress of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub id: UploadId,
    /// How many bytes have been received. The next chunk begins here.
    pub offset: u64,
}

impl From<Taken> for Upload {
    fn from(upload: Taken) -> Self {
        Self {
            id: upload.id,
            offset: upload.session.offset,
        }
    }
}

impl Registry {
    /// Starts an upload that is hashed with `algorithm`. The closing request may still use another one.
    pub async fn start_upload(
        &self,
        permit: &Permit<Create>,
        algorithm: Option<Algorithm>,
    ) -> Result<Upload, Error> {
        self.usage.check_begin(permit.repository())?;
        Ok(self.start(permit, algorithm, self.ids.next()?).await?.into())
    }

    /// The same, without asking the quotas.
    async fn start(
        &self,
        permit: &Permit<Create>,
        algorithm: Option<Algorithm>,
        id: UploadId,
    ) -> Result<Taken, Error> {
        let repository = permit.repository();
        let session = Session::new(
            permit.principal().to_string(),
            algorithm.unwrap_or(Algorithm::Sha256),
        );
        let key = keys::upload(repository, &id);
        let version = self.records.create(&key, &session).await?.ok_or_else(contended)?;
        if let Err(why) = self.enter(repository).await {
            // The client does not learn the upload's name, so the upload is removed.
            drop(self.records.delete(&key, &version).await);
            return Err(why);
        }
        Ok(Taken {
            repository: repository.clone(),
            id,
            base: Base::created(version),
            written: self.records.now(),
            session,
        })
    }

    /// The size of the smallest chunk that costs the store no more than it must. Smaller ones are accepted.
    #[must_use]
    pub fn least_chunk(&self) -> Option<u64> {
        self.bytes.least_chunk()
    }

    pub async fn upload_status(&self, permit: &Permit<Create>, id: &UploadId) -> Result<Upload, Error> {
        let upload = self.upload(permit, id).await?;
        if upload.session.state != SessionState::Open {
            return Err(Error::UploadUnknown);
        }
        Ok(Upload {
            id: id.clone(),
            offset: upload.session.offset,
        })
    }

    pub async fn cancel(&self, permit: &Permit<Create>, id: &UploadId) -> Result<(), Error> {
        self.upload(permit, id).await?;
        let claimed = self.claim_to_end(permit.repository(), id).await?;
        let (claim, upload) = claimed.ok_or(Error::UploadBusy)?;
        let registry = self.clone();
        self.detached(claim, async move { registry.discard(upload).await })
            .await
    }
}

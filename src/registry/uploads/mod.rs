//! Uploads of blobs (distribution-spec, Pushing blobs): streamed, in chunks, or at once. An upload survives a restart with its hash
//! state; bytes are durable before its session says that they are there. It belongs to the principal that began it.
//!
//! One request at a time writes to an upload. Writing runs in a task of its own that holds the upload's lock, because a request that
//! is given up leaves blocking work behind, which must not write into bytes that another request has published meanwhile.

mod append;
mod expiry;
mod finish;
mod session;

pub use session::{InvalidUploadId, UploadId};
pub(super) use session::{Locks, Session, SessionState};

use super::{Error, Registry, keys};
use crate::access::{Create, Permit};
use crate::oci::Algorithm;
use std::time::Duration;

/// How long an upload lives after its last chunk.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Where an upload stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub id: UploadId,
    /// How many bytes have been kept; the next chunk begins here.
    pub offset: u64,
}

impl Registry {
    /// Hashes with `algorithm` from the start; the closing request may still name another one.
    pub async fn start_upload(&self, permit: &Permit<Create>, algorithm: Option<Algorithm>) -> Result<Upload, Error> {
        let id = UploadId::random()?;
        let session = Session::new(permit, algorithm.unwrap_or(Algorithm::Sha256), self.clock.now().plus(LIFETIME));
        if self.records.create(&keys::upload(&id), &session).await?.is_none() {
            return Err(super::marks::contended());
        }
        self.records.mark(&keys::catalog(permit.repository().as_str())).await?;
        Ok(Upload { id, offset: 0 })
    }

    pub async fn upload_status(&self, permit: &Permit<Create>, id: &UploadId) -> Result<Upload, Error> {
        let (_, session) = self.session(permit, id).await?;
        if session.state != SessionState::Open {
            return Err(Error::UploadUnknown);
        }
        Ok(Upload { id: id.clone(), offset: session.offset })
    }

    pub async fn cancel(&self, permit: &Permit<Create>, id: &UploadId) -> Result<(), Error> {
        self.session(permit, id).await?;
        let lock = self.locks.take(id)?;
        let (version, session) = self.session(permit, id).await?;
        self.detached(lock, {
            let (registry, id) = (self.clone(), id.clone());
            async move { registry.discard(&id, version, session).await }
        })
        .await
    }
}

//! An upload as a request works on it.

use super::super::omitted::Step;
use super::super::records::unless_unreadable;
use super::super::states::session::{Session, SessionState};
use super::super::suspecting::ClosedUpload;
use super::super::typed_store::{Base, TypedStore};
use super::super::upload_id::UploadId;
use super::super::{Error, Registry, keys};
use super::LIFETIME;
use crate::access::{Create, Permit};
use crate::clock::Timestamp;
use crate::oci::RepositoryName;

/// An upload as it was read.
#[derive(Clone)]
pub(in crate::registry) struct Taken {
    pub repository: RepositoryName,
    pub id: UploadId,
    pub base: Base,
    /// When a request last wrote the record that was read.
    pub written: Timestamp,
    pub session: Session,
}

impl Taken {
    pub(super) async fn read(
        records: &TypedStore,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<Self, Error> {
        // An unreadable upload is treated as ended, so the client starts again.
        let found = unless_unreadable(records.read(&keys::upload(repository, id)).await)?
            .flatten()
            .ok_or(Error::UploadUnknown)?;
        Ok(Self {
            repository: repository.clone(),
            id: id.clone(),
            base: found.base(),
            written: found.written,
            session: found.record,
        })
    }
}

impl Registry {
    /// Reads an upload of the caller. [`Error::UploadUnknown`] for another caller's upload.
    pub(super) async fn upload(&self, permit: &Permit<Create>, id: &UploadId) -> Result<Taken, Error> {
        let found = Taken::read(&self.records, permit.repository(), id).await?;
        let mine = found.session.owner == permit.principal().to_string();
        if mine {
            self.unless_expired(found)
        } else {
            Err(Error::UploadUnknown)
        }
    }

    pub(super) fn unless_expired(&self, upload: Taken) -> Result<Taken, Error> {
        if self.has_expired(upload.written) {
            Err(Error::UploadUnknown)
        } else {
            Ok(upload)
        }
    }

    pub(in crate::registry) fn has_expired(&self, written: Timestamp) -> bool {
        self.records.now().since(written) >= LIFETIME
    }

    /// Whether the upload is still closed, and no other request has ended it.
    pub(in crate::registry) async fn is_still_closed(&self, upload: &ClosedUpload) -> Result<bool, Error> {
        if self.omitted.has(Step::CheckingTheSession) {
            return Ok(true);
        }
        match Taken::read(&self.records, &upload.repository, &upload.id).await {
            Err(Error::UploadUnknown) => Ok(false),
            now => Ok(now?.session.state == SessionState::Closed),
        }
    }

    /// Writes the session's next state. `None` if the record has changed meanwhile.
    pub(super) async fn advance(&self, upload: &Taken, session: Session) -> Result<Option<Taken>, Error> {
        let version = self
            .records
            .swap(
                &keys::upload(&upload.repository, &upload.id),
                &upload.base,
                &session,
            )
            .await?;
        Ok(version.map(|version| Taken {
            base: upload.base.at(version),
            session,
            ..upload.clone()
        }))
    }
}

//! The name of an upload, and an upload as a request works on it.

use super::super::records::unless_unreadable;
use super::super::states::session::Session;
use super::super::typed_store::{Base, TypedStore};
use super::super::{Error, Registry, keys};
use super::LIFETIME;
use crate::access::{Create, Permit};
use crate::clock::Timestamp;
use crate::oci::RepositoryName;
use crate::storage::Failure;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Names an upload and, later, its bytes: 128 random bits that cannot be guessed, as 32 lower-case
/// hexadecimal characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UploadId(String);

impl UploadId {
    pub(in crate::registry) fn random() -> Result<Self, Error> {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|failure| Failure::Io(Arc::new(failure)))?;
        Ok(Self(format!("{:032x}", u128::from_be_bytes(random))))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(text: &str) -> Result<Self, InvalidUploadId> {
        if text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidUploadId)
        }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// For the anonymous, whoever knows the name owns the upload: the log sees only enough to tell uploads apart.
impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadId({}…)", self.0.get(..8).unwrap_or_default())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an upload's name is 32 lower-case hexadecimal characters")]
pub struct InvalidUploadId;

/// An upload as it was read.
#[derive(Clone)]
pub(in crate::registry) struct Taken {
    pub repository: RepositoryName,
    pub id: UploadId,
    pub base: Base,
    /// When a request wrote it last. A claim does not count.
    pub written: Timestamp,
    pub session: Session,
}

impl Taken {
    pub(super) async fn read(
        records: &TypedStore,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<Self, Error> {
        // One that cannot be read is over: its client begins anew.
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
    /// Reads an upload of the caller. [`Error::UploadUnknown`] for the upload of somebody else.
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

    pub(super) fn has_expired(&self, written: Timestamp) -> bool {
        self.records.now().since(written) >= LIFETIME
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_names() {
        let id = UploadId::random().unwrap();
        assert_eq!(id.to_string().parse(), Ok(id.clone()));
        assert_ne!(UploadId::random().unwrap(), id);
        for bad in ["", "../../etc/passwd", &"A".repeat(32), &"a".repeat(33)] {
            assert_eq!(bad.parse::<UploadId>(), Err(InvalidUploadId), "{bad}");
        }
    }
}

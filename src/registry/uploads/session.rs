//! An upload's record, its name, and the lock that lets one request at a time write to it.

use super::super::hashing::Hasher;
use super::super::records::{Format, Json, Text};
use super::super::{Error, Registry, keys};
use crate::access::{Create, Permit};
use crate::clock::Timestamp;
use crate::oci::{Algorithm, Digest, RepositoryName};
use crate::storage::{Failure, Version};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// Names an upload and, later, its bytes: 128 random bits that cannot be guessed, as 32 lower-case hexadecimal characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UploadId(String);

impl UploadId {
    pub(super) fn random() -> Result<Self, Error> {
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct Session {
    pub format: Format,
    pub state: SessionState,
    pub repository: String,
    /// The principal's text.
    pub owner: String,
    pub algorithm: Text<Algorithm>,
    pub offset: u64,
    /// The state of the hash over the first `offset` bytes.
    pub hash: String,
    /// Milliseconds since the epoch.
    pub expires: i64,
    /// What a closed upload's bytes are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Text<Digest>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::registry) enum SessionState {
    Open,
    /// The bytes are complete and may have been published.
    Closed,
    /// The bytes are being removed.
    Aborting,
}

impl Json for Session {}

impl Session {
    pub(super) fn new(permit: &Permit<Create>, algorithm: Algorithm, expires: Timestamp) -> Self {
        Self {
            format: Format,
            state: SessionState::Open,
            repository: permit.repository().to_string(),
            owner: permit.principal().to_string(),
            algorithm: Text(algorithm),
            offset: 0,
            hash: Hasher::new(algorithm).state(),
            expires: expires.as_millis(),
            digest: None,
        }
    }

    pub(in crate::registry) fn hasher(&self) -> Option<Hasher> {
        Hasher::restore(self.algorithm.0, &self.hash, self.offset)
    }

    /// After more bytes were kept.
    pub(super) fn advanced(self, offset: u64, hasher: &Hasher, expires: Timestamp) -> Self {
        Self { algorithm: Text(hasher.algorithm()), offset, hash: hasher.state(), expires: expires.as_millis(), ..self }
    }

    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires <= now.as_millis()
    }
}

impl Registry {
    /// The upload, for its owner. For everybody else there is none.
    pub(super) async fn session(&self, permit: &Permit<Create>, id: &UploadId) -> Result<(Version, Session), Error> {
        let found = self.records.read::<Session>(&keys::upload(id)).await?;
        found
            .filter(|(_, session)| {
                session.repository == permit.repository().as_str()
                    && session.owner == permit.principal().to_string()
                    && !session.has_expired(self.clock.now())
            })
            .ok_or(Error::UploadUnknown)
    }

    pub(in crate::registry) async fn is_upload_of(&self, key: &str, repository: &RepositoryName) -> Result<bool, Error> {
        let found = self.records.read::<Session>(key).await?;
        Ok(found.is_some_and(|(_, session)| session.repository == repository.as_str() && session.state == SessionState::Open))
    }
}

/// The uploads that a request is writing to.
#[derive(Clone, Default)]
pub(in crate::registry) struct Locks(Arc<Mutex<HashSet<UploadId>>>);

/// Held while a request writes to an upload.
pub(super) struct Lock {
    locks: Locks,
    id: UploadId,
}

impl Locks {
    pub(super) fn take(&self, id: &UploadId) -> Result<Lock, Error> {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone()) {
            Ok(Lock { locks: self.clone(), id: id.clone() })
        } else {
            Err(Error::UploadBusy)
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.locks.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
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

    #[test]
    fn a_lock_is_held_once_and_given_back() {
        let (locks, id) = (Locks::default(), UploadId::random().unwrap());
        let held = locks.take(&id).unwrap();
        assert!(matches!(locks.take(&id), Err(Error::UploadBusy)));
        drop(held);
        assert!(locks.take(&id).is_ok());
    }
}

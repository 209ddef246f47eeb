//! An upload under way.

use super::super::hashing::Hasher;
use super::super::text::Text;
use crate::oci::{Algorithm, Digest};
use crate::storage::Resume;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct Session {
    pub state: SessionState,
    /// The principal that started it.
    pub owner: String,
    pub algorithm: Text<Algorithm>,
    pub offset: u64,
    /// The state of the hash over the first `offset` bytes.
    pub hash: String,
    /// What the store needs to continue with the bytes.
    #[serde(default, skip_serializing_if = "Resume::is_empty")]
    pub resume: Resume,
    /// The digest of a closed upload's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Text<Digest>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::registry) enum SessionState {
    Open,
    /// No more bytes come. On a shared store the request that closed the upload may still be sealing them. They may
    /// have been published.
    Closed,
    /// The bytes are being removed.
    Aborting,
}

impl Session {
    pub(in crate::registry) fn new(owner: String, algorithm: Algorithm) -> Self {
        Self {
            state: SessionState::Open,
            owner,
            algorithm: Text(algorithm),
            offset: 0,
            hash: Hasher::new(algorithm).state(),
            resume: Resume::default(),
            digest: None,
        }
    }

    pub(in crate::registry) fn hasher(&self) -> Option<Hasher> {
        Hasher::restore(self.algorithm.0, &self.hash, self.offset)
    }

    /// The session after more bytes were kept.
    pub(in crate::registry) fn advanced(self, offset: u64, hasher: &Hasher, resume: Resume) -> Self {
        Self {
            algorithm: Text(hasher.algorithm()),
            offset,
            hash: hasher.state(),
            resume,
            ..self
        }
    }

    /// From now on the bytes may belong to a blob, so expiry must not simply remove them.
    pub(in crate::registry) fn closed(self, size: u64, digest: Digest) -> Self {
        Self {
            state: SessionState::Closed,
            offset: size,
            digest: Some(Text(digest)),
            ..self
        }
    }

    /// Written before the bytes are removed, so that no request continues a half-removed upload after a
    /// crash.
    pub(in crate::registry) fn aborting(self) -> Self {
        Self {
            state: SessionState::Aborting,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_continues_after_the_bytes_that_were_kept() {
        let session = Session::new("alice".to_owned(), Algorithm::Sha512);
        let mut hasher = session.hasher().unwrap();
        hasher.update(b"hello");
        let session = session.advanced(5, &hasher, Resume::default());
        assert_eq!(
            session.hasher().map(Hasher::digest),
            Some(hasher.clone().digest())
        );
        assert!(
            Session {
                offset: 6,
                ..session.clone()
            }
            .hasher()
            .is_none(),
            "the hash is that of five bytes"
        );
        let digest = hasher.digest();
        let closed = session.clone().closed(5, digest.clone());
        assert_eq!(
            (closed.state, closed.digest),
            (SessionState::Closed, Some(Text(digest)))
        );
        assert_eq!(session.aborting().state, SessionState::Aborting);
    }
}

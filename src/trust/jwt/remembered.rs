//! The part of a verified token that one of the registry's own tokens contains.

use super::Algorithm;
use super::claims::Dates;
use super::rejected::Rejected;
use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// A verified token without its signature. It is trusted only inside a token that the registry signed itself.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// The fingerprint of the signing key.
    pub(super) key: String,
    pub(super) alg: Algorithm,
    pub(super) claims: Map<String, Value>,
}

impl Remembered {
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.claims.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    #[must_use]
    pub fn subject(&self) -> &str {
        self.claims.get("sub").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the fingerprint of the signing key.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.key
    }

    /// Returns the subject, if it is a SPIFFE ID.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<SpiffeId> {
        self.subject().parse().ok()
    }

    pub(in crate::trust) fn expires(&self) -> Result<Timestamp, Rejected> {
        Ok(Dates::read(&self.claims)?.expires)
    }
}

/// Does not show the claims.
impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered")
            .field("key", &self.key)
            .field("alg", &self.alg)
            .finish_non_exhaustive()
    }
}

//! The supported signature algorithms of JWS (RFC 7518 3.1, RFC 8037 3.1). All are asymmetric, so that a
//! public key is never used as a shared secret, and `none` cannot be expressed.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    /// Also called Ed25519.
    EdDSA,
}

impl Algorithm {
    pub const ALL: [Self; 10] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
    ];

    /// Returns the name in a JOSE header, which is case-sensitive. EdDSA has a second name, Ed25519, which
    /// [`Self::from_str`] also accepts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
        }
    }

    /// Whether JWT-SVIDs may use it: JWT-SVID 2.1 lists nine algorithms.
    #[must_use]
    pub const fn signs_svids(self) -> bool {
        !matches!(self, Self::EdDSA)
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        if name == ED25519 {
            return Ok(Self::EdDSA);
        }
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or(UnknownAlgorithm)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519 (upper and lower case matter)"
)]
pub struct UnknownAlgorithm;

/// The newer name of EdDSA with an Ed25519 key (RFC 9864 2.2), the only kind of key that is accepted for
/// EdDSA. A key or a setting with either name also allows the other.
const ED25519: &str = "Ed25519";

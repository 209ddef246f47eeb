//! JSON Web Tokens (RFC 7519) and the two profiles that count here: JWT-SVIDs and OIDC ID tokens.
//! Verification is our own over `aws-lc-rs`: the usual library accepts `crit`, any `typ`, a list as `iss`,
//! duplicate members, and knows no ES512.
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md>,
//! <https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation>, RFC 7515, RFC 8725.

mod again;
mod audience;
pub(in crate::trust) mod claims;
mod namesakes;
mod rejected;
mod remembered;
pub(in crate::trust) mod signature;
#[cfg(test)]
pub(crate) mod testing;
mod token_server;
mod unverified;
mod verified;
mod verify;
mod vouching;

pub use super::algorithm::{Algorithm, UnknownAlgorithm};
pub use again::{Bearer, reverify_oidc, reverify_svid};
pub use audience::audience_cap;
pub use namesakes::{fingerprints, holds_key, is_signed_by};
pub use rejected::{Failure, Rejected};
pub use remembered::Remembered;
pub use token_server::{TokenServerRules, VerifiedAccess, verify_token_server};
pub use unverified::{Hearsay, Unverified, looks_like_jwt};
pub use verified::VerifiedJwt;
pub use verify::{verify_oidc, verify_svid};

use crate::spiffe_id::TrustDomain;
use std::time::Duration;

/// How JWT-SVIDs of one trust domain are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SvidRules {
    pub trust_domain: TrustDomain,
    /// One of these must be in `aud`. With none, and without hosts, no token is accepted.
    pub audiences: Vec<String>,
    /// Names of this registry, in lower case, that count as audiences: alone, as `https://host` or
    /// `oci://host`, and with a repository as `oci://host/<repository>` or `host/<repository>`, which limits
    /// the token to it.
    pub hosts: Vec<String>,
    pub clock_skew: Duration,
    /// Refuse a token for others besides us: they could replay it.
    pub single_audience: bool,
}

/// How ID tokens of one issuer are judged, by one configured entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcRules {
    /// Compared byte for byte with `iss`.
    pub issuer: String,
    /// Do not compare `iss`.
    pub skip_issuer: bool,
    /// One of these must be in `aud`. With none, and without hosts, no token is accepted.
    pub audiences: Vec<String>,
    /// Names of this registry, in lower case, that count as audiences: alone, as `https://host` or
    /// `oci://host`, and with a repository as `oci://host/<repository>` or `host/<repository>`, which limits
    /// the token to it.
    pub hosts: Vec<String>,
    /// `None` for every one that fits the key.
    pub algorithms: Option<Vec<Algorithm>>,
    pub clock_skew: Duration,
    /// The longest time from `iat`, or from now if there is none, to `exp`.
    pub max_lifetime: Option<Duration>,
    /// Refuse a token for others besides us: they could replay it.
    pub single_audience: bool,
}

#[cfg(test)]
mod tests;

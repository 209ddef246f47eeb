//! JSON Web Tokens (RFC 7519) in the two supported profiles, JWT-SVIDs and OIDC ID tokens. Verification is
//! written here on top of `aws-lc-rs`: the usual library accepts `crit`, any `typ`, a list as `iss` and
//! duplicate members, and does not support ES512.
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
pub use unverified::{Unverified, UnverifiedParts, looks_like_jwt};
pub use verified::VerifiedJwt;
pub use verify::{verify_oidc, verify_svid};

use crate::spiffe_id::TrustDomain;
use std::time::Duration;

/// How the JWT-SVIDs of one trust domain are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SvidRules {
    pub trust_domain: TrustDomain,
    /// One of these must be in `aud`. Without audiences and hosts no token is accepted.
    pub audiences: Vec<String>,
    /// Host names of this registry, in lower case, that are accepted as audiences: `host`, `https://host` or
    /// `oci://host`. With a repository, as `oci://host/<repository>` or `host/<repository>`, they limit the
    /// token to it.
    pub hosts: Vec<String>,
    pub clock_skew: Duration,
    /// Reject a token that also has other audiences, since they could replay it.
    pub single_audience: bool,
}

/// How one configured entry verifies ID tokens of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcRules {
    /// Compared byte for byte with `iss`.
    pub issuer: String,
    /// Do not compare `iss`.
    pub skip_issuer: bool,
    /// One of these must be in `aud`. Without audiences and hosts no token is accepted.
    pub audiences: Vec<String>,
    /// Host names of this registry, in lower case, that are accepted as audiences: `host`, `https://host` or
    /// `oci://host`. With a repository, as `oci://host/<repository>` or `host/<repository>`, they limit the
    /// token to it.
    pub hosts: Vec<String>,
    /// `None` for every algorithm that fits the key.
    pub algorithms: Option<Vec<Algorithm>>,
    pub clock_skew: Duration,
    /// The longest time to `exp` from `iat`, or from now without `iat`.
    pub max_lifetime: Option<Duration>,
    /// Reject a token that also has other audiences, since they could replay it.
    pub single_audience: bool,
}

#[cfg(test)]
mod tests;

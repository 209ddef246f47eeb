//! Why a token does not count.

use crate::clock::Timestamp;
use crate::limits::TOKEN_BYTES;
use crate::trust::NoKeys;

/// The token is bad. Says what was expected and what was found, never the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("the token has {found} bytes, more than {TOKEN_BYTES}")]
    TooLong { found: usize },
    #[error("the token is not a compact JWS: three parts of unpadded base64url with dots between them")]
    NotCompact,
    #[error("the token's {part} is not acceptable JSON: {why}")]
    Json { part: &'static str, why: String },
    #[error("the header's alg is {found:?}: expected {expected}")]
    Algorithm { found: String, expected: String },
    #[error("the header's typ is {found}: expected none, JWT or JOSE")]
    Type { found: String },
    #[error("the header's {0} is not accepted")]
    Header(&'static str),
    #[error("the header has no kid, which names the key")]
    NoKeyId,
    #[error("the header's kid is not text, or empty")]
    MalformedKeyId,
    #[error("the claim {0} is missing")]
    MissingClaim(&'static str),
    #[error("the claim {0} has the wrong type")]
    ClaimType(&'static str),
    #[error("sub is no SPIFFE ID of a workload in {expected}: {found:?}")]
    Subject { expected: String, found: String },
    #[error("iss is {found:?}: expected {expected:?}")]
    Issuer { expected: String, found: String },
    #[error("aud is {found:?}: expected one of {expected:?}")]
    Audience { expected: Vec<String>, found: Vec<String> },
    #[error("aud names {found} audiences: singleAudience expects one")]
    SeveralAudiences { found: usize },
    #[error("the token expired at {expired}; it is {now}")]
    Expired { expired: Timestamp, now: Timestamp },
    #[error("{claim} is {from}, in the future; it is {now}")]
    NotYetValid { claim: &'static str, from: Timestamp, now: Timestamp },
    #[error("the token lives {found} s, longer than maxTokenLifetime {most} s")]
    LivesTooLong { found: u64, most: u64 },
    #[error("no key {kid:?} from {source_name}, which knows {known:?}")]
    UnknownKey { kid: Option<String>, source_name: String, known: Vec<String> },
    #[error("key {kid:?} does not serve {algorithm}")]
    KeyDoesNotFit { kid: Option<String>, algorithm: &'static str },
    #[error("more than {0} keys could have signed a token without kid; let the issuer send one")]
    TooManyKeys(usize),
    #[error("the signature is wrong")]
    Signature,
}

/// Why there is no verdict that lets the token in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// It could not be checked: no keys.
    #[error(transparent)]
    Undecidable(#[from] NoKeys),
}

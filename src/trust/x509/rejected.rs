//! Why a certificate does not count.

use crate::clock::Timestamp;
use crate::spiffe_id::InvalidSpiffeId;

/// The chain is bad. Says what was expected and what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("the certificate is not DER that can be read")]
    Malformed,
    #[error("bytes follow the certificate")]
    TrailingBytes,
    #[error("the certificate has {found} URI names: an X.509-SVID has exactly one")]
    UriNames { found: usize },
    #[error("the URI name is no SPIFFE ID: {0}")]
    SpiffeId(#[from] InvalidSpiffeId),
    #[error("the SPIFFE ID names a trust domain and no workload: a path is missing")]
    NoPath,
    #[error("the certificate is a CA's: a leaf is expected")]
    Authority,
    #[error("keyUsage is missing: digitalSignature is expected")]
    NoKeyUsage,
    #[error("keyUsage must have digitalSignature and neither keyCertSign nor cRLSign")]
    KeyUsage,
    #[error("extendedKeyUsage is there without clientAuth")]
    ExtendedKeyUsage,
    #[error("the certificate expired at {expired}; it is {now}")]
    Expired { expired: Timestamp, now: Timestamp },
    #[error("the certificate is valid from {from} on; it is {now}")]
    NotYetValid { from: Timestamp, now: Timestamp },
    #[error("an intermediate certificate may not sign certificates: keyUsage without keyCertSign")]
    IntermediateKeyUsage,
    #[error("the trust domain's authorities ({0}) are none, or none is valid now")]
    NoAuthority(String),
    #[error("the chain leads to none of the trust domain's authorities ({authorities}): {why}")]
    Path { authorities: String, why: String },
}

//! Where keys come from: files and inline text, the SPIFFE Workload API, and OIDC discovery. A source writes
//! [`Slot`]s, which verification reads, and it never replaces a good answer by a malformed one. It judges no credential.

mod fetch;
pub mod file;
pub mod oidc_discovery;
mod tasks;
pub mod workload_api;

pub use fetch::CaSource;
pub use file::{FileSource, Format, inline, watch};
pub use oidc_discovery::{OidcSettings, oidc, oidc_for_trust_domain};
pub use tasks::Tasks;
pub use workload_api::follow;

use crate::trust::Slot;
use crate::trust::bundle::InvalidBundle;
use crate::trust::jwks::{InvalidJwks, KeySet, Skipped};
use crate::trust::x509::X509Authorities;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// What one source offers for one trust domain (or, as for an issuer's `jwksFile`, for one issuer).
#[derive(Debug)]
pub struct DomainKeys {
    /// Absent if this source says nothing about X.509 authorities, as a plain JWK set does not.
    pub x509: Option<Arc<Slot<X509Authorities>>>,
    /// Absent if this source says nothing about JWT keys, as PEM does not.
    pub jwt: Option<Arc<Slot<KeySet>>>,
    /// What could not be used when the source was opened. `verify` reports it as an error, serving as a warning.
    pub skipped: Vec<Skipped>,
}

/// Why a source cannot be used as configured, or why reading it again gave nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SourceError {
    #[error("{name}: cannot be read: {kind}; check that it exists and that the registry's user may read it")]
    Unreadable { name: Arc<str>, kind: io::ErrorKind },
    #[error("{name}: larger than {limit} bytes, which no bundle or key set is; check that it is the right file")]
    TooLarge { name: Arc<str>, limit: u64 },
    #[error("{name}: {why}")]
    Jwks { name: Arc<str>, why: InvalidJwks },
    #[error("{name}: {why}")]
    Bundle { name: Arc<str>, why: InvalidBundle },
    #[error("{name}: none of its {skipped} keys can be used; expected at least one, or `\"keys\": []` to withdraw them all")]
    NoneUsable { name: Arc<str>, skipped: usize },
    #[error("{name}: expected PEM certificates of authorities, each of them usable")]
    NoAuthority { name: Arc<str> },
    #[error("Workload API address `{found}`: expected unix:///absolute/path or tcp://IP:port")]
    Address { found: String },
}

/// Spread over half to one and a half of `pause`, so that many waiters do not return together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64())
}

#[cfg(test)]
mod testing;

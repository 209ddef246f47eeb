//! The sources of keys: files and inline text, the SPIFFE Workload API, federation endpoints and OIDC
//! discovery. A source writes [`Slot`](crate::trust::Slot)s, which verification reads, and never replaces
//! valid keys by a malformed document. It does not verify credentials.

pub mod federation;
mod fetch;
pub mod file;
mod format;
pub mod oidc_discovery;
pub mod workload_api;

pub use federation::{EndpointProfile, FederationSettings, check_bootstrap, federation};
pub use fetch::CaSource;
pub use file::{file, inline};
pub use format::Format;
pub use oidc_discovery::{OidcSettings, oidc, oidc_of_trust_domain};
pub use workload_api::{
    Following, NoJwtSvid, OnPermissionDenied, OwnSvid, OwnSvids, WorkloadApi, check_address, jwt_svid,
};

use crate::file_error::FileError;
use crate::trust::bundle::InvalidBundle;
use crate::trust::content::Slots;
use crate::trust::jwks::{InvalidJwks, KeySet};
use crate::trust::skipped::{Reasons, Skipped};
use crate::trust::tasks::Life;
use crate::trust::tls::InvalidTls;
use crate::trust::x509::X509Authorities;
use crate::trust::{Origin, Refetch};
use std::fmt;
use std::sync::Arc;

/// A source of keys for one trust domain or one issuer. Its background work begins with [`Source::start`] and
/// ends on drop. The keys that it has published stay until their staleness bound.
pub struct Source {
    /// The slots for the kinds of key that this source can have: PEM has no JWT keys, and a plain JWK set has
    /// no X.509 authorities.
    slots: Slots,
    refetch: Option<Arc<dyn Refetch>>,
    skipped: Vec<Skipped>,
    /// Shared by the sources of several trust domains that are read from one place.
    life: Arc<Life>,
}

impl Source {
    fn new(slots: Slots, refetch: Option<Arc<dyn Refetch>>, skipped: Vec<Skipped>, life: Arc<Life>) -> Self {
        Self {
            slots,
            refetch,
            skipped,
            life,
        }
    }

    #[must_use]
    pub fn x509(&self) -> Option<Origin<X509Authorities>> {
        Some(Origin {
            slot: self.slots.x509.clone()?,
            refetch: self.refetch.clone(),
        })
    }

    #[must_use]
    pub fn jwt(&self) -> Option<Origin<KeySet>> {
        Some(Origin {
            slot: self.slots.jwt.clone()?,
            refetch: self.refetch.clone(),
        })
    }

    /// Returns the elements that could not be used when the source was opened.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Begins the background work, unless it has begun. Needs a tokio runtime.
    pub fn start(&self) {
        self.life.start();
    }

    /// Triggers another read of a watched file, as on SIGHUP, without waiting for it.
    pub fn reload(&self) {
        self.life.reload();
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Slots { x509, jwt } = &self.slots;
        let name = x509
            .as_ref()
            .map(|slot| slot.source())
            .or_else(|| jwt.as_ref().map(|slot| slot.source()));
        f.debug_struct("Source")
            .field("name", &name)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

/// Why a source cannot be used as configured, or why it could not be read again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SourceError {
    #[error("{name}: cannot be read: {why}")]
    Unreadable { name: Arc<str>, why: FileError },
    #[error(
        "{name}: larger than {limit} bytes, which is too large for a bundle or key set; check that it is the right file"
    )]
    TooLarge { name: Arc<str>, limit: u64 },
    #[error("{name}: {why}")]
    Jwks { name: Arc<str>, why: InvalidJwks },
    #[error("{name}: {why}")]
    Bundle { name: Arc<str>, why: InvalidBundle },
    #[error(
        "{name}: none of its {} keys can be used ({}); expected at least one, or `\"keys\": []` to withdraw them all",
        skipped.len(),
        Reasons(skipped)
    )]
    NoneUsable { name: Arc<str>, skipped: Vec<Skipped> },
    #[error("{name}: expected PEM certificates of authorities, each of them usable")]
    NoAuthority { name: Arc<str> },
    #[error("{why}")]
    Authority { why: InvalidTls },
    #[error("Workload API address `{found}`: expected unix:///absolute/path or tcp://IP:port")]
    Address { found: String },
}

#[cfg(test)]
pub(in crate::trust) mod testing;
#[cfg(test)]
mod tests;

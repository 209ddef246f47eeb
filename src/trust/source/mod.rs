//! Where keys come from: files and inline text, the SPIFFE Workload API, and OIDC discovery. A source writes
//! [`Slot`](crate::trust::Slot)s, which verification reads, and it never replaces a good answer by a
//! malformed one. It judges no credential.

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
pub use workload_api::{Following, OnPermissionDenied, OwnSvid, OwnSvids, WorkloadApi};

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

/// One source for one trust domain or one issuer. What it does by itself begins with [`Source::start`] and
/// ends when it is dropped; what it has published stays until its staleness bound.
pub struct Source {
    /// Of what this source speaks of: PEM says nothing about JWT keys, a plain JWK set nothing about X.509
    /// authorities.
    slots: Slots,
    refetch: Option<Arc<dyn Refetch>>,
    skipped: Vec<Skipped>,
    /// Shared by what is read from one place for several trust domains.
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

    /// What could not be used when the source was opened: a warning, or only worth a note where a standard
    /// says to ignore it.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Begins to watch, follow or fetch, unless it has begun. Needs a tokio runtime.
    pub fn start(&self) {
        self.life.start();
    }

    /// Has a watched file read again now, as on SIGHUP. Does not wait for it.
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

/// Why a source cannot be used as configured, or why reading it again gave nothing.
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

//! Keys from the SPIFFE Workload API: bundles by two endless streams over one connection, and the registry's
//! own X.509-SVID by a third. A JWT-SVID of its own is fetched when it is needed. Each message is the whole state. A bundle that is missing in a message is
//! withdrawn, and a malformed one leaves the old one in use. A fault in one trust domain's bundle does not
//! affect others.
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_API.md>

mod bundles;
mod client;
mod follow;
mod jwt_svid;
mod own_svid;
mod wire;

pub use client::check_address;
pub use jwt_svid::{NoJwtSvid, jwt_svid};
pub use own_svid::{OwnSvid, OwnSvids};

use super::{Source, SourceError};
use crate::clock::Clock;
use crate::spiffe_id::TrustDomain;
use crate::trust::LastGood;
use crate::trust::bundle::{InvalidBundle, parse_der};
use crate::trust::content::Slots;
use crate::trust::jwks::{self, InvalidJwks, KeySet, UseRule};
use crate::trust::tasks::{Life, Task};
use crate::trust::x509::X509Authorities;
use bundles::{Bundles, Form};
use client::Client;
use follow::{Pace, follow, locked};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wire::{JwtBundlesResponse, X509BundlesResponse};

/// A Workload API, over one connection, for any number of trust domains. It is followed as long as one of
/// them is in use.
#[derive(Clone)]
pub struct WorkloadApi {
    x509: Arc<Mutex<Bundles<X509Authorities, InvalidBundle>>>,
    jwt: Arc<Mutex<Bundles<KeySet, InvalidJwks>>>,
    life: Arc<Life>,
}

/// How to follow one trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Following {
    pub trust_domain: TrustDomain,
    /// How long bundles are used after the stream was last seen open.
    pub max_stale: Duration,
    pub on_denied: OnPermissionDenied,
}

/// What a lasting PermissionDenied does to the bundles received before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPermissionDenied {
    /// They are withdrawn (Workload API 6.1).
    #[default]
    Withdraw,
    /// They stay in use as if the agent were away, so that deleting the registration entry by mistake does
    /// not lock callers out.
    Retain,
}

impl WorkloadApi {
    /// Makes a Workload API at `unix:///absolute/path` or `tcp://IP:port`. Nothing is connected before one of
    /// its sources is started. Needs a tokio runtime.
    ///
    /// Copies of its bundles are saved in `last_good`.
    pub fn new(address: &str, clock: &Clock, last_good: Option<&Arc<LastGood>>) -> Result<Self, SourceError> {
        Self::paced(address, clock, last_good, Pace::default())
    }

    fn paced(
        address: &str,
        clock: &Clock,
        last_good: Option<&Arc<LastGood>>,
        pace: Pace,
    ) -> Result<Self, SourceError> {
        let client = Client::new(address)?;
        let name: Arc<str> = format!("Workload API {address}").into();
        let x509 = Form {
            name: "x509",
            parse: parse_der as fn(&[u8]) -> _,
            empty: b"",
        };
        let jwt = Form {
            name: "jwt",
            parse: (|bytes| jwks::parse(bytes, UseRule::WorkloadApi)) as fn(&[u8]) -> _,
            empty: br#"{"keys":[]}"#,
        };
        let x509 = Arc::new(Mutex::new(Bundles::new(
            name.clone(),
            x509,
            clock.clone(),
            last_good.cloned(),
        )));
        let jwt = Arc::new(Mutex::new(Bundles::new(
            name,
            jwt,
            clock.clone(),
            last_good.cloned(),
        )));
        let certificates = x509.clone();
        let keys = jwt.clone();
        let life = Life::new(move |_| {
            vec![
                Task::spawn(follow::<X509BundlesResponse, _>(
                    client.clone(),
                    certificates,
                    pace,
                )),
                Task::spawn(follow::<JwtBundlesResponse, _>(client, keys, pace)),
            ]
        });
        Ok(Self {
            x509,
            jwt,
            life: Arc::new(life),
        })
    }

    /// Returns the bundles of one trust domain as a source. It may be called at any time, and a bundle that
    /// has already arrived is in it at once.
    #[must_use]
    pub fn source(&self, following: &Following) -> Source {
        let x509 = locked(&self.x509).add(following.clone());
        let jwt = locked(&self.jwt).add(following.clone());
        Source::new(
            Slots {
                x509: Some(x509),
                jwt: Some(jwt),
            },
            None,
            Vec::new(),
            self.life.clone(),
        )
    }
}

impl fmt::Debug for WorkloadApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadApi")
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;

//! What the SPIFFE Workload API says: bundles by two endless streams over one connection, and the registry's
//! own X.509-SVID by a third, each message the whole state. What a message leaves out is withdrawn, what it
//! garbles stays as it was, and one trust domain's fault never touches another.
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_API.md>

mod bundles;
mod client;
mod follow;
mod own_svid;
mod wire;

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

/// One Workload API, over one connection, for however many trust domains. It is followed as long as any of
/// them is.
#[derive(Clone)]
pub struct WorkloadApi {
    x509: Arc<Mutex<Bundles<X509Authorities, InvalidBundle>>>,
    jwt: Arc<Mutex<Bundles<KeySet, InvalidJwks>>>,
    life: Arc<Life>,
}

/// What is wanted of one trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Following {
    pub trust_domain: TrustDomain,
    /// How long what was said counts after its stream was last seen open.
    pub max_stale: Duration,
    pub on_denied: OnPermissionDenied,
}

/// What a lasting PermissionDenied does to what was said before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPermissionDenied {
    /// It counts no more (Workload API 6.1).
    #[default]
    Withdraw,
    /// It counts as if the agent were away: a registration entry that was deleted by mistake locks nobody
    /// out.
    Retain,
}

impl WorkloadApi {
    /// `unix:///absolute/path` or `tcp://IP:port`. Whether anyone answers there shows once a source of it is
    /// started. Needs a tokio runtime.
    ///
    /// What it says is kept in `last_good`.
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

    /// One trust domain's bundles. May be asked for at any time; what is known already is in them at once.
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

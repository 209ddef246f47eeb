//! What changes while requests are served: a reload replaces it as a whole, and a request uses one state from
//! its begin to its end.

use super::{Cors, Open, TrustedProxies};
use crate::access::Policy;
use crate::descriptors;
use crate::exchange::Terms;
use crate::identity::Authenticator;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One state of the configuration, complete and immutable.
#[derive(Clone, Debug)]
pub struct Live {
    /// Counts reloads; for logs.
    pub generation: u64,
    pub authenticator: Arc<Authenticator>,
    pub policy: Arc<Policy>,
    /// On which tokens are issued; the `service` of challenges is in it.
    pub terms: Terms,
    /// Where clients find the registry, as in `https://registry.example.org`, if it is not the address that
    /// they ask for.
    pub external_urls: Vec<String>,
    /// Who may say for whom they ask.
    pub proxies: TrustedProxies,
    /// An external token server, which challenges then name.
    pub realm: Option<String>,
    /// Whether a 401 has a challenge: not where client certificates are all that is accepted.
    pub challenge: bool,
    /// Without a login. The authenticator then ignores credentials, and policy grants everything.
    pub open: Option<Open>,
    /// Which pages of other sites may read the answers.
    pub cors: Cors,
    /// Where the metrics are on the registry's own address, if they are there.
    pub metrics: Option<String>,
}

/// Whether requests can be served now. An issuer that is down is no reason why not.
#[derive(Debug, Default)]
pub struct Readiness {
    serving: AtomicBool,
    storage: ArcSwap<StorageStanding>,
}

/// What the store does now.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum StorageStanding {
    #[default]
    Works,
    /// It has room for deletions only. A registry whose pulls work is ready.
    Full,
    /// The log has the reason. The folder is the one that cannot be written to.
    Fails { folder: Option<&'static str> },
}

impl Readiness {
    /// Set when the server is about to accept requests, and cleared when it drains.
    pub fn serves(&self, serving: bool) {
        self.serving.store(serving, Ordering::SeqCst);
    }

    pub fn storage(&self, standing: StorageStanding) {
        self.storage.store(Arc::new(standing));
    }

    /// What there is to say, and whether requests can be served.
    pub(super) fn check(&self) -> Result<String, String> {
        if !self.serving.load(Ordering::SeqCst) {
            return Err("not ready: starting or shutting down".to_owned());
        }
        match &**self.storage.load() {
            StorageStanding::Works | StorageStanding::Full if descriptors::are_exhausted() => {
                Err("not ready: the registry has no file descriptors left".to_owned())
            }
            StorageStanding::Works => Ok("ok".to_owned()),
            StorageStanding::Full => Ok(
                "ok, but the storage is full: pulls and deletions work, and pushes are refused".to_owned(),
            ),
            StorageStanding::Fails { folder: None } => {
                Err("not ready: the storage fails, and the log has the reason".to_owned())
            }
            StorageStanding::Fails { folder: Some(folder) } => Err(format!(
                "not ready: the folder {folder} of the store cannot be written to, and the log has the reason"
            )),
        }
    }
}

/// Where the state that counts now is found.
pub type Shared = Arc<ArcSwap<Live>>;

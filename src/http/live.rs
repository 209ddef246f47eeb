//! The state that a reload replaces. It is replaced as a whole, and a request uses one state from beginning
//! to end.

use super::{Cors, Open, Redirects, TrustedProxies};
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
    /// The number of reloads, for logs.
    pub generation: u64,
    pub authenticator: Arc<Authenticator>,
    pub policy: Arc<Policy>,
    /// The terms of the tokens that the registry issues, with the `service` of challenges.
    pub terms: Terms,
    /// The registry's own addresses, as in `https://registry.example.org`, if clients use others than the one
    /// in the request.
    pub external_urls: Vec<String>,
    /// The proxies that may name the client of a request.
    pub proxies: TrustedProxies,
    /// The address of an external token server, for challenges.
    pub realm: Option<String>,
    /// Whether a 401 has a challenge. It has none if only client certificates are accepted.
    pub challenge: bool,
    /// A registry without a login. The authenticator ignores credentials, and policy grants everything.
    pub open: Option<Open>,
    /// The pages of other sites that may read the answers.
    pub cors: Cors,
    /// The path of the metrics on the registry's own address, if they are served there.
    pub metrics: Option<String>,
    /// Which downloads are redirected to the store. `None` if none are.
    pub redirects: Option<Redirects>,
}

/// Whether the registry can serve requests now. It can even if an issuer is down.
#[derive(Debug, Default)]
pub struct Readiness {
    serving: AtomicBool,
    storage: ArcSwap<StorageStanding>,
}

/// The state of the store.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum StorageStanding {
    #[default]
    Works,
    /// The store has room only for deletions. The registry is ready, since pulls work.
    Full,
    /// The store fails, and the log has the reason. `folder` is set if it cannot be written to.
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

    /// The text of the answer to a probe. It is an error if requests cannot be served.
    pub fn check(&self) -> Result<String, String> {
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

/// The current state. Clones share it.
pub type Shared = Arc<ArcSwap<Live>>;

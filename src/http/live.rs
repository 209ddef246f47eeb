//! What changes while requests are served: a reload replaces it as a whole, and a request uses one state from its begin to its end.

use crate::access::Policy;
use crate::identity::Authenticator;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// One state of the configuration, complete and immutable.
#[derive(Clone, Debug)]
pub struct Live {
    /// Counts reloads; for logs.
    pub generation: u64,
    pub authenticator: Arc<Authenticator>,
    pub policy: Arc<Policy>,
    /// The `service` of challenges.
    pub service: String,
    /// Where clients find the registry, as in `https://registry.example.org`, if it is not the address that they ask for.
    pub external_urls: Vec<String>,
    /// Whether a 401 has a challenge: not where client certificates are all that is accepted.
    pub challenge: bool,
}

/// Where the state that counts now is found.
pub type Shared = Arc<ArcSwap<Live>>;

//! From a configuration, whose sources are open, to the state that requests see.

use crate::access::Policy;
use crate::http::Live;
use crate::identity::{Authenticator, Domain, Issuer};
use std::sync::Arc;

pub(super) fn live(
    generation: u64,
    issuers: Vec<Issuer>,
    domains: Vec<Domain>,
    policy: Policy,
    service: String,
    external_urls: Vec<String>,
    token_cache: bool,
) -> Live {
    let authenticator = Authenticator::new(issuers, domains, Vec::new());
    Live {
        generation,
        authenticator: Arc::new(if token_cache { authenticator.with_token_cache() } else { authenticator }),
        policy: Arc::new(policy),
        service,
        external_urls,
        challenge: true,
    }
}

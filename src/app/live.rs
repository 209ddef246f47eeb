//! From a configuration, whose sources are open, to the state that requests see.

use super::sources::{OpenOthers, Others};
use crate::access::Policy;
use crate::config::Opened;
use crate::exchange::{Terms, Tokens};
use crate::http::{Cors, Live, Open, TrustedProxies};
use crate::identity::{Authenticator, DenyList, Domain, Issuer};
use std::sync::Arc;
use std::time::Duration;

/// What a configuration says that needs nothing opened.
pub(super) struct Rest {
    pub(super) policy: Policy,
    pub(super) terms: Terms,
    pub(super) external_urls: Vec<String>,
    pub(super) token_cache: bool,
    /// Of an external token server.
    pub(super) realm: Option<String>,
    pub(super) proxies: TrustedProxies,
    pub(super) fail_delay: Duration,
    pub(super) deny: DenyList,
    /// Why everybody may come.
    pub(super) opened: Option<Opened>,
    /// Whether the listener is on loopback, whatever the configuration calls its address.
    pub(super) on_loopback: bool,
    pub(super) cors: Cors,
    pub(super) metrics: Option<String>,
}

/// `tokens` is missing only where nobody is served.
pub(super) fn live(
    generation: u64,
    issuers: Vec<Issuer>,
    domains: Vec<Domain>,
    others: OpenOthers,
    tokens: Option<&Tokens>,
    rest: Rest,
) -> Live {
    let Rest {
        policy,
        terms,
        external_urls,
        token_cache,
        realm,
        proxies,
        fail_delay,
        deny,
        opened,
        on_loopback,
        cors,
        metrics,
    } = rest;
    let Others {
        certificates,
        token_server,
        passwords,
    } = others;
    let mut authenticator = Authenticator::new(issuers, domains, certificates).with_deny(deny);
    if token_cache {
        authenticator = authenticator.with_token_cache();
    }
    if let Some(token_server) = token_server {
        authenticator = authenticator.with_token_server(token_server);
    }
    if let Some(passwords) = passwords {
        authenticator = authenticator.with_passwords(passwords, fail_delay);
    }
    if let Some(tokens) = tokens {
        authenticator = authenticator.with_minted(tokens.verification(&terms));
    }
    if opened.is_some() {
        authenticator = authenticator.ignoring_credentials();
    }
    let open = opened.map(|opened| match on_loopback {
        true => Open::on_loopback(&external_urls, opened == Opened::ByOperator),
        false => Open::Everyone,
    });
    Live {
        generation,
        authenticator: Arc::new(authenticator),
        policy: Arc::new(policy),
        terms,
        external_urls,
        realm,
        proxies,
        challenge: true,
        open,
        cors,
        metrics,
    }
}

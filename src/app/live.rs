//! Turns a configuration with open sources into the state that requests use.

use super::sources::OpenWaysIn;
use crate::config::{LiveSettings, Opened};
use crate::exchange::Tokens;
use crate::http::{Live, Open};
use crate::identity::Authenticator;
use std::sync::Arc;

/// `tokens` is `None` only for commands that serve no requests. `on_loopback` says where the listener really
/// is, whatever address the configuration names.
pub(super) fn live(
    generation: u64,
    ways_in: OpenWaysIn,
    settings: LiveSettings,
    tokens: Option<&Tokens>,
    on_loopback: bool,
) -> Live {
    let OpenWaysIn {
        issuers,
        domains,
        certificates,
        token_server,
        realm,
        passwords,
    } = ways_in;
    let LiveSettings {
        policy,
        terms,
        external_urls,
        proxies,
        proxy_protocol: _, // for the server
        unidentified: _,   // for the server
        token_cache,
        fail_delay,
        deny,
        opened,
        cors,
        metrics,
        scrubbing: _, // for its task
        retention: _, // for the collector
        redirects,
    } = settings;
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
        policy,
        terms,
        external_urls,
        realm,
        proxies,
        challenge: true,
        open,
        cors,
        metrics,
        redirects,
    }
}

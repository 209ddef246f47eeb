//! Warns of keys that entries of one issuer share, and of keys that trust domains share, whenever they
//! appear.

use super::every;
use crate::clock::Clock;
use crate::http::Shared;
use std::time::Duration;

/// Never ends.
pub(super) async fn warn_of_shared_keys(live: Shared, clock: Clock) {
    let mut ticks = every(EVERY);
    let mut known = Vec::new();
    loop {
        ticks.tick().await;
        let found = live.load().authenticator.shared_keys(clock.now());
        for shared in found.iter().filter(|shared| !known.contains(*shared)) {
            tracing::error!(oidc.issuer = shared.issuer, "{shared}");
        }
        known = found;
    }
}

/// Compares the keys of all trust domains, so that the log reports a shared key even before any credential is
/// presented.
pub(super) async fn compare_trust_domains(live: Shared, clock: Clock) {
    let mut ticks = every(EVERY);
    loop {
        ticks.tick().await;
        let live = live.load_full();
        for domain in live.authenticator.domains() {
            let _ = domain.x509.as_ref().map(|keys| keys.withheld(clock.now()));
            let _ = domain.jwt.as_ref().map(|keys| keys.withheld(clock.now()));
        }
    }
}

const EVERY: Duration = Duration::from_secs(2);

//! Warns of keys that entries of one issuer share, whenever they appear.

use crate::clock::Clock;
use crate::http::Shared;
use std::time::Duration;

/// Never ends.
pub(super) async fn warn_of_shared_keys(live: &Shared, clock: Clock) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
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

const EVERY: Duration = Duration::from_secs(2);

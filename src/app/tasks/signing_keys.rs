//! Rotates the keys that sign our own tokens.

use super::every;
use crate::clock::Clock;
use crate::exchange::SigningKeys;
use crate::http::Shared;
use std::sync::Arc;
use std::time::Duration;

/// Creates, drops and reloads keys when they are due. Never ends.
pub(super) async fn rotate_signing_keys(keys: Arc<SigningKeys>, live: Shared, clock: Clock) {
    let mut ticks = every(EVERY);
    loop {
        ticks.tick().await;
        let keys = keys.clone();
        let lifetime = live.load().terms.session_lifetime;
        let now = clock.now();
        match tokio::task::spawn_blocking(move || keys.turn(lifetime, now)).await {
            Ok(Ok(true)) => tracing::info!("the token signing keys have changed"),
            Ok(Ok(false)) => {}
            Ok(Err(why)) => tracing::error!(
                "cannot update the token signing keys, so the present ones stay in use: {why}"
            ),
            Err(_) => return std::future::pending().await, // only a runtime that shuts down cancels it
        }
    }
}

const EVERY: Duration = Duration::from_secs(10);

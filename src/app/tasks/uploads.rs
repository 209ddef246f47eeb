//! Removes upload sessions that have expired.

use super::every;
use crate::registry::Registry;
use std::time::Duration;

/// Never ends.
pub(super) async fn expire_uploads(registry: Registry) {
    if let Err(why) = registry.count_open_uploads().await {
        tracing::error!("cannot count the open uploads, so http.openUploads limits only new ones: {why}");
    }
    let mut ticks = every(EVERY);
    loop {
        ticks.tick().await;
        match registry.expire_uploads().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed expired upload sessions"),
            Err(why) => tracing::error!("cannot remove expired upload sessions: {why}"),
        }
    }
}

const EVERY: Duration = Duration::from_secs(10 * 60);

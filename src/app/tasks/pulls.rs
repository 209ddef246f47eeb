//! Writes the times of pulls to the store.

use crate::access::Maintenance;
use crate::registry::Registry;
use std::time::Duration;
use tokio::time::sleep;

/// Never ends.
pub(super) async fn record_pulls(registry: Registry) {
    let mut fails = false;
    loop {
        let crowded = async {
            // After a failure, such as a full disk, do not try again for every pull.
            if fails {
                std::future::pending::<()>().await;
            }
            registry.pulls_are_crowded().await;
        };
        tokio::select! {
            () = sleep(EVERY) => {}
            () = crowded => {}
        }
        fails = write(&registry, PAUSE, fails).await;
    }
}

/// Writes the remaining times after the last request has ended.
pub(in crate::app) async fn write_last_pulls(registry: &Registry) {
    write(registry, Duration::ZERO, false).await;
}

/// Logs a failure unless the last write failed too. The next write repeats what was not written.
async fn write(registry: &Registry, pause: Duration, failed: bool) -> bool {
    let owner = Maintenance::by_the_stores_owner();
    let written = registry.write_pulls(&owner, || sleep(pause)).await;
    let dropped = registry.take_dropped_pulls();
    if dropped > 0 {
        tracing::warn!(
            dropped,
            "some pulls were not recorded, because too many different manifests were pulled at once"
        );
    }
    match &written {
        Ok(0) => {}
        Ok(records) => tracing::debug!(records, "wrote the times of pulls"),
        Err(why) if !failed => {
            tracing::warn!("cannot record pulls, which retention needs, and will try again: {why}");
        }
        Err(_) => {}
    }
    written.is_err()
}

/// How often pulls are written. A killed process loses the pulls of this time.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// The pause after each commit.
const PAUSE: Duration = Duration::from_millis(100);

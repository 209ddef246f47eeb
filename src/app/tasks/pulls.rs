//! Writes the times of pulls.

use crate::access::Maintenance;
use crate::registry::Registry;
use std::time::Duration;
use tokio::time::sleep;

/// Runs for ever.
pub(super) async fn record_pulls(registry: Registry) {
    let mut fails = false;
    loop {
        let crowded = async {
            // A full disk, for example, is not written to for each further pull.
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

/// Writes what is left when the last request has ended.
pub(in crate::app) async fn write_last_pulls(registry: &Registry) {
    write(registry, Duration::ZERO, false).await;
}

/// Logs a failure unless the last write failed as well. What could not be written is tried again.
async fn write(registry: &Registry, pause: Duration, failed: bool) -> bool {
    let owner = Maintenance::by_the_stores_owner();
    let written = registry.write_pulls(&owner, || sleep(pause)).await;
    let dropped = registry.take_dropped_pulls();
    if dropped > 0 {
        tracing::warn!(
            dropped,
            "the times of some pulls were not recorded, because too many manifests were pulled at once"
        );
    }
    match &written {
        Ok(0) => {}
        Ok(records) => tracing::debug!(records, "wrote the times of pulls"),
        Err(why) if !failed => {
            tracing::warn!("cannot write the times of pulls, which retention needs; trying again: {why}");
        }
        Err(_) => {}
    }
    written.is_err()
}

/// A record is not written more often. A process that is killed loses the pulls of this time.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// The rest after each commit.
const PAUSE: Duration = Duration::from_millis(100);

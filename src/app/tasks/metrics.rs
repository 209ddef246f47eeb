//! Upkeep of the metrics.

use super::every;
use crate::telemetry;

/// Runs for ever.
pub(super) async fn keep_metrics() {
    let mut ticks = every(telemetry::UPKEEP_EVERY);
    loop {
        ticks.tick().await;
        telemetry::upkeep();
    }
}

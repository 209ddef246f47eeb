//! Maintains the metrics.

use super::every;
use crate::telemetry;

/// Never ends.
pub(super) async fn keep_metrics() {
    let mut ticks = every(telemetry::UPKEEP_EVERY);
    loop {
        ticks.tick().await;
        telemetry::upkeep();
    }
}

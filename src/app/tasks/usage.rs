//! Counts what the store holds after the start, and writes the counters of the quotas.

use crate::access::Maintenance;
use crate::registry::Registry;
use crate::registry::collect::Pace;
use std::time::Duration;
use tokio::time::sleep;

/// Runs for ever. The count takes its time beside requests, as a collector does.
pub(super) async fn keep_usage(registry: Registry, pace: Pace) {
    let writing = async {
        loop {
            sleep(EVERY).await;
            write_usage(&registry).await;
        }
    };
    tokio::join!(count_usage(&registry, pace), writing);
}

async fn count_usage(registry: &Registry, pace: Pace) {
    let owner = Maintenance::by_the_stores_owner();
    while let Err(why) = registry.count_usage(&owner, pace).await {
        tracing::error!(
            "cannot count what the store holds, so storage.quotas use the counters of the last process, and limit nothing if there are none; trying again: {why}"
        );
        sleep(EVERY).await;
    }
    // The next start limits pushes by this.
    write_usage(registry).await;
}

pub(in crate::app) async fn write_usage(registry: &Registry) {
    let owner = Maintenance::by_the_stores_owner();
    if let Err(why) = registry.keep_usage(&owner).await {
        tracing::warn!(
            "cannot write how much the repositories hold, which storage.quotas need at the next start; trying again: {why}"
        );
    }
}

/// A process that is killed loses the changes of this time, until the next one has counted everything.
const EVERY: Duration = Duration::from_secs(60);

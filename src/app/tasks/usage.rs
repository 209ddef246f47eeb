//! Counts the content of the store after the start, and writes the counters of the quotas.

use crate::access::Maintenance;
use crate::registry::Registry;
use crate::registry::collect::Pace;
use std::time::Duration;
use tokio::time::sleep;

/// Never ends. The count is paced like a collector, so that it does not slow down requests.
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
    if registry.shares_known_usage(&owner) {
        return;
    }
    loop {
        match registry.count_usage(&owner, pace).await {
            Ok(true) => break,
            // A collector is counting.
            Ok(false) => sleep(AGAIN_AFTER).await,
            Err(why) => {
                tracing::error!(
                    "cannot count the content of the store and will try again; until then storage.quotas use the counters of the last process, and limit nothing if there are none: {why}"
                );
                sleep(EVERY).await;
            }
        }
    }
    // The next start begins with these counters.
    write_usage(registry).await;
}

pub(in crate::app) async fn write_usage(registry: &Registry) {
    let owner = Maintenance::by_the_stores_owner();
    if let Err(why) = registry.keep_usage(&owner).await {
        tracing::warn!(
            "cannot write the usage of repositories, which storage.quotas need at the next start, and will try again: {why}"
        );
    }
}

/// If the process is killed, the changes of this time are missing until the next one has counted everything.
const EVERY: Duration = Duration::from_secs(60);
const AGAIN_AFTER: Duration = Duration::from_secs(1);

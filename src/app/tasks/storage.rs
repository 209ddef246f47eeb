//! Updates readiness when the state of the store changes.

use super::every;
use crate::http::{Readiness, StorageStanding};
use crate::registry::Registry;
use std::sync::Arc;
use std::time::Duration;

/// Never ends.
pub(super) async fn watch_storage(registry: Registry, ready: Arc<Readiness>) {
    let mut ticks = every(EVERY);
    let mut worked = true;
    let mut had_room = true;
    loop {
        ticks.tick().await;
        let checked = tokio::time::timeout(ANSWERS_WITHIN, registry.check_storage()).await;
        let (standing, why) = match checked {
            Ok(Ok(None)) => (StorageStanding::Works, None),
            Ok(Ok(Some(full))) => {
                if had_room {
                    tracing::error!("pushes are refused, but pulls and deletions work: {full}");
                }
                (StorageStanding::Full, None)
            }
            Ok(Err(why)) => (
                StorageStanding::Fails {
                    folder: why.unwritable_folder(),
                },
                Some(why.to_string()),
            ),
            Err(_) => (
                StorageStanding::Fails { folder: None },
                Some(format!("no answer within {ANSWERS_WITHIN:?}")),
            ),
        };
        match &why {
            Some(why) if worked => tracing::error!("not ready, because the storage fails: {why}"),
            None if !worked => tracing::info!("the storage works again"),
            _ => {}
        }
        let has_room = standing != StorageStanding::Full;
        if has_room && !had_room {
            tracing::info!("the storage has room again and accepts pushes");
        }
        ready.storage(standing);
        (worked, had_room) = (why.is_none(), has_room);
    }
}

const EVERY: Duration = Duration::from_secs(2);
/// If the store does not answer within this time, it is reported as failing.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

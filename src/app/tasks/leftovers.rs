//! Removes the files of large records that a crash left.

use crate::storage::local::Local;
use std::sync::Arc;
use tokio::task::spawn_blocking;

pub(super) async fn remove_leftovers(store: Arc<Local>) {
    match spawn_blocking(move || store.remove_leftovers()).await {
        Ok(Ok(0)) => {}
        Ok(Ok(count)) => tracing::info!(count, "removed files that a crash left beside the records"),
        Ok(Err(why)) => {
            tracing::warn!(
                "cannot look for files that a crash left beside the records: {why}; the next start tries again"
            )
        }
        Err(why) => tracing::error!("the search for files that a crash left panicked: {why}"),
    }
}

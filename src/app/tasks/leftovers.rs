//! Removes the files of large records that a crash left in a folder.

use crate::app::store::Store;
use tokio::task::spawn_blocking;

pub(super) async fn remove_leftovers(store: Store) {
    let Some(store) = store.folder().cloned() else {
        return;
    };
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

//! Copies of a store into another one, such as a folder's into a bucket.

use super::backup::SAY_EVERY;
use super::store::Store;
use crate::access::Maintenance;
use crate::exchange::store_id;
use crate::registry::{self, CopiedStore, Copy};
use crate::storage::{Copied, Failure, Progress};
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a copy reports while it is made.
#[derive(Debug)]
pub enum CopyNews {
    Reached(Copied),
    /// The source is damaged.
    Damage(String),
}

/// Why a store was not copied.
#[derive(Debug, thiserror::Error)]
pub enum NotCopied {
    #[error("cannot read the store's name: {0}")]
    Name(#[source] Failure),
    #[error(transparent)]
    Copy(#[from] registry::NotCopied),
}

/// Copies the store into the other one, which is empty or has an unfinished copy of it. If this future is dropped,
/// the copy stops.
pub async fn copy(
    from: &Store,
    to: &Store,
    mut news: impl FnMut(CopyNews),
) -> Result<CopiedStore, NotCopied> {
    let id = store_id(from.records()).await.map_err(NotCopied::Name)?;
    let progress = Arc::new(Progress::default());
    let (damages, mut found) = mpsc::channel(64);
    let source = from.registry(registry::Settings::default());
    let target = to.registry(registry::Settings::default());
    let owner = Maintenance::by_the_stores_owner();
    let options = Copy {
        id,
        progress: progress.clone(),
        damages,
    };
    let mut copying = pin!(source.copy_to(&owner, &target, options));
    let mut ticks = tokio::time::interval(SAY_EVERY);
    let done = loop {
        tokio::select! {
            done = &mut copying => break done,
            Some(damage) = found.recv() => news(CopyNews::Damage(damage)),
            _ = ticks.tick() => news(CopyNews::Reached(progress.now())),
        }
    };
    while let Ok(damage) = found.try_recv() {
        news(CopyNews::Damage(damage));
    }
    Ok(done?)
}

//! Backups of the store, while a registry serves it or not.

use crate::control::{BackupRequest, Updates};
use crate::exchange::store_id;
use crate::registry::NamedBytes;
use crate::storage::local::{BackedUp, Backup, BackupError, Local};
use crate::storage::{Copied, Failure, Progress};
use futures_util::future::BoxFuture;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::JoinError;

/// Why a backup failed.
#[derive(Debug, thiserror::Error)]
pub enum NotBackedUp {
    #[error("cannot read the store's name: {0}")]
    Name(#[source] Failure),
    #[error(transparent)]
    Copy(#[from] BackupError),
    #[error("the backup panicked, which is a bug; please report it: {0}")]
    Panicked(#[from] JoinError),
    #[error("the registry is stopping")]
    Stopping,
}

/// Copies the store and reports progress to `news`. If this future is dropped, the backup stops.
pub async fn back_up(
    store: Arc<Local>,
    request: BackupRequest,
    mut news: impl FnMut(Copied),
) -> Result<BackedUp, NotBackedUp> {
    let id = store_id(&*store).await.map_err(NotBackedUp::Name)?;
    let progress = Arc::new(Progress::default());
    let _stop = StopOnDrop(progress.clone());
    let copied = progress.clone();
    let mut copying = tokio::task::spawn_blocking(move || {
        let BackupRequest { to, hard_link } = request;
        store.back_up(
            Backup {
                to: &to,
                hard_link,
                store_id: &id,
                names: &NamedBytes,
            },
            &progress,
        )
    });
    let mut ticks = tokio::time::interval(SAY_EVERY);
    loop {
        tokio::select! {
            ended = &mut copying => return Ok(ended??),
            _ = ticks.tick() => news(copied.now()),
        }
    }
}

/// The handler of a command's request for a backup of a folder. The backup stops when the command ends.
pub(super) fn handler(
    store: &Arc<Local>,
) -> impl Fn(BackupRequest, Updates<BackupRequest>) -> BoxFuture<'static, Result<BackedUp, NotBackedUp>> + use<>
{
    // A connected command must not keep the store open when the registry ends.
    let store = Arc::downgrade(store);
    move |request, updates| Box::pin(answer(store.clone(), request, updates))
}

async fn answer(
    store: Weak<Local>,
    request: BackupRequest,
    updates: Updates<BackupRequest>,
) -> Result<BackedUp, NotBackedUp> {
    let store = store.upgrade().ok_or(NotBackedUp::Stopping)?;
    let to = request.to.clone();
    tracing::info!(backup.folder = %to.display(), "a backup started");
    let made = back_up(store, request, |copied| updates.send(copied)).await;
    match &made {
        Ok(done) => {
            tracing::info!(
                backup.folder = %to.display(),
                backup.files = done.files,
                backup.bytes = done.bytes,
                backup.copied_bytes = done.copied_bytes,
                "the backup is complete"
            );
            if done.damages > 0 {
                tracing::error!(
                    damages = done.damages,
                    "the store itself is damaged, so the backup lacks the same content: check the store with `wharfinger fsck`"
                );
            }
        }
        Err(why) => tracing::error!(backup.folder = %to.display(), "the backup failed: {why}"),
    }
    made
}

struct StopOnDrop(Arc<Progress>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// How often progress is reported.
pub(super) const SAY_EVERY: Duration = Duration::from_secs(2);

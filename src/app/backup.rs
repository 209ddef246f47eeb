//! Backups of the store, while a registry serves it or not.

use crate::control::{BackupMessage, BackupRequest, MakeBackup};
use crate::exchange::store_id;
use crate::registry::NamedBytes;
use crate::storage::local::{BackedUp, Backup, Copied, Local, Progress};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc;

/// Copies the store and reports progress to `news`. The error is a message for the user. If this future is
/// dropped, the backup stops.
pub async fn back_up(
    store: Arc<Local>,
    request: BackupRequest,
    mut news: impl FnMut(Copied),
) -> Result<BackedUp, String> {
    let id = store_id(&*store)
        .await
        .map_err(|why| format!("cannot read the store's name: {why}"))?;
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
            ended = &mut copying => return match ended {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(why)) => Err(why.to_string()),
                Err(why) => Err(format!("the backup panicked, which is a bug; please report it: {why}")),
            },
            _ = ticks.tick() => news(copied.now()),
        }
    }
}

/// The function that the control socket calls to make a backup.
pub(super) fn maker(store: &Arc<Local>) -> Box<MakeBackup> {
    // A connected command must not keep the store open when the registry ends.
    let store = Arc::downgrade(store);
    Box::new(move |request, news| Box::pin(serve(store.clone(), request, news)))
}

async fn serve(store: Weak<Local>, request: BackupRequest, news: mpsc::Sender<BackupMessage>) {
    let Some(store) = store.upgrade() else { return };
    let to = request.to.clone();
    tracing::info!(backup.folder = %to.display(), "a backup started");
    // A command that reads slowly may miss some progress.
    let making = back_up(store, request, |copied| {
        drop(news.try_send(BackupMessage::Progress(copied)))
    });
    let made = tokio::select! {
        made = making => made,
        () = news.closed() => {
            tracing::warn!(backup.folder = %to.display(), "the backup stopped because the command that requested it has ended");
            return;
        }
    };
    let said = match made {
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
            BackupMessage::Done(done)
        }
        Err(why) => {
            tracing::error!(backup.folder = %to.display(), "the backup failed: {why}");
            BackupMessage::Failed(why)
        }
    };
    // The command may have ended.
    drop(news.send(said).await);
}

struct StopOnDrop(Arc<Progress>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

const SAY_EVERY: Duration = Duration::from_secs(2);

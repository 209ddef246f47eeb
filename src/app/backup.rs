//! Backups of the store, of a registry that serves and of one that does not.

use crate::control::{BackupNews, BackupRequest, MakeBackup};
use crate::exchange::store_id;
use crate::registry::NamedBytes;
use crate::storage::local::{BackedUp, Backup, Copied, Local, Progress};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc;

/// Copies the store, and tells `news` how far it is. An error says in words why there is no backup. If this
/// future is dropped, the backup stops.
pub async fn back_up(
    store: Arc<Local>,
    request: BackupRequest,
    mut news: impl FnMut(Copied),
) -> Result<BackedUp, String> {
    let id = store_id(&*store)
        .await
        .map_err(|why| format!("the store's name cannot be read: {why}"))?;
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
                Err(why) => Err(format!("the backup ended with a panic, which is a bug: {why}")),
            },
            _ = ticks.tick() => news(copied.now()),
        }
    }
}

/// What the control socket calls.
pub(super) fn maker(store: &Arc<Local>) -> Box<MakeBackup> {
    // A command that stays connected must not keep the store open when the registry ends.
    let store = Arc::downgrade(store);
    Box::new(move |request, news| Box::pin(serve(store.clone(), request, news)))
}

async fn serve(store: Weak<Local>, request: BackupRequest, news: mpsc::Sender<BackupNews>) {
    let Some(store) = store.upgrade() else { return };
    let to = request.to.clone();
    tracing::info!(backup.folder = %to.display(), "a backup begins");
    // A command that does not read need not hear of everything.
    let making = back_up(store, request, |copied| {
        drop(news.try_send(BackupNews::Progress(copied)))
    });
    let made = tokio::select! {
        made = making => made,
        () = news.closed() => {
            tracing::warn!(backup.folder = %to.display(), "the backup stops, because the command that asked for it has ended");
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
                    "the backup lacks what the store has lost: check the store with `wharfinger fsck`"
                );
            }
            BackupNews::Done(done)
        }
        Err(why) => {
            tracing::error!(backup.folder = %to.display(), "the backup failed: {why}");
            BackupNews::Failed(why)
        }
    };
    // Nobody may be there to hear it.
    drop(news.send(said).await);
}

struct StopOnDrop(Arc<Progress>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

const SAY_EVERY: Duration = Duration::from_secs(2);

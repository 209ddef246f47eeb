//! Limits how many large manifests are processed at the same time. Pushing, reading or listing one takes
//! several times its size in memory, so the total size is bounded. Reading one takes milliseconds of CPU
//! time, so it runs on a thread where it delays no other request.

use super::Error;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A manifest with more bytes than this is large.
pub(super) const LARGE: usize = 64 * 1024;
/// How many bytes are processed at the same time: two manifests of the maximum size.
const IN_HAND: usize = 2 * crate::limits::MANIFEST_BYTES;
const UNIT: usize = 1024;

/// Cheap to clone. All clones share the same limit.
#[derive(Clone)]
pub(super) struct Turns(Arc<Semaphore>);

/// Permission to process one manifest. It ends when it is dropped. `None` if the manifest is not large.
pub(super) type Turn = Option<OwnedSemaphorePermit>;

impl Turns {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(IN_HAND / UNIT)))
    }

    /// Turns are given in the order of the calls. A task that holds a turn must not wait for another one of
    /// the same `Turns`, because that could deadlock.
    pub(super) async fn take(&self, bytes: usize) -> Turn {
        if bytes <= LARGE {
            return None;
        }
        let units = u32::try_from(bytes.min(IN_HAND) / UNIT).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        self.0.clone().acquire_many_owned(units).await.ok()
    }

    /// How many bytes are being processed.
    #[cfg(test)]
    pub(super) fn in_hand(&self) -> usize {
        IN_HAND - self.0.available_permits() * UNIT
    }
}

/// Runs `work`, which processes this many bytes. If they are many, it runs on a blocking thread.
pub(super) async fn worked<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    if bytes <= LARGE {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Internal)
}

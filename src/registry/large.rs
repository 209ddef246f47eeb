//! Large manifests take turns. What is made of one while it is pushed, read or listed is several times its
//! size, so few are in hand at the same time, by their bytes. Reading one takes milliseconds of a processor,
//! and happens where it keeps no request waiting.

use super::Error;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// More bytes than this are a large manifest.
pub(super) const LARGE: usize = 64 * 1024;
/// The bytes that are in hand at the same time: two of the largest manifests.
const IN_HAND: usize = 2 * crate::limits::MANIFEST_BYTES;
const UNIT: usize = 1024;

/// Cheap to clone; all clones share the turns.
#[derive(Clone)]
pub(super) struct Turns(Arc<Semaphore>);

/// Ends when it is dropped. `None` for what is not large.
pub(super) type Turn = Option<OwnedSemaphorePermit>;

impl Turns {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(IN_HAND / UNIT)))
    }

    /// In the order of asking. Whoever has a turn must not wait for another one of the same kind.
    pub(super) async fn take(&self, bytes: usize) -> Turn {
        if bytes <= LARGE {
            return None;
        }
        let units = u32::try_from(bytes.min(IN_HAND) / UNIT).unwrap_or(u32::MAX);
        // It is never closed.
        self.0.clone().acquire_many_owned(units).await.ok()
    }

    /// How many bytes are in hand.
    #[cfg(test)]
    pub(super) fn in_hand(&self) -> usize {
        IN_HAND - self.0.available_permits() * UNIT
    }
}

/// Runs `work` on so many bytes, elsewhere if they are many.
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

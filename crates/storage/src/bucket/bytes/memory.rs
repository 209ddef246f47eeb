//! The memory for parts. All uploads of the process share it.
//!
//! A writer waits for memory only while it holds none, except for parts that are being sent, which are done
//! without it. So waiting always ends. Memory is given out in the order of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is given out in multiples of this, in bytes.
const PIECE: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Memory {
    free: Arc<Semaphore>,
    pieces: u32,
    waiting: AtomicUsize,
}

/// Memory that is given back when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Held(Option<OwnedSemaphorePermit>);

impl Memory {
    /// At least `least` bytes, or one part would not fit.
    pub(super) fn new(bytes: u64, least: u64) -> Self {
        let pieces = u32::try_from(bytes.max(least).div_ceil(PIECE)).unwrap_or(u32::MAX >> 3);
        let free = usize::try_from(pieces).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(free)),
            pieces,
            waiting: AtomicUsize::new(0),
        }
    }

    /// Takes the memory at once. `None` while others wait for some.
    pub(super) fn try_take(&self, bytes: u64) -> Option<Held> {
        let taken = self.free.clone().try_acquire_many_owned(self.pieces(bytes));
        taken.ok().map(|permit| Held(Some(permit)))
    }

    /// Waits for the memory. Call this only while holding none.
    pub(super) async fn take(&self, bytes: u64) -> Held {
        if let Some(held) = self.try_take(bytes) {
            return held;
        }
        let _waiting = Waiting::begin(&self.waiting);
        // Fails only if the semaphore is closed, which never happens.
        Held(
            self.free
                .clone()
                .acquire_many_owned(self.pieces(bytes))
                .await
                .ok(),
        )
    }

    /// Whether a writer waits for memory.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// The number of bytes in use.
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        (u64::from(self.pieces) - self.free.available_permits() as u64) * PIECE
    }

    /// At most all.
    fn pieces(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(PIECE))
            .unwrap_or(u32::MAX)
            .min(self.pieces)
    }
}

impl Held {
    pub(super) fn bytes(&self) -> u64 {
        self.0
            .as_ref()
            .map_or(0, |permit| permit.num_permits() as u64 * PIECE)
    }

    pub(super) fn add(&mut self, Self(more): Self) {
        match (&mut self.0, more) {
            (Some(own), Some(more)) => own.merge(more),
            (own @ None, more) => *own = more,
            (Some(_), None) => {}
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn memory_is_taken_in_pieces_and_given_back() {
        let memory = Memory::new(4 * PIECE, 0);
        let mut held = memory.try_take(PIECE + 1).unwrap();
        assert_eq!((held.bytes(), memory.used()), (2 * PIECE, 2 * PIECE));
        held.add(memory.try_take(2 * PIECE).unwrap());
        assert_eq!(held.bytes(), 4 * PIECE);
        assert!(memory.try_take(1).is_none());
        drop(held);
        assert_eq!(memory.used(), 0);
        assert_eq!(
            memory.try_take(u64::MAX).unwrap().bytes(),
            4 * PIECE,
            "at most all"
        );
    }

    #[test]
    fn those_who_wait_come_first() {
        let memory = Memory::new(1, 4 * PIECE);
        let held = memory.try_take(2 * PIECE).unwrap();
        let mut large = Box::pin(memory.take(4 * PIECE));
        assert!(large.as_mut().now_or_never().is_none());
        assert!(memory.is_wanted() && memory.try_take(1).is_none());
        drop(held);
        assert_eq!(large.now_or_never().unwrap().bytes(), 4 * PIECE);
        assert!(!memory.is_wanted());
    }
}

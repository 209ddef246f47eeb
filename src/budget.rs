//! The memory that bodies of requests hold: manifests and forms, which are read whole, and the batches of uploads. All together they
//! have a fixed number of bytes, so that many clients at once get slower and the process does not grow. Large manifests on their way to
//! slow clients are part of it.
//!
//! Memory is handed out in whole pieces, in the order of asking. A body waits for its first memory before it is read; if that takes too
//! long the request is refused, and nothing of it was read. After that a body is never refused: a manifest or a form has taken all that
//! it may need at the start, and an upload goes on with whatever it has, writes it, and waits for the next piece. Whoever holds memory
//! and waits for its client gives it up when others want it, so that slow clients hold up nobody.
//!
//! Callers that are not identified have half of it at most: strangers cannot keep identified callers from pushing.

use crate::limits::BODY_WAIT_SECONDS;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Memory is given in multiples of this, in bytes.
pub const PIECE: usize = 16 * 1024;
/// The smallest budget, in bytes: four of the largest manifests, two of them strangers'.
pub const LEAST: usize = 16 << 20;
/// The budget unless the configuration says otherwise, in bytes: 32 uploads at full speed or 16 of the largest manifests, and a quarter of
/// a container of 256 MiB.
pub const USUAL: usize = 64 << 20;

/// Cheap to clone; all clones share the memory.
#[derive(Clone)]
pub struct Budget(Arc<Pools>);

struct Pools {
    all: Pool,
    strangers: Pool,
}

/// Whose body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Identified,
    /// A caller without a credential, or whose credential is in the body.
    Stranger,
}

/// There was no memory for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory for a request's body within {BODY_WAIT_SECONDS}s: http.bodyMemory is in use")]
pub struct Exhausted;

impl Budget {
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let pieces = u32::try_from(bytes / PIECE).unwrap_or(u32::MAX).max(2);
        Self(Arc::new(Pools { all: Pool::new(pieces), strangers: Pool::new(pieces / 2) }))
    }

    #[must_use]
    pub fn of(&self, class: Class) -> Share {
        Share { pools: self.0.clone(), class }
    }

    /// How many bytes are held now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.all.used()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("used", &self.used()).finish_non_exhaustive()
    }
}

/// What one caller's bodies may take. Cheap to clone.
#[derive(Clone)]
pub struct Share {
    pools: Arc<Pools>,
    class: Class,
}

impl Share {
    /// Memory for so many bytes, rounded up, before anything of a body is read.
    pub async fn reserve(&self, bytes: usize) -> Result<Held, Exhausted> {
        if let Some(held) = self.try_take(bytes) {
            return Ok(held);
        }
        let waiting = tokio::time::timeout(Duration::from_secs(BODY_WAIT_SECONDS), self.take(bytes));
        waiting.await.map_err(|_| {
            metrics::counter!("wharfinger_body_memory_refusals_total").increment(1);
            Exhausted
        })
    }

    /// The same, however long it takes. To be called only while holding none, or two that hold some would wait for each other.
    pub async fn take(&self, bytes: usize) -> Held {
        let pieces = self.pieces(bytes);
        let share = match self.class {
            Class::Identified => None,
            Class::Stranger => self.pools.strangers.take(pieces).await,
        };
        Held { share, all: self.pools.all.take(pieces).await }
    }

    /// At once or not at all.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> Option<Held> {
        let pieces = self.pieces(bytes);
        let share = match self.class {
            Class::Identified => None,
            Class::Stranger => Some(self.pools.strangers.try_take(pieces)?),
        };
        Some(Held { share, all: Some(self.pools.all.try_take(pieces)?) })
    }

    /// Returns when others wait for memory that this caller holds.
    pub async fn wanted(&self) {
        let by_strangers = async {
            match self.class {
                Class::Identified => std::future::pending().await,
                Class::Stranger => self.pools.strangers.wanted().await,
            }
        };
        tokio::select! {
            () = self.pools.all.wanted() => {}
            () = by_strangers => {}
        }
    }

    /// Never more than there are.
    fn pieces(&self, bytes: usize) -> u32 {
        let most = match self.class {
            Class::Identified => self.pools.all.pieces,
            Class::Stranger => self.pools.strangers.pieces,
        };
        u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX).clamp(1, most)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("class", &self.class).finish_non_exhaustive()
    }
}

/// Memory that is given back when this is dropped.
#[derive(Debug)]
pub struct Held {
    share: Option<OwnedSemaphorePermit>,
    all: Option<OwnedSemaphorePermit>,
}

impl Held {
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.all.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) * PIECE
    }

    /// Of the same share.
    pub fn add(&mut self, more: Self) {
        let merge = |own: &mut Option<OwnedSemaphorePermit>, more| match (own, more) {
            (Some(own), Some(more)) => own.merge(more),
            (own, more) => *own = more,
        };
        merge(&mut self.share, more.share);
        merge(&mut self.all, more.all);
    }

    /// Gives back what is not needed for so many bytes.
    pub fn keep(&mut self, bytes: usize) {
        let needed = bytes.div_ceil(PIECE).max(1);
        for permit in [&mut self.share, &mut self.all].into_iter().flatten() {
            drop(permit.split(permit.num_permits().saturating_sub(needed)));
        }
    }
}

struct Pool {
    free: Arc<Semaphore>,
    pieces: u32,
    waiting: AtomicUsize,
    /// Notified when somebody begins to wait.
    wanted: Notify,
}

impl Pool {
    fn new(pieces: u32) -> Self {
        let free = Arc::new(Semaphore::new(usize::try_from(pieces).unwrap_or(Semaphore::MAX_PERMITS)));
        Self { free, pieces, waiting: AtomicUsize::new(0), wanted: Notify::new() }
    }

    fn used(&self) -> usize {
        usize::try_from(self.pieces).unwrap_or(usize::MAX).saturating_sub(self.free.available_permits()) * PIECE
    }

    /// Fails while others wait.
    fn try_take(&self, pieces: u32) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_many_owned(pieces).ok()
    }

    /// In the order of asking. Nothing only if the semaphore were closed, which it never is.
    async fn take(&self, pieces: u32) -> Option<OwnedSemaphorePermit> {
        if let Some(taken) = self.try_take(pieces) {
            return Some(taken);
        }
        let _waiting = Waiting::begin(self);
        self.free.clone().acquire_many_owned(pieces).await.ok()
    }

    async fn wanted(&self) {
        let notified = self.wanted.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if self.waiting.load(Ordering::SeqCst) == 0 {
            notified.await;
        }
    }
}

struct Waiting<'a>(&'a Pool);

impl<'a> Waiting<'a> {
    fn begin(pool: &'a Pool) -> Self {
        pool.waiting.fetch_add(1, Ordering::SeqCst);
        pool.wanted.notify_waiters();
        Self(pool)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn budget(pieces: usize) -> (Budget, Share, Share) {
        let budget = Budget::new(pieces * PIECE);
        let (identified, stranger) = (budget.of(Class::Identified), budget.of(Class::Stranger));
        (budget, identified, stranger)
    }

    #[test]
    fn memory_comes_in_whole_pieces_and_goes_back() {
        let (budget, identified, _) = budget(8);
        let mut held = identified.try_take(PIECE + 1).unwrap();
        assert_eq!((held.bytes(), budget.used()), (2 * PIECE, 2 * PIECE));
        held.add(identified.try_take(6 * PIECE).unwrap());
        assert_eq!((held.bytes(), budget.used()), (8 * PIECE, 8 * PIECE));
        assert!(identified.try_take(1).is_none());
        held.keep(10);
        assert_eq!((held.bytes(), budget.used()), (PIECE, PIECE));
        drop(held);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn strangers_have_half_and_identified_callers_all() {
        let (budget, identified, stranger) = budget(8);
        let theirs = stranger.try_take(4 * PIECE).unwrap();
        assert!(stranger.try_take(1).is_none());
        assert!(identified.try_take(4 * PIECE).is_some());
        drop(theirs);
        let all = identified.try_take(8 * PIECE).unwrap();
        assert!(stranger.try_take(1).is_none(), "there is none left");
        drop(all);
        assert_eq!(stranger.try_take(usize::MAX).unwrap().bytes(), 4 * PIECE);
        assert_eq!(budget.used(), 0, "what was refused holds nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_for_memory_and_not_for_ever() {
        let (budget, identified, stranger) = budget(8);
        let all = identified.reserve(8 * PIECE).await.unwrap();
        assert_eq!(stranger.reserve(1).await.unwrap_err(), Exhausted);
        let (waiting, given) = tokio::join!(identified.reserve(4 * PIECE), async {
            tokio::task::yield_now().await;
            drop(all);
        });
        assert_eq!((waiting.unwrap().bytes(), given), (4 * PIECE, ()));
        assert_eq!(budget.used(), 0, "nor does a wait that was given up hold anything");
    }

    #[tokio::test]
    async fn whoever_holds_memory_hears_that_others_want_it() {
        let (_, identified, stranger) = budget(4);
        let held = stranger.try_take(2 * PIECE).unwrap();
        let (mut wanted, mut not_wanted) = (Box::pin(stranger.wanted()), Box::pin(identified.wanted()));
        assert!(wanted.as_mut().now_or_never().is_none());
        assert!(not_wanted.as_mut().now_or_never().is_none());
        let mut waiting = Box::pin(stranger.take(1));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(wanted.as_mut().now_or_never().is_some(), "who waited already");
        assert!(stranger.wanted().now_or_never().is_some(), "and who asks later");
        assert!(not_wanted.as_mut().now_or_never().is_none(), "only strangers are short of memory");
        drop(held);
        assert!(waiting.as_mut().now_or_never().is_some());
        assert!(stranger.wanted().now_or_never().is_none());
    }
}

//! A bounded number of permits, handed out in the order of the requests. The bound may change while permits
//! are held.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

#[derive(Debug)]
pub(super) struct Turns {
    free: Semaphore,
    most: Mutex<usize>,
    /// Permits to withdraw when they are given back, because the bound was lowered while they were held.
    owed: AtomicUsize,
    waiting: AtomicUsize,
}

impl Turns {
    pub(super) fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            free: Semaphore::new(most),
            most: Mutex::new(most),
            owed: 0.into(),
            waiting: 0.into(),
        }
    }

    /// Sets a new bound. A higher one lets waiting requests continue at once.
    pub(super) fn bound(&self, most: usize) {
        let most = most.min(Semaphore::MAX_PERMITS);
        let mut now = self.most.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fewer) = now.checked_sub(most) {
            let withdrawn = self.free.forget_permits(fewer);
            self.owed.fetch_add(fewer - withdrawn, Ordering::SeqCst);
        } else {
            let more = most - *now;
            let owed = self
                .owed
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |owed| {
                    Some(owed.saturating_sub(more))
                });
            self.free
                .add_permits(more.saturating_sub(owed.unwrap_or_default()));
        }
        *now = most;
    }

    /// Waits for a permit. [`give_back`](Self::give_back) must return it.
    ///
    /// # Errors
    ///
    /// When `most` requests are already waiting, or no permit was free in time.
    pub(super) async fn take(&self, most: usize, patience: Duration) -> Result<(), Crowded> {
        if let Ok(permit) = self.free.try_acquire() {
            permit.forget();
            return Ok(());
        }
        let _waiting = Waiting::begin(&self.waiting, most).ok_or(Crowded::Waiting { most })?;
        match tokio::time::timeout(patience, self.free.acquire()).await {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(())
            }
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(Crowded::Late { after: patience }),
        }
    }

    pub(super) fn give_back(&self) {
        if self
            .owed
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |owed| owed.checked_sub(1))
            .is_err()
        {
            self.free.add_permits(1);
        }
    }
}

/// Too many requests from one address are in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Crowded {
    #[error("{most} more requests are already waiting")]
    Waiting { most: usize },
    #[error("none of these requests ended within {after:?}")]
    Late { after: Duration },
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        waiting
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
                (now < most).then_some(now + 1)
            })
            .ok()?;
        Some(Self(waiting))
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
    use futures_util::FutureExt as _;
    use std::pin::pin;

    const LONG: Duration = Duration::from_secs(10);

    fn free(turns: &Turns) -> usize {
        let free = std::iter::from_fn(|| turns.take(0, LONG).now_or_never().unwrap().ok()).count();
        (0..free).for_each(|_| turns.give_back());
        free
    }

    #[tokio::test(start_paused = true)]
    async fn permits_are_given_in_turn_and_no_newcomer_overtakes() {
        let turns = Turns::new(1);
        turns.take(0, LONG).await.unwrap();
        let mut first = pin!(turns.take(2, LONG));
        let mut second = pin!(turns.take(2, LONG));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        assert_eq!(turns.take(2, LONG).await, Err(Crowded::Waiting { most: 2 }));
        turns.give_back();
        let mut newcomer = pin!(turns.take(3, LONG));
        assert!(
            newcomer.as_mut().now_or_never().is_none(),
            "the permit is the first one's"
        );
        assert!(second.as_mut().now_or_never().is_none());
        first.await.unwrap();
        turns.give_back();
        second.await.unwrap();
        assert_eq!(newcomer.await, Err(Crowded::Late { after: LONG }));
    }

    #[tokio::test]
    async fn a_request_that_gives_up_leaves_its_permit_to_the_next() {
        let turns = Turns::new(1);
        turns.take(0, LONG).await.unwrap();
        let mut first = Box::pin(turns.take(2, LONG));
        let mut second = Box::pin(turns.take(2, LONG));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        turns.give_back();
        drop(first);
        second.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_bound_applies_to_waiting_requests_and_to_held_permits() {
        let turns = Turns::new(1);
        turns.take(0, LONG).await.unwrap();
        let mut waits = pin!(turns.take(1, LONG));
        assert!(waits.as_mut().now_or_never().is_none());
        turns.bound(2);
        waits.await.unwrap();
        turns.bound(4);
        assert_eq!(free(&turns), 2);
        turns.bound(1);
        assert_eq!(free(&turns), 0);
        turns.give_back();
        assert_eq!(free(&turns), 0, "one is held still, which is all there may be");
        turns.bound(3);
        assert_eq!(free(&turns), 2);
        turns.give_back();
        assert_eq!(free(&turns), 3);
    }
}

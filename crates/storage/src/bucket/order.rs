//! The order of conditional writes inside this process, for a service that ignores the conditions of requests. It
//! says nothing about other processes, so only one may use such a bucket.

use super::retry::may_still_happen;
use object_store::path::Path;
use object_store::{Error, Result};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// One turn for each group of objects.
#[derive(Debug)]
pub(super) struct Order {
    turns: [Arc<Mutex<()>>; GROUPS],
    hashes: RandomState,
    settled: Duration,
}

impl Order {
    pub(super) fn new() -> Self {
        Self {
            turns: std::array::from_fn(|_| Arc::default()),
            hashes: RandomState::new(),
            settled: SETTLED,
        }
    }

    /// Changes the object if it has the entity tag `expected`, or does not exist if that is `None`. `found` asks
    /// for its present tag. The change goes on if the caller stops waiting for it, because the next one must not
    /// overtake it.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        path: &Path,
        expected: Option<&str>,
        found: impl Future<Output = Result<Option<Arc<str>>>>,
        change: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let turn = self.turn(path).await;
        if found.await?.as_deref() != expected {
            return Err(Error::Precondition {
                path: path.to_string(),
                source: "the object has changed".into(),
            });
        }
        let settled = self.settled;
        let changing = tokio::spawn(async move {
            let changed = change.await;
            if changed.as_ref().is_err_and(may_still_happen) {
                tokio::spawn(hold_until_settled(turn, settled));
            }
            changed
        });
        changing.await.unwrap_or_else(|why| {
            Err(Error::Generic {
                store: "bucket",
                source: why.into(),
            })
        })
    }

    async fn turn(&self, path: &Path) -> OwnedMutexGuard<()> {
        let group = self.hashes.hash_one(path.as_ref()) % GROUPS as u64;
        let turn = usize::try_from(group)
            .ok()
            .and_then(|group| self.turns.get(group));
        turn.cloned().unwrap_or_default().lock_owned().await
    }
}

/// A request without an answer may be carried out later. No other may come before that.
async fn hold_until_settled(turn: OwnedMutexGuard<()>, settled: Duration) {
    tokio::time::sleep(settled).await;
    drop(turn);
}

const GROUPS: usize = 256;
/// How long a request is waited for that got no answer.
const SETTLED: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::super::wire::Answered;
    use super::*;
    use object_store::client::{HttpError, HttpErrorKind};
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::time::Instant;

    fn failed(kind: HttpErrorKind) -> Error {
        Error::Generic {
            store: "test",
            source: HttpError::new(kind, std::io::Error::other("broken")).into(),
        }
    }

    async fn tag(of: &str) -> Result<Option<Arc<str>>> {
        Ok(Some(of.into()))
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_changes_of_one_state_the_second_is_refused() {
        let order = Arc::new(Order::new());
        let state = Arc::new(AtomicU32::new(0));
        let change = || {
            let order = order.clone();
            let state = state.clone();
            tokio::spawn(async move {
                let found = async { Ok(Some(state.load(Ordering::SeqCst).to_string().into())) };
                let next = state.clone();
                let write = async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Ok(next.fetch_add(1, Ordering::SeqCst))
                };
                order.change(&Path::from("a"), Some("0"), found, write).await
            })
        };
        let both = [change(), change()];
        let mut done = 0;
        for one in both {
            match one.await.unwrap() {
                Ok(_) => done += 1,
                Err(why) => assert!(matches!(why, Error::Precondition { .. }), "{why}"),
            }
        }
        assert_eq!(done, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_goes_on_without_its_caller_and_is_not_overtaken() {
        let order = Order::new();
        let path = Path::from("a");
        let done = Arc::new(AtomicU32::new(0));
        let note = done.clone();
        let slow = async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            note.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let left = order.change(&path, Some("0"), tag("0"), slow);
        assert!(tokio::time::timeout(Duration::from_secs(1), left).await.is_err());
        let seen = done.clone();
        let found = async move { Ok(Some(seen.load(Ordering::SeqCst).to_string().into())) };
        let next = order.change(&path, Some("1"), found, async { Ok(()) });
        next.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_holds_its_object_for_a_while() {
        let order = Order::new();
        let path = Path::from("a");
        for (kind, waits) in [
            (HttpErrorKind::Timeout, true),
            (HttpErrorKind::Interrupted, true),
            (HttpErrorKind::Connect, false),
        ] {
            let change = order.change(
                &path,
                Some("0"),
                tag("0"),
                async move { Err::<(), _>(failed(kind)) },
            );
            change.await.unwrap_err();
            let begun = Instant::now();
            let next = order.change(&path, Some("0"), tag("0"), async { Ok(()) });
            next.await.unwrap();
            assert_eq!(begun.elapsed() >= SETTLED, waits, "{kind:?}");
        }
        assert!(!may_still_happen(&Error::Generic {
            store: "test",
            source: HttpError::new(HttpErrorKind::Unknown, Answered::test(503)).into(),
        }));
    }
}

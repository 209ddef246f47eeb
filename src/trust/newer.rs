//! Handles a credential with an unknown key: fetches newer keys, waits for them for a bounded time, and
//! distinguishes a key that does not exist (401) from one that could not be looked up (503).

use super::refetch::Next;
use super::refresh::Pace;
use super::waiting::{Sender, WaitingRoom};
use super::{Authorities, Held, NoKeys};
use crate::clock::{Clock, Timestamp};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// Why newer keys did not help.
pub(super) enum NotNewer<E> {
    /// The newest keys reject the credential too, or there is no source to fetch from.
    Final(E),
    Undecidable(NoKeys),
}

impl<T> Authorities<T> {
    /// Lets requests wait in `room` until the source's limits allow the next fetch. Without a room such a
    /// request is checked at once with the current keys.
    #[must_use]
    pub fn waiting_in(self, room: Option<&WaitingRoom>) -> Self {
        Self {
            room: room.cloned(),
            ..self
        }
    }

    /// Fetches newer keys and checks again. `why` is the result with the current keys. The request may wait,
    /// so `check` receives the time at which it runs.
    pub(super) async fn check_with_newer_keys<R, E>(
        &self,
        sender: Sender,
        now: Timestamp,
        why: E,
        check: impl Fn(Arc<Held<T>>, Timestamp) -> Result<R, E>,
    ) -> Result<R, NotNewer<E>> {
        let check_now = || {
            let now = self.later(now);
            self.view(now)
                .map_err(NotNewer::Undecidable)
                .and_then(|held| check(held, now).map_err(NotNewer::Final))
        };
        let Some(room) = &self.room else {
            return if self.refetch(now).await {
                check_now()
            } else {
                Err(NotNewer::Final(why))
            };
        };
        if !self.may_say_more(now) {
            return Err(NotNewer::Final(why));
        }
        let no_place = || NotNewer::Undecidable(NoKeys::NoPlace);
        let mut place = room.enter(self.number, sender).ok_or_else(no_place)?;
        let not_fetched = |why| NotNewer::Undecidable(NoKeys::NotFetched { why });
        let rechecked = async {
            for _ in 0..ROUNDS {
                let next = self.next(room.clock(), now).await;
                match (check_now(), next) {
                    (Err(NotNewer::Final(_)), Next::Earlier) => {}
                    (Err(NotNewer::Final(_)), Next::Failed(why)) => return Err(not_fetched(why)),
                    (checked, _) => return checked,
                }
            }
            check_now()
        };
        let longest = LONGEST_WAIT + LONGEST_FETCH;
        let over = room.clock().now().plus(longest);
        tokio::select! {
            biased;
            checked = rechecked => checked,
            () = place.lost() => Err(no_place()),
            () = room.clock().reach(over) => Err(not_fetched(format!("no answer within {longest:?}"))),
        }
    }

    /// Returns the current time for a request that arrived at `asked` and may have waited since.
    pub(super) fn later(&self, asked: Timestamp) -> Timestamp {
        self.room.as_ref().map_or(asked, |room| room.clock().now())
    }

    /// Whether newer keys are possible: the source in use or a preferred one can be fetched, or the one in
    /// use updates itself but fails at the moment.
    fn may_say_more(&self, now: Timestamp) -> bool {
        let in_use = self.in_use(now);
        let mut all = self.preferred(now).enumerate();
        all.any(|(index, origin)| {
            origin.refetch.is_some() || (decides(in_use, index) && origin.slot.failure().is_some())
        })
    }

    /// Fetches from the source in use and from those preferred to it. A preferred source that has keys now
    /// takes over. If it still has none, that says nothing about the key. So only a failure of the source in
    /// use leaves the key undecided, or of any source if none is in use.
    async fn next(&self, clock: &Clock, asked: Timestamp) -> Next {
        let deadline = asked.plus(LONGEST_WAIT);
        let in_use = self.in_use(clock.now());
        let asking = self
            .preferred(clock.now())
            .enumerate()
            .map(|(index, origin)| async move {
                match (&origin.refetch, decides(in_use, index)) {
                    (Some(source), true) => source.next(asked, deadline).await,
                    (Some(source), false) => {
                        tokio::select! {
                            () = source.refetch() => {}
                            () = clock.reach(deadline) => {}
                        }
                        Next::Answered
                    }
                    (None, true) => origin.slot.failure().map_or(Next::Answered, Next::Failed),
                    (None, false) => Next::Answered,
                }
            });
        let answers = join_all(asking).await;
        if answers.contains(&Next::Earlier) || self.in_use(clock.now()) != in_use {
            return Next::Earlier;
        }
        let failed: Vec<_> = answers
            .into_iter()
            .filter_map(|next| {
                if let Next::Failed(why) = next {
                    Some(why)
                } else {
                    None
                }
            })
            .collect();
        if failed.is_empty() {
            Next::Answered
        } else {
            Next::Failed(failed.join("; "))
        }
    }
}

/// Whether a failure of the source at `index` leaves a key undecided: it is in use, or none is.
fn decides(in_use: Option<usize>, index: usize) -> bool {
    in_use.is_none_or(|in_use| in_use == index)
}

/// How long a request waits for a fetch to begin.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long it waits for that fetch to end.
const LONGEST_FETCH: Duration = Pace::OIDC.patience;
/// One for a fetch that was already running, one for the next fetch, and one for a source that took over
/// meanwhile.
const ROUNDS: usize = 3;

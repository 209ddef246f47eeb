//! What to do with a credential whose key is not among those that are held: ask for newer keys, wait for them
//! within bounds, and tell a key that does not exist (401) from one that nobody could ask about (503).

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
    /// They do not have the key either, or there is no source to ask.
    Final(E),
    Undecidable(NoKeys),
}

impl<T> Authorities<T> {
    /// The same, with requests that may wait in `room` for a fetch that the source's limits do not allow yet.
    /// Without a room such a request is judged at once by the keys that are held.
    #[must_use]
    pub fn waiting_in(self, room: Option<&WaitingRoom>) -> Self {
        Self {
            room: room.cloned(),
            ..self
        }
    }

    /// Judges by newer keys than those that are held, which yielded `why`. The request may have waited, so
    /// `judge` gets the time at which it judges.
    pub(super) async fn judge_by_newer<R, E>(
        &self,
        sender: Sender,
        now: Timestamp,
        why: E,
        judge: impl Fn(Arc<Held<T>>, Timestamp) -> Result<R, E>,
    ) -> Result<R, NotNewer<E>> {
        let judge_now = || {
            let now = self.later(now);
            self.view(now)
                .map_err(NotNewer::Undecidable)
                .and_then(|held| judge(held, now).map_err(NotNewer::Final))
        };
        let Some(room) = &self.room else {
            return if self.refetch(now).await {
                judge_now()
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
        let judging = async {
            for _ in 0..ROUNDS {
                let next = self.next(room.clock(), now).await;
                match (judge_now(), next) {
                    (Err(NotNewer::Final(_)), Next::Earlier) => {}
                    (Err(NotNewer::Final(_)), Next::Failed(why)) => return Err(not_fetched(why)),
                    (judged, _) => return judged,
                }
            }
            judge_now()
        };
        let longest = LONGEST_WAIT + LONGEST_FETCH;
        let over = room.clock().now().plus(longest);
        tokio::select! {
            biased;
            judged = judging => judged,
            () = place.lost() => Err(no_place()),
            () = room.clock().reach(over) => Err(not_fetched(format!("no answer within {longest:?}"))),
        }
    }

    /// What time it is for a request that came at `asked` and may have waited since.
    pub(super) fn later(&self, asked: Timestamp) -> Timestamp {
        self.room.as_ref().map_or(asked, |room| room.clock().now())
    }

    /// Whether the source in use, or one that is preferred to it, can be asked, or whether the one in use
    /// would speak by itself and cannot now.
    fn may_say_more(&self, now: Timestamp) -> bool {
        let in_use = self.in_use(now);
        let mut all = self.preferred(now).enumerate();
        all.any(|(index, origin)| {
            origin.refetch.is_some() || (decides(in_use, index) && origin.slot.failure().is_some())
        })
    }

    /// Asks the source in use, and those that are preferred to it: if one of them has keys now, it takes
    /// over. That one of them still has none says nothing about the key, so only the source in use can fail
    /// to tell, or any if none is in use.
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

/// Whether the source at `index` can leave a key undecided: the one in use, or each if none is.
fn decides(in_use: Option<usize>, index: usize) -> bool {
    in_use.is_none_or(|in_use| in_use == index)
}

/// How long a request waits for a fetch to begin.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long it waits for that fetch to end.
const LONGEST_FETCH: Duration = Pace::OIDC.patience;
/// A fetch that had begun already, the next one, and one for a source that took over meanwhile.
const ROUNDS: usize = 3;

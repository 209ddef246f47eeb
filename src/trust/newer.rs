//! What to do with a credential whose key is not among those that are held: ask for newer keys, wait for them within bounds, and tell a
//! key that does not exist (401) from one that nobody could ask about (503).

use super::waiting::{Sender, WaitingRoom};
use super::{Authorities, Held, NoKeys};
use crate::clock::Timestamp;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// What came of asking a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A fetch that began after the request came has ended well: the source has no newer keys than these.
    Answered,
    /// A fetch that had begun before the request came has ended. It may have brought the key; if not, ask again.
    Earlier,
    /// No fetch could tell, and why.
    Failed(String),
}

/// Why newer keys did not help.
pub(super) enum NotNewer<E> {
    /// They do not have the key either, or there is no source to ask.
    Final(E),
    Undecidable(NoKeys),
}

impl<T> Authorities<T> {
    /// The same, with requests that may wait in `room` for a fetch that the source's limits do not allow yet. Without a room such a
    /// request is judged at once by the keys that are held.
    #[must_use]
    pub fn waiting_in(self, room: Option<&WaitingRoom>) -> Self {
        Self { room: room.cloned(), ..self }
    }

    /// Judges by newer keys than those that are held, which yielded `why`.
    pub(super) async fn judge_by_newer<R, E>(
        &self,
        sender: Sender,
        now: Timestamp,
        why: E,
        judge: impl Fn(Arc<Held<T>>) -> Result<R, E>,
    ) -> Result<R, NotNewer<E>> {
        let judge_now = || self.view(now).map_err(NotNewer::Undecidable).and_then(|held| judge(held).map_err(NotNewer::Final));
        let Some(room) = &self.room else {
            return if self.refetch(now).await { judge_now() } else { Err(NotNewer::Final(why)) };
        };
        if !self.may_say_more(now) {
            return Err(NotNewer::Final(why));
        }
        let no_place = || NotNewer::Undecidable(NoKeys::NoPlace);
        let mut place = room.enter(self.number, sender).ok_or_else(no_place)?;
        let judging = async {
            for _ in 0..ROUNDS {
                let next = self.next(now).await;
                match (judge_now(), next) {
                    (Err(NotNewer::Final(_)), Next::Earlier) => {}
                    (Err(NotNewer::Final(_)), Next::Failed(why)) => return Err(NotNewer::Undecidable(NoKeys::NotFetched { why })),
                    (judged, _) => return judged,
                }
            }
            judge_now()
        };
        tokio::select! {
            biased;
            judged = judging => judged,
            () = place.lost() => Err(no_place()),
        }
    }

    /// Whether a source that counts, or one that is preferred to it, can be asked, or would speak by itself and cannot now.
    fn may_say_more(&self, now: Timestamp) -> bool {
        self.preferred(now).any(|origin| origin.refetch.is_some() || origin.slot.failure().is_some())
    }

    async fn next(&self, asked: Timestamp) -> Next {
        let deadline = asked.plus(LONGEST_WAIT);
        let asking = self.preferred(asked).map(|origin| async move {
            match &origin.refetch {
                Some(source) => source.next(asked, deadline).await,
                None => origin.slot.failure().map_or(Next::Answered, Next::Failed),
            }
        });
        let answers = join_all(asking).await;
        if answers.contains(&Next::Earlier) {
            return Next::Earlier;
        }
        let failed: Vec<_> = answers.into_iter().filter_map(|next| if let Next::Failed(why) = next { Some(why) } else { None }).collect();
        if failed.is_empty() { Next::Answered } else { Next::Failed(failed.join("; ")) }
    }
}

/// How long a request waits for a fetch to begin. The fetch itself is bounded apart from this.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A fetch that had begun already, the next one, and one for a source that took over meanwhile.
const ROUNDS: usize = 3;

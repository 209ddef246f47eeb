//! Keeps what a network source publishes fresh: one fetch at a time, in a task that no request takes with it;
//! again when the publisher wants it, within bounds; later and later while it fails. What was accepted last
//! stays until its staleness bound, and is kept on disk for the next start, where it counts only once the
//! source has failed to answer.
//!
//! Strangers can make us fetch no more often than [`Pace`] allows. Waiting follows the [`Clock`], so that
//! tests can turn it.

mod last_good;
mod pace;

pub use last_good::LastGood;
pub(in crate::trust) use last_good::Place;
pub(in crate::trust) use pace::Pace;

use super::content::{Content, Slots};
use super::tasks::{Life, Task};
use super::{Next, Refetch};
use crate::clock::{Clock, Timestamp};
use futures_util::future::BoxFuture;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Who can be asked.
pub(in crate::trust) trait Endpoint: Send + Sync + 'static {
    type Error: Display + Send;

    /// Asks once, in bounded time. `known` is what was accepted last.
    fn ask(
        &self,
        now: Timestamp,
        known: Option<&Known>,
    ) -> impl Future<Output = Result<Said, Self::Error>> + Send;

    /// What a document says, whether it comes from the network or from disk.
    fn read(&self, document: &[u8]) -> Result<Content, Self::Error>;

    /// Whether the document may replace what is known and still counts.
    fn may_replace(&self, content: &Content, known: &Known) -> Result<(), Self::Error> {
        let _ = (content, known);
        Ok(())
    }

    /// For logs.
    fn name(&self) -> &str;
}

/// An answer.
#[derive(Debug)]
pub(in crate::trust) struct Said {
    pub(in crate::trust) document: Vec<u8>,
    /// By which the source can be asked whether the document is still the same.
    pub(in crate::trust) validator: Option<Validator>,
    /// How long it wants to be believed, if that is not in the document.
    pub(in crate::trust) fresh_for: Option<Duration>,
}

/// An `ETag` (RFC 9110 8.8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::trust) struct Validator {
    pub(in crate::trust) url: String,
    pub(in crate::trust) etag: String,
}

/// A document that was accepted.
#[derive(Debug)]
pub(in crate::trust) struct Known {
    pub(in crate::trust) document: Vec<u8>,
    pub(in crate::trust) validator: Option<Validator>,
    pub(in crate::trust) content: Content,
    pub(in crate::trust) usable_until: Timestamp,
}

/// What is fetched, and where it goes.
pub(in crate::trust) struct Settings<E> {
    pub(in crate::trust) endpoint: E,
    pub(in crate::trust) slots: Slots,
    pub(in crate::trust) clock: Clock,
    pub(in crate::trust) pace: Pace,
    /// How long keys serve after their last success. Zero: until they should have been refreshed.
    pub(in crate::trust) max_stale: Duration,
    /// On disk.
    pub(in crate::trust) place: Option<Place>,
}

/// Fetches when it is asked, and by itself from the start of its life or from the first answer on, whichever
/// comes first.
pub(in crate::trust) fn supervise<E: Endpoint>(settings: Settings<E>) -> (Arc<dyn Refetch>, Life) {
    let supervisor = Supervisor::new(settings);
    let weak = Arc::downgrade(&supervisor);
    let begin = move |_| {
        let idle = |supervisor: Arc<Supervisor<E>>| !std::mem::replace(&mut supervisor.state().driven, true);
        let idle = weak.upgrade().is_some_and(idle);
        idle.then(|| Task::spawn(keep_fresh(weak))).into_iter().collect()
    };
    (Arc::new(Supervised(supervisor)), Life::new(begin))
}

struct Supervised<E>(Arc<Supervisor<E>>);

struct Supervisor<E> {
    settings: Settings<E>,
    state: Mutex<State>,
    /// Tells the background that its next fetch is at another time than it thought.
    replanned: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// Changes when what is on disk counts because the latest fetch is slow, and closes when that has ended,
    /// whatever ended it.
    progress: Option<watch::Receiver<()>>,
    /// When the latest fetch began, and before when no other may.
    began: Option<Timestamp>,
    /// When the latest fetch began that has ended.
    ended: Option<Timestamp>,
    not_before: Option<Timestamp>,
    /// In a row.
    failures: u32,
    /// What the slots hold.
    known: Option<Arc<Known>>,
    /// What is on disk, as long as it does not count.
    remembered: Option<(Arc<Known>, Timestamp)>,
    /// When the copy on disk was written.
    saved: Option<Timestamp>,
    /// When the background fetches next.
    next: Option<Timestamp>,
    /// Whether something in the background fetches already.
    driven: bool,
    background: Option<Task>,
}

/// What came of wanting a fetch.
enum Started {
    /// One is under way, since then.
    Running(watch::Receiver<()>, Timestamp),
    /// The limits forbid one until then.
    NotBefore(Timestamp),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// By one that is answered at once.
    ByRequest,
    /// By one that waits: failures do not keep it from asking longer than an answer would.
    ByWaiting,
    InBackground,
}

impl<E: Endpoint> Refetch for Supervised<E> {
    fn refetch(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Started::Running(mut progress, _) = self.0.start(Asked::ByRequest) {
                // The fetch goes on if this gives up or is dropped.
                let _ = tokio::time::timeout(self.0.settings.pace.patience * 2, progress.changed()).await;
            }
        })
    }

    fn next(&self, asked: Timestamp, deadline: Timestamp) -> BoxFuture<'_, Next> {
        Box::pin(self.0.next(asked, deadline))
    }
}

impl<E: Endpoint> Supervisor<E> {
    fn new(settings: Settings<E>) -> Arc<Self> {
        let remembered = remembered(&settings);
        let saved = remembered.as_ref().map(|(_, as_of)| *as_of);
        let state = Mutex::new(State {
            remembered,
            saved,
            ..State::default()
        });
        Arc::new(Self {
            settings,
            state,
            replanned: Arc::default(),
        })
    }

    /// See [`Refetch::next`].
    async fn next(self: &Arc<Self>, asked: Timestamp, deadline: Timestamp) -> Next {
        let Settings {
            endpoint,
            slots,
            clock,
            pace,
            ..
        } = &self.settings;
        loop {
            let ended = self.state().ended;
            if ended.is_some_and(|began| asked <= began && began <= clock.now()) {
                return slots.failure().map_or(Next::Answered, Next::Failed);
            }
            match self.start(Asked::ByWaiting) {
                Started::Running(mut progress, began) => {
                    let over = async { while progress.changed().await.is_ok() {} };
                    if tokio::time::timeout(pace.patience, over).await.is_err() {
                        return Next::Failed(format!(
                            "{}: no answer within {:?}",
                            endpoint.name(),
                            pace.patience
                        ));
                    }
                    if began < asked {
                        return Next::Earlier;
                    }
                }
                Started::NotBefore(at) if at <= deadline => clock.reach(at).await,
                Started::NotBefore(at) => {
                    let quiet = || {
                        format!(
                            "{}: it was asked a moment ago and is not asked again before {at}",
                            endpoint.name()
                        )
                    };
                    return Next::Failed(slots.failure().unwrap_or_else(quiet));
                }
            }
        }
    }

    /// Starts a fetch, or joins the one that is under way: a second right after it is what the limits forbid.
    fn start(self: &Arc<Self>, asked: Asked) -> Started {
        let Settings { clock, pace, .. } = &self.settings;
        let mut state = self.state();
        let now = clock.now();
        if let Some(progress) = state
            .progress
            .as_ref()
            .filter(|progress| progress.has_changed().is_ok())
        {
            return Started::Running(progress.clone(), state.began.unwrap_or(now));
        }
        let clock_went_back = state.began.is_some_and(|began| now < began);
        let earliest = match asked {
            Asked::InBackground => None,
            Asked::ByRequest => state.not_before,
            Asked::ByWaiting => state
                .not_before
                .min(state.began.map(|began| began.plus(pace.unknown_key))),
        };
        if let (false, Some(at)) = (clock_went_back, earliest.filter(|at| now < *at)) {
            return Started::NotBefore(at);
        }
        let (alive, progress) = watch::channel(());
        (state.progress, state.began) = (Some(progress.clone()), Some(now));
        state.not_before = Some(now.plus(pace.unknown_key));
        let supervisor = self.clone();
        // In a task of its own, which a request that is cancelled does not take with it.
        tokio::spawn(async move {
            let attempt = supervisor.attempt(now);
            tokio::pin!(attempt);
            let outcome = tokio::select! {
                outcome = &mut attempt => outcome,
                () = tokio::time::sleep(supervisor.settings.pace.patience) => {
                    supervisor.recall("it is slow to answer");
                    alive.send_replace(());
                    attempt.await
                }
            };
            supervisor.settle(now, outcome);
            supervisor.state().ended = Some(now);
            drop(alive);
        });
        Started::Running(progress, now)
    }

    async fn attempt(&self, now: Timestamp) -> Result<Accepted, E::Error> {
        let Settings {
            endpoint,
            pace,
            max_stale,
            ..
        } = &self.settings;
        let known = self.newest(now);
        let said = endpoint.ask(now, known.as_deref()).await?;
        let same = known.as_ref().filter(|known| known.document == said.document);
        let content = match (same, &known) {
            (Some(known), _) => known.content.clone(),
            (None, known) => {
                let content = endpoint.read(&said.document)?;
                known
                    .as_ref()
                    .map_or(Ok(()), |known| endpoint.may_replace(&content, known))?;
                content
            }
        };
        let same = same.is_some() && self.state().known.is_some();
        let fresh_for = said
            .fresh_for
            .or(content.refresh_hint)
            .unwrap_or(pace.fresh)
            .clamp(pace.freshest, pace.least_fresh);
        let usable_until = now.plus(if max_stale.is_zero() {
            fresh_for
        } else {
            *max_stale
        });
        let known = Known {
            document: said.document,
            validator: said.validator,
            content,
            usable_until,
        };
        Ok(Accepted {
            known: Arc::new(known),
            same,
            fresh_for,
        })
    }

    /// The outcome into the slots, and from it when the next fetch may and will be.
    fn settle(self: &Arc<Self>, began: Timestamp, outcome: Result<Accepted, E::Error>) {
        let Settings {
            endpoint,
            slots,
            clock,
            pace,
            ..
        } = &self.settings;
        match outcome {
            Ok(Accepted {
                known,
                same,
                fresh_for,
            }) => {
                let usable_until = known.usable_until;
                if same {
                    slots.confirm(began, usable_until);
                } else {
                    known
                        .content
                        .skipped
                        .iter()
                        .for_each(|skipped| skipped.log(endpoint.name()));
                    tracing::info!(source = endpoint.name(), "keys replaced");
                    let content = slots.beside_former(known.content.clone(), began, pace.withdrawn);
                    slots.publish(content, began, usable_until);
                }
                let mut state = self.state();
                self.save(&mut state, &known, same, began);
                (state.known, state.remembered, state.failures) = (Some(known), None, 0);
                let half = usable_until.since(began) / 2;
                let next = began.plus(fresh_for.min(half).max(pace.first_pause));
                state.next = Some(next);
                slots.plan(next);
                self.replanned.notify_one();
                self.go_on(&mut state);
            }
            Err(why) => {
                let mut state = self.state();
                let pause = pace
                    .first_pause
                    .saturating_mul(1 << state.failures.min(16))
                    .min(pace.longest_pause);
                let pause = jittered(pause);
                state.failures = state.failures.saturating_add(1);
                let cool = clock.now().plus(pause);
                let no_keys = slots
                    .usable_until()
                    .is_none_or(|usable_until| usable_until <= began);
                state.not_before = Some(if no_keys {
                    cool
                } else {
                    cool.max(began.plus(pace.unknown_key))
                });
                drop(state);
                tracing::warn!(
                    source = endpoint.name(),
                    "keys could not be fetched, next attempt in {pause:.1?} at the earliest: {why}"
                );
                slots.fail(&why.to_string());
                self.recall("it does not answer");
                let mut state = self.state();
                state.next = Some(cool);
                slots.plan(cool);
                self.replanned.notify_one();
                if state.known.is_some() {
                    self.go_on(&mut state);
                }
            }
        }
    }

    /// From now on the background sees to it that the next fetch comes.
    fn go_on(self: &Arc<Self>, state: &mut State) {
        if !state.driven {
            state.driven = true;
            state.background = Some(Task::spawn(keep_fresh(Arc::downgrade(self))));
        }
    }

    /// What is on disk counts, if nothing that was said to this process does.
    fn recall(&self, why: &str) {
        let Settings {
            endpoint,
            slots,
            clock,
            ..
        } = &self.settings;
        let mut state = self.state();
        if state.known.is_none()
            && let Some((known, as_of)) = state
                .remembered
                .take_if(|(known, _)| clock.now() < known.usable_until)
        {
            tracing::warn!(
                source = endpoint.name(),
                "{why}, so the copy on disk of {as_of} is used until {}",
                known.usable_until
            );
            slots.recall(known.content.clone(), as_of, known.usable_until);
            state.known = Some(known);
        }
    }

    /// Keeps a copy on disk whose age is not much above that of the keys.
    fn save(&self, state: &mut State, known: &Known, same: bool, as_of: Timestamp) {
        let Some(place) = &self.settings.place else { return };
        let recent =
            |saved: Timestamp| as_of.since(saved) < self.settings.max_stale / SAVES && saved <= as_of;
        if !(same && state.saved.is_some_and(recent)) {
            place.save(&known.document, as_of);
            state.saved = Some(as_of);
        }
    }

    /// What must not be rolled back.
    fn newest(&self, now: Timestamp) -> Option<Arc<Known>> {
        let state = self.state();
        let remembered = state.remembered.as_ref().map(|(known, _)| known.clone());
        state
            .known
            .clone()
            .or(remembered)
            .filter(|known| now < known.usable_until)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until its source is dropped.
async fn keep_fresh<E: Endpoint>(weak: Weak<Supervisor<E>>) {
    loop {
        let Some(supervisor) = weak.upgrade() else { return };
        let clock = supervisor.settings.clock.clone();
        let due = supervisor.state().next.filter(|next| clock.now() < *next);
        match due {
            // A request's fetch may meanwhile change it.
            Some(next) => {
                let replanned = supervisor.replanned.clone();
                drop(supervisor);
                tokio::select! {
                    () = clock.reach(next) => {}
                    () = replanned.notified() => {}
                }
            }
            None => {
                if let Started::Running(mut progress, _) = supervisor.start(Asked::InBackground) {
                    while progress.changed().await.is_ok() {}
                }
            }
        }
    }
}

struct Accepted {
    known: Arc<Known>,
    /// The slots hold it already.
    same: bool,
    fresh_for: Duration,
}

/// The copy on disk, if it can be read and has not grown stale.
fn remembered<E: Endpoint>(settings: &Settings<E>) -> Option<(Arc<Known>, Timestamp)> {
    let Settings {
        endpoint,
        clock,
        max_stale,
        place,
        ..
    } = settings;
    let copy = place.as_ref()?.load()?;
    let as_of = copy.as_of.min(clock.now());
    let usable_until = as_of.plus(*max_stale);
    if usable_until <= clock.now() {
        return None;
    }
    match endpoint.read(&copy.document) {
        Ok(content) => Some((
            Arc::new(Known {
                document: copy.document,
                validator: None,
                content,
                usable_until,
            }),
            as_of,
        )),
        Err(why) => {
            tracing::warn!(source = endpoint.name(), "the copy on disk cannot be used: {why}");
            None
        }
    }
}

/// Spread over half to one and a half of `pause`, so that many waiters do not return together.
pub(in crate::trust) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64())
}

/// How many times within the staleness bound a copy of the same is written.
pub(in crate::trust) const SAVES: u32 = 24;

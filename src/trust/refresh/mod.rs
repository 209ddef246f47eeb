//! Keeps the keys of a network source fresh. There is one fetch at a time, in a task that continues if the
//! request that started it is cancelled. The publisher chooses the interval within bounds, and failures make
//! it longer. The last accepted document is used until its staleness bound. A copy on disk is used after a
//! restart, but only if the source does not answer.
//!
//! Requests with unknown keys cause no more fetches than [`Pace`] allows. Waiting uses the [`Clock`], so that
//! tests can control it.

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

/// A network source.
pub(in crate::trust) trait Endpoint: Send + Sync + 'static {
    type Error: Display + Send;

    /// Fetches once, in bounded time. `known` is the last accepted document.
    fn ask(
        &self,
        now: Timestamp,
        known: Option<&Known>,
    ) -> impl Future<Output = Result<SourceAnswer, Self::Error>> + Send;

    /// Parses a document from the network or from disk.
    fn read(&self, document: &[u8]) -> Result<Content, Self::Error>;

    /// Whether the document may replace the one in use.
    fn may_replace(&self, content: &Content, known: &Known) -> Result<(), Self::Error> {
        let _ = (content, known);
        Ok(())
    }

    /// Returns the name for logs.
    fn name(&self) -> &str;
}

/// The answer of a source.
#[derive(Debug)]
pub(in crate::trust) struct SourceAnswer {
    pub(in crate::trust) document: Vec<u8>,
    /// For asking the source whether the document has changed.
    pub(in crate::trust) validator: Option<Validator>,
    /// How long the document is fresh, if the answer says so outside the document.
    pub(in crate::trust) fresh_for: Option<Duration>,
}

/// An `ETag` (RFC 9110 8.8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::trust) struct Validator {
    pub(in crate::trust) url: String,
    pub(in crate::trust) etag: String,
}

/// An accepted document.
#[derive(Debug)]
pub(in crate::trust) struct Known {
    pub(in crate::trust) document: Vec<u8>,
    pub(in crate::trust) validator: Option<Validator>,
    pub(in crate::trust) content: Content,
    pub(in crate::trust) usable_until: Timestamp,
}

/// What to fetch, and where to publish it.
pub(in crate::trust) struct Settings<E> {
    pub(in crate::trust) endpoint: E,
    pub(in crate::trust) slots: Slots,
    pub(in crate::trust) clock: Clock,
    pub(in crate::trust) pace: Pace,
    /// How long keys are used after the last successful fetch. Zero: until the next refresh is due.
    pub(in crate::trust) max_stale: Duration,
    /// The copy on disk.
    pub(in crate::trust) place: Option<Place>,
}

/// Returns a source that fetches on request. It also fetches in the background, once it is started or has had
/// its first answer.
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
    /// Notifies the background task that the time of the next fetch has changed.
    replanned: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// Changes when a slow fetch makes the copy on disk come into use. Closes when the fetch has ended in any
    /// way.
    progress: Option<watch::Receiver<()>>,
    /// When the latest fetch began.
    began: Option<Timestamp>,
    /// When the latest finished fetch began.
    ended: Option<Timestamp>,
    not_before: Option<Timestamp>,
    /// Failures in a row.
    failures: u32,
    /// The document that the slots hold.
    known: Option<Arc<Known>>,
    /// The copy on disk, while it is not in use.
    remembered: Option<(Arc<Known>, Timestamp)>,
    /// When the copy on disk was written.
    saved: Option<Timestamp>,
    /// When the background task fetches next.
    next: Option<Timestamp>,
    /// Whether a background task exists.
    driven: bool,
    background: Option<Task>,
}

/// The outcome of a request for a fetch.
enum Started {
    /// A fetch is running since that time.
    Running(watch::Receiver<()>, Timestamp),
    /// The limits forbid a fetch until then.
    NotBefore(Timestamp),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// By a request that does not wait.
    ByRequest,
    /// By a request that waits. After a failure it may fetch again as soon as after a success.
    ByWaiting,
    InBackground,
}

impl<E: Endpoint> Refetch for Supervised<E> {
    fn refetch(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Started::Running(mut progress, _) = self.0.start(Asked::ByRequest) {
                // The fetch continues if this times out or is dropped.
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

    /// Starts a fetch, or joins the one that is running. The limits forbid another fetch right after it.
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
        // A separate task continues if the request is cancelled.
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

    /// Publishes the outcome in the slots, and plans the next fetch.
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

    /// Starts the background task if there is none.
    fn go_on(self: &Arc<Self>, state: &mut State) {
        if !state.driven {
            state.driven = true;
            state.background = Some(Task::spawn(keep_fresh(Arc::downgrade(self))));
        }
    }

    /// Uses the copy on disk, if this process has received no document yet.
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

    /// Saves a copy on disk, unless a recent one exists.
    fn save(&self, state: &mut State, known: &Known, same: bool, as_of: Timestamp) {
        let Some(place) = &self.settings.place else { return };
        let recent =
            |saved: Timestamp| as_of.since(saved) < self.settings.max_stale / SAVES && saved <= as_of;
        if !(same && state.saved.is_some_and(recent)) {
            place.save(&known.document, as_of);
            state.saved = Some(as_of);
        }
    }

    /// Returns the newest document, which must not be rolled back.
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

/// Fetches in the background until the source is dropped.
async fn keep_fresh<E: Endpoint>(weak: Weak<Supervisor<E>>) {
    loop {
        let Some(supervisor) = weak.upgrade() else { return };
        let clock = supervisor.settings.clock.clone();
        let due = supervisor.state().next.filter(|next| clock.now() < *next);
        match due {
            // The fetch of a request may change the time.
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
    /// The slots already hold this document.
    same: bool,
    fresh_for: Duration,
}

/// Returns the copy on disk, if it can be read and is not stale.
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

/// Returns a random duration between 0.5 and 1.5 times `pause`, so that many clients do not retry together.
pub(in crate::trust) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64())
}

/// How many times within the staleness bound an unchanged document is saved.
pub(in crate::trust) const SAVES: u32 = 24;

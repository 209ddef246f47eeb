//! When a request is sent again: after a passing failure, later each time, and only while most requests
//! succeed. A store that fails must not be flooded with repeated requests.

use super::wire::Answered;
use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// How often a request is sent at most.
const MOST: u32 = 6;
/// No request is sent again once this much time has passed.
const LONGEST: Duration = Duration::from_secs(40);
/// The pause before the first repetition is up to this long, and each further one up to twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The same after a conflict with a request that was still in progress. It ends soon.
const FIRST_PAUSE_OF_CONFLICT: Duration = Duration::from_millis(10);
/// The pause after an answer that asks for fewer requests, where it does not say how long.
const SLOWER: Duration = Duration::from_millis(500);

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The condition of the request did not hold, or another request was in progress. Nothing was written.
    Refused,
    /// It may have been done or not. Sending it again may help, after `wait` if the store asks for that.
    Passing { wait: Option<Duration> },
    /// It was answered, but the answer cannot be used.
    Unusable,
    /// It was rejected. Sending it again does not help.
    Final,
}

pub(super) fn verdict(failure: &Error) -> Verdict {
    match failure {
        Error::AlreadyExists { .. } | Error::Precondition { .. } => return Verdict::Refused,
        Error::Generic { .. } => {}
        _ => return Verdict::Final,
    }
    let first: &(dyn std::error::Error + 'static) = failure;
    let mut verdict = Verdict::Unusable;
    for cause in std::iter::successors(Some(first), |cause| cause.source()) {
        if let Some(answered) = cause.downcast_ref::<Answered>() {
            return of_answer(answered);
        }
        if cause.is::<HttpError>() {
            verdict = Verdict::Passing { wait: None };
        }
    }
    verdict
}

/// Whether a request that failed may be carried out later: it was sent, and no answer came.
pub(super) fn may_still_happen(failure: &Error) -> bool {
    let first: &(dyn std::error::Error + 'static) = failure;
    let mut may = false;
    for cause in std::iter::successors(Some(first), |cause| cause.source()) {
        if cause.is::<Answered>() {
            return false;
        }
        if let Some(http) = cause.downcast_ref::<HttpError>() {
            may = http.kind() != HttpErrorKind::Connect;
        }
    }
    may
}

fn of_answer(answered: &Answered) -> Verdict {
    match answered.status.as_u16() {
        429 | 503 => Verdict::Passing {
            wait: Some(answered.wait.unwrap_or(SLOWER)),
        },
        408 | 500 | 502.. => Verdict::Passing { wait: answered.wait },
        _ => Verdict::Final,
    }
}

/// How many repetitions are left to the whole process. Ten requests that succeed earn one.
#[derive(Debug)]
pub(super) struct Budget(AtomicU32);

const EARNED: u32 = 1;
const COST: u32 = 10;
const FULL: u32 = 100 * COST;

impl Budget {
    pub(super) const fn new() -> Self {
        Self(AtomicU32::new(FULL))
    }

    pub(super) fn succeeded(&self) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |left| {
            (left < FULL).then_some(left.saturating_add(EARNED))
        });
    }

    fn spend(&self) -> bool {
        self.0
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(COST))
            .is_ok()
    }
}

/// The attempts at one operation.
pub(super) struct Attempts<'a> {
    budget: &'a Budget,
    begun: Instant,
    made: u32,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(budget: &'a Budget) -> Self {
        Self {
            budget,
            begun: Instant::now(),
            made: 1,
        }
    }

    /// Waits until the next attempt is due after a failure. `false` if there must be none.
    pub(super) async fn again(&mut self, wait: Option<Duration>) -> bool {
        let pause = (FIRST_PAUSE * 2_u32.pow(self.made - 1)).max(wait.unwrap_or_default());
        self.after(pause).await
    }

    /// The same after another request for the same object was in progress.
    pub(super) async fn again_soon(&mut self) -> bool {
        self.after(FIRST_PAUSE_OF_CONFLICT * 3_u32.pow(self.made - 1))
            .await
    }

    async fn after(&mut self, pause: Duration) -> bool {
        if self.made >= MOST || self.begun.elapsed() >= LONGEST || !self.budget.spend() {
            return false;
        }
        self.made += 1;
        tokio::time::sleep(pause.min(LONGEST_PAUSE).mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_is_repeated_a_few_times_and_later_each_time() {
        let budget = Budget::new();
        let mut attempts = Attempts::new(&budget);
        let mut pauses = Vec::new();
        let mut last = Instant::now();
        while attempts.again(None).await {
            pauses.push(last.elapsed());
            last = Instant::now();
        }
        assert_eq!(pauses.len(), 5);
        assert!(pauses.is_sorted(), "{pauses:?}");
        assert!(
            pauses[0] >= FIRST_PAUSE / 2 && pauses[4] <= LONGEST_PAUSE,
            "{pauses:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_conflict_with_a_request_in_progress_is_repeated_almost_at_once() {
        let budget = Budget::new();
        let mut attempts = Attempts::new(&budget);
        let begun = Instant::now();
        assert!(attempts.again_soon().await);
        assert!(begun.elapsed() <= FIRST_PAUSE_OF_CONFLICT);
        while attempts.again_soon().await {}
        assert!(
            begun.elapsed() >= Duration::from_millis(600),
            "a slow request has time to end"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_asks_for_fewer_requests_is_left_alone_longer() {
        let budget = Budget::new();
        let begun = Instant::now();
        assert!(Attempts::new(&budget).again(Some(Duration::from_secs(4))).await);
        assert!(begun.elapsed() >= Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_all_requests_gets_few_repetitions() {
        let budget = Budget::new();
        let mut repeated = 0;
        for _ in 0..1000 {
            let mut attempts = Attempts::new(&budget);
            while attempts.again(None).await {
                repeated += 1;
            }
        }
        assert_eq!(repeated, FULL / COST);
        (0..COST / EARNED).for_each(|_| budget.succeeded());
        let mut attempts = Attempts::new(&budget);
        assert!(
            attempts.again(None).await,
            "requests that succeed earn repetitions"
        );
        assert!(!attempts.again(None).await);
    }
}

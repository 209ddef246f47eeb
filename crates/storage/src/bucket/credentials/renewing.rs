//! Keys that expire, and are renewed in time by one task. Requests use the old ones until they expire. Only
//! when there are no valid keys, a request waits for an exchange, and fails if that fails.

use super::exchange::{ExchangeError, Session};
use futures_util::future::BoxFuture;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Keys of one role. They are renewed until this is dropped.
pub(super) struct Renewing {
    shared: Arc<Shared>,
    task: OnceLock<AbortHandle>,
}

type Exchange = dyn Fn() -> BoxFuture<'static, Result<Session, ExchangeError>> + Send + Sync;

struct Shared {
    exchange: Box<Exchange>,
    state: Mutex<State>,
    /// Held during an exchange, so that there is one at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    failed: Option<Failed>,
}

struct Held {
    keys: Arc<AwsCredential>,
    obtained: Instant,
    due: Instant,
    expires: Instant,
    /// Whether the store had rejected the keys before these.
    after_rejection: bool,
}

struct Failed {
    why: ExchangeError,
    times: u32,
    /// Until then, no exchange is tried.
    until: Instant,
    /// Whether the present keys had expired.
    expired: bool,
}

impl Renewing {
    pub(super) fn new(
        exchange: impl Fn() -> BoxFuture<'static, Result<Session, ExchangeError>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                exchange: Box::new(exchange),
                state: Mutex::default(),
                turn: tokio::sync::Mutex::default(),
            }),
            task: OnceLock::new(),
        }
    }

    /// Renews the keys after the store rejected those of a request that began at `began`. Returns whether there
    /// are newer ones now.
    pub(super) async fn renew(&self, began: Instant) -> bool {
        let keys = self.exchanged(Cause::Rejection, move |held| {
            held.obtained > began || held.is_last_try()
        });
        let is_newer = |state: &State| state.held.as_ref().is_some_and(|held| held.obtained > began);
        keys.await.is_ok() && is_newer(&self.shared.state())
    }

    /// How long the present keys are valid, after an exchange if there are none.
    pub(super) async fn left(&self) -> object_store::Result<Duration> {
        self.get_credential().await?;
        let state = self.shared.state();
        let held = state.held.as_ref();
        Ok(held.map_or(Duration::ZERO, |held| {
            held.expires.saturating_duration_since(Instant::now())
        }))
    }

    /// Returns the keys, from an exchange unless the present ones are `enough`. The exchange goes on if the
    /// caller stops waiting for it.
    async fn exchanged(&self, cause: Cause, enough: impl Fn(&Held) -> bool + Send + 'static) -> Outcome {
        let shared = self.shared.clone();
        let exchange = tokio::spawn(async move { shared.exchange_unless(cause, enough).await });
        let keys = exchange.await.unwrap_or(Err(ExchangeError::Interrupted))?;
        self.task
            .get_or_init(|| tokio::spawn(keep_fresh(Arc::downgrade(&self.shared))).abort_handle());
        Ok(keys)
    }
}

/// Why new keys are needed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Age,
    Rejection,
}

type Outcome = Result<Arc<AwsCredential>, ExchangeError>;

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchange_unless(&self, cause: Cause, enough: impl Fn(&Held) -> bool) -> Outcome {
        let _turn = self.turn.lock().await;
        {
            let state = self.state();
            if let Some(held) = state.held.as_ref().filter(|held| enough(held)) {
                return Ok(held.keys.clone());
            }
            if let Some(failed) = state
                .failed
                .as_ref()
                .filter(|failed| Instant::now() < failed.until)
            {
                return Err(failed.why.clone());
            }
        }
        let outcome = (self.exchange)().await;
        self.state().take(cause, outcome)
    }
}

impl Held {
    fn is_valid(&self) -> bool {
        Instant::now() < self.expires
    }

    /// A store that rejects all keys must not cause an exchange for each request.
    fn is_last_try(&self) -> bool {
        self.after_rejection && self.obtained.elapsed() < YOUNG
    }
}

impl State {
    /// When the next exchange is due.
    fn next(&self) -> Option<Instant> {
        let due = self.held.as_ref()?.due;
        Some(self.failed.as_ref().map_or(due, |failed| failed.until.max(due)))
    }

    fn take(&mut self, cause: Cause, outcome: Result<Session, ExchangeError>) -> Outcome {
        let now = Instant::now();
        match outcome {
            Ok(Session { keys, life }) => {
                self.held = Some(Held {
                    keys: keys.clone(),
                    obtained: now,
                    due: now + life.mul_f64(0.6 + fastrand::f64() * 0.07),
                    expires: now + life,
                    after_rejection: cause == Cause::Rejection,
                });
                if self.failed.take().is_some() {
                    tracing::info!("keys for the bucket were obtained again");
                }
                Ok(keys)
            }
            Err(why) => {
                let before = self.failed.take();
                let times = before.as_ref().map_or(0, |failed| failed.times);
                let expired = self.held.as_ref().is_some_and(|held| held.expires <= now);
                let pause = FIRST_PAUSE
                    .saturating_mul(2_u32.saturating_pow(times))
                    .min(LONGEST_PAUSE);
                // It is logged when it begins, when its reason changes, and when the keys have expired.
                if before.is_none_or(|before| before.why != why || before.expired != expired) {
                    self.log(&why, now);
                }
                self.failed = Some(Failed {
                    why: why.clone(),
                    times: times.saturating_add(1),
                    until: now + pause.mul_f64(0.75 + fastrand::f64() / 2.0),
                    expired,
                });
                Err(why)
            }
        }
    }

    fn log(&self, why: &ExchangeError, now: Instant) {
        // Without keys, the caller reports the error.
        let Some(held) = &self.held else { return };
        let left = held.expires.saturating_duration_since(now).as_secs();
        if left > 0 {
            tracing::warn!(
                error = %why,
                "the keys for the bucket could not be renewed; the present ones are valid for another {left} s"
            );
        } else {
            tracing::error!(
                error = %why,
                "the keys for the bucket have expired and could not be renewed, so requests to the bucket fail"
            );
        }
    }
}

/// Renews the keys when they are due.
async fn keep_fresh(shared: Weak<Shared>) {
    while let Some(next) = shared.upgrade().and_then(|shared| shared.state().next()) {
        tokio::time::sleep_until(next).await;
        let Some(shared) = shared.upgrade() else { return };
        // A failure was logged already.
        let _ = shared
            .exchange_unless(Cause::Age, |held| Instant::now() < held.due)
            .await;
    }
}

#[async_trait::async_trait]
impl CredentialProvider for Renewing {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let valid = {
            let state = self.shared.state();
            state
                .held
                .as_ref()
                .filter(|held| held.is_valid())
                .map(|held| held.keys.clone())
        };
        match valid {
            Some(keys) => Ok(keys),
            None => {
                self.exchanged(Cause::Age, Held::is_valid)
                    .await
                    .map_err(|why| object_store::Error::Generic {
                        store: "bucket",
                        source: Box::new(why),
                    })
            }
        }
    }
}

impl Drop for Renewing {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl fmt::Debug for Renewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewing(…)")
    }
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// If the store rejects keys that are younger and replaced rejected ones, more keys do not help.
const YOUNG: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;

//! Whether this process may write to its bucket. A bucket for one process may be written only while that process
//! holds it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use wharfinger_base::clock::{Clock, Timestamp};

/// Lets all writes pass until the process first holds the bucket.
#[derive(Debug, Default)]
pub(super) struct Fence(Mutex<Standing>);

#[derive(Debug, Default)]
enum Standing {
    #[default]
    Open,
    Held(Sign),
    Lost(Arc<str>),
}

/// When the process last held the bucket for certain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sign {
    at: Instant,
    /// By the machine's clock, which goes on while the machine sleeps.
    time: Timestamp,
}

impl Sign {
    pub(super) fn now() -> Self {
        Self {
            at: Instant::now(),
            time: Clock::system().now(),
        }
    }

    fn age(&self) -> Duration {
        let slept = Clock::system().now().since(self.time);
        self.at.elapsed().max(slept)
    }
}

/// Why a write must not be made.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Fenced(pub(super) Arc<str>);

impl Fence {
    /// The process held the bucket at this moment.
    pub(super) fn held(&self, sign: Sign) {
        let mut standing = self.standing();
        if !matches!(*standing, Standing::Lost(_)) {
            *standing = Standing::Held(sign);
        }
    }

    /// No write may be made any more.
    pub(super) fn close(&self, why: impl Into<Arc<str>>) {
        *self.standing() = Standing::Lost(why.into());
    }

    pub(super) fn check(&self) -> Result<(), Fenced> {
        match &*self.standing() {
            Standing::Open => Ok(()),
            Standing::Held(sign) if sign.age() <= LATE => Ok(()),
            Standing::Held(sign) => Err(Fenced(
                format!(
                    "nothing is written until the object `holder` can be renewed, which failed for {} s: another \
                     registry may take the bucket",
                    sign.age().as_secs()
                )
                .into(),
            )),
            Standing::Lost(why) => Err(Fenced(why.clone())),
        }
    }

    fn standing(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process whose last sign of life is older writes nothing. It is shorter than the time after which another
/// process may take the bucket.
pub(super) const LATE: Duration = Duration::from_secs(45);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn writes_pass_while_the_bucket_is_held_and_never_after_it_was_lost() {
        let fence = Fence::default();
        fence.check().unwrap();
        fence.held(Sign::now());
        tokio::time::advance(LATE).await;
        fence.check().unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let why = fence.check().unwrap_err().to_string();
        assert!(why.contains("failed for 46 s"), "{why}");
        fence.held(Sign::now());
        fence.check().unwrap();
        fence.close("another registry has it");
        fence.held(Sign::now());
        assert_eq!(fence.check().unwrap_err().to_string(), "another registry has it");
    }

    #[test]
    fn a_machine_that_slept_is_late() {
        let fence = Fence::default();
        fence.held(Sign {
            time: Clock::system().now().minus(LATE * 2),
            ..Sign::now()
        });
        fence.check().unwrap_err();
    }
}

//! How slow a caller who has not logged in may be. The code is pure: time and bytes are parameters.

use crate::http::Stalled;
use std::time::Duration;

/// A credit of time. Waiting for the client uses it up, and bytes from the client earn it back. So the client
/// may pause, but its average rate has a minimum.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// The largest credit, which is also the initial one.
    grace: Duration,
    /// The bytes that earn a second of credit.
    rate: u64,
    credit: Duration,
    /// The bound on all waiting together.
    deadline: Duration,
    waited: Duration,
}

impl Pace {
    pub(super) const fn new(grace: Duration, rate: u64, deadline: Duration) -> Self {
        Self {
            grace,
            rate,
            credit: grace,
            deadline,
            waited: Duration::ZERO,
        }
    }

    /// The client sent `bytes` after `waited`.
    pub(super) fn took(&mut self, waited: Duration, bytes: u64) {
        self.waited = self.waited.saturating_add(waited);
        let earned = Duration::from_millis(bytes.saturating_mul(1000) / self.rate.max(1));
        self.credit = self
            .credit
            .saturating_sub(waited)
            .saturating_add(earned)
            .min(self.grace);
    }

    /// How long to wait for the next bytes.
    pub(super) fn left(&self) -> Duration {
        self.credit.min(self.deadline.saturating_sub(self.waited))
    }

    /// The reason why time is up. `limit` is the bound on one wait.
    pub(super) fn over(&self, limit: Duration) -> Stalled {
        if self.deadline.saturating_sub(self.waited) <= self.credit {
            Stalled::Late { after: self.deadline }
        } else if self.credit < limit {
            Stalled::Slow { rate: self.rate }
        } else {
            Stalled::Silent { after: limit }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    /// How many pieces of `bytes` can arrive, each after `seconds`, before time is up. Stops at 10,000.
    fn pieces(seconds: u64, bytes: u64) -> (usize, Stalled) {
        let mut pace = Pace::new(MINUTE, 1024, HOUR);
        for taken in 0..10_000 {
            if pace.left() < Duration::from_secs(seconds) {
                return (taken, pace.over(MINUTE));
            }
            pace.took(Duration::from_secs(seconds), bytes);
        }
        (
            10_000,
            Stalled::Silent {
                after: Duration::ZERO,
            },
        )
    }

    #[test]
    fn a_caller_may_pause_but_not_crawl() {
        let slow = Stalled::Slow { rate: 1024 };
        let late = Stalled::Late { after: HOUR };
        assert_eq!(pieces(10, 1), (6, slow), "a byte in ten seconds");
        assert_eq!(pieces(1, 512), (119, slow), "half of the rate");
        assert_eq!(
            pieces(59, 60 << 10),
            (61, late),
            "a pause of a minute for each minute's worth"
        );
        assert_eq!(pieces(1, 1024), (3600, late), "the rate itself");
        assert_eq!(pieces(61, 1 << 30), (0, Stalled::Silent { after: MINUTE }));
    }

    #[test]
    fn earned_credit_is_bounded() {
        let mut pace = Pace::new(MINUTE, 1024, HOUR);
        pace.took(Duration::ZERO, 1 << 30);
        assert_eq!(pace.left(), MINUTE);
    }
}

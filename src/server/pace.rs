//! How slow a caller who has not logged in may be. Pure: time and bytes are handed in.

use crate::http::Stalled;
use std::time::Duration;

/// A credit of time that waiting for the client uses up and its bytes earn back, so that it may pause, but
/// not crawl.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// The most credit, and what there is at the beginning.
    grace: Duration,
    /// Bytes that earn a second.
    rate: u64,
    credit: Duration,
    /// Until all of it must be over, waiting only.
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

    /// Waited for so long, then so much came.
    pub(super) fn took(&mut self, waited: Duration, bytes: u64) {
        self.waited = self.waited.saturating_add(waited);
        let earned = Duration::from_millis(bytes.saturating_mul(1000) / self.rate.max(1));
        self.credit = self
            .credit
            .saturating_sub(waited)
            .saturating_add(earned)
            .min(self.grace);
    }

    /// How long to wait for the next byte.
    pub(super) fn left(&self) -> Duration {
        self.credit.min(self.deadline.saturating_sub(self.waited))
    }

    /// Why there is no more time, when it was `limit` for the next byte.
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

    /// How often so many bytes may come, one piece each time after so many seconds, before time is up; at
    /// most 10,000 times.
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
    fn a_caller_may_pause_and_not_crawl() {
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
    fn what_was_earned_does_not_pile_up() {
        let mut pace = Pace::new(MINUTE, 1024, HOUR);
        pace.took(Duration::ZERO, 1 << 30);
        assert_eq!(pace.left(), MINUTE);
    }
}

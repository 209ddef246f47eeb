//! Limits a collector's share of the time. It works for a moment, and then rests in proportion. When traffic
//! slows down the store, the work takes longer, and so does the rest.

use super::turns::Turn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The share of the time that a collector may work, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace(u8);

impl Pace {
    /// No rest at all.
    pub const UNBOUNDED: Self = Self(100);

    /// `None` unless `percent` is between 1 and 100.
    #[must_use]
    pub const fn percent(percent: u8) -> Option<Self> {
        match percent {
            1..=100 => Some(Self(percent)),
            _ => None,
        }
    }

    /// How long to rest after working for this long.
    fn rest(self, worked: Duration) -> Duration {
        let share = u32::from(self.0.max(1));
        (worked * (100 - share) / share).min(LONGEST)
    }
}

/// Measures the work and rests when enough was done. Also pauses while another pass needs to be alone.
pub(super) struct Breath {
    pace: Pace,
    /// The turn of background work. `None` for a pass that does not pause for others.
    turn: Option<Arc<Turn>>,
    /// When the present stretch of work began.
    since: Mutex<Option<Instant>>,
}

impl Breath {
    pub(super) const fn new(pace: Pace) -> Self {
        Self {
            pace,
            turn: None,
            since: Mutex::new(None),
        }
    }

    /// The same pace and turn, with a measurement of its own.
    pub(super) fn again(&self) -> Self {
        Self {
            turn: self.turn.clone(),
            ..Self::new(self.pace)
        }
    }

    pub(super) fn pauses(&mut self, turn: Turn) {
        self.turn = Some(Arc::new(turn));
    }

    /// Rests if the collector has worked long enough. Call this for each record.
    pub(super) async fn take(&self) {
        // Reads of the local store never yield. Without this, a pass without rest could not be interrupted.
        tokio::task::coop::consume_budget().await;
        let rest = match self.pace {
            Pace::UNBOUNDED => None,
            _ => self.due(Instant::now()),
        };
        let is_wanted = self.turn.as_ref().is_some_and(|turn| turn.is_wanted());
        if rest.is_none() && !is_wanted {
            return;
        }
        if let Some(turn) = &self.turn {
            turn.pause();
        }
        if let Some(rest) = rest {
            sleep(rest).await;
        }
        if let Some(turn) = &self.turn {
            turn.resume().await;
        }
        *self.since() = Some(Instant::now());
    }

    fn due(&self, now: Instant) -> Option<Duration> {
        let mut since = self.since();
        let worked = now - *since.get_or_insert(now);
        (worked >= SLICE).then(|| self.pace.rest(worked))
    }

    fn since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to work between two rests.
const SLICE: Duration = Duration::from_millis(5);
/// The longest rest. Without it, one slow request could pause a collector for minutes.
const LONGEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_follows_from_the_share() {
        let worked = Duration::from_millis(20);
        for (percent, rest) in [(100, 0), (50, 20), (20, 80), (10, 180), (1, 1980)] {
            assert_eq!(
                Pace::percent(percent).unwrap().rest(worked),
                Duration::from_millis(rest)
            );
        }
        assert_eq!(Pace::percent(1).unwrap().rest(60 * worked), LONGEST);
        assert_eq!((Pace::percent(0), Pace::percent(101)), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn it_rests_after_a_slice_of_work() {
        let breath = Breath::new(Pace::percent(10).unwrap());
        let begun = Instant::now();
        breath.take().await;
        breath.take().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        tokio::time::advance(2 * SLICE).await;
        breath.take().await;
        assert_eq!(begun.elapsed(), 20 * SLICE);
        breath.take().await;
        assert_eq!(
            begun.elapsed(),
            20 * SLICE,
            "a new stretch of work has just begun"
        );
    }
}

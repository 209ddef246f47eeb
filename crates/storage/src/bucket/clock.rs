//! The store's time: the `Date` of its last answer, and what a monotonic clock measured since.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::Instant;
use wharfinger_base::clock::Timestamp;

/// Begins at the epoch, until the store has answered once.
#[derive(Debug)]
pub(super) struct StoreClock(Mutex<(Timestamp, Instant)>);

impl StoreClock {
    pub(super) fn new() -> Self {
        Self(Mutex::new((Timestamp::from_secs(0), Instant::now())))
    }

    /// Takes the time from the `Date` of an answer. The clock never moves back: an answer may be delayed, and
    /// the machines of a service differ by a little.
    pub(super) fn saw(&self, date: &str) {
        let Some(date) = http_date(date) else { return };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if date > now(&last) {
            *last = (date, Instant::now());
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        now(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn now(&(date, at): &(Timestamp, Instant)) -> Timestamp {
    let passed: Duration = at.elapsed();
    date.plus(passed)
}

/// `Sat, 28 Nov 2026 18:24:24 GMT`, the only form that servers still send.
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    let date = OffsetDateTime::parse(text.trim(), &Rfc2822).ok()?;
    Some(Timestamp::from_secs(date.unix_timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_is_that_of_the_last_answer_and_never_moves_back() {
        let clock = StoreClock::new();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        clock.saw("Sat, 28 Nov 2026 18:24:24 GMT");
        assert_eq!(clock.now(), at("2026-11-28T18:24:24Z"));
        tokio::time::advance(Duration::from_secs(5)).await;
        clock.saw("Sat, 28 Nov 2026 18:24:25 GMT");
        assert_eq!(clock.now(), at("2026-11-28T18:24:29Z"));
        clock.saw("nonsense");
        clock.saw("Sat, 28 Nov 2026 18:30:00 GMT");
        assert_eq!(clock.now(), at("2026-11-28T18:30:00Z"));
    }
}

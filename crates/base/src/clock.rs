//! Time as a value and as a parameter. Every decision about time takes a [`Timestamp`]; only the edges hold a
//! [`Clock`]. No other file may ask the operating system for the time.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Milliseconds since the Unix epoch, negative before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Later than every other time. It means "does not expire".
    pub const MAX: Self = Self(i64::MAX);

    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    #[must_use]
    pub const fn from_millis(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// Converts a `NumericDate` of RFC 7519, which may have a fraction. `None` if it is not finite or too far
    /// away.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the bounds were checked on the line above"
    )]
    pub fn from_numeric_date(seconds: f64) -> Option<Self> {
        const FAR: f64 = 1e12;
        (seconds.is_finite() && seconds.abs() < FAR).then_some(Self((seconds * 1000.0) as i64))
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// RFC 3339 in UTC with whole seconds, as in `2026-11-24T04:55:59Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = time::OffsetDateTime::from_unix_timestamp(self.as_secs())
            .ok()
            .and_then(|date| date.format(&time::format_description::well_known::Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            None => f.write_str("never"),
        }
    }
}

/// RFC 3339, as in `2026-11-24T04:55:59Z`.
impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let date = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
            .map_err(|_| InvalidTimestamp)?;
        Ok(Self::from_millis(
            i64::try_from(date.unix_timestamp_nanos() / 1_000_000).map_err(|_| InvalidTimestamp)?,
        ))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a date and time with its offset, such as 2026-11-27T12:00:00Z")]
pub struct InvalidTimestamp;

/// Where the current time comes from. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<watch::Sender<Timestamp>>),
    Of(Arc<dyn Fn() -> Timestamp + Send + Sync>),
}

impl Clock {
    /// The operating system's wall clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Another clock, such as a store's.
    #[must_use]
    pub fn of(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Source::Of(Arc::new(now)))
    }

    /// A clock that moves only when it is set.
    #[must_use]
    pub fn manual(start: Timestamp) -> (Self, ManualClock) {
        let at = Arc::new(watch::Sender::new(start));
        (Self(Source::Manual(at.clone())), ManualClock(at))
    }

    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the operating system for the time"
    )]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Manual(at) => *at.borrow(),
            Source::Of(now) => now(),
            Source::System => match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
                Ok(after) => Timestamp(millis(after)),
                Err(before) => Timestamp(-millis(before.duration())),
            },
        }
    }

    /// Returns at the time `at`. With a manual clock, returns when the clock is set to `at` or later.
    pub async fn reach(&self, at: Timestamp) {
        match &self.0 {
            Source::System | Source::Of(_) => tokio::time::sleep(at.since(self.now())).await,
            Source::Manual(hand) => drop(hand.subscribe().wait_for(|now| *now >= at).await),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::System => f.write_str("Clock(system)"),
            Source::Manual(_) | Source::Of(_) => write!(f, "Clock({})", self.now()),
        }
    }
}

/// Sets the manual clock that it was created with.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<watch::Sender<Timestamp>>);

impl ManualClock {
    pub fn set(&self, now: Timestamp) {
        self.0.send_replace(now);
    }

    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = now.plus(by));
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_dates_may_have_fractions_and_must_be_dates() {
        assert_eq!(
            Timestamp::from_numeric_date(1_795_309_338.5),
            Some(Timestamp::from_millis(1_795_309_338_500))
        );
        assert_eq!(Timestamp::from_numeric_date(-1.0), Some(Timestamp::from_secs(-1)));
        for not_a_date in [f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(Timestamp::from_numeric_date(not_a_date), None);
        }
    }

    #[test]
    fn prints_as_rfc_3339() {
        assert_eq!(
            Timestamp::from_secs(1_795_409_759).to_string(),
            "2026-11-23T04:55:59Z"
        );
        assert_eq!(Timestamp::MAX.to_string(), "never");
    }

    #[test]
    fn is_read_as_rfc_3339() {
        for (text, millis) in [
            ("2026-11-23T04:55:59Z", 1_795_409_759_000),
            ("2026-11-23T05:55:59.5+01:00", 1_795_409_759_500),
        ] {
            assert_eq!(text.parse(), Ok(Timestamp::from_millis(millis)), "{text}");
        }
        for bad in [
            "",
            "2026-11-23",
            "2026-11-23T04:55:59",
            "1795409759",
            "2026-13-23T04:55:59Z",
        ] {
            assert_eq!(bad.parse::<Timestamp>(), Err(InvalidTimestamp), "{bad}");
        }
    }

    #[test]
    fn a_manual_clock_moves_only_when_set() {
        let (clock, hand) = Clock::manual(Timestamp::from_secs(100));
        assert_eq!(clock.now(), Timestamp::from_secs(100));
        hand.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), Timestamp::from_secs(105));
        assert_eq!(
            clock.now().since(Timestamp::from_secs(100)),
            Duration::from_secs(5)
        );
    }

    #[tokio::test]
    async fn waiting_for_a_time_ends_when_it_is_reached() {
        let (clock, hand) = Clock::manual(Timestamp::from_secs(100));
        let waiting = tokio::spawn(async move { clock.reach(Timestamp::from_secs(105)).await });
        hand.advance(Duration::from_secs(4));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        hand.advance(Duration::from_secs(1));
        waiting.await.unwrap();
        Clock::system().reach(Timestamp::from_secs(0)).await;
    }
}

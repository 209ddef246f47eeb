//! The rate at which a walk reads.

use std::num::NonZeroU64;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// `None` for zero.
    #[must_use]
    pub const fn bytes_per_second(bytes: u64) -> Option<Self> {
        match NonZeroU64::new(bytes) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    fn time_for(self, bytes: u64) -> Duration {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.0.get());
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

/// A token bucket with one token for each byte. It holds the tokens of one second.
pub(super) struct Bucket {
    rate: Rate,
    /// When the tokens for everything that was read have been paid.
    paid: Instant,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        let paid = Instant::now();
        Self { rate, paid }
    }

    /// Takes one token for each byte that was read, and waits until there are enough.
    pub(super) async fn take(&mut self, bytes: u64) {
        let now = Instant::now();
        let full = now.checked_sub(HELD).unwrap_or(now);
        self.paid = self.paid.max(full) + self.rate.time_for(bytes);
        if self.paid > now {
            sleep_until(self.paid).await;
        }
    }
}

/// The time in which an empty bucket fills up.
const HELD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reading_takes_as_long_as_the_rate_says() {
        let mut bucket = Bucket::new(Rate::bytes_per_second(1000).unwrap());
        let begun = Instant::now();
        for _ in 0..100 {
            bucket.take(500).await;
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(50));
        bucket.take(1_000_000).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1050));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_reads_are_credited_and_a_long_pause_is_not() {
        let mut bucket = Bucket::new(Rate::bytes_per_second(1000).unwrap());
        let begun = Instant::now();
        for _ in 0..10 {
            tokio::time::advance(Duration::from_millis(400)).await;
            bucket.take(500).await;
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(100)).await;
        bucket.take(3000).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(107));
        assert_eq!(Rate::bytes_per_second(0), None);
    }
}

//! `storage.gc` and the keys beside it.

use super::Interpreter;
use crate::config::raw;
use crate::config::settings::Collecting;
use crate::config::values::TextOrNumber;
use crate::registry::collect::{Options, Pace};
use std::time::Duration;

impl Interpreter<'_> {
    pub(super) fn collecting(&mut self, storage: &raw::Storage) -> Collecting {
        let delay = self.period("storage.gcDelay", storage.gc_delay.as_ref(), Options::GRACE);
        let interval = self.period("storage.gcInterval", storage.gc_interval.as_ref(), INTERVAL);
        let window = storage.gc_time_window.as_deref().filter(|text| !text.is_empty());
        let window = window.and_then(|text| {
            let window = text.parse();
            if window.is_err() {
                self.mistake(
                    "storage.gcTimeWindow",
                    format!("must be a time of day in UTC such as 22:00-04:00, not {text:?}"),
                );
            }
            window.ok()
        });
        let pace = Pace::percent(storage.gc_pace.unwrap_or(PACE));
        if pace.is_none() {
            self.mistake("storage.gcPace", "must be a number of percent from 1 to 100");
        }
        if delay < SHORT {
            self.warn(
                "storage.gcDelay",
                "is shorter than a slow push: what a client has pushed may be removed before its manifest arrives, and the client must push it again",
            );
        }
        if !interval.is_zero() && interval < OFTEN {
            self.warn(
                "storage.gcInterval",
                "is so short that the registry walks through the whole store almost without a pause: write minutes or hours",
            );
        }
        Collecting {
            runs: storage.gc.unwrap_or(true),
            delay,
            interval,
            window,
            pace: pace.unwrap_or(Pace::UNBOUNDED),
        }
    }

    /// A duration as zot writes it. A plain number is nanoseconds, as in Go.
    fn period(&mut self, key: &str, given: Option<&TextOrNumber>, default: Duration) -> Duration {
        match given {
            Some(TextOrNumber::Number(number @ 1..NANOSECONDS)) => {
                self.mistake(
                    key,
                    format!("is a number of nanoseconds, as in zot, and {number} is less than a second: write a unit, such as {number}s"),
                );
                default
            }
            Some(TextOrNumber::Number(nanoseconds)) => Duration::from_nanos(*nanoseconds),
            Some(TextOrNumber::Text(text)) if text.is_empty() => default,
            Some(TextOrNumber::Text(text)) => self.duration(key.to_owned(), Some(text), default),
            None => default,
        }
    }
}

/// The default of `storage.gcInterval`.
const INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// The default of `storage.gcPace`.
const PACE: u8 = 10;
/// A second.
const NANOSECONDS: u64 = 1_000_000_000;
/// A shorter interval than this gets a warning.
const OFTEN: Duration = Duration::from_secs(60);
/// A shorter delay than this gets a warning.
const SHORT: Duration = Duration::from_secs(10 * 60);

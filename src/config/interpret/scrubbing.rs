//! `storage.scrub`

use super::Interpreter;
use crate::config::raw;
use crate::config::settings::Scrubbing;
use crate::registry::scrub::Rate;
use std::time::Duration;

impl Interpreter<'_> {
    /// `None` if content is not hashed again.
    pub(super) fn scrubbing(&mut self, scrub: Option<&raw::Scrub>) -> Option<Scrubbing> {
        let scrub = scrub?;
        let period = self.duration("storage.scrub.period".to_owned(), scrub.period.as_deref(), PERIOD);
        let rate = Rate::bytes_per_second(u64::from(scrub.rate.unwrap_or(RATE)) << 20);
        if rate.is_none() {
            self.mistake(
                "storage.scrub.rate",
                "must be a number of MiB per second, at least 1; to turn the check off, remove storage.scrub",
            );
        }
        let rate = rate.filter(|_| !period.is_zero())?;
        Some(Scrubbing { period, rate })
    }
}

/// The default of `storage.scrub.period`, a week.
const PERIOD: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The default of `storage.scrub.rate`, in MiB per second.
const RATE: u32 = 20;

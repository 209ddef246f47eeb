//! Warns about the registry's TLS certificates that have expired or soon will: at the start, daily, and at
//! once when such a certificate is loaded.

use super::every;
use crate::clock::{Clock, Timestamp};
use crate::server::{Expiring, Tls};
use std::time::Duration;

/// Never ends.
pub(super) async fn warn_of_expiry(tls: Tls, clock: Clock) {
    let mut reminders = Reminders::default();
    let mut ticks = every(EVERY);
    loop {
        ticks.tick().await;
        let now = clock.now();
        for expiring in reminders.due(tls.expiring(now), now) {
            let sentence = expiring.sentence(now);
            if expiring.is_expired() {
                tracing::error!(tls.source = expiring.source, "{sentence}");
            } else {
                tracing::warn!(tls.source = expiring.source, "{sentence}");
            }
        }
    }
}

/// Which warnings were logged, and when, so that each is logged once a day.
#[derive(Default)]
struct Reminders(Vec<(Expiring, Timestamp)>);

impl Reminders {
    /// Returns the warnings that were not logged within the last day. Forgets those that are no longer in
    /// `found`.
    fn due(&mut self, found: Vec<Expiring>, now: Timestamp) -> Vec<Expiring> {
        self.0
            .retain(|(said, at)| found.contains(said) && *at <= now && now.since(*at) < DAY);
        let due: Vec<_> = found
            .into_iter()
            .filter(|one| !self.0.iter().any(|(said, _)| said == one))
            .collect();
        self.0.extend(due.iter().map(|one| (one.clone(), now)));
        due
    }
}

/// How often the certificates in use are checked.
const EVERY: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Expiry;

    fn expiring(source: &str, expiry: Expiry) -> Expiring {
        Expiring {
            source: source.into(),
            subject: "CN=registry".into(),
            serial: "01".into(),
            expiry,
        }
    }

    #[test]
    fn each_warning_is_logged_at_once_and_then_daily() {
        let at = Timestamp::from_secs(1_790_000_000);
        let later = |hours: u64| at.plus(Duration::from_secs(hours * 3_600));
        let soon = expiring("file a", Expiry::Soon { at });
        let over = expiring("file a", Expiry::Expired { at });
        let other = expiring("file b", Expiry::Soon { at });
        let mut reminders = Reminders::default();
        for (hours, found, due) in [
            (0, vec![soon.clone()], vec![soon.clone()]),
            (1, vec![soon.clone()], vec![]),
            (2, vec![soon.clone(), other.clone()], vec![other.clone()]),
            (24, vec![soon.clone(), other.clone()], vec![soon.clone()]),
            (25, vec![over.clone()], vec![over.clone()]),
            (26, vec![], vec![]),
            (27, vec![other.clone()], vec![other]),
        ] {
            assert_eq!(reminders.due(found, later(hours)), due, "after {hours} hours");
        }
    }
}

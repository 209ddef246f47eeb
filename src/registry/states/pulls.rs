//! The pulls of a manifest.

use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct PullRecord {
    /// The time of the last pull in milliseconds since the epoch, by the store's clock.
    pub last: i64,
    /// At most 64 principals. This version adds none.
    pub by: Vec<String>,
    /// How many other principals pulled it.
    #[serde(default)]
    pub others: u64,
}

impl PullRecord {
    /// The record after a pull. `None` if there is nothing to write, because the record has a later time, or one that
    /// is at most `apart` earlier.
    pub(in crate::registry) fn pulled(
        found: Option<&Self>,
        last: Timestamp,
        apart: Duration,
    ) -> Option<Self> {
        let apart = i64::try_from(apart.as_millis()).unwrap_or(i64::MAX);
        let last = last.as_millis();
        match found {
            Some(found) if found.last.saturating_add(apart) >= last => None,
            Some(found) => Some(Self {
                last,
                ..found.clone()
            }),
            None => Some(Self {
                last,
                by: Vec::new(),
                others: 0,
            }),
        }
    }
}

/// The first version that records pulls writes this record once. Its time says since when every pull has been
/// recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct PullsBegan {
    /// That time, in milliseconds since the epoch, if the record was copied from another store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
}

impl PullsBegan {
    /// Since when pulls are recorded. `written` is the time of the record.
    pub(in crate::registry) fn began(&self, written: Timestamp) -> Timestamp {
        self.since.map_or(written, Timestamp::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;

    #[test]
    fn a_pull_moves_the_time_forward_and_keeps_the_rest() {
        let at = Timestamp::from_millis;
        let first = PullRecord::pulled(None, at(5), NONE).unwrap();
        assert_eq!((first.last, first.others), (5, 0));
        let found = PullRecord {
            by: vec!["alice".to_owned()],
            others: 3,
            ..first
        };
        let next = PullRecord::pulled(Some(&found), at(7), NONE).unwrap();
        assert_eq!(
            next,
            PullRecord {
                last: 7,
                ..found.clone()
            }
        );
        for earlier in [4, 5] {
            assert_eq!(
                PullRecord::pulled(Some(&found), at(earlier), NONE),
                None,
                "{earlier}"
            );
        }
        let apart = Duration::from_millis(10);
        assert_eq!(PullRecord::pulled(Some(&found), at(15), apart), None);
        assert!(PullRecord::pulled(Some(&found), at(16), apart).is_some());
    }
}

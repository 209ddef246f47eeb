//! How often a source is asked.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(in crate::trust) struct Pace {
    /// Between fetches that requests ask for, while there are keys: an unknown `kid` costs a stranger
    /// nothing.
    pub(in crate::trust) unknown_key: Duration,
    /// Between attempts that fail: grows from the first to the longest.
    pub(in crate::trust) first_pause: Duration,
    pub(in crate::trust) longest_pause: Duration,
    /// How long keys stay fresh: by default, at the least and at the most.
    pub(in crate::trust) fresh: Duration,
    pub(in crate::trust) freshest: Duration,
    pub(in crate::trust) least_fresh: Duration,
    /// How long a request waits for a fetch, and how long a source may be silent before what is on disk
    /// counts.
    pub(in crate::trust) patience: Duration,
    /// How long a key verifies that a newer key set lacks. Never if that set is empty.
    pub(in crate::trust) withdrawn: Duration,
}

impl Pace {
    pub(in crate::trust) const OIDC: Self = Self {
        unknown_key: Duration::from_secs(10),
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(60),
        fresh: Duration::from_secs(5 * 60),
        freshest: Duration::from_secs(60),
        least_fresh: Duration::from_secs(60 * 60),
        patience: Duration::from_secs(5),
        withdrawn: Duration::from_secs(10 * 60),
    };

    /// Federation 6.2: at the publisher's pace, and not aggressively when it fails. A bundle is the whole
    /// state of its trust domain, so what it lacks is withdrawn at once.
    pub(in crate::trust) const FEDERATION: Self = Self {
        withdrawn: Duration::ZERO,
        longest_pause: Duration::from_secs(5 * 60),
        least_fresh: Duration::from_secs(24 * 60 * 60),
        ..Self::OIDC
    };
}

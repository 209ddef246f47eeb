//! How often a source is fetched.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(in crate::trust) struct Pace {
    /// The shortest time between fetches that requests cause while there are keys. Anyone can make up an
    /// unknown `kid`.
    pub(in crate::trust) unknown_key: Duration,
    /// The pause after a failed attempt. It grows from the first to the longest.
    pub(in crate::trust) first_pause: Duration,
    pub(in crate::trust) longest_pause: Duration,
    /// How long keys stay fresh: the default, the shortest and the longest time.
    pub(in crate::trust) fresh: Duration,
    pub(in crate::trust) freshest: Duration,
    pub(in crate::trust) least_fresh: Duration,
    /// How long a request waits for a fetch, and how long a source may take before the copy on disk is used.
    pub(in crate::trust) patience: Duration,
    /// How long a key verifies after it has disappeared from the key set. An empty set withdraws all keys at
    /// once.
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

    /// SPIFFE Federation 6.2: the publisher sets the pace, and failures must not cause aggressive retries. A
    /// bundle is the whole state of its trust domain, so a missing key is withdrawn at once.
    pub(in crate::trust) const FEDERATION: Self = Self {
        withdrawn: Duration::ZERO,
        longest_pause: Duration::from_secs(5 * 60),
        least_fresh: Duration::from_secs(24 * 60 * 60),
        ..Self::OIDC
    };
}

//! The pulls of a manifest.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct PullRecord {
    /// The time of the last pull in milliseconds since the epoch, by the store's clock.
    pub last: i64,
    /// At most 64 principals.
    pub by: Vec<String>,
    /// How many other principals pulled it.
    #[serde(default)]
    pub others: u64,
}

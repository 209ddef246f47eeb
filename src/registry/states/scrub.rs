//! The position of a scrubber's walk. With it an interrupted walk can continue. Safety does not depend on it.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct ScrubRecord {
    /// When the walk began, in seconds since 1970.
    pub began: i64,
    /// The walk continues after this key. `None` if it was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// When the last complete walk ended, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<i64>,
    pub checked: ScrubCounts,
}

/// What the walk has checked so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct ScrubCounts {
    pub blobs: u64,
    pub manifests: u64,
    pub bytes: u64,
    pub damaged: u64,
}

//! The usage of a repository.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct UsageRecord {
    /// The sum of the sizes of its blobs and manifests.
    pub bytes: u64,
    pub blobs: u64,
    pub manifests: u64,
}

//! How far a pass of the collector is. It makes a pass that was cut off go on, and protects nothing.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct PassRecord {
    pub part: Part,
    /// The place behind which it goes on.
    pub after: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::registry) enum Part {
    /// `after` is a key.
    Repositories,
    /// `after` is the beginning of a digest, as in the keys of blobs.
    Blobs,
}

//! The position of a collector's pass. With it an interrupted pass can continue. Safety does not depend on
//! it.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct PassRecord {
    pub part: Part,
    /// The pass continues after this.
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

//! Who does a piece of work on a shared store. Safety does not depend on it.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct LeaseRecord {
    /// The process that works, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When the work was last done completely, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<i64>,
}

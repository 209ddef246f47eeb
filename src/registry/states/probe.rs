//! An empty record. The readiness probe writes it to find out whether the store works.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct Probe {}

//! The question that `wharfinger gc` asks: make one pass of the collector.

use super::question::Question;
use crate::registry::collect::{Reached, Report};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A request for one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectRequest {
    pub dry_run: bool,
    /// The fingerprint of the settings in the command's file.
    pub settings: u64,
}

/// The answer to a request for one pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    pub report: Report,
    /// The registry was started with other settings than those in the command's file, and used its own.
    pub other_settings: bool,
}

impl Question for CollectRequest {
    const NAME: &'static str = "gc";
    /// The registry reports progress every second.
    const PATIENCE: Duration = Duration::from_secs(60);
    type Progress = Reached;
    type Answer = Collected;
}

//! The question that `wharfinger trust` asks: which keys are trusted now.

use super::question::Question;
use super::report::Report;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TrustRequest {}

impl Question for TrustRequest {
    const NAME: &'static str = "trust";
    const PATIENCE: Duration = Duration::from_secs(10);
    type Progress = ();
    type Answer = Report;
}

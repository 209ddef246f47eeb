//! The question that `wharfinger backup` asks: make a backup of the store.

use super::question::Question;
use crate::storage::Copied;
use crate::storage::local::BackedUp;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// A request for a backup. The path is absolute. The registry resolves it, because a command in another
/// container may see other folders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupRequest {
    pub to: PathBuf,
    pub hard_link: bool,
}

impl Question for BackupRequest {
    const NAME: &'static str = "backup";
    /// The registry reports progress every two seconds.
    const PATIENCE: Duration = Duration::from_secs(60);
    type Progress = Copied;
    type Answer = BackedUp;

    fn is_valid(&self) -> bool {
        self.to.is_absolute()
    }
}

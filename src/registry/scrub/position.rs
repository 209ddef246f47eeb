//! The position of a walk, and when the next one is due.

use super::super::states::Next;
use super::super::states::scrub::ScrubRecord;
use super::super::{Error, Registry, keys};
use crate::access::Maintenance;
use crate::clock::Timestamp;
use std::time::Duration;

impl Registry {
    /// How long it takes until the next walk is due. Zero if the last one was interrupted. `period` is the
    /// time between the beginnings of two walks.
    pub async fn next_scrub(&self, _: &Maintenance, period: Duration) -> Duration {
        match self.scrub_position().await {
            Some(ScrubRecord {
                began, after: None, ..
            }) => period.saturating_sub(self.records.now().since(Timestamp::from_secs(began))),
            _ => Duration::ZERO,
        }
    }

    /// The time since the end of the last complete walk. `None` if there was none.
    pub async fn since_last_scrub(&self, _: &Maintenance) -> Option<Duration> {
        let completed = self.scrub_position().await?.completed?;
        Some(self.records.now().since(Timestamp::from_secs(completed)))
    }

    /// `None` if no walk has begun, or if the record cannot be read.
    pub(super) async fn scrub_position(&self) -> Option<ScrubRecord> {
        match self.records.read(&keys::scrub()).await {
            Ok(found) => found.map(|found| found.record),
            Err(why) => {
                tracing::warn!(
                    "cannot read where the last scrub stopped, so this one starts from the beginning: {why}"
                );
                None
            }
        }
    }

    /// Records the position. A failure only causes repeated work.
    pub(super) async fn keep_scrub_position(&self, position: &ScrubRecord) -> Result<(), Error> {
        let key = keys::scrub();
        let records = self.records.freeing();
        let next = |_| Ok(Next::Write(position.clone(), ()));
        match records.change(&key, next).await {
            Err(why) if why.is_damage() => records.replace_damaged(&key, position).await.map(drop),
            kept => kept.map(drop),
        }
    }
}

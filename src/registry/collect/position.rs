//! Where an interrupted pass continues.

use super::super::states::Next;
use super::super::states::pass::PassRecord;
use super::super::{Error, Registry, keys};
use super::{Collector, Options};
use crate::access::Maintenance;

/// Where an interrupted pass continues. A position can only be compared for equality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(PassRecord);

impl Registry {
    /// `None` if a pass would start from the beginning.
    pub async fn collection_position(&self, _: &Maintenance) -> Option<Position> {
        let collector = Collector::new(self, &Options::default());
        collector.position().await.map(Position)
    }
}

impl Collector {
    /// Where the last pass stopped. `None` if it was complete, or if the record cannot be read.
    pub(super) async fn position(&self) -> Option<PassRecord> {
        match self.registry.records.read(&keys::pass()).await {
            Ok(found) => found.map(|found| found.record),
            Err(why) => {
                tracing::warn!(
                    "cannot read where the last collection stopped, so this one starts from the beginning: {why}"
                );
                None
            }
        }
    }

    /// Records the position of the pass, or `None` at its end. A failure here only causes repeated work.
    pub(super) async fn keep_position(&self, position: Option<PassRecord>) -> Result<(), Error> {
        let key = keys::pass();
        let next = |_| {
            Ok(match &position {
                Some(position) => Next::Write(position.clone(), ()),
                None => Next::Delete(()),
            })
        };
        match self.registry.records.change(&key, next).await {
            Err(why) if why.is_damage() => self.registry.records.delete_damaged(&key).await.map(drop),
            kept => kept.map(drop),
        }
    }
}

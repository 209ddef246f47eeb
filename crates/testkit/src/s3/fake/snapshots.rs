//! What lists that began earlier saw.

use super::object::Objects;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The objects when the first pages of the last lists were sent.
#[derive(Default)]
pub(super) struct Snapshots {
    taken: usize,
    kept: BTreeMap<usize, Arc<Objects>>,
}

impl Snapshots {
    const KEPT: usize = 8;

    /// Returns the snapshot's number.
    pub(super) fn take(&mut self, objects: &Objects) -> usize {
        self.taken += 1;
        self.kept.insert(self.taken, Arc::new(objects.clone()));
        if self.kept.len() > Self::KEPT {
            self.kept.pop_first();
        }
        self.taken
    }

    /// `None` if it is too old.
    pub(super) fn of(&self, number: usize) -> Option<Arc<Objects>> {
        self.kept.get(&number).cloned()
    }
}

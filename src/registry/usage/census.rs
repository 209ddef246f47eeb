//! A count of everything in the store.

use super::super::states::usage::{Part, UsageRecord};
use crate::oci::RepositoryName;
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(in crate::registry) struct Census {
    pub(super) repositories: HashMap<RepositoryName, UsageRecord>,
    pub(super) stored: UsageRecord,
}

impl Census {
    /// The repository has a blob.
    pub(in crate::registry) fn link(&mut self, repository: RepositoryName, bytes: u64) {
        self.repositories
            .entry(repository)
            .or_default()
            .add(Part::Blob, bytes);
    }

    /// The store has a blob.
    pub(in crate::registry) const fn blob(&mut self, bytes: u64) {
        self.stored.add(Part::Blob, bytes);
    }

    pub(in crate::registry) fn manifest(&mut self, repository: RepositoryName, bytes: u64) {
        self.repositories
            .entry(repository)
            .or_default()
            .add(Part::Manifest, bytes);
        self.stored.add(Part::Manifest, bytes);
    }
}

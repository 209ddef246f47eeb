//! How much a repository, or the whole store, has.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::registry) struct UsageRecord {
    /// The sum of the sizes of its blobs and manifests.
    pub bytes: u64,
    pub blobs: u64,
    pub manifests: u64,
}

/// The kind of content that was added or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Part {
    Blob,
    Manifest,
}

impl UsageRecord {
    pub(in crate::registry) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(in crate::registry) const fn add(&mut self, part: Part, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        let count = self.count(part);
        *count = count.saturating_add(1);
    }

    pub(in crate::registry) const fn subtract(&mut self, part: Part, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        let count = self.count(part);
        *count = count.saturating_sub(1);
    }

    const fn count(&mut self, part: Part) -> &mut u64 {
        match part {
            Part::Blob => &mut self.blobs,
            Part::Manifest => &mut self.manifests,
        }
    }
}

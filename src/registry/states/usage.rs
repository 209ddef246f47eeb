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

/// What one process has added to a usage, or taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::registry) struct Difference {
    bytes: i64,
    blobs: i64,
    manifests: i64,
}

impl Difference {
    /// From one usage to another.
    pub(in crate::registry) const fn between(from: &UsageRecord, to: &UsageRecord) -> Self {
        Self {
            bytes: to.bytes.wrapping_sub(from.bytes).cast_signed(),
            blobs: to.blobs.wrapping_sub(from.blobs).cast_signed(),
            manifests: to.manifests.wrapping_sub(from.manifests).cast_signed(),
        }
    }

    pub(in crate::registry) const fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            blobs: self.blobs.saturating_add(other.blobs),
            manifests: self.manifests.saturating_add(other.manifests),
        }
    }
}

/// Whether content came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Change {
    Gain,
    Loss,
}

impl Change {
    /// The difference that a piece of content makes.
    pub(in crate::registry) fn of(self, part: Part, bytes: u64) -> Difference {
        let mut one = UsageRecord::default();
        one.add(part, bytes);
        match self {
            Self::Gain => Difference::between(&UsageRecord::default(), &one),
            Self::Loss => Difference::between(&one, &UsageRecord::default()),
        }
    }
}

impl UsageRecord {
    pub(in crate::registry) const EMPTY: Self = Self {
        bytes: 0,
        blobs: 0,
        manifests: 0,
    };

    pub(in crate::registry) const fn plus(&self, added: Difference) -> Self {
        Self {
            bytes: self.bytes.saturating_add_signed(added.bytes),
            blobs: self.blobs.saturating_add_signed(added.blobs),
            manifests: self.manifests.saturating_add_signed(added.manifests),
        }
    }

    pub(in crate::registry) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(in crate::registry) const fn add(&mut self, part: Part, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        let count = self.count(part);
        *count = count.saturating_add(1);
    }

    const fn count(&mut self, part: Part) -> &mut u64 {
        match part {
            Part::Blob => &mut self.blobs,
            Part::Manifest => &mut self.manifests,
        }
    }
}

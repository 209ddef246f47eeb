//! The OCI registry core: manifests, blobs, uploads, tags and referrers over two storage traits. Knows neither HTTP nor policy;
//! what a caller may do arrives as a [`Permit`](crate::access::Permit), and the repository is read from it.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>
//!
//! Everything is a record that changes by compare-and-swap only, or bytes under a name that is never used twice. Several processes
//! may work on one store but for uploads, whose sessions are locked in this process. Reads never create anything.

mod blobs;
mod body;
mod error;
mod fsck;
mod fuzzing;
mod hashing;
mod keys;
mod listing;
mod manifests;
mod marks;
mod records;
mod referrers;
mod tags;
#[cfg(test)]
mod tests;
mod uploads;

pub use blobs::Blob;
pub use body::Body;
pub use error::{BodyError, Error, NAMED_DIGESTS};
pub use fsck::{Checked, Finding, Progress, Severity};
#[doc(hidden)]
pub use fuzzing::{hash_state_rewritten, key_rewritten, records_read};
pub use listing::Page;
pub use manifests::{Pushed, StoredManifest};
pub use referrers::Referrers;
pub use uploads::{InvalidUploadId, Upload, UploadId};

use crate::access::Repositories;
use crate::clock::Clock;
use crate::storage::{BlobStore, RecordStore};
use marks::Records;
use std::fmt;
use std::sync::Arc;

/// What users decide about the core.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where a manifest is accepted although the repository lacks what it refers to, as mirrors need it that fetch only some platforms.
    pub sparse: Repositories,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    settings: Arc<Settings>,
    records: Records,
    bytes: Arc<dyn BlobStore>,
    clock: Clock,
    locks: uploads::Locks,
}

impl Registry {
    #[must_use]
    pub fn new(records: Arc<dyn RecordStore>, blobs: Arc<dyn BlobStore>, clock: Clock) -> Self {
        let settings = Arc::default();
        Self { settings, records: Records::new(records), bytes: blobs, clock, locks: uploads::Locks::default() }
    }

    #[must_use]
    pub fn with(self, settings: Settings) -> Self {
        Self { settings: Arc::new(settings), ..self }
    }
}

impl Registry {
    /// Whether the store reads and takes changes. Writes an empty record the first time, and nothing after that.
    pub async fn check_storage(&self) -> Result<(), Error> {
        self.records.probe(keys::PROBE).await
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

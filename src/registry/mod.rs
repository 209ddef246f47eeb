//! The OCI registry core: manifests, blobs, uploads, tags and referrers, stored through two storage traits.
//! It knows neither HTTP nor policy. A caller's rights arrive as a [`Permit`](crate::access::Permit), which
//! also names the repository.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>
//!
//! The store holds records, which change only by compare-and-swap, and bytes, whose names are never used
//! twice. Several processes may share a store if [`Settings::shared`] says so. A read never creates anything.

mod backup;
mod blobs;
mod body;
mod checking;
pub mod collect;
mod convert;
mod copying;
mod deleting;
mod error;
mod fsck;
mod fuzzing;
mod garbage;
mod hashing;
mod holders;
mod keys;
mod large;
mod leases;
mod listed;
mod listing;
mod manifests;
#[cfg(test)]
mod model;
mod omitted;
mod pulling;
mod quotas;
mod records;
mod referrers;
mod rehashing;
mod relying;
pub mod retention;
pub mod scrub;
mod states;
mod suspecting;
mod tagged;
mod tags;
#[cfg(test)]
mod tests;
mod text;
mod typed_store;
mod upload_id;
mod uploads;
mod usage;

pub use backup::NamedBytes;
pub use blobs::Blob;
pub use body::Body;
pub use convert::{Unconvertible, convert, keeps as keeps_unconverted};
pub use copying::{CopiedStore, Copy, NotCopied};
pub use error::{BodyError, Error, NAMED_DIGESTS};
pub use fsck::{BrokenImage, Checked, Finding, Progress, Severity};
#[doc(hidden)]
pub use fuzzing::{hash_state_rewritten, key_rewritten, records_read};
pub use leases::{Lease, Leased, Work};
pub use listing::Page;
pub use manifests::{Pushed, StoredManifest};
pub use referrers::Referrers;
pub use suspecting::Marking;
pub use upload_id::{InvalidUploadId, UploadId};
pub use uploads::{Pusher, Upload};
pub use usage::{QuotaExceeded, QuotaUse, Quotas, RepositoryQuota, TOTAL as TOTAL_QUOTA};

use crate::access::Repositories;
use crate::storage::{BlobStore, Failure, RecordStore};
use omitted::Omitted;
use std::fmt;
use std::sync::Arc;
use typed_store::TypedStore;
use upload_id::Ids;

/// The user's settings for the core.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Repositories in which a manifest is accepted although content that it refers to is missing. Mirrors
    /// that fetch only some platforms need this.
    pub sparse: Repositories,
    /// Repositories in which a descriptor's `size` and `data` are not checked. Mirrors of broken images need
    /// this.
    pub unchecked_descriptors: Repositories,
    /// How old content must be before a collector may delete it. A client may rely on an answer for half of
    /// this time. `None` for a day.
    pub grace: Option<std::time::Duration>,
    /// How many open uploads a caller may have. `None` means no limit.
    pub open_uploads: Option<usize>,
    /// How many repositories there may be. `None` means no limit.
    pub repositories: Option<usize>,
    pub quotas: Quotas,
    /// Whether several processes may serve the store at the same time. Uploads are then claimed in their records,
    /// and what another process may still be doing is left alone.
    pub shared: bool,
    /// A folder for temporary files. Without it a check of the store keeps everything in memory.
    pub scratch: Option<std::path::PathBuf>,
    /// What the other processes of the store call this one.
    pub process: String,
    /// The format in which the store is written.
    pub format: crate::storage::replicas::InUse,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    settings: Arc<Settings>,
    records: TypedStore,
    bytes: Arc<dyn BlobStore>,
    claims: uploads::Claims,
    /// Turns for requests with large manifests. A request that has a turn may also read large records, which
    /// have turns of their own.
    requests: large::Turns,
    open: uploads::OpenUploads,
    /// New repositories take turns if their number is limited.
    entering: Arc<tokio::sync::Mutex<()>>,
    usage: usage::Usage,
    garbage: garbage::Garbage,
    turns: collect::Turns,
    pulls: Arc<pulling::Pulls>,
    rechecks: Arc<rehashing::Rechecks>,
    /// New names for uploads and for events of tags.
    ids: Ids,
    omitted: Omitted,
}

impl Registry {
    #[must_use]
    pub fn new(records: Arc<dyn RecordStore>, blobs: Arc<dyn BlobStore>) -> Self {
        let requests = large::Turns::new();
        Self {
            settings: Arc::default(),
            records: TypedStore::new(records),
            bytes: blobs,
            claims: uploads::Claims::default(),
            requests,
            open: uploads::OpenUploads::default(),
            entering: Arc::default(),
            usage: usage::Usage::default(),
            garbage: garbage::Garbage::default(),
            turns: collect::Turns::default(),
            pulls: Arc::default(),
            rechecks: rehashing::Rechecks::new(),
            ids: Ids::default(),
            omitted: Omitted::NOTHING,
        }
    }

    /// The same registry, without one step of the protocol and with names that follow from a seed.
    #[cfg(test)]
    fn simulated(self, ids: Ids, step: Option<omitted::Step>) -> Self {
        Self {
            ids,
            omitted: Omitted(step),
            ..self
        }
    }

    #[must_use]
    pub fn with(self, settings: Settings) -> Self {
        Self {
            records: self
                .records
                .with_grace(settings.grace)
                .with_format(&settings.format),
            usage: usage::Usage::new(&settings.quotas),
            settings: Arc::new(settings),
            ..self
        }
    }

    /// The same registry for work that frees space, which a full disk must not stop.
    fn freeing(&self) -> Self {
        Self {
            records: self.records.freeing(),
            ..self.clone()
        }
    }
}

impl Registry {
    /// Checks that the store can be read, with one request, and that this process may change it.
    pub async fn check_reading(&self) -> Result<(), Error> {
        self.records.may_change()?;
        self.records.read(&keys::probe()).await?;
        Ok(())
    }

    /// Checks that the store can be read and accepts changes and bytes. Returns the reason if the disk is
    /// full and the store accepts only deletions. The first call writes a record; later calls change nothing.
    pub async fn check_storage(&self) -> Result<Option<Failure>, Error> {
        let key = keys::probe();
        let record = states::probe::Probe {};
        self.check_reading().await?;
        self.records.freeing().create(&key, &record).await?;
        self.bytes.probe().await?;
        match self.records.create(&key, &record).await {
            Err(Error::Storage(failure)) if failure.is_full() => Ok(Some(failure)),
            created => created.map(|_| None),
        }
    }
}

/// Runs `work` to its end even if the client disconnects, so that nothing is left half done.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    tokio::spawn(work).await.unwrap_or(Err(Error::Internal))
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

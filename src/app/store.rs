//! The store that the configuration names: a folder or a bucket.
//!
//! A folder has one process at a time, and a disk that can be measured, copied and searched for leftover files. A
//! bucket may have many processes and has no disk. Everything else runs on both alike.

use super::convert::convert_store;
use crate::clock::Clock;
use crate::config::{FixedSettings, Mistake, StorePlace};
use crate::registry::{self, Registry};
use crate::storage::bucket::{self, Bucket};
use crate::storage::local::{self, Local};
use crate::storage::{BlobStore, Failure, RecordStore, STORE_ID};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// An open store. Clones share it.
#[derive(Clone)]
pub struct Store {
    records: Arc<dyn RecordStore>,
    bytes: Arc<dyn BlobStore>,
    /// Absent if the store is a bucket.
    folder: Option<Arc<Local>>,
}

/// Why a command could not open the store.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    #[error(transparent)]
    Folder(#[from] local::OpenError),
    #[error(transparent)]
    Bucket(#[from] bucket::OpenError),
    #[error(
        "there is no store in {0}: check storage.storageDriver, or start `wharfinger serve`, which creates the store"
    )]
    NoStore(String),
    #[error("the store in {place} cannot be read: {why}")]
    Unreadable { place: String, why: Failure },
}

impl Store {
    /// Opens the store to serve it. Creates it if there is none, and converts a folder of an older format. If
    /// this future is dropped, the process must end.
    pub(super) async fn open(fixed: &FixedSettings, clock: &Clock) -> Result<Self, Mistake> {
        match &fixed.storage {
            StorePlace::Folder(folder) => {
                convert_store(folder, clock).await?;
                let settings = local::Settings {
                    commit: fixed.commit,
                    clock: clock.clone(),
                };
                let opened = Local::open_with(folder, settings);
                opened
                    .map(Self::of_folder)
                    .map_err(|why| Mistake::new("storage.rootDirectory", why.to_string()))
            }
            StorePlace::Bucket(place) => {
                let mistake = |why: String| Mistake::new("storage.storageDriver", why);
                let bucket = open_bucket(place.settings.clone()).await;
                let bucket = bucket.map_err(|why| mistake(why.to_string()))?;
                bucket.probe().await.map_err(|why| mistake(why.to_string()))?;
                Ok(Self::of_bucket(bucket))
            }
        }
    }

    /// Opens the store for a command and never creates one. No other process may have a folder open. Others may
    /// use a bucket meanwhile.
    pub async fn open_existing(place: &StorePlace) -> Result<Self, NotOpened> {
        let bucket = match place {
            StorePlace::Folder(folder) => return Ok(Self::of_folder(Local::open_existing(folder)?)),
            StorePlace::Bucket(bucket) => bucket,
        };
        let store = Self::of_bucket(open_bucket(bucket.settings.clone()).await?);
        match store.records.get(STORE_ID).await {
            Ok(Some(_)) => Ok(store),
            Ok(None) => Err(NotOpened::NoStore(place.to_string())),
            Err(why) => Err(NotOpened::Unreadable {
                place: place.to_string(),
                why,
            }),
        }
    }

    fn of_bucket(bucket: Bucket) -> Self {
        let bucket = Arc::new(bucket);
        Self {
            records: bucket.clone(),
            bytes: bucket,
            folder: None,
        }
    }

    fn of_folder(local: Local) -> Self {
        let local = Arc::new(local);
        Self {
            records: local.clone(),
            bytes: local.clone(),
            folder: Some(local),
        }
    }

    /// The registry core on this store.
    #[must_use]
    pub fn registry(&self, settings: registry::Settings) -> Registry {
        Registry::new(self.records.clone(), self.bytes.clone()).with(settings)
    }

    /// The store as a folder, for what only a folder has.
    #[must_use]
    pub const fn folder(&self) -> Option<&Arc<Local>> {
        self.folder.as_ref()
    }

    pub(super) fn records(&self) -> &dyn RecordStore {
        &*self.records
    }
}

async fn open_bucket(settings: bucket::Settings) -> Result<Bucket, bucket::OpenError> {
    let requests = bucket::Requests {
        observer: Arc::new(Counted),
        ..bucket::Requests::default()
    };
    Bucket::open_with(settings, &requests).await
}

/// Counts the requests to a bucket in the metrics.
#[derive(Debug)]
struct Counted;

impl bucket::Observer for Counted {
    fn request(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        metrics::counter!("wharfinger_store_requests_total", "operation" => operation, "outcome" => outcome)
            .increment(1);
        metrics::histogram!("wharfinger_store_request_seconds", "operation" => operation).record(took);
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

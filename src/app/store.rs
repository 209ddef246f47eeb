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
use crate::storage::replicas::{self, Guarded, Member, NotUpgraded, NotUsable, Replica, Upgraded};
use crate::storage::{BlobStore, Failure, RecordStore, STORE_ID};
use rustix::system::uname;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// An open store. Clones share it.
#[derive(Clone)]
pub struct Store {
    records: Arc<dyn RecordStore>,
    bytes: Arc<dyn BlobStore>,
    /// Absent if the store is a bucket.
    folder: Option<Arc<Local>>,
    /// This process as one of those that share a bucket.
    membership: Option<Arc<Membership>>,
}

/// Renews the process's record in the store until it is dropped.
struct Membership {
    member: Arc<Member>,
    renewing: JoinHandle<()>,
}

impl Membership {
    fn of(member: Arc<Member>) -> Self {
        let kept = member.clone();
        let renewing = tokio::spawn(async move { kept.keep().await });
        Self { member, renewing }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.renewing.abort();
    }
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
    #[error("{place}: {why}")]
    NotUsable { place: String, why: NotUsable },
}

/// Why a bucket was not upgraded.
#[derive(Debug, thiserror::Error)]
pub enum NotUpgradedHere {
    #[error(transparent)]
    Bucket(#[from] bucket::OpenError),
    #[error(transparent)]
    Store(#[from] NotUpgraded),
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
                let store = Self::of_bucket(bucket);
                let joined = store.join("serve", true).await;
                joined.map_err(|why| mistake(format!("{}: {why}", fixed.storage)))
            }
        }
    }

    /// Opens the store for this command and never creates one. No other process may have a folder open. Others
    /// may use a bucket meanwhile.
    pub async fn open_existing(place: &StorePlace, command: &str) -> Result<Self, NotOpened> {
        let bucket = match place {
            StorePlace::Folder(folder) => return Ok(Self::of_folder(Local::open_existing(folder)?)),
            StorePlace::Bucket(bucket) => bucket,
        };
        let store = Self::of_bucket(open_bucket(bucket.settings.clone()).await?);
        match store.records.get(STORE_ID).await {
            Ok(Some(_)) => {
                let joined = store.join(command, false).await;
                joined.map_err(|why| NotOpened::NotUsable {
                    place: place.to_string(),
                    why,
                })
            }
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
            membership: None,
        }
    }

    /// Enters this process among those that share the store. It makes no change before that.
    async fn join(self, command: &str, creates: bool) -> Result<Self, NotUsable> {
        let replica = Replica {
            command: command.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: uname().nodename().to_string_lossy().into_owned(),
            process: std::process::id(),
            newest: replicas::newest(),
        };
        let member = Arc::new(Member::join(self.records.clone(), replica, creates).await?);
        let format = member.format().get();
        let newest = replicas::newest();
        if format < newest {
            tracing::info!(
                "the store is written in format {format}, and this version also knows format {newest}: run `wharfinger upgrade` when no older version uses the store"
            );
        }
        Ok(Self {
            records: Arc::new(Guarded::new(self.records.clone(), member.clone())),
            membership: Some(Arc::new(Membership::of(member))),
            ..self
        })
    }

    /// Removes the record of this process. Call it last.
    pub async fn leave(&self) {
        if let Some(membership) = &self.membership {
            membership.renewing.abort();
            membership.member.leave().await;
        }
    }

    fn of_folder(local: Local) -> Self {
        let local = Arc::new(local);
        Self {
            records: local.clone(),
            bytes: local.clone(),
            folder: Some(local),
            membership: None,
        }
    }

    /// The registry core on this store.
    #[must_use]
    pub fn registry(&self, settings: registry::Settings) -> Registry {
        let member = self.membership.as_ref().map(|one| &one.member);
        Registry::new(self.records.clone(), self.bytes.clone()).with(registry::Settings {
            format: member.map(|member| member.format().clone()).unwrap_or_default(),
            process: member.map(|member| member.name()).unwrap_or_default(),
            ..settings
        })
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

/// Upgrades the bucket to the newest format that this version knows.
pub async fn upgrade(settings: &bucket::Settings) -> Result<Upgraded, NotUpgradedHere> {
    let bucket = open_bucket(settings.clone()).await?;
    Ok(replicas::upgrade(&bucket, replicas::newest()).await?)
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

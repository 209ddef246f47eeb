//! The store that the configuration names: a folder or a bucket.
//!
//! A folder has one process at a time, and a disk that can be measured, copied and searched for leftover files. A
//! bucket may have many processes, or one by configuration, and has no disk. Everything else runs on both alike.

use super::convert::convert_store;
use super::foreign_store;
use crate::clock::{Clock, Timestamp};
use crate::config::{BucketPlace, FixedSettings, Mistake, StorePlace};
use crate::registry::{self, Registry};
use crate::storage::bucket::{self, Bucket};
use crate::storage::local::{self, Local};
use crate::storage::replicas::{self, Guarded, Member, NotUpgraded, NotUsable, Replica, Upgraded};
use crate::storage::{BlobStore, Failure, RecordStore, STORE_ID, UNFINISHED};
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
    place: Place,
    /// This process as one of those that share a bucket.
    membership: Option<Arc<Membership>>,
}

#[derive(Clone, Debug)]
enum Place {
    Folder(Arc<Local>),
    Bucket(Arc<Bucket>),
}

/// What a command does with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Reading,
    Changing,
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
    #[error(transparent)]
    Unfit(#[from] bucket::probe::Unfit),
    #[error(transparent)]
    NotAlone(#[from] bucket::NotAlone),
    #[error("{0}")]
    Foreign(String),
    #[error(
        "the store in {0} is an unfinished copy of another one: run the same `wharfinger copy` again to finish it before you use it"
    )]
    Unfinished(String),
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
                let bucket = open_bucket(place.settings.clone()).await;
                let bucket = bucket.map_err(|why| not_opened(&place.settings, &why))?;
                let mistake = |why: String| Mistake::new(DRIVER, why);
                let foreign = foreign_store::check_bucket(&bucket, &place.settings).await;
                if let Some(foreign) = foreign.map_err(|why| mistake(why.to_string()))? {
                    return Err(foreign);
                }
                let used = use_bucket(&bucket, place.single_replica).await;
                used.map_err(|why| mistake(why.to_string()))?;
                let joined = Self::of_bucket(bucket).join("serve", true).await;
                joined.map_err(|why| mistake(format!("{}: {why}", fixed.storage)))
            }
        }
    }

    /// Opens the store for this command and never creates one. No other process may have a folder open. Others
    /// may use a bucket meanwhile, unless it is for one process and the command changes it.
    pub async fn open_existing(
        place: &StorePlace,
        command: &str,
        purpose: Purpose,
    ) -> Result<Self, NotOpened> {
        let settings = match place {
            StorePlace::Folder(folder) => return Ok(Self::of_folder(Local::open_existing(folder)?)),
            StorePlace::Bucket(settings) => settings,
        };
        let bucket = open_bucket(settings.settings.clone()).await?;
        let id = bucket.get(STORE_ID).await;
        let id = id.map_err(|why| NotOpened::Unreadable {
            place: place.to_string(),
            why,
        })?;
        must_be_whole(&bucket, place).await?;
        if id.is_none() {
            return Err(NotOpened::NoStore(place.to_string()));
        }
        if purpose == Purpose::Changing {
            use_bucket(&bucket, settings.single_replica).await?;
        }
        Self::of_bucket(bucket).join_at(place, command, false).await
    }

    /// Opens a bucket to copy a store into it. It must be fit for a registry, and need not hold a store yet.
    pub async fn open_target(place: &BucketPlace) -> Result<Self, NotOpened> {
        let bucket = open_bucket(place.settings.clone()).await?;
        let foreign = foreign_store::check_bucket(&bucket, &place.settings).await;
        let whole_place = StorePlace::Bucket(Box::new(place.clone()));
        let foreign = foreign.map_err(|why| NotOpened::Unreadable {
            place: whole_place.to_string(),
            why,
        })?;
        if let Some(Mistake { what, .. }) = foreign {
            return Err(NotOpened::Foreign(what));
        }
        use_bucket(&bucket, place.single_replica).await?;
        Self::of_bucket(bucket).join_at(&whole_place, "copy", true).await
    }

    async fn join_at(self, place: &StorePlace, command: &str, creates: bool) -> Result<Self, NotOpened> {
        let joined = self.join(command, creates).await;
        joined.map_err(|why| NotOpened::NotUsable {
            place: place.to_string(),
            why,
        })
    }

    fn of_bucket(bucket: Bucket) -> Self {
        let bucket = Arc::new(bucket);
        Self {
            records: bucket.clone(),
            bytes: bucket.clone(),
            place: Place::Bucket(bucket),
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
        let member = match Member::join(self.records.clone(), replica, creates).await {
            Ok(member) => Arc::new(member),
            Err(why) => {
                self.leave().await;
                return Err(why);
            }
        };
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

    /// Removes the record of this process, and gives back a bucket that is for one process. Call it last: nothing is
    /// written afterwards.
    pub async fn leave(&self) {
        if let Some(membership) = &self.membership {
            membership.renewing.abort();
            membership.member.leave().await;
        }
        if let Place::Bucket(bucket) = &self.place {
            bucket.release().await;
        }
    }

    fn of_folder(local: Local) -> Self {
        let local = Arc::new(local);
        Self {
            records: local.clone(),
            bytes: local.clone(),
            place: Place::Folder(local),
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
        match &self.place {
            Place::Folder(folder) => Some(folder),
            Place::Bucket(_) => None,
        }
    }

    /// The store's clock, which all registries on it share. `own` is the clock of this machine, for a service that
    /// does not tell its time.
    pub(super) fn clock(&self, own: &Clock) -> Clock {
        let records = self.records.clone();
        let own = own.clone();
        Clock::of(move || match records.now() {
            now if now < PAST => own.now(),
            now => now,
        })
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

/// Fails if another store is being copied into this one. Such a copy marks the store before it writes the store's ID.
/// So the caller reads the ID first.
pub(super) async fn must_be_whole(records: &dyn RecordStore, place: &StorePlace) -> Result<(), NotOpened> {
    match records.get(UNFINISHED).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) | Err(Failure::Lost { .. }) => Err(NotOpened::Unfinished(place.to_string())),
        Err(why) => Err(NotOpened::Unreadable {
            place: place.to_string(),
            why,
        }),
    }
}

/// Checks the settings of a bucket without a request.
pub(super) fn check_bucket(settings: &bucket::Settings) -> Result<(), Mistake> {
    Bucket::check(settings).map_err(|why| not_opened(settings, &why))
}

fn not_opened(settings: &bucket::Settings, why: &bucket::OpenError) -> Mistake {
    let by_token = matches!(settings.credentials, bucket::Credentials::WebIdentity(_));
    let key = match why.is_about_keys() && by_token {
        true => WEB_IDENTITY,
        false => DRIVER,
    };
    Mistake::new(key, why.to_string())
}

/// A store's clock begins at the epoch, until the store has told its time.
const PAST: Timestamp = Timestamp::from_secs(1_600_000_000);
const DRIVER: &str = "storage.storageDriver";
const WEB_IDENTITY: &str = "storage.storageDriver.webidentity";

async fn open_bucket(settings: bucket::Settings) -> Result<Bucket, bucket::OpenError> {
    let requests = bucket::Requests {
        observer: Arc::new(Counted),
        ..bucket::Requests::default()
    };
    Bucket::open_with(settings, &requests).await
}

/// Makes sure that no other process harms what this one writes to the bucket.
async fn use_bucket(bucket: &Bucket, alone: bool) -> Result<(), NotOpened> {
    bucket.refuse_if_held().await?;
    if alone {
        bucket.probe_for_one().await?;
        bucket.hold().await?;
    } else {
        bucket.probe().await?;
    }
    Ok(())
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
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

//! A store in a bucket of an object store: Amazon S3 and services with its API, Google Cloud Storage, Azure
//! Blob Storage. Any number of processes may use one bucket.
//!
//! | key below the root | what it is |
//! |---|---|
//! | `records/<the record's key>` | one record each. The key's `.` is written as `.-` and its `/` as `._` |
//! | `tried/<32 characters>` | an object that was made to try what the store can do |
//! | `d/<first two characters of the name>/<name>` | the bytes of one blob each |
//! | the same with `.` and 32 characters | bytes of an upload that are too few for a part |
//! | `probe/…` | what a probe writes and removes. `probe/passed` stays |
//! | `holder` | which process has the bucket, if it is for one only |

mod bytes;
mod clock;
mod credentials;
mod explain;
mod fence;
mod holder;
mod objects;
mod order;
mod others;
mod permissions;
pub mod probe;
mod records;
mod retry;
mod service;
mod settings;
mod uploads;
mod web_identity;
mod wire;

pub use holder::NotAlone;
pub use settings::{Credentials, Parts, Provider, Settings, Tls};
pub use web_identity::{FetchError, TokenFetcher, TokenSource, WebIdentity};
pub use wire::{Observer, Requests};

use self::bytes::Blobs;
use crate::Answer;
use crate::contract::{Change, Failure, Range, Record, RecordStore, Value, Version, Written};
use futures_util::future::BoxFuture;
use holder::{Hold, Times};
use objects::Objects;
use records::Records;
use std::sync::{Arc, Mutex, PoisonError};
use wharfinger_base::clock::Timestamp;

/// The open store.
#[derive(Debug)]
pub struct Bucket {
    objects: Arc<Objects>,
    records: Records,
    blobs: Blobs,
    /// If the bucket is for one process.
    hold: Mutex<Option<Hold>>,
}

impl Bucket {
    /// Makes one request, which shows that the bucket can be reached, and tells the store's time.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        Self::open_with(settings, &Requests::default()).await
    }

    /// Checks the settings, and what the environment adds to them. Makes no request.
    pub fn check(settings: &Settings) -> Result<(), OpenError> {
        Objects::new(settings, &Requests::default()).map(drop)
    }

    /// Like [`Bucket::open`], with requests that are made in this way.
    pub async fn open_with(settings: Settings, requests: &Requests) -> Result<Self, OpenError> {
        let objects = Objects::new(&settings, requests)?;
        objects.log_keys(&settings.bucket);
        objects
            .list("", "", 1)
            .await
            .map_err(|why| objects.not_opened(&why))?;
        let objects = Arc::new(objects);
        Ok(Self {
            records: Records::new(objects.clone()),
            blobs: Blobs::new(&objects, settings.parts),
            objects,
            hold: Mutex::default(),
        })
    }
}

impl Bucket {
    /// Finds out whether replicas may share the bucket: a few requests, and at its first start some hundreds.
    pub async fn probe(&self) -> Result<(), probe::Unfit> {
        probe::for_replicas(&self.objects).await
    }

    /// Finds out whether one process may use the bucket. If the service ignores conditions, this process keeps the
    /// order of its writes itself from now on.
    pub async fn probe_for_one(&self) -> Result<(), probe::Unfit> {
        probe::for_one(&self.objects).await
    }

    /// The names of up to `limit` objects that begin with `prefix`, below the root, whoever wrote them.
    pub async fn names(&self, prefix: &str, limit: usize) -> Result<Vec<String>, Failure> {
        let listed = self.objects.list(prefix, "", limit).await;
        let listed = listed.map_err(|why| self.objects.failure(why))?;
        Ok(listed.into_iter().map(|entry| entry.key).collect())
    }

    /// An error if a process has the bucket for itself.
    pub async fn refuse_if_held(&self) -> Result<(), NotAlone> {
        holder::refuse_if_held(&self.objects, Times::default()).await
    }

    /// Has the bucket for this process alone, until [`Bucket::release`]. If another process takes it, this one
    /// writes nothing any more.
    pub async fn hold(&self) -> Result<(), NotAlone> {
        let hold = holder::take(&self.objects, Times::default()).await?;
        *self.hold.lock().unwrap_or_else(PoisonError::into_inner) = Some(hold);
        Ok(())
    }

    /// Ends [`Bucket::hold`], so that another process need not wait. This one writes nothing afterwards.
    pub async fn release(&self) {
        let hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(hold) = hold {
            hold.release().await;
        }
    }
}

impl RecordStore for Bucket {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        Box::pin(self.records.get(key))
    }

    fn get_stored<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        Box::pin(self.records.get_stored(key))
    }

    fn get_recent<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        Box::pin(self.records.get_recent(key))
    }

    fn create<'a>(&'a self, key: &'a str, value: Value) -> Answer<'a, Version> {
        Box::pin(self.records.create(key, value))
    }

    fn swap<'a>(&'a self, key: &'a str, expected: &'a Version, value: Value) -> Answer<'a, Version> {
        Box::pin(self.records.swap(key, expected, value))
    }

    fn delete<'a>(&'a self, key: &'a str, expected: &'a Version) -> Answer<'a, ()> {
        Box::pin(self.records.delete(key, expected))
    }

    fn list<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<String>> {
        Box::pin(async move {
            let listed = self.records.list(range).await?;
            Ok(listed.into_iter().map(|one| one.key).collect())
        })
    }

    fn list_written<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<Written>> {
        Box::pin(self.records.list(range))
    }

    fn now(&self) -> Timestamp {
        self.objects.now()
    }

    fn may_change(&self) -> Result<(), Failure> {
        let fenced = self.objects.fence().check();
        fenced.map_err(|why| self.objects.failure(why))
    }

    fn change_each(&self, changes: Vec<Change>) -> BoxFuture<'_, Vec<Result<Option<Version>, Failure>>> {
        Box::pin(self.records.change_each(changes))
    }

    fn sweep<'a>(&'a self, position: &'a str) -> Answer<'a, Option<String>> {
        Box::pin(self.records.sweep(position))
    }
}

/// Why a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name} cannot be used: {why}")]
pub struct OpenError {
    /// The bucket and its service.
    name: String,
    is_about_keys: bool,
    why: Box<dyn std::error::Error + Send + Sync>,
}

impl OpenError {
    fn new(bucket: &str, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let why = why.into();
        Self {
            name: format!("the bucket {bucket}"),
            is_about_keys: credentials::no_keys(&*why).is_some(),
            why,
        }
    }

    /// Whether there are no keys for the bucket.
    #[must_use]
    pub const fn is_about_keys(&self) -> bool {
        self.is_about_keys
    }
}

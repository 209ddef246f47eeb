//! A store in a bucket of an object store: Amazon S3 and services with its API, Google Cloud Storage, Azure
//! Blob Storage. Any number of processes may use one bucket.
//!
//! | key below the root | what it is |
//! |---|---|
//! | the record's key | one record each |
//! | `d/<first two characters of the name>/<name>` | the bytes of one blob each |

mod clock;
#[expect(dead_code, reason = "records and bytes are built on it next")]
mod objects;
mod settings;
mod web_identity;
mod wire;

pub use settings::{Credentials, Provider, Settings, Tls};
pub use web_identity::{FetchError, TokenFetcher, TokenSource, WebIdentity};

use objects::Objects;
use std::sync::Arc;

/// The open store.
#[derive(Debug)]
pub struct Bucket {
    objects: Arc<Objects>,
}

impl Bucket {
    /// Makes one request, which shows that the bucket can be reached, and tells the store's time.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        let objects = Objects::new(&settings)?;
        objects
            .list("", "", 1)
            .await
            .map_err(|why| OpenError::new(&settings.bucket, why))?;
        Ok(Self {
            objects: Arc::new(objects),
        })
    }

    /// The store's present time.
    #[must_use]
    pub fn now(&self) -> wharfinger_base::clock::Timestamp {
        self.objects.now()
    }
}

/// Why a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the bucket {bucket} cannot be used: {why}")]
pub struct OpenError {
    bucket: String,
    why: Box<dyn std::error::Error + Send + Sync>,
}

impl OpenError {
    fn new(bucket: &str, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            bucket: bucket.to_owned(),
            why: why.into(),
        }
    }
}

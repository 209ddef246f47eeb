//! What the stores of this module do, seen by the client that the registry uses.

mod access;
mod behaviour;
mod engines;
mod faults;
mod requests;

use super::Place;
use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutMode, RetryConfig, UpdateVersion};

fn client(place: &Place) -> AmazonS3 {
    builder(place).build().unwrap()
}

/// Repeats nothing.
fn builder(place: &Place) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_endpoint(&place.endpoint)
        .with_bucket_name(&place.bucket)
        .with_region(&place.region)
        .with_access_key_id(&place.access_key)
        .with_secret_access_key(&place.secret_key)
        .with_allow_http(true)
        .with_retry(RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        })
}

/// The mode of a write that replaces what has this entity tag.
fn replacing(tag: &Option<String>) -> PutMode {
    PutMode::Update(UpdateVersion {
        e_tag: tag.clone(),
        version: None,
    })
}

async fn read(store: &AmazonS3, key: &Path) -> Bytes {
    store.get(key).await.unwrap().bytes().await.unwrap()
}

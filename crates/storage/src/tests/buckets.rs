//! Buckets on several stores. Each test has a root of its own in a store that all tests share.

use super::Place;
use crate::bucket::{Bucket, Credentials, Parts, Provider, Settings, Tls};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use wharfinger_base::secret::Secret;
use wharfinger_testkit::s3::{self, Moto, SeaweedFs};

static MOTO: LazyLock<Option<Moto>> = LazyLock::new(Moto::start);
static SEAWEEDFS: LazyLock<Option<SeaweedFs>> = LazyLock::new(SeaweedFs::start);
static ROOTS: AtomicU32 = AtomicU32::new(0);

pub(super) struct InMoto(Settings);

pub(super) struct InSeaweedFs(Settings);

impl InMoto {
    pub(super) fn new() -> Option<Self> {
        MOTO.as_ref().map(|moto| Self(settings(moto.place())))
    }
}

impl InSeaweedFs {
    pub(super) fn new() -> Option<Self> {
        SEAWEEDFS.as_ref().map(|store| Self(settings(&store.place())))
    }
}

impl Place for InMoto {
    type Store = Bucket;

    async fn open(&self) -> Arc<Bucket> {
        open(&self.0).await
    }
}

impl Place for InSeaweedFs {
    type Store = Bucket;

    async fn open(&self) -> Arc<Bucket> {
        open(&self.0).await
    }
}

async fn open(settings: &Settings) -> Arc<Bucket> {
    Arc::new(Bucket::open(settings.clone()).await.unwrap())
}

/// A root that no other test has.
pub(super) fn settings(place: &s3::Place) -> Settings {
    Settings {
        provider: Provider::S3,
        bucket: place.bucket.clone(),
        root: format!("root-{}", ROOTS.fetch_add(1, Ordering::Relaxed)),
        region: Some(place.region.clone()),
        endpoint: Some(place.endpoint.clone()),
        path_style: true,
        tls: Tls {
            plain: true,
            ..Tls::default()
        },
        parts: Parts::default(),
        credentials: Credentials::Given {
            access_key: place.access_key.clone(),
            secret_key: Secret::new(place.secret_key.clone()),
            session_token: None,
        },
    }
}

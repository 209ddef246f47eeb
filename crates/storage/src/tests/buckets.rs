//! Buckets on several stores. Each test has a root of its own in a store that all tests share, and on moto a bucket
//! of its own.

use super::Place;
use crate::bucket::{
    Bucket, Credentials, Parts, Provider, Requests, Settings, Tls, TokenFetcher, TokenSource, WebIdentity,
};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::OnceCell;
use wharfinger_base::clock::{Clock, ManualClock};
use wharfinger_base::secret::Secret;
use wharfinger_testkit::s3::Fake;
use wharfinger_testkit::s3::{self, Moto, SeaweedFs, documented_policy};

static MOTO: LazyLock<Option<Moto>> = LazyLock::new(Moto::start);
/// Its keys come from its STS, and have only the permissions that users are told to give the registry.
static SEAWEEDFS: LazyLock<Option<SeaweedFs>> =
    LazyLock::new(|| SeaweedFs::with_roles(&[("registry", documented_policy("root-*"))]));
static ROOTS: AtomicU32 = AtomicU32::new(0);

/// How long ago the tests in a store in the process begin.
pub(super) const BEFORE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A store in the test's process.
pub(super) struct InFake {
    fake: OnceCell<Fake>,
    pub(super) clock: Clock,
    pub(super) hand: ManualClock,
}

/// The same, with conditions ignored. The process keeps the order.
pub(super) struct InOrder(InFake);

pub(super) struct InMoto(Settings);

pub(super) struct InSeaweedFs(Settings);

impl InFake {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "other places need a program that may be missing"
    )]
    pub(super) fn new() -> Option<Self> {
        // Signed URLs expire. So a test that moves the clock must end in the present.
        let (clock, hand) = Clock::manual(Clock::system().now().minus(BEFORE));
        let fake = OnceCell::new();
        Some(Self { fake, clock, hand })
    }

    pub(super) async fn fake(&self) -> &Fake {
        self.fake.get_or_init(|| Fake::start_at(self.clock.clone())).await
    }
}

impl Place for InFake {
    type Store = Bucket;

    async fn open(&self) -> Arc<Bucket> {
        let mut settings = settings(self.fake().await.place());
        settings.root.clear();
        // A test must not wait long for an answer that never comes.
        let requests = Requests {
            answer: Duration::from_secs(2),
            ..Requests::default()
        };
        Arc::new(Bucket::open_with(settings, &requests).await.unwrap())
    }
}

impl InOrder {
    pub(super) fn new() -> Option<Self> {
        InFake::new().map(Self)
    }
}

impl Place for InOrder {
    type Store = Bucket;

    async fn open(&self) -> Arc<Bucket> {
        let fake = self.0.fake().await;
        fake.set_rules(|rules| {
            rules.conditions = s3::Conditions::Ignored;
            rules.conditional_delete = false;
        });
        let bucket = self.0.open().await;
        bucket.probe_for_one().await.unwrap();
        bucket
    }
}

impl InMoto {
    pub(super) fn new() -> Option<Self> {
        MOTO.as_ref().map(|moto| Self(settings(&moto.new_place())))
    }
}

impl InSeaweedFs {
    pub(super) fn new() -> Option<Self> {
        let store = SEAWEEDFS.as_ref()?;
        let place = store.place();
        let token = || Box::pin(async { Ok(Secret::new(SEAWEEDFS.as_ref().expect("it runs").token())) }) as _;
        let identity = WebIdentity {
            role: "arn:aws:iam::role/registry".to_owned(),
            session_name: None,
            sts_endpoint: Some(place.endpoint.clone()),
            token: TokenSource::Fetched(TokenFetcher::new("the test", token)),
        };
        Some(Self(Settings {
            credentials: Credentials::WebIdentity(identity),
            ..settings(&place)
        }))
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
pub(crate) fn settings(place: &s3::Place) -> Settings {
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

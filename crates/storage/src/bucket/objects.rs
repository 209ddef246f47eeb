//! The requests that the store makes to its bucket, on `object_store`. A conditional write is sent once, and its
//! failure is not interpreted here. Every other request is sent again after a passing failure.

mod multipart;
mod presigned;

use super::OpenError;
use super::clock::StoreClock;
use super::credentials::{Environment, Keys, no_keys};
use super::explain::Explainer;
use super::fence::{Fence, Fenced};
use super::order::Order;
use super::retry::{Attempts, Budget, Verdict, verdict};
use super::service::{Service, client_options, service};
use super::settings::{Provider, Settings};
use super::wire::{Requests, Wire};
use crate::Failure;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::header::IF_MATCH;
use object_store::client::{HttpConnector, HttpRequestBody, HttpResponse};
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::signer::SignedUrlOptions;
use object_store::{
    GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig, UpdateVersion,
};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use wharfinger_base::clock::Timestamp;

/// An object as read.
#[derive(Debug)]
pub(super) struct Object {
    pub tag: Arc<str>,
    pub bytes: Bytes,
    pub written: Timestamp,
}

/// The answer to a read with the entity tag of what the caller has.
#[derive(Debug)]
pub(super) enum Reading {
    Absent,
    /// The object still has that entity tag.
    Same,
    Found(Object),
}

/// An object as listed.
#[derive(Debug)]
pub(super) struct Entry {
    pub key: String,
    pub size: u64,
    /// Empty if the store does not list entity tags.
    pub tag: String,
    pub written: Timestamp,
}

/// What must be true of an object when it is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition<'a> {
    Absent,
    Tag(&'a str),
    /// Only for names that are written once.
    None,
}

impl<'a> Condition<'a> {
    const fn tag(self) -> Option<&'a str> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Absent | Self::None => None,
        }
    }
}

/// A bucket, seen from its root.
pub(super) struct Objects {
    /// Sends every request once.
    service: Arc<dyn Service>,
    /// The same for the bytes of blobs: requests with long bodies.
    sending: Arc<dyn Service>,
    /// For requests that the crate lacks.
    http: object_store::client::HttpClient,
    clock: Arc<StoreClock>,
    keys: Keys,
    /// Whether the service's conditions are on generations, as Google's are. They stand for entity tags then.
    has_generations: bool,
    budget: Budget,
    /// The bucket and its service, for messages.
    name: String,
    explainer: Explainer,
    /// Ends with a slash, or is empty.
    root: String,
    /// Set if the service ignores conditions.
    order: OnceLock<Order>,
    fence: Fence,
}

impl Objects {
    pub(super) fn new(settings: &Settings, requests: &Requests) -> Result<Self, OpenError> {
        let clock = Arc::new(StoreClock::new());
        let wire = Wire {
            clock: clock.clone(),
            observer: requests.observer.clone(),
        };
        let failed = |why| OpenError::new(&settings.bucket, why);
        let options = client_options(settings, requests)?;
        let patient = options.clone().with_read_timeout(SENDING);
        let http = wire.connect(&options).map_err(failed)?;
        let keys = Keys::find(settings, &Environment::of_process())
            .map_err(|why| OpenError::new(&settings.bucket, why))?;
        // The retries of the crate would hide whether a conditional write was sent twice.
        let none = RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        };
        // Without TLS, the hash of a request's bytes is signed, so that nobody changes a record on its way. That
        // hash takes as long as the one of an upload. The bytes of blobs go without it: they have a digest.
        let plain = settings
            .endpoint
            .as_ref()
            .is_some_and(|endpoint| endpoint.starts_with("http:"));
        Ok(Self {
            service: service(settings, &options, &wire, none.clone(), &keys, plain).map_err(failed)?,
            sending: service(settings, &patient, &wire, none, &keys, false).map_err(failed)?,
            http,
            explainer: Explainer::new(settings, keys.region(), &clock),
            clock,
            keys,
            has_generations: matches!(settings.provider, Provider::Gcs { .. }),
            budget: Budget::new(),
            name: match &settings.endpoint {
                Some(endpoint) => format!("the bucket {} at {endpoint}", settings.bucket),
                None => format!("the bucket {}", settings.bucket),
            },
            root: match settings.root.trim_matches('/') {
                "" => String::new(),
                root => format!("{root}/"),
            },
            order: OnceLock::new(),
            fence: Fence::default(),
        })
    }

    /// From now on, conditions are checked in this process and not by the service. No other may use the bucket.
    pub(super) fn keep_order(&self) {
        self.order.get_or_init(Order::new);
    }

    pub(super) fn keeps_order(&self) -> bool {
        self.order.get().is_some()
    }

    pub(super) const fn fence(&self) -> &Fence {
        &self.fence
    }

    fn check_fence(&self, path: &Path) -> object_store::Result<()> {
        self.fence
            .check()
            .map_err(|fenced| object_store::Error::PermissionDenied {
                path: path.to_string(),
                source: fenced.into(),
            })
    }

    /// Logs where the keys come from.
    pub(super) fn log_keys(&self, bucket: &str) {
        tracing::info!(
            "the keys for the bucket {bucket} come from {}",
            self.keys.origin()
        );
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The key with the root.
    pub(super) fn whole_key(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    fn path(&self, key: &str) -> object_store::Result<Path> {
        Ok(Path::parse(self.whole_key(key))?)
    }

    /// What names the state of an object.
    fn tag(&self, entity_tag: Option<String>, generation: Option<String>) -> Arc<str> {
        if self.has_generations {
            generation.map(|generation| format!("\"{generation}\""))
        } else {
            entity_tag
        }
        .unwrap_or_default()
        .into()
    }

    pub(super) const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The bucket and its service, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The failure of an operation, which names the bucket.
    pub(super) fn failure(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
        let source = source.into();
        let first: &(dyn std::error::Error + 'static) = &*source;
        let mut causes = std::iter::successors(Some(first), |cause| cause.source());
        if let Some(Fenced(why)) = causes.find_map(|cause| cause.downcast_ref()) {
            return Failure::Barred(why.clone());
        }
        Failure::Io(Arc::new(BucketFailed {
            name: self.name.clone(),
            why: match source.downcast_ref::<object_store::Error>() {
                Some(failure) => self.explain(failure),
                None => source.to_string(),
            },
            source,
        }))
    }

    /// Why a request failed, and what to do.
    pub(super) fn explain(&self, failure: &object_store::Error) -> String {
        self.explainer.explain(failure)
    }

    /// Why the bucket cannot be used, if its first request failed.
    pub(super) fn not_opened(&self, failure: &object_store::Error) -> OpenError {
        OpenError {
            name: self.name.clone(),
            is_about_keys: no_keys(failure).is_some(),
            why: self.explain(failure).into(),
        }
    }

    /// Sends a request again after a passing failure, and once if the store does not accept the keys any more.
    /// Only for requests that do no harm if they are done twice.
    async fn retried<T, F>(&self, send: impl Fn() -> F) -> object_store::Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let mut attempts = Attempts::new(&self.budget);
        let mut renewed = false;
        loop {
            let began = Instant::now();
            let failure = match send().await {
                Ok(answer) => {
                    self.budget.succeeded();
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            match verdict(&failure) {
                Verdict::Passing { wait } if attempts.again(wait).await => {}
                _ if !renewed && self.keys.renewed(&failure, began).await => renewed = true,
                _ => return Err(failure),
            }
        }
    }

    /// Reads an object, unless it still has the entity tag `known`.
    pub(super) async fn get(&self, key: &str, known: Option<&str>) -> object_store::Result<Reading> {
        let path = self.path(key)?;
        let options = GetOptions {
            // A read has no condition on a generation.
            if_none_match: known.filter(|_| !self.has_generations).map(str::to_owned),
            ..GetOptions::default()
        };
        let path = &path;
        let options = &options;
        let read = self.retried(|| async move {
            let found = self.service.get_opts(path, options.clone()).await?;
            let tag = self.tag(found.meta.e_tag.clone(), found.meta.version.clone());
            let written = Timestamp::from_millis(found.meta.last_modified.timestamp_millis());
            Ok(Object {
                tag,
                bytes: found.bytes().await?,
                written,
            })
        });
        match read.await {
            Err(object_store::Error::NotModified { .. }) => Ok(Reading::Same),
            found => Ok(unless_absent(found)?.map_or(Reading::Absent, Reading::Found)),
        }
    }

    /// The size of an object, if it exists.
    pub(super) async fn size(&self, key: &str) -> object_store::Result<Option<u64>> {
        let path = self.path(key)?;
        let found = self.retried(|| self.service.head(&path)).await;
        Ok(unless_absent(found)?.map(|found| found.size))
    }

    pub(super) async fn read(&self, key: &str, range: Range<u64>) -> object_store::Result<Bytes> {
        let path = self.path(key)?;
        self.retried(|| self.service.get_range(&path, range.clone()))
            .await
    }

    /// The object's bytes from `range`, in order and as they come. `Ok(None)` if there is no object. The
    /// caller counts the bytes: the last ones may be missing without an error.
    pub(super) async fn stream(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> object_store::Result<Option<BoxStream<'static, object_store::Result<Bytes>>>> {
        let path = self.path(key)?;
        let options = GetOptions {
            range: Some(range.into()),
            ..GetOptions::default()
        };
        let found = self
            .retried(|| self.service.get_opts(&path, options.clone()))
            .await;
        Ok(unless_absent(found)?.map(object_store::GetResult::into_stream))
    }

    /// The same from `first` to the end, with the size of the object.
    pub(super) async fn stream_from(
        &self,
        key: &str,
        first: u64,
    ) -> object_store::Result<Option<(u64, BoxStream<'static, object_store::Result<Bytes>>)>> {
        let path = self.path(key)?;
        let options = GetOptions {
            // An empty object has no range.
            range: (first > 0).then_some(object_store::GetRange::Offset(first)),
            ..GetOptions::default()
        };
        let found = self
            .retried(|| self.service.get_opts(&path, options.clone()))
            .await;
        Ok(unless_absent(found)?.map(|found| (found.meta.size, found.into_stream())))
    }

    /// Returns the new entity tag. A conditional write is sent once, and after any failure that is not
    /// [`Verdict::Refused`] its outcome is unknown.
    pub(super) async fn put(
        &self,
        key: &str,
        bytes: impl Into<PutPayload>,
        condition: Condition<'_>,
    ) -> object_store::Result<Arc<str>> {
        let path = self.path(key)?;
        self.put_at(&path, bytes.into(), condition, || self.check_fence(&path))
            .await
    }

    /// The same for the object that says who may write.
    pub(super) async fn put_unfenced(
        &self,
        key: &str,
        bytes: impl Into<PutPayload>,
        condition: Condition<'_>,
    ) -> object_store::Result<Arc<str>> {
        let path = self.path(key)?;
        self.put_at(&path, bytes.into(), condition, || Ok(())).await
    }

    /// `may_write` is asked before the request is sent.
    async fn put_at(
        &self,
        path: &Path,
        bytes: PutPayload,
        condition: Condition<'_>,
        may_write: impl Fn() -> object_store::Result<()>,
    ) -> object_store::Result<Arc<str>> {
        may_write()?;
        let mode = match condition {
            Condition::Absent => PutMode::Create,
            Condition::None => {
                let send = || self.sending.put_opts(path, bytes.clone(), PutOptions::default());
                let put = self.retried(send).await?;
                return Ok(self.tag(put.e_tag, put.version));
            }
            Condition::Tag(tag) => PutMode::Update(UpdateVersion {
                e_tag: Some(tag.to_owned()),
                version: self.has_generations.then(|| tag.trim_matches('"').to_owned()),
            }),
        };
        let began = Instant::now();
        let put = match self.order.get() {
            None => self.service.put_opts(path, bytes, PutOptions::from(mode)).await,
            Some(order) => {
                let found = async {
                    let found = self.tag_at(path).await?;
                    may_write()?;
                    Ok(found)
                };
                let service = self.service.clone();
                let to = path.clone();
                let send = async move { service.put_opts(&to, bytes, PutOptions::default()).await };
                order.change(path, condition.tag(), found, send).await
            }
        };
        match &put {
            Ok(_) => self.budget.succeeded(),
            // The next request has new keys.
            Err(failure) => drop(self.keys.renewed(failure, began).await),
        }
        let put = put?;
        Ok(self.tag(put.e_tag, put.version))
    }

    /// The entity tag of the object, if it exists.
    async fn tag_at(&self, path: &Path) -> object_store::Result<Option<Arc<str>>> {
        let found = self.retried(|| self.service.head(path)).await;
        Ok(unless_absent(found)?.map(|found| self.tag(found.e_tag, found.version)))
    }

    /// Replaces what is at `to`.
    pub(super) async fn copy(&self, from: &str, to: &str) -> object_store::Result<()> {
        let from = self.path(from)?;
        let to = self.path(to)?;
        self.check_fence(&to)?;
        self.retried(|| self.service.copy(&from, &to)).await
    }

    /// Not an error if there is no object.
    pub(super) async fn delete(&self, key: &str) -> object_store::Result<()> {
        self.check_fence(&self.path(key)?)?;
        self.delete_unfenced(key).await
    }

    /// The same for the object that says who may write.
    pub(super) async fn delete_unfenced(&self, key: &str) -> object_store::Result<()> {
        let path = self.path(key)?;
        let deleted = self.retried(|| self.service.delete(&path)).await;
        unless_absent(deleted).map(drop)
    }

    /// Deletes the object if it has this entity tag. Returns whether it did.
    pub(super) async fn delete_if(&self, key: &str, tag: &str) -> object_store::Result<bool> {
        let path = self.path(key)?;
        self.check_fence(&path)?;
        if let Some(order) = self.order.get() {
            let service = self.service.clone();
            let gone = path.clone();
            let delete = async move { service.delete(&gone).await };
            let deleted = order.change(&path, Some(tag), self.tag_at(&path), delete).await;
            return match deleted {
                Err(object_store::Error::Precondition { .. }) => Ok(false),
                deleted => Ok(unless_absent(deleted)?.is_some()),
            };
        }
        let value: http::HeaderValue = tag.parse().map_err(generic)?;
        let options = SignedUrlOptions::new().with_signed_header(IF_MATCH, value);
        let answer = self.signed(http::Method::DELETE, &path, &options).await?;
        let status = answer.status();
        match status.as_u16() {
            200..300 => Ok(true),
            404 | 412 => Ok(false),
            _ => Err(unexpected(answer).await),
        }
    }

    /// What the bucket answers to a question about a setting such as `versioning`. `Ok(None)` if it has none.
    pub(super) async fn setting(&self, name: &str) -> object_store::Result<Option<String>> {
        let options = SignedUrlOptions::new().with_query([(name, "")]);
        let answer = self.signed(http::Method::GET, &Path::default(), &options).await?;
        match answer.status() {
            http::StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let body = answer.into_body().bytes().await.map_err(generic)?;
                Ok(Some(String::from_utf8_lossy(&body).into_owned()))
            }
            _ => Err(unexpected(answer).await),
        }
    }

    /// Sends a request that the crate lacks. The URL and these headers are signed.
    async fn signed(
        &self,
        method: http::Method,
        path: &Path,
        options: &SignedUrlOptions,
    ) -> object_store::Result<HttpResponse> {
        let url = self
            .service
            .signed_url_opts(method.clone(), path, SIGNED_FOR, options)
            .await?;
        let mut request = http::Request::builder()
            .method(method)
            .uri(url.as_str())
            .body(HttpRequestBody::empty())
            .map_err(generic)?;
        *request.headers_mut() = options.signed_headers.clone();
        self.http.execute(request).await.map_err(generic)
    }

    /// Up to `limit` objects whose keys have the prefix and come after `after`, in the order of the keys.
    pub(super) async fn list(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> object_store::Result<Vec<Entry>> {
        let under = format!("{}{prefix}", self.root);
        let offset = Some(after).filter(|after| *after > prefix);
        let mut entries = Vec::new();
        let mut page_token = None;
        while entries.len() < limit {
            let options = PaginatedListOptions {
                offset: offset.map(|after| format!("{}{after}", self.root)),
                max_keys: Some((limit - entries.len()).min(1000)),
                page_token,
                ..PaginatedListOptions::default()
            };
            let page = self
                .retried(|| self.service.list_paginated(Some(&under), options.clone()))
                .await?;
            entries.extend(page.result.objects.into_iter().filter_map(|object| {
                let key = object.location.as_ref().strip_prefix(&self.root)?;
                Some(Entry {
                    key: key.to_owned(),
                    size: object.size,
                    tag: object.e_tag.unwrap_or_default(),
                    written: Timestamp::from_millis(object.last_modified.timestamp_millis()),
                })
            }));
            page_token = page.page_token;
            if page_token.is_none() {
                break;
            }
        }
        Ok(entries)
    }
}

/// `None` if there is no object. A missing bucket is a failure, or it would look like an empty one.
fn unless_absent<T>(answer: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match answer {
        Err(object_store::Error::NotFound { source, .. }) if !source.to_string().contains("NoSuchBucket") => {
            Ok(None)
        }
        answer => answer.map(Some),
    }
}

/// How long a part may take. The time-out for a silent store also runs while a request is sent.
const SENDING: Duration = Duration::from_secs(5 * 60);
/// How long the signature of a request is valid that is sent at once. This process's clock may be slow.
const SIGNED_FOR: Duration = Duration::from_secs(30 * 60);

#[derive(Debug, thiserror::Error)]
#[error("{name}: {why}")]
struct BucketFailed {
    name: String,
    why: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

#[derive(Debug, thiserror::Error)]
#[error("the store answered {status}{details}")]
struct Unexpected {
    status: http::StatusCode,
    details: String,
}

async fn unexpected(answer: HttpResponse) -> object_store::Error {
    let status = answer.status();
    // The client has put the code, the message and the missing permission there.
    let details = answer.into_body().bytes().await.unwrap_or_default();
    let details = String::from_utf8_lossy(&details).into_owned();
    generic(Unexpected { status, details })
}

fn generic(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> object_store::Error {
    object_store::Error::Generic {
        store: "bucket",
        source: why.into(),
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

//! One file for each kind of resource. A handler asks policy for a permit before it reads a byte of the body.

mod base;
mod blobs;
mod catalog;
mod extensions;
pub(super) mod health;
mod jwks;
mod manifests;
mod metrics;
mod referrers;
mod tags;
pub(super) mod token;
mod uploads;
pub(super) mod welcome;
mod whoami;

use super::answer::Fault;
use super::auth::source;
use super::query::Query;
use super::route::Route;
use super::warning;
use super::{App, Live, Stalled};
use crate::access::{self, Kind, Permit, Write};
use crate::budget::{Held, Holder, Share};
use crate::clock::Timestamp;
use crate::identity::{Identity, Rights};
use crate::limits::MANIFEST_BYTES;
use crate::oci::{Condition, Digest, RepositoryName};
use crate::registry::{self, BodyError};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, WARNING};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use std::sync::Arc;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// A request whose caller is known.
pub(super) struct Call {
    pub(super) app: App,
    pub(super) live: Arc<Live>,
    pub(super) identity: Identity,
    pub(super) query: Query,
    pub(super) parts: Parts,
    pub(super) now: Timestamp,
}

impl Call {
    fn permit<A: Kind>(&self, repository: &RepositoryName) -> Result<Permit<A>, Fault> {
        Ok(access::decide(&self.live.policy, &self.identity, repository)?)
    }

    fn write_permit(&self, repository: &RepositoryName) -> Result<Permit<Write>, Fault> {
        Ok(access::decide_write(
            &self.live.policy,
            &self.identity,
            repository,
        )?)
    }

    /// The memory that this caller's bodies may take.
    fn memory(&self) -> Share {
        let stranger = self.identity.is_anonymous();
        let name = || self.identity.username().to_owned();
        self.app.memory.of(if stranger {
            Holder::Stranger(source(&self.parts))
        } else {
            Holder::Identified(name())
        })
    }

    /// Content that an answer holds until its client has taken it. A large one takes memory for as long.
    /// Until there is some it is dropped, and made `again` after that, so that those who wait hold nothing.
    /// What the answer says `beside` it is from the same reading.
    async fn in_memory<T, F>(
        &self,
        (content, beside): (Bytes, T),
        again: impl Fn() -> F,
    ) -> Result<(Bytes, T), Fault>
    where
        F: Future<Output = Result<(Bytes, T), Fault>>,
    {
        if content.len() <= LARGE {
            return Ok((content, beside));
        }
        let memory = self.memory();
        let mut size = content.len();
        if let Some(held) = memory.try_take(size) {
            return Ok((Bytes::from_owner(Content { content, _held: held }), beside));
        }
        drop((content, beside));
        loop {
            let held = memory.reserve(size).await?;
            let (content, beside) = again().await?;
            if content.len() <= held.bytes() || content.len() > MANIFEST_BYTES {
                return Ok((Bytes::from_owner(Content { content, _held: held }), beside));
            }
            size = content.len(); // it has grown in the meantime
        }
    }

    /// What the request says of its body's length.
    fn content_length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH)?.parse().ok()
    }

    fn reader(&self) -> access::Reader<'_> {
        access::Reader::new(&self.live.policy, &self.identity)
    }

    fn catalog_reader(&self) -> Result<access::Reader<'_>, Fault> {
        Ok(access::Reader::catalog(&self.live.policy, &self.identity)?)
    }

    fn header(&self, name: HeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// What `?ns=` says if it names this registry itself: then it is where the content comes from. Another
    /// host's content is served from here as from a mirror, under the same names, and the parameter changes
    /// nothing (distribution-spec, Registry Proxying).
    fn namespace(&self) -> Option<&str> {
        let namespace = self.query.get("ns")?;
        let host = self
            .parts
            .uri
            .authority()
            .map(http::uri::Authority::as_str)
            .or_else(|| self.header(http::header::HOST));
        let external = self
            .live
            .external_urls
            .iter()
            .filter_map(|url| Some(url.split_once("://")?.1.trim_end_matches('/')));
        host.into_iter()
            .chain(external)
            .any(|name| name.eq_ignore_ascii_case(namespace))
            .then_some(namespace)
    }

    /// What the request demands of what is there.
    fn condition(&self) -> Condition {
        let list = |name| {
            let values = self
                .parts
                .headers
                .get_all(name)
                .iter()
                .map(|value| value.to_str().unwrap_or_default());
            values
                .map(str::to_owned)
                .reduce(|list, more| format!("{list},{more}"))
        };
        Condition::parse(
            list(http::header::IF_MATCH).as_deref(),
            list(http::header::IF_NONE_MATCH).as_deref(),
        )
    }

    /// Whether the client has what it wants to read (RFC 9110, 13.2.2). It is refused if it wants something
    /// else.
    fn has(&self, found: &Digest) -> Result<bool, Fault> {
        let condition = self.condition();
        if !condition.is_met_by(found) {
            return Err(registry::Error::ConditionFailed {
                found: Some(found.clone()),
            }
            .into());
        }
        Ok(condition.is_known(found))
    }
}

/// Answers of more bytes take memory of the budget. Smaller manifests are shared with the store's cache.
const LARGE: usize = 512 << 10;

/// Bytes and the memory that they take.
struct Content {
    content: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

/// Whether the answer, or the request's body, can hold files or much memory for as long as its client likes.
/// A refusal cannot, and it is what a client gets first that will log in.
pub(super) fn holds(call: &Call, route: &Route) -> bool {
    match (route.repository(), route) {
        (Some(repository), _) => {
            let rights = access::rights(&call.live.policy, &call.identity, repository);
            rights != Rights::default()
        }
        (None, Route::Catalog) => call.catalog_reader().is_ok(),
        (None, Route::Metrics) => access::may_read_metrics(&call.live.policy, &call.identity),
        (None, _) => false,
    }
}

pub(super) async fn answer(call: &Call, route: &Route, body: Body) -> Result<Response, Fault> {
    match route {
        Route::Base => base::answer(call),
        Route::Catalog => catalog::answer(call).await,
        Route::Extensions => extensions::answer(call),
        // Answered before anybody is identified.
        Route::Welcome | Route::Token => Err(Fault::not_found()),
        Route::Jwks => jwks::answer(call),
        Route::Metrics => metrics::answer(call),
        Route::Whoami => whoami::answer(call),
        Route::Health(probe) => Ok(health::answer(*probe, &call.app.ready, &call.parts.method)),
        Route::Manifest(repository, reference) => manifests::answer(call, repository, reference, body).await,
        Route::Blob(repository, digest) => blobs::answer(call, repository, digest).await,
        Route::Uploads(repository) => uploads::begin(call, repository, body).await,
        Route::Upload(repository, id) => uploads::answer(call, repository, id, body).await,
        Route::Tags(repository) => tags::answer(call, repository).await,
        Route::Referrers(repository, digest) => referrers::answer(call, repository, digest).await,
    }
}

/// Why a request's body ended early.
fn broken_off(error: axum::Error) -> BodyError {
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    if causes.into_iter().any(|cause| cause.is::<Stalled>()) {
        BodyError::Stalled
    } else {
        BodyError::Interrupted
    }
}

/// An answer under construction.
struct Reply(Response);

impl Reply {
    fn new(status: StatusCode) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        Self(response)
    }

    /// A value that cannot stand in a header is left out.
    fn header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.0.headers_mut().append(name, value);
        }
        self
    }

    fn header_if(self, name: HeaderName, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    fn body(mut self, body: impl Into<Body>) -> Response {
        *self.0.body_mut() = body.into();
        self.0
    }

    /// No charset: strict clients compare the whole value.
    fn json(self, value: &serde_json::Value) -> Response {
        self.header(CONTENT_TYPE, "application/json")
            .body(value.to_string())
    }

    /// For the people behind the client.
    fn warning(mut self, text: Option<String>) -> Self {
        if let Some(value) = text.as_deref().and_then(warning::value) {
            self.0.headers_mut().append(WARNING, value);
        }
        self
    }

    fn empty(self) -> Response {
        self.0
    }
}

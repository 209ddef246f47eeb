//! An answer under construction, and the headers that only registries use.

use crate::http::warning;
use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, WARNING};
use http::{HeaderName, HeaderValue, StatusCode};

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(super) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(super) const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
pub(super) const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
pub(super) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(super) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(super) const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// An answer under construction.
pub(super) struct Reply(Response);

impl Reply {
    pub(super) fn new(status: StatusCode) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        Self(response)
    }

    /// Adds a header, unless the value cannot stand in one.
    pub(super) fn header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.0.headers_mut().append(name, value);
        }
        self
    }

    pub(super) fn header_if(self, name: HeaderName, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    pub(super) fn body(mut self, body: impl Into<Body>) -> Response {
        *self.0.body_mut() = body.into();
        self.0
    }

    /// The content type has no charset, since strict clients compare the whole value.
    pub(super) fn json(self, value: &serde_json::Value) -> Response {
        self.header(CONTENT_TYPE, "application/json")
            .body(value.to_string())
    }

    /// Adds a warning that clients show to their users.
    pub(super) fn warning(mut self, text: Option<String>) -> Self {
        if let Some(value) = text.as_deref().and_then(warning::value) {
            self.0.headers_mut().append(WARNING, value);
        }
        self
    }

    pub(super) fn empty(self) -> Response {
        self.0
    }
}

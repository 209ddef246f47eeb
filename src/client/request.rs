//! A request to a registry or a token endpoint.

use crate::secret::Secret;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::Url;
use std::fmt;

/// Its `Debug` shows neither header nor body nor query: they can hold secrets.
#[derive(Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) authorization: Option<Authorization>,
    pub(super) body: Vec<u8>,
}

/// The credential in a request's header. A client certificate belongs to the connection instead.
#[derive(Clone, Debug)]
pub enum Authorization {
    Bearer(Secret),
    /// With the username.
    Basic(String, Secret),
}

impl Request {
    #[must_use]
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            authorization: None,
            body: Vec::new(),
        }
    }

    #[must_use]
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// A POST of a form.
    #[must_use]
    pub fn form(url: Url, pairs: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        Self::new(Method::POST, url)
            .with(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            )
            .with_body(body.into())
    }

    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    #[must_use]
    pub fn with_body(self, body: Vec<u8>) -> Self {
        Self { body, ..self }
    }

    #[must_use]
    pub fn authorized(self, authorization: Option<Authorization>) -> Self {
        Self {
            authorization,
            ..self
        }
    }

    #[must_use]
    pub fn bearer(self, token: &Secret) -> Self {
        self.authorized(Some(Authorization::Bearer(token.clone())))
    }

    #[must_use]
    pub fn basic(self, user: &str, password: &Secret) -> Self {
        self.authorized(Some(Authorization::Basic(user.to_owned(), password.clone())))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("origin", &self.url.origin().ascii_serialization())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

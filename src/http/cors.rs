//! `http.allowOrigin`: the pages of other sites that may read the answers. This module only instructs
//! browsers. Policy decides what a request may do, and a certificate that a browser presents for another site
//! is ignored.
//!
//! <https://fetch.spec.whatwg.org/#http-cors-protocol>

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// Origins as browsers write them. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    origins: Vec<String>,
    /// Whether every origin is allowed. Credentials are not allowed then.
    any: bool,
    /// Whether the browser may send its stored password with requests of pages.
    credentials: bool,
}

impl Cors {
    /// An origin `*` allows every origin.
    #[must_use]
    pub fn new(origins: impl IntoIterator<Item = String>, credentials: bool) -> Self {
        let origins: Vec<String> = origins.into_iter().collect();
        Self {
            any: origins.iter().any(|origin| origin == "*"),
            credentials,
            origins,
        }
    }

    /// Whether the page that sent the request may read the answer.
    pub(super) fn allows(&self, headers: &HeaderMap) -> bool {
        headers
            .get(ORIGIN)
            .is_some_and(|origin| self.any || self.lists(origin))
    }

    /// The origins without `*`, which names no site.
    pub(crate) fn named(&self) -> impl Iterator<Item = &str> {
        self.origins
            .iter()
            .map(String::as_str)
            .filter(|origin| *origin != "*")
    }

    /// Whether every origin is allowed.
    pub(crate) fn is_for_all(&self) -> bool {
        self.any
    }

    /// Whether an entry other than `*` has the origin of the page that sent the request.
    pub(super) fn names(&self, headers: &HeaderMap) -> bool {
        headers.get(ORIGIN).is_some_and(|origin| self.lists(origin))
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        self.named()
            .any(|known| known.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
    }

    /// The answer to a preflight request, which a browser sends before the real one, without credentials.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        let asks = method == Method::OPTIONS
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && self.allows(headers);
        asks.then(|| {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            let headers = response.headers_mut();
            headers.insert(
                ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"),
            );
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(SENT));
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
            response
        })
    }

    /// Adds to an answer the origins that may read it.
    pub(super) fn add_headers(&self, asked: Option<&HeaderValue>, response: &mut Response) {
        if !self.any && self.origins.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        if !self.any {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        // This header is set without an `Origin` too, since a cache may give the answer to a page.
        let any = self.any.then(|| HeaderValue::from_static("*"));
        let Some(allowed) = any.or_else(|| asked.filter(|origin| self.lists(origin)).cloned()) else {
            return;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READ));
        if self.credentials && !self.any {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

/// The headers that pages may send. zot's own pages send `X-ZOT-API-CLIENT`.
const SENT: &str =
    "Accept, Authorization, Content-Range, Content-Type, If-Match, If-None-Match, Range, X-ZOT-API-CLIENT";
/// The headers that pages may read.
const READ: &str = "Accept-Ranges, Content-Length, Content-Range, Docker-Content-Digest, Docker-Distribution-Api-Version, Docker-Upload-UUID, ETag, \
                    Link, Location, OCI-Filters-Applied, OCI-Subject, OCI-Tag, Range, Retry-After, Warning, WWW-Authenticate, X-Request-Id";

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cors: &Cors, origin: Option<&'static str>) -> (Option<String>, bool, Option<String>) {
        let mut response = Response::new(Body::empty());
        cors.add_headers(origin.map(HeaderValue::from_static).as_ref(), &mut response);
        let header = |name| {
            response
                .headers()
                .get(name)
                .map(|value: &HeaderValue| value.to_str().unwrap().to_owned())
        };
        (
            header(ACCESS_CONTROL_ALLOW_ORIGIN),
            header(ACCESS_CONTROL_ALLOW_CREDENTIALS).is_some(),
            header(VARY),
        )
    }

    #[test]
    fn an_allowed_origin_is_repeated_and_credentials_never_go_with_every_origin() {
        let origins = || {
            [
                "http://ui.example".to_owned(),
                "https://ui.example:8443".to_owned(),
            ]
        };
        let listed = Cors::new(origins(), true);
        let any = Cors::new(origins().into_iter().chain(["*".to_owned()]), true);
        let vary = Some("Origin".to_owned());
        for origin in ["http://ui.example", "https://ui.example:8443"] {
            assert_eq!(
                headers(&listed, Some(origin)),
                (Some(origin.to_owned()), true, vary.clone())
            );
            assert_eq!(headers(&any, Some(origin)), (Some("*".to_owned()), false, None));
        }
        for origin in [
            None,
            Some("https://ui.example"),
            Some("http://ui.example.evil"),
            Some("null"),
        ] {
            assert_eq!(
                headers(&listed, origin),
                (None, false, vary.clone()),
                "{origin:?}"
            );
        }
        assert_eq!(
            headers(&any, None),
            (Some("*".to_owned()), false, None),
            "a cache may keep it"
        );
        assert_eq!(
            headers(&Cors::default(), Some("http://ui.example")),
            (None, false, None)
        );
        assert_eq!(
            headers(&Cors::new(["http://a".to_owned()], false), Some("http://a")),
            (Some("http://a".to_owned()), false, vary)
        );
    }
}

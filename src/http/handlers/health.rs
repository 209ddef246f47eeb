//! `/livez`, `/readyz` and `/startupz` for orchestrators. They need no credential and check only this process
//! and its storage: a registry that is restarted because an issuer is down helps nobody.

use crate::http::Readiness;
use axum::body::Body;
use axum::response::Response;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

/// A process that can answer is alive.
pub(in crate::http) fn live() -> Response {
    plain(StatusCode::OK, "ok")
}

pub(in crate::http) fn ready(ready: &Readiness) -> Response {
    match ready.check() {
        Ok(how) => plain(StatusCode::OK, how),
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

pub(in crate::http) fn startup(ready: &Readiness) -> Response {
    match ready.check() {
        Ok(_) => plain(StatusCode::OK, "ok"),
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

pub(in crate::http) fn use_get() -> Response {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "use GET");
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

pub(in crate::http) fn plain(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

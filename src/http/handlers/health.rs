//! `/livez`, `/readyz` and `/startupz` for orchestrators. None asks for a credential, and none looks beyond this process: a registry
//! that is restarted because an issuer is down helps nobody.

use super::metrics;
use crate::http::App;
use crate::http::route::{Probe, Route};
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use std::sync::atomic::{AtomicBool, Ordering};

pub(in crate::http) fn answer(probe: Probe, ready: &AtomicBool, method: &Method) -> Response {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return use_get();
    }
    // Whatever can answer is alive.
    if probe == Probe::Live || ready.load(Ordering::Acquire) {
        plain(StatusCode::OK, "ok")
    } else {
        plain(StatusCode::SERVICE_UNAVAILABLE, "not ready")
    }
}

/// For a listener that serves nothing else than these and the metrics.
pub(in crate::http) fn only(app: &App, request: &Request) -> Response {
    match Route::parse(request.uri().path()) {
        Ok(Route::Health(probe)) => answer(probe, &app.ready, request.method()),
        Ok(Route::Metrics) if matches!(*request.method(), Method::GET | Method::HEAD) => metrics::text(&app.scrape),
        Ok(Route::Metrics) => use_get(),
        _ => plain(StatusCode::NOT_FOUND, "there are /livez, /readyz, /startupz and /metrics"),
    }
}

fn use_get() -> Response {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "use GET");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

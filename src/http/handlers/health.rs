//! `/livez`, `/readyz` and `/startupz` for orchestrators. None asks for a credential, and none looks beyond
//! this process and its storage: a registry that is restarted because an issuer is down helps nobody.

use super::metrics;
use crate::http::route::{Probe, Route};
use crate::http::{App, Readiness};
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};

pub(in crate::http) fn answer(probe: Probe, ready: &Readiness, method: &Method) -> Response {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return use_get();
    }
    // Whatever can answer is alive.
    match ready.check() {
        Err(why) if probe != Probe::Live => plain(StatusCode::SERVICE_UNAVAILABLE, why),
        Ok(how) if probe == Probe::Ready => plain(StatusCode::OK, how),
        _ => plain(StatusCode::OK, "ok"),
    }
}

/// For a listener that serves nothing else than these and the metrics.
pub(in crate::http) fn only(app: &App, request: &Request) -> Response {
    match Route::parse(request.uri().path()) {
        Ok(Route::Health(probe)) => answer(probe, &app.ready, request.method()),
        Ok(Route::Metrics) if matches!(*request.method(), Method::GET | Method::HEAD) => {
            metrics::text(&app.scrape)
        }
        Ok(Route::Metrics) => use_get(),
        _ => plain(
            StatusCode::NOT_FOUND,
            "there are /livez, /readyz, /startupz and /metrics",
        ),
    }
}

/// While the store is prepared.
pub(in crate::http) fn starting(request: &Request) -> Response {
    match Route::parse(request.uri().path()) {
        Ok(Route::Health(Probe::Live)) if matches!(*request.method(), Method::GET | Method::HEAD) => {
            plain(StatusCode::OK, "ok")
        }
        _ => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: the store is being prepared, and the log says how far it is",
        ),
    }
}

fn use_get() -> Response {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "use GET");
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn plain(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

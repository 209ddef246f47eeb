//! Listeners that serve only health and metrics, without a credential.

use super::handlers::{health, metrics};
use super::routes::{Probe, Resource, Route};
use super::{App, Readiness};
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use http::{Method, StatusCode, Uri};

/// Serves `/livez`, `/readyz`, `/startupz` and `/metrics`.
pub fn health_router(app: App) -> Router {
    Router::new()
        .fallback(async |State(app): State<App>, method: Method, uri: Uri| {
            answer(&app, &method, uri.path()).await
        })
        .with_state(app)
}

/// Serves while the store is prepared: the registry is alive, but not ready.
pub fn starting_router() -> Router {
    Router::new().fallback(async |method: Method, uri: Uri| starting(&method, uri.path()))
}

async fn answer(app: &App, method: &Method, path: &str) -> Response {
    match Route::parse(path) {
        Ok(Route::Probe(probe)) => probed(&probe, &app.ready, method).await,
        Ok(route @ Route::Resource(Resource::Metrics)) if route.row().allows(method) => {
            metrics::text(&app.scrape)
        }
        Ok(Route::Resource(Resource::Metrics)) => health::use_get(),
        _ => health::plain(
            StatusCode::NOT_FOUND,
            "not found: this listener has /livez, /readyz, /startupz and /metrics",
        ),
    }
}

/// The answer to an orchestrator's probe, on any listener.
pub(super) async fn probed(probe: &Probe, ready: &Readiness, method: &Method) -> Response {
    if probe.row().allows(method) {
        probe.answer(ready).await
    } else {
        health::use_get()
    }
}

fn starting(method: &Method, path: &str) -> Response {
    match Route::parse(path) {
        Ok(route @ Route::Probe(Probe::Live)) if route.row().allows(method) => health::live(),
        _ => health::plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: the store is being prepared, and the log shows the progress",
        ),
    }
}

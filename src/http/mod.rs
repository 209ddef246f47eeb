//! Requests and answers: routes, the identification of callers, status codes and headers. This module knows
//! neither sockets nor files.
//!
//! `serve` is the pipeline: every request gets its route from the table in `routes` and its `caller`, a
//! handler asks policy for a permit and the registry for the rest, `fault` turns errors into the
//! specification's words, and `record` writes the request's line into the log.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>

mod authority;
mod call;
mod caller;
mod challenge;
mod connection;
mod cors;
mod download;
mod fault;
mod handlers;
mod health_listener;
mod live;
mod measure;
mod open;
mod path;
mod proxies;
mod query;
mod record;
mod redirects;
mod routes;
mod serve;
mod standing;
mod strangers;
#[cfg(test)]
mod tests;
mod turns;
mod upload_range;
mod warning;

pub use connection::{Connection, More, Stalled};
pub use cors::Cors;
pub use health_listener::{health_router, starting_router};
pub use live::{Live, Readiness, Shared, StorageStanding};
pub use open::{Open, is_at_loopback, is_loopback};
pub use proxies::{Family, InvalidNetwork, Network, TrustedProxies};
pub use redirects::Redirects;
pub use routes::is_route;
pub use standing::{ActiveRequest, Loss, Standing};
pub use strangers::{OpenStream, Seat, Stranger, StrangerBounds, Strangers};
pub use turns::Crowded;

use crate::budget::Budget;
use crate::clock::Clock;
use crate::exchange::Tokens;
use crate::oci::RepositoryName;
use crate::registry::Registry;
use crate::telemetry::Scrape;
use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

/// What every request needs. It is cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    pub live: Shared,
    pub registry: Registry,
    /// The memory for the bodies of requests.
    pub memory: Budget,
    pub tokens: Tokens,
    pub clock: Clock,
    pub ready: Arc<Readiness>,
    /// The open connections and requests of clients that have not identified themselves.
    pub strangers: Strangers,
    /// The text of `/metrics`.
    pub scrape: Scrape,
}

/// The registry as a service. It expects a [`Connection`] in the extensions of every request.
#[derive(Clone, Debug)]
pub struct Endpoint(App);

impl Endpoint {
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self(app)
    }
}

impl Service<Request> for Endpoint {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(serve::serve(self.0.clone(), request).map(Ok))
    }
}

/// The repository in a request's path. Parses the query as well, for fuzzing.
#[doc(hidden)]
#[must_use]
pub fn repository_named(path: &str, query: Option<&str>) -> Option<RepositoryName> {
    drop(query::Query::parse(query).page());
    routes::Route::parse(path).ok()?.row().repository.cloned()
}

/// For fuzzing: the address that a challenge would name for a request with these headers, and the client that
/// its proxies name.
#[doc(hidden)]
#[must_use]
pub fn origin_named(headers: &[(&str, &str)], proxies: &TrustedProxies) -> Option<(String, Option<IpAddr>)> {
    let request = headers
        .iter()
        .fold(http::Request::builder(), |request, (name, value)| {
            request.header(*name, *value)
        });
    let (parts, ()) = request.body(()).ok()?.into_parts();
    let forwarded = proxies::Forwarded::read(&parts.headers, proxies);
    let origin = authority::origin(&parts, true, &forwarded, &[]).ok()?;
    Some((origin.to_string(), forwarded.client))
}

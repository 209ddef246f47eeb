//! The one table of all routes. A row has the path, the methods, the route's name in the metrics, what policy
//! must grant, and the handler: a new route is a row here and a handler.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#endpoints>

mod row;
mod table;
#[cfg(test)]
mod tests;

use super::Readiness;
use super::call::{Call, Unidentified};
use super::fault::Fault;
use super::handlers::{
    base, blobs, catalog, extensions, health, jwks, manifests, metrics, referrers, tags, token, uploads,
    welcome, whoami,
};
use super::path::{InvalidPath, decoded, tail};
use crate::oci::{Digest, Reference, RepositoryName};
use axum::body::Body;
use axum::response::Response;
use row::Needs;
pub(super) use row::Row;

// A fixed path is a string. Segments in brackets are the end of a path under `/v2/<repository>/`. Each name
// among them is parsed as its type. Rows are tried from top to bottom.
table::routes! {
    /// An orchestrator's probes. The registry answers them at once and identifies no caller.
    enum Probe(ready: &Readiness) -> Response {
        Live at "/livez", "GET, HEAD", "health", Nothing => health::live();
        Ready at "/readyz", "GET, HEAD", "health", Nothing => health::ready(ready);
        Startup at "/startupz", "GET, HEAD", "health", Nothing => health::startup(ready);
    }

    /// Routes that answer before the caller is identified, or that identify the caller themselves.
    enum Public(request: Unidentified<'_>, body: Body) -> Result<Response, Fault> {
        Welcome at "/", "GET, HEAD", "welcome", Nothing => welcome::answer(&request);
        // The last path is zot's.
        Token at "/v2/token" | "/token" | "/zot/auth/token", "GET, POST", "token", Nothing
            => token::answer(request, body).await;
    }

    /// Routes whose caller is identified first.
    enum Resource(call: &Call, body: Body) -> Result<Response, Fault> {
        Manifest(repository, reference: Reference) at ["manifests", reference],
            "GET, HEAD, PUT, DELETE", "manifest", Repository
            => manifests::answer(call, repository, reference, body).await;
        // Uploads start here. This row is before `Blob`, whose digest would match `uploads`.
        Uploads(repository) at ["blobs", "uploads"], "POST", "upload", Push
            => uploads::begin(call, repository, body).await;
        Blob(repository, digest: Digest) at ["blobs", digest], "GET, HEAD, DELETE", "blob", Repository
            => blobs::answer(call, repository, digest).await;
        // The handler parses the identifier: a malformed one is an unknown upload, not a bad path.
        Upload(repository, id: String) at ["blobs", "uploads", id],
            "GET, HEAD, PATCH, PUT, DELETE", "upload", Push
            => uploads::answer(call, repository, id, body).await;
        Tags(repository) at ["tags", "list"], "GET, HEAD", "tags", Repository
            => tags::answer(call, repository).await;
        Referrers(repository, digest: Digest) at ["referrers", digest], "GET, HEAD", "referrers", Repository
            => referrers::answer(call, repository, digest).await;
        Base at "/v2" | "/v2/", "GET, HEAD", "base", Nothing => base::answer(call);
        Catalog at "/v2/_catalog", "GET, HEAD", "catalog", Catalog => catalog::answer(call).await;
        Extensions at "/v2/_oci/ext/discover", "GET, HEAD", "extensions", Nothing => extensions::answer(call);
        Whoami at "/v2/_wharfinger/whoami", "GET, HEAD", "whoami", Nothing => whoami::answer(call);
        Jwks at "/v2/_wharfinger/jwks", "GET, HEAD", "jwks", Nothing => jwks::answer(call);
        Metrics at "/metrics", "GET, HEAD", "metrics", Metrics => metrics::answer(call);
    }
}

/// Whether the registry answers at this path, other than with metrics, whose path can be configured.
#[must_use]
pub fn is_route(path: &str) -> bool {
    !matches!(
        Route::parse(path),
        Err(InvalidPath::Unknown) | Ok(Route::Resource(Resource::Metrics))
    )
}

/// The route's name in the metrics. There are few names, whatever paths strangers request.
pub(super) fn class(route: &Result<Route, InvalidPath>) -> &'static str {
    route.as_ref().map_or("none", |route| route.row().class)
}

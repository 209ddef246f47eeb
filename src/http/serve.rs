//! The pipeline that every request takes: its route, its caller, its handler, its answer, and its line in the
//! log.

use super::authority::{self, InvalidHost, Origin};
use super::call::{Call, Unidentified};
use super::caller::{Caller, presented};
use super::fault::Fault;
use super::health_listener::probed;
use super::measure::{self, Measure};
use super::path::InvalidPath;
use super::query::Query;
use super::record::{IssuedToken, Record};
use super::routes::{self, Public, Resource, Route, Row};
use super::{App, Live, challenge};
use crate::limits::HEADER_BYTES;
use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt;
use http::header::{ORIGIN, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What a request's path names.
type Named = Result<Route, InvalidPath>;

pub(super) async fn serve(app: App, request: Request) -> Response {
    let begun = Instant::now();
    let (mut parts, body) = request.into_parts();
    let route = Route::parse(parts.uri.path());
    let measure = Measure::begin(routes::class(&route), &parts.method, begun);
    if let Ok(Route::Probe(probe)) = &route {
        return measure.end(probed(probe, &app.ready, &parts.method).await);
    }
    let live = app.live.load_full();
    let route = with_metrics(route, &parts, &live);
    let page = parts.headers.get(ORIGIN).cloned();
    let id = format!("{:016x}", fastrand::u64(..));
    let record = Record::new(id, parts.method.clone(), logged_path(&parts, &route), begun);
    let (mut caller, hop) = Caller::of(&mut parts, &live, record);
    let origin = authority::origin(&parts, hop.tls, &hop.forwarded, &live.external_urls);
    let request = Request::from_parts(parts, body);
    let outcome = answer(&app, &live, &origin, &route, request, &mut caller).await;
    let (mut response, why) = match outcome {
        Ok(response) => (response, None),
        Err(mut fault) => {
            let why = fault.log.take();
            let scope = route
                .ok()
                .and_then(|route| route.row().scope(&caller.record.method));
            let fault = fault.with_request_id(&caller.record.id);
            (refuse(fault, &live, origin.as_ref().ok(), scope.as_deref()), why)
        }
    };
    if let Ok(id) = HeaderValue::from_str(&caller.record.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
        .headers_mut()
        .insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    live.cors.add_headers(page.as_ref(), &mut response);
    let issued = response.extensions_mut().remove::<IssuedToken>();
    caller.log(response.status(), issued.as_ref(), why, live.generation);
    measure.end(response)
}

/// Moves the route of the metrics to the path in the configuration.
fn with_metrics(route: Named, parts: &Parts, live: &Live) -> Named {
    const METRICS: Route = Route::Resource(Resource::Metrics);
    match (&live.metrics, &route) {
        (Some(path), Err(InvalidPath::Unknown) | Ok(METRICS)) if parts.uri.path() == path => Ok(METRICS),
        (_, Ok(METRICS)) => Err(InvalidPath::Unknown),
        _ => route,
    }
}

/// The path without its query, and with only the beginning of an upload's ID: anyone who knows the whole ID
/// of an anonymous upload could continue it.
fn logged_path(parts: &Parts, route: &Named) -> String {
    match route {
        Ok(Route::Resource(Resource::Upload(repository, id))) => format!(
            "/v2/{repository}/blobs/uploads/{}…",
            id.get(..8).unwrap_or_default()
        ),
        _ => parts.uri.path().to_owned(),
    }
}

/// Rejects requests that no handler should see, and dispatches the others. A panic ends only its own request.
async fn answer(
    app: &App,
    live: &Arc<Live>,
    origin: &Result<Origin, InvalidHost>,
    route: &Named,
    request: Request,
    caller: &mut Caller,
) -> Result<Response, Fault> {
    if header_bytes(&request) > HEADER_BYTES {
        return Err(Fault::header_too_large());
    }
    if !codings_are_known(&request) {
        return Err(Fault::transfer_coding());
    }
    let origin = origin.as_ref().map_err(|invalid| *invalid)?;
    let (parts, body) = request.into_parts();
    if let Some(open) = &live.open {
        open.admits(&parts, origin, &live.cors)?;
    }
    if let Some(preflight) = live.cors.preflight(&parts.method, &parts.headers) {
        return Ok(preflight);
    }
    let request = Request::from_parts(parts, Measure::received(body));
    let dispatched = AssertUnwindSafe(dispatch(app, live, origin, route, request, caller))
        .catch_unwind()
        .await;
    dispatched.unwrap_or_else(|panic| Err(Fault::panicked(&*panic)))
}

/// The size of the header over HTTP/1.1. This bound is exact, while the server bounds headers only in steps
/// of its buffer.
fn header_bytes(request: &Request) -> usize {
    let line = request
        .uri()
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    request.headers().iter().fold(line, |sum, (name, value)| {
        sum + name.as_str().len() + value.len() + ": \r\n".len()
    })
}

/// Whether the registry knows all transfer codings. Hyper decodes chunks, and answers 400 if `chunked` is not
/// the last coding.
fn codings_are_known(request: &Request) -> bool {
    request
        .headers()
        .get_all(TRANSFER_ENCODING)
        .iter()
        .all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

async fn dispatch(
    app: &App,
    live: &Arc<Live>,
    origin: &Origin,
    route: &Named,
    request: Request,
    caller: &mut Caller,
) -> Result<Response, Fault> {
    match route {
        Ok(Route::Probe(probe)) => Ok(probed(probe, &app.ready, request.method()).await),
        Ok(Route::Public(public)) => {
            let (parts, body) = request.into_parts();
            let unidentified = Unidentified {
                app,
                live,
                origin,
                parts: &parts,
                caller,
            };
            let outcome = match supported(public.row(), &parts.method) {
                Ok(()) => public.answer(unidentified, body).await,
                Err(fault) => Err(fault),
            };
            outcome.map_err(|fault| match public {
                Public::Token => fault.for_token_clients(),
                Public::Welcome => fault,
            })
        }
        Ok(Route::Resource(resource)) => identified(app, live, Ok(resource), request, caller).await,
        Err(invalid) => identified(app, live, Err(*invalid), request, caller).await,
    }
}

/// Identifies the caller, and lets the handler of `resource` answer.
async fn identified(
    app: &App,
    live: &Arc<Live>,
    resource: Result<&Resource, InvalidPath>,
    request: Request,
    caller: &mut Caller,
) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    let now = app.clock.now();
    let identity = live.authenticator.authenticate(&presented(&parts), now).await;
    measure::verdict(identity.as_ref());
    let identity = identity.inspect_err(|failure| caller.rejected(failure))?;
    caller.accepted(&identity);
    let call = Call {
        app: app.clone(),
        live: live.clone(),
        identity,
        query: Query::parse(parts.uri.query()),
        parts,
        now,
    };
    let anonymous = call.identity.is_anonymous();
    if anonymous && resource.is_ok_and(|resource| resource.row().holds(&call)) {
        caller.take_seat(app).await?;
    }
    let outcome = match resource {
        Ok(resource) => {
            supported(resource.row(), &call.parts.method)?;
            resource.answer(&call, body).await
        }
        Err(invalid) => {
            let writes = matches!(call.parts.method, Method::PUT | Method::POST | Method::PATCH);
            Err(Fault::path(invalid, writes))
        }
    };
    outcome.map_err(|fault| {
        if anonymous {
            fault.for_anonymous(call.identity.scope().is_some())
        } else {
            fault
        }
    })
}

fn supported(row: Row<'_>, method: &Method) -> Result<(), Fault> {
    if row.allows(method) {
        Ok(())
    } else {
        Err(Fault::method_not_allowed(row.methods))
    }
}

fn refuse(fault: Fault, live: &Live, origin: Option<&Origin>, scope: Option<&str>) -> Response {
    let challenge = match origin {
        Some(origin) if live.challenge && fault.status == StatusCode::UNAUTHORIZED => {
            HeaderValue::from_str(&challenge::bearer(
                &challenge::realm(live.realm.as_deref(), origin),
                &live.terms.service,
                scope,
                fault.challenge,
            ))
            .ok()
        }
        _ => None,
    };
    let mut response = fault.response();
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

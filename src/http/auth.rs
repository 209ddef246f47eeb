//! The one way that every request takes: its id, its address, its caller, its handler, its line in the log.

use super::answer::Fault;
use super::authority::{self, Origin};
use super::handlers::token::Told;
use super::handlers::{self, Call};
use super::measure::{self, Measure};
use super::proxies::Forwarded;
use super::query::Query;
use super::route::{InvalidPath, Route};
use super::{ActiveRequest, App, Connection, Live, Stranger, challenge};
use crate::identity::{CredentialType, Evidence, Failure, Identity, Peer, Presented, Refusal, reason};
use crate::limits::HEADER_BYTES;
use crate::source_address::SourceAddress;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt;
use http::header::{AUTHORIZATION, ORIGIN, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What the log says of a caller, known or not.
#[derive(Default)]
pub(super) struct Who {
    credential: Option<CredentialType>,
    /// Once it is identified.
    name: Option<String>,
    /// Of a credential that was refused or could not be checked.
    evidence: Evidence,
    /// Why it was, in a word.
    reason: Option<&'static str>,
    /// Which of our own tokens was presented.
    session: Option<String>,
    /// Where the client is.
    address: Option<IpAddr>,
    /// What the server knows of the request.
    active: Option<ActiveRequest>,
    /// Whether a trusted proxy sent the request.
    proxied: bool,
    /// The certificate of a trusted proxy, which identifies nobody.
    ignored: Option<Arc<Peer>>,
}

impl Who {
    pub(super) fn is(&mut self, identity: &Identity) {
        if !identity.is_anonymous() {
            self.active.as_ref().inspect(|active| active.identified());
        }
        self.credential = Some(identity.credential());
        self.name = Some(identity.username().to_owned());
        self.session = identity.session().map(|session| session.token.clone());
    }

    pub(super) fn is_nobody(&mut self, failure: &Failure) {
        let (Failure::Refused(Refusal { evidence, .. })
        | Failure::Undecidable { evidence, .. }
        | Failure::Busy { evidence, .. }) = failure;
        self.credential = evidence.credential;
        self.reason = Some(reason(failure));
        self.evidence = evidence.clone();
    }

    /// Adds to the reason for a 401 that a certificate was there and was ignored.
    fn explain(&self, status: StatusCode, why: Option<String>) -> Option<String> {
        let Some(peer) = self
            .ignored
            .as_ref()
            .filter(|_| status == StatusCode::UNAUTHORIZED)
        else {
            return why;
        };
        let Evidence { subject, serial, .. } = peer.evidence();
        let subject = subject.unwrap_or_default();
        let serial = serial.unwrap_or_default();
        let ignored = format!(
            "the client certificate (subject {subject:?}, serial {serial}) was ignored, since it was presented by a trusted proxy \
             (http.trustedProxies): take the address out, or let the client send a token"
        );
        Some(why.into_iter().chain([ignored]).collect::<Vec<_>>().join("; "))
    }

    /// A certificate costs its client nothing after the handshake, and could fill the log: a second refusal
    /// of the same one on its connection refers to the first. After a reload the reason may be another one,
    /// such as another rule, so it is written again.
    fn shorten(&mut self, id: &str, generation: u64, why: Option<String>) -> Option<String> {
        let certificate = self.credential == Some(CredentialType::X509Svid)
            || self.credential == Some(CredentialType::X509);
        let (Some(reason), Some(active), true, false) =
            (&self.reason, &self.active, certificate, self.proxied)
        else {
            return why;
        };
        let Some(first) = active
            .standing()
            .refused_before(&format!("{generation} {reason} {:?}", self.evidence), id)
        else {
            return why;
        };
        self.evidence = Evidence {
            credential: self.credential,
            ..Evidence::default()
        };
        Some(format!(
            "the certificate was refused as in request {first} of this connection"
        ))
    }

    /// Waits until an unknown caller may have an answer that holds something. It is in flight until all of it
    /// is sent.
    ///
    /// # Errors
    ///
    /// 429 when the client's address has too many requests in flight.
    pub(super) async fn sits(&self, app: &App) -> Result<(), Fault> {
        let Some((active, stranger)) = self.stranger(app) else {
            return Ok(());
        };
        active.sits(stranger.seat().await.map_err(Fault::crowded)?);
        Ok(())
    }

    /// The same for an unknown caller who sends a form.
    ///
    /// # Errors
    ///
    /// 429 when the client's address sends too many forms.
    pub(super) async fn sends_form(&self, app: &App) -> Result<(), Fault> {
        let Some((active, stranger)) = self.stranger(app) else {
            return Ok(());
        };
        active.sits(stranger.form().await.map_err(Fault::crowded)?);
        Ok(())
    }

    /// An unknown caller, and the address that bounds it: the client's, or the proxy's own if the proxy names
    /// no client.
    fn stranger(&self, app: &App) -> Option<(&ActiveRequest, Stranger)> {
        let active = self.active.as_ref().filter(|active| !active.is_identified())?;
        let known = active.standing().stranger().filter(|_| !self.proxied).cloned();
        Some((active, known.or_else(|| Some(app.strangers.at(self.address?)))?))
    }
}

pub(super) async fn serve(app: App, request: Request) -> Response {
    let begun = Instant::now();
    let id = format!("{:016x}", fastrand::u64(..));
    let (mut parts, body) = request.into_parts();
    let route = Route::parse(parts.uri.path());
    let measure = Measure::begin(&route, &parts.method, begun);
    if let Ok(Route::Health(probe)) = route {
        return measure.end(handlers::health::answer(probe, &app.ready, &parts.method));
    }
    let live = app.live.load_full();
    let route = placed(route, &parts, &live);
    let from = parts.headers.get(ORIGIN).cloned();
    let method = parts.method.clone();
    let path = logged_path(&parts, route.as_ref().ok());
    let mut who = Who::default();
    let (tls, forwarded) = hop(&mut parts, &live, &mut who);
    let origin = authority::origin(&parts, tls, &forwarded, &live.external_urls);

    let preflight = live.cors.preflight(&parts.method, &parts.headers);
    let admitted = live
        .open
        .as_ref()
        .zip(origin.as_ref().ok())
        .map_or(Ok(()), |(open, origin)| open.admits(&parts, origin, &live.cors));
    let outcome = match &origin {
        _ if header_bytes(&parts) > HEADER_BYTES => Err(Fault::header_too_large()),
        _ if !codings_are_known(&parts) => Err(Fault::transfer_coding()),
        Ok(_) if admitted.is_err() => admitted.map(|()| Response::default()),
        Ok(_) if preflight.is_some() => Ok(preflight.unwrap_or_default()),
        Ok(origin) if route == Ok(Route::Welcome) => handlers::welcome::answer(&parts, origin),
        Ok(origin) => {
            let attended = AssertUnwindSafe(attend(
                &app,
                &live,
                origin,
                &route,
                Request::from_parts(parts, Measure::received(body)),
                &mut who,
            ))
            .catch_unwind()
            .await;
            attended.unwrap_or_else(|panic| Err(Fault::panicked(&*panic)))
        }
        Err(invalid) => Err((*invalid).into()),
    };
    let (mut response, why) = match outcome {
        Ok(response) => (response, None),
        Err(mut fault) => {
            let why = fault.log.take();
            let scope = route
                .as_ref()
                .ok()
                .and_then(|route| challenge::scope(route, &method));
            (
                refuse(
                    fault.with_request_id(&id),
                    &live,
                    origin.as_ref().ok(),
                    scope.as_deref(),
                ),
                why,
            )
        }
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
        .headers_mut()
        .insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    live.cors.tell(from.as_ref(), &mut response);
    let issued = response.extensions_mut().remove::<Told>();
    let why = who.explain(response.status(), why);
    let why = who.shorten(&id, live.generation, why);
    log(
        &id,
        &method,
        &path,
        response.status(),
        &who,
        issued.as_ref(),
        why.as_deref(),
        begun,
    );
    measure.end(response)
}

/// The same route, with the metrics where the configuration has them.
fn placed(route: Result<Route, InvalidPath>, parts: &Parts, live: &Live) -> Result<Route, InvalidPath> {
    match (&live.metrics, &route) {
        (Some(path), Err(InvalidPath::Unknown) | Ok(Route::Metrics)) if parts.uri.path() == path => {
            Ok(Route::Metrics)
        }
        (_, Ok(Route::Metrics)) => Err(InvalidPath::Unknown),
        _ => route,
    }
}

/// Whether the connection has TLS, and what its other end says of the client, if that is a proxy that may say
/// so. The certificate of such a proxy is its own, and is taken away here, before anybody looks for a
/// credential.
fn hop(parts: &mut Parts, live: &Live, who: &mut Who) -> (bool, Forwarded) {
    let (tls, forwarded) = nearest_hop(parts, live, who);
    parts.extensions.insert(Client {
        address: who.address,
        unnamed: who.proxied && forwarded.client.is_none(),
    });
    (tls, forwarded)
}

/// Where the client of a request is.
#[derive(Clone, Copy)]
struct Client {
    address: Option<IpAddr>,
    /// A trusted proxy sent the request and names no client, so the address is the proxy's.
    unnamed: bool,
}

/// The source that bounds by source hold against. `None` for the clients of a proxy that does not name them.
pub(super) fn source(parts: &Parts) -> Option<SourceAddress> {
    match parts.extensions.get() {
        Some(Client { unnamed: true, .. }) => None,
        Some(Client {
            address: Some(address),
            ..
        }) => Some(SourceAddress::of(*address)),
        _ => Some(SourceAddress::UNKNOWN),
    }
}

fn nearest_hop(parts: &mut Parts, live: &Live, who: &mut Who) -> (bool, Forwarded) {
    let Some(connection) = parts.extensions.get_mut::<Connection>() else {
        return (false, Forwarded::default());
    };
    let tls = connection.tls;
    let remote = connection.remote.ip();
    who.address = Some(remote);
    who.active = Some(connection.active.clone());
    // A reload may have changed it since the connection was accepted, or since its last request.
    let proxied = live.proxies.contains(remote);
    connection.active.standing().is_proxy(proxied);
    if !proxied {
        return (tls, Forwarded::default());
    }
    who.ignored = connection.peer.take();
    let forwarded = Forwarded::read(&parts.headers, &live.proxies);
    who.proxied = true;
    who.address = forwarded.client.or(who.address);
    (tls, forwarded)
}

/// The size of the header as it came over HTTP/1.1. The server bounds what it buffers, and that only in steps
/// of its buffer.
fn header_bytes(parts: &Parts) -> usize {
    let line = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    parts.headers.iter().fold(line, |sum, (name, value)| {
        sum + name.as_str().len() + value.len() + ": \r\n".len()
    })
}

/// Whether the body can be read. Hyper takes off the chunks, and answers 400 where `chunked` is not the last
/// coding.
fn codings_are_known(parts: &Parts) -> bool {
    parts
        .headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// Finds out who asks, and lets the route's handler answer.
async fn attend(
    app: &App,
    live: &Arc<Live>,
    origin: &Origin,
    route: &Result<Route, InvalidPath>,
    request: Request<Body>,
    who: &mut Who,
) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    if *route == Ok(Route::Token) {
        // Identifies its callers itself, since a form may carry the credential.
        return handlers::token::answer(app, live, origin, &parts, body, who).await;
    }
    let now = app.clock.now();
    let identified = live.authenticator.authenticate(&presented(&parts), now).await;
    measure::verdict(identified.as_ref());
    let identity = identified.inspect_err(|failure| who.is_nobody(failure))?;
    who.is(&identity);
    let call = Call {
        app: app.clone(),
        live: live.clone(),
        identity,
        query: Query::parse(parts.uri.query()),
        parts,
        now,
    };
    if call.identity.is_anonymous() && route.as_ref().is_ok_and(|route| handlers::holds(&call, route)) {
        who.sits(app).await?;
    }
    let outcome = match route {
        Ok(route) => handlers::answer(&call, route, body).await,
        Err(invalid) => Err(Fault::path(
            *invalid,
            matches!(call.parts.method, Method::PUT | Method::POST | Method::PATCH),
        )),
    };
    let with_token = call.identity.scope().is_some();
    outcome.map_err(|fault| {
        if call.identity.is_anonymous() {
            fault.for_anonymous(with_token)
        } else {
            fault
        }
    })
}

/// What the request carries to say who asks. A certificate is ambient: a browser presents it for whatever
/// page asks it to.
pub(super) fn presented(parts: &Parts) -> Presented<'_> {
    let site = parts.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let foreign = matches!(site, Some(b"cross-site" | b"same-site")) || parts.headers.contains_key(ORIGIN);
    Presented {
        authorization: parts
            .headers
            .get_all(AUTHORIZATION)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect(),
        peer: parts
            .extensions
            .get::<Connection>()
            .and_then(|connection| connection.peer.as_deref()),
        ambient: !foreign,
        address: parts.extensions.get::<Client>().and_then(|client| client.address),
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

/// Without the query, and of an upload's name only the beginning: for the anonymous, whoever knows it owns
/// the upload.
fn logged_path(parts: &Parts, route: Option<&Route>) -> String {
    match route {
        Some(Route::Upload(repository, id)) => format!(
            "/v2/{repository}/blobs/uploads/{}…",
            id.get(..8).unwrap_or_default()
        ),
        _ => parts.uri.path().to_owned(),
    }
}

/// One line a request: with the reason and the evidence if it was refused, never with the credential.
#[expect(clippy::too_many_arguments, reason = "each is a field of the line")]
fn log(
    id: &str,
    method: &Method,
    path: &str,
    status: StatusCode,
    who: &Who,
    issued: Option<&Told>,
    why: Option<&str>,
    begun: Instant,
) {
    let Who {
        credential,
        name,
        evidence,
        session,
        address,
        ..
    } = who;
    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    macro_rules! line {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                http.method = %method,
                http.path = path,
                http.status = status.as_u16(),
                http.micros = micros,
                request.id = id,
                client.address = address.map(tracing::field::display),
                credential.type = credential.map(CredentialType::as_str),
                credential.issuer = evidence.issuer.as_deref(),
                credential.key_id = evidence.key_id.as_deref(),
                credential.subject = evidence.subject.as_deref(),
                credential.serial = evidence.serial.as_deref(),
                identity = name.as_deref(),
                token.id = session.as_deref(),
                token.issued = issued.map(|issued| issued.id.as_str()),
                token.scope = issued.map(|issued| issued.scope.as_str()),
                why,
                $message
            )
        };
    }
    match (status, why) {
        (status, _) if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
            line!(error, "request failed")
        }
        (StatusCode::UNAUTHORIZED, Some(_)) if name.is_none() => line!(warn, "credential refused"),
        (StatusCode::TOO_MANY_REQUESTS, Some(_)) => line!(warn, "too many requests"),
        _ => line!(info, "request"),
    }
}

//! One connection, from the handshake to its last answer.

use super::admission::{Admission, Place};
use super::answered::Answered;
use super::client_certificate::NotAccepted;
use super::proxy_header::ProxyHeader;
use super::stall::{Received, Taken};
use super::stream::{NoHeader, Stream};
use super::streams::Streams;
use super::{Connection, Limits, Tls};
use crate::http::{Caller, More, Standing};
use crate::identity::{CredentialType, Peer};
use crate::limits::HTTP2_STREAMS;
use crate::trust::tls::explain_peer;
use axum::body::Body;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower_service::Service;

/// What answers requests: any tower service of the right types.
pub trait Handler:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<H> Handler for H where
    H: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
}

/// What all connections of a listener share.
pub(super) struct Serving<H> {
    pub(super) tls: Option<Tls>,
    pub(super) limits: Arc<Limits>,
    pub(super) handler: H,
    pub(super) admission: Arc<Admission>,
}

/// `place` is given back at the connection's end. A future is as large as all that it may ever hold, and an idle connection keeps it:
/// what is large is in a box of its own, and only while it is needed.
pub(super) async fn serve<H: Handler>(
    stream: TcpStream,
    remote: SocketAddr,
    introduced: bool,
    serving: Arc<Serving<H>>,
    draining: watch::Receiver<bool>,
    place: Place,
) {
    let standing = place.standing().clone();
    let mut end = End { draining, standing: standing.clone() };
    let (limits, more) = (&serving.limits, More::default());
    let mut stream = Stream::new(stream, more.clone());
    let mut remote = remote;
    let deadline = Instant::now() + limits.handshake_timeout;
    if introduced {
        match Box::pin(introduce(&mut stream, remote, deadline, &serving, &mut end)).await {
            Some(client) => remote = client,
            None => return,
        }
        place.is_known();
    }
    let Some(tls) = serving.tls.as_ref().map(Tls::config) else {
        let origin = Origin { peer: None, remote, tls: false, more };
        return speak(stream, origin, standing, false, limits, serving.handler.clone(), end).await;
    };
    let Some(stream) = Box::pin(shake_hands(stream, remote, tls, (deadline, limits.handshake_timeout), &mut end)).await else { return };
    let session = stream.get_ref().1;
    let peer = session.peer_certificates().filter(|chain| !chain.is_empty()).map(|chain| Arc::new(Peer::new(chain.to_vec())));
    let http2 = session.alpn_protocol() == Some(b"h2");
    // Several answers share an HTTP/2 connection: what one of them says would hold up another's end.
    let more = if http2 { More::default() } else { more };
    let origin = Origin { peer, remote, tls: true, more };
    speak(stream, origin, standing, http2, limits, serving.handler.clone(), end).await;
}

/// What all requests of a connection have in common.
struct Origin {
    peer: Option<Arc<Peer>>,
    remote: SocketAddr,
    tls: bool,
    more: More,
}

/// Why a connection ends that might go on.
struct End {
    draining: watch::Receiver<bool>,
    standing: Standing,
}

impl End {
    async fn comes(&mut self) -> Why {
        let Self { draining, standing } = self;
        tokio::select! {
            // An error means that the accept loop itself is gone, and everything is about to be.
            _ = draining.wait_for(|draining| *draining) => Why::Drains,
            () = standing.told_to_give_way() => Why::GivesWay,
        }
    }
}

enum Why {
    /// The server ends.
    Drains,
    /// Another connection needs the place.
    GivesWay,
    /// There was no request for too long.
    Idled,
}

/// The client that a load balancer names in front of everything else, if its address may have one more connection.
async fn introduce<H>(stream: &mut Stream, peer: SocketAddr, deadline: Instant, serving: &Serving<H>, end: &mut End) -> Option<SocketAddr> {
    let limit = serving.limits.handshake_timeout;
    let header = tokio::select! {
        header = tokio::time::timeout_at(deadline, stream.proxy_header()) => header,
        _ = end.comes() => return None,
    };
    match header {
        Ok(Ok(ProxyHeader::Client(client))) => match serving.admission.admit(&end.standing, client.ip()) {
            Ok(()) => return Some(client),
            Err(refused) => refused.log(client.ip()),
        },
        Ok(Ok(ProxyHeader::Own)) => {
            end.standing.is_balancer();
            return Some(peer);
        }
        Ok(Err(NoHeader::Closed)) => {}
        Ok(Err(why)) => tracing::warn!(
            peer.address = %peer.ip(),
            "refused a connection of a peer that http.proxyProtocol names: {why}; turn on its PROXY protocol, or take its address out"
        ),
        Err(_) => tracing::info!(peer.address = %peer.ip(), "no PROXY header came within {limit:?}"),
    }
    None
}

async fn shake_hands(
    stream: Stream,
    remote: SocketAddr,
    tls: Arc<ServerConfig>,
    (deadline, limit): (Instant, Duration),
    end: &mut End,
) -> Option<Box<TlsStream<Stream>>> {
    let handshake = tokio::time::timeout_at(deadline, TlsAcceptor::from(tls).accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        _ = end.comes() => return None,
    };
    match shaken {
        Ok(Ok(mut stream)) => {
            stream.get_mut().1.set_buffer_limit(Some(ENCRYPTED_AT_ONCE));
            return Some(Box::new(stream));
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {} // a probe, most likely
        Ok(Err(error)) => match NotAccepted::of(&error) {
            Some(NotAccepted { reason, evidence }) => tracing::warn!(
                client.address = %remote,
                credential.type = evidence.credential.map(CredentialType::as_str),
                credential.issuer = evidence.issuer.as_deref(),
                credential.subject = evidence.subject.as_deref(),
                credential.serial = evidence.serial.as_deref(),
                why = reason,
                "client certificate refused in the TLS handshake"
            ),
            None => {
                let why = explain_peer(&error, "client");
                tracing::info!(client.address = %remote, "the TLS handshake failed: {why}");
            }
        },
        Err(_) => tracing::info!(client.address = %remote, "the TLS handshake took more than {limit:?}"),
    }
    None
}

/// As much as a download reads at once, so that it is sent with one call of the system.
const ENCRYPTED_AT_ONCE: usize = 256 << 10;

async fn speak<H: Handler>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    origin: Origin,
    standing: Standing,
    http2: bool,
    limits: &Arc<Limits>,
    handler: H,
    end: End,
) {
    /// Less than that hyper does not take.
    const LEAST_HEADER: usize = 8 << 10;
    let remote = origin.remote;
    let streams = http2.then(|| Streams::new(limits.clone()));
    let service = Tagging { handler, origin, standing: standing.clone(), limits: limits.clone(), streams: streams.clone() };
    let stream = TokioIo::new(Taken::new(stream, limits, standing));
    let result = if let Some(streams) = streams {
        let mut http = http2::Builder::new(streams);
        http.timer(TokioTimer::new()).max_header_list_size(limits.header_bytes).max_concurrent_streams(HTTP2_STREAMS);
        http.max_send_buf_size(STREAM_SENDS);
        http.keep_alive_interval(limits.header_timeout).keep_alive_timeout(limits.handshake_timeout);
        drive(Box::pin(http.serve_connection(stream, service)), http2::Connection::graceful_shutdown, Some(limits), end).await
    } else {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
        http.max_buf_size(usize::try_from(limits.header_bytes).unwrap_or(usize::MAX).max(LEAST_HEADER));
        drive(Box::pin(http.serve_connection(stream, service)), http1::Connection::graceful_shutdown, None, end).await
    };
    if let Err(error) = result {
        tracing::debug!(client.address = %remote, "the connection ended early: {error}");
    }
}

/// What is buffered for a stream before its client must take some of it, as far as hyper asks for more. A stream may hold two such pieces of
/// its answer and one that is read ahead. Of all streams together this is 24 MiB, and with what hyper takes of requests' bodies before anyone
/// reads them (1 MiB a connection) the most that a connection can occupy.
const STREAM_SENDS: usize = 64 << 10;

/// Runs a connection to its end; once it shall end, to the end of the requests it has begun. With `idle` also ends it when it has been
/// without a request for too long, which hyper itself does for HTTP/1.1 only.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<Box<C>>,
    graceful_shutdown: fn(Pin<&mut C>),
    idle: Option<&Limits>,
    mut end: End,
) -> hyper::Result<()> {
    let standing = end.standing.clone();
    let why = tokio::select! {
        result = &mut connection => return result,
        why = end.comes() => why,
        () = has_idled(&standing, idle) => Why::Idled,
    };
    // Hyper would wait for the first request of a connection that has not had one yet, and for the rest of a header that has begun.
    let at_once = matches!(why, Why::GivesWay) && (standing.ends_at_once() || standing.idle_for().is_some());
    if !standing.was_asked() || at_once {
        return Ok(());
    }
    graceful_shutdown(connection.as_mut());
    let Some(limits) = idle else { return connection.await };
    // The other end must acknowledge it, and may not.
    let limit = limits.handshake_timeout;
    loop {
        match tokio::time::timeout(limit, &mut connection).await {
            Ok(result) => return result,
            Err(_) if standing.idle_for().is_some_and(|idle| idle >= limit) => return Ok(()),
            Err(_) => {}
        }
    }
}

/// Returns when nothing has been in flight for too long.
async fn has_idled(standing: &Standing, limits: Option<&Limits>) {
    let Some(limit) = limits.map(|limits| limits.header_timeout) else { return std::future::pending().await };
    loop {
        let idle = standing.idle_for().unwrap_or_default();
        if idle >= limit {
            return;
        }
        tokio::time::sleep(limit - idle).await;
    }
}

/// Hands each request on with its [`Connection`].
struct Tagging<H> {
    handler: H,
    origin: Origin,
    standing: Standing,
    limits: Arc<Limits>,
    /// Over HTTP/2.
    streams: Option<Streams>,
}

impl<H: Handler> hyper::service::Service<Request<Incoming>> for Tagging<H> {
    type Response = Response<Answered>;
    type Error = h2::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, h2::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let empty = request.body().is_end_stream();
        let (caller, flight) = match &self.streams {
            None => (Caller::new(&self.standing, empty), None),
            Some(streams) => match streams.begin(&self.standing, empty) {
                Some((caller, flight)) => (caller, Some(flight)),
                // Nothing was done for it, so the client may send it again as it is (RFC 9113, 8.7).
                None => return Box::pin(std::future::ready(Err(h2::Reason::REFUSED_STREAM.into()))),
            },
        };
        let mut request =
            request.map(|body| if empty { Body::empty() } else { Body::new(Received::new(body, &self.limits, caller.clone())) });
        let Origin { peer, remote, tls, more } = &self.origin;
        let (peer, more, caller_too) = (peer.clone(), more.clone(), caller.clone());
        request.extensions_mut().insert(Connection { peer, remote: *remote, tls: *tls, more, caller: caller_too });
        let mut handler = self.handler.clone();
        Box::pin(async move {
            let Ok(()) = poll_fn(|context| handler.poll_ready(context)).await;
            let Ok(mut response) = handler.call(request).await;
            // Hyper closes a connection on which a body is still under way. A client that is not told might ask again on it.
            if flight.is_none() && !caller.body_is_taken() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Answered::new(body, caller, flight)))
        })
    }
}

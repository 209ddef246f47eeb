//! One connection, from the handshake to the last answer.

use super::admission::{Admission, Place};
use super::answered::Answered;
use super::client_certificate::NotAccepted;
use super::plain::{PlainHttp, SpeaksHttps};
use super::proxy_header::ProxyHeader;
use super::stall::{Received, Taken};
use super::stream::{NoHeader, Stream};
use super::streams::Streams;
use super::unread::{OverTcp, Rest, discard};
use super::{Connection, Limits, Tls};
use crate::http::{ActiveRequest, More, Standing};
use crate::identity::{CredentialType, Peer};
use crate::limits::HTTP2_STREAMS;
use crate::tls_failure::explain_peer;
use axum::body::Body;
use http::header::{CONNECTION, EXPECT};
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower_service::Service;

/// The service that answers requests: any tower service of the right types.
pub trait Handler:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + Unpin
    + 'static
{
}

impl<H> Handler for H where
    H: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + Unpin
        + 'static
{
}

/// The state that all connections of a listener share.
pub(super) struct Serving<H> {
    pub(super) tls: Option<Tls>,
    pub(super) limits: Arc<Limits>,
    pub(super) handler: H,
    pub(super) admission: Arc<Admission>,
}

/// `place` is given back at the connection's end. A future is as large as everything that it may hold, and an
/// idle connection keeps it. Large parts are therefore boxed, and exist only while they are needed.
pub(super) async fn serve<H: Handler>(
    stream: TcpStream,
    remote: SocketAddr,
    introduced: bool,
    serving: Arc<Serving<H>>,
    draining: watch::Receiver<bool>,
    place: Place,
) {
    let mut end = End {
        draining,
        standing: place.standing().clone(),
    };
    let limits = &serving.limits;
    let more = More::default();
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
        let origin = Origin {
            peer: None,
            remote,
            tls: false,
            more,
        };
        return speak(stream, origin, false, limits, serving.handler.clone(), end).await;
    };
    stream.expect_tls();
    let stream = match Box::pin(tls_handshake(
        stream,
        remote,
        tls,
        (deadline, limits.handshake_timeout),
        &mut end,
    ))
    .await
    {
        Ok(stream) => stream,
        Err(None) => return,
        Err(Some(plain)) => {
            let origin = Origin {
                peer: None,
                remote,
                tls: false,
                more,
            };
            return Box::pin(speak(*plain, origin, false, limits, SpeaksHttps, end)).await;
        }
    };
    let session = stream.get_ref().1;
    let peer = session
        .peer_certificates()
        .filter(|chain| !chain.is_empty())
        .map(|chain| Arc::new(Peer::new(chain.to_vec())));
    let http2 = session.alpn_protocol() == Some(b"h2");
    // Several answers share an HTTP/2 connection: the hint of one would delay the end of another.
    let more = if http2 { More::default() } else { more };
    let origin = Origin {
        peer,
        remote,
        tls: true,
        more,
    };
    speak(stream, origin, http2, limits, serving.handler.clone(), end).await;
}

/// The state that all requests of a connection share.
struct Origin {
    peer: Option<Arc<Peer>>,
    remote: SocketAddr,
    tls: bool,
    more: More,
}

/// The signals that end a connection.
struct End {
    draining: watch::Receiver<bool>,
    standing: Standing,
}

impl End {
    async fn comes(&mut self) -> Why {
        let Self { draining, standing } = self;
        tokio::select! {
            // An error means that the accept loop has ended, and that everything else will.
            _ = draining.wait_for(|draining| *draining) => Why::Drains,
            () = standing.must_give_way() => Why::GivesWay,
        }
    }
}

enum Why {
    /// The server shuts down.
    Drains,
    /// Another connection needs the place.
    GivesWay,
    /// The connection had no request for too long.
    Idled,
}

/// Reads the PROXY header of a load balancer, and returns the client that it names, if the client's address
/// may have one more connection.
async fn introduce<H>(
    stream: &mut Stream,
    peer: SocketAddr,
    deadline: Instant,
    serving: &Serving<H>,
    end: &mut End,
) -> Option<SocketAddr> {
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
            "refused a connection from an address in http.proxyProtocol: {why}; turn on the PROXY protocol there, or remove the address from that list"
        ),
        Err(_) => tracing::info!(peer.address = %peer.ip(), "no PROXY header came within {limit:?}"),
    }
    None
}

/// Shakes hands. Fails with the stream if the client speaks plain HTTP.
async fn tls_handshake(
    stream: Stream,
    remote: SocketAddr,
    tls: Arc<ServerConfig>,
    (deadline, limit): (Instant, Duration),
    end: &mut End,
) -> Result<Box<TlsStream<Stream>>, Option<Box<Stream>>> {
    let handshake = tokio::time::timeout_at(deadline, TlsAcceptor::from(tls).accept(stream).into_fallible());
    let finished = tokio::select! {
        finished = handshake => finished,
        _ = end.comes() => return Err(None),
    };
    match finished {
        Ok(Ok(mut stream)) => {
            stream.get_mut().1.set_buffer_limit(Some(ENCRYPTED_AT_ONCE));
            return Ok(Box::new(stream));
        }
        Ok(Err((error, _))) if error.kind() == std::io::ErrorKind::UnexpectedEof => {} // probably a health check
        Ok(Err((error, plain))) if error.get_ref().is_some_and(|why| why.is::<PlainHttp>()) => {
            tracing::info!(client.address = %remote, "the TLS handshake failed: {error}");
            return Err(Some(Box::new(plain)));
        }
        Ok(Err((error, _))) => match NotAccepted::of(&error) {
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
    Err(None)
}

/// The size of one read of a download, so that one system call sends it.
const ENCRYPTED_AT_ONCE: usize = 256 << 10;

async fn speak<H: Handler>(
    stream: impl AsyncRead + AsyncWrite + OverTcp + Send + Unpin + 'static,
    origin: Origin,
    http2: bool,
    limits: &Arc<Limits>,
    handler: H,
    end: End,
) {
    /// The smallest buffer that hyper accepts.
    const LEAST_HEADER: usize = 8 << 10;
    let remote = origin.remote;
    let standing = end.standing.clone();
    let streams = http2.then(|| Streams::new(limits.clone()));
    let unread = Arc::new(AtomicBool::new(false));
    let service = Tagging {
        handler,
        origin,
        standing: standing.clone(),
        limits: limits.clone(),
        streams: streams.clone(),
        unread: unread.clone(),
    };
    let stream = TokioIo::new(Taken::new(stream, limits, standing.clone()));
    let result = if let Some(streams) = streams {
        let mut http = http2::Builder::new(streams);
        http.timer(TokioTimer::new())
            .max_header_list_size(limits.header_bytes)
            .max_concurrent_streams(HTTP2_STREAMS);
        http.max_send_buf_size(STREAM_SENDS);
        http.keep_alive_interval(limits.header_timeout)
            .keep_alive_timeout(limits.handshake_timeout);
        let mut connection = Box::pin(http.serve_connection(stream, service));
        drive(
            &mut connection,
            http2::Connection::graceful_shutdown,
            Some(limits),
            end,
        )
        .await
    } else {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout);
        http.max_buf_size(
            usize::try_from(limits.header_bytes)
                .unwrap_or(usize::MAX)
                .max(LEAST_HEADER),
        );
        let mut connection = Box::pin(Open(http.serve_connection(stream, service)));
        let result = drive(
            &mut connection,
            |open| Pin::new(&mut open.get_mut().0).graceful_shutdown(),
            None,
            end,
        )
        .await;
        if let Some(result) = &result {
            let stream = Pin::into_inner(connection).0.into_parts().io.into_inner();
            // A request that cannot be parsed also leaves unread bytes.
            let unread = unread.load(Ordering::Relaxed) || result.as_ref().is_err_and(hyper::Error::is_parse);
            if unread || result.is_ok() {
                Box::pin(close(stream, unread, limits, &standing)).await;
            }
        }
        result
    };
    if let Some(Err(error)) = result {
        tracing::debug!(client.address = %remote, "the connection ended early: {error}");
    }
}

/// An HTTP/1.1 connection whose writing side its owner closes.
struct Open<I, H: Handler>(http1::Connection<I, Tagging<H>>);

impl<I, H> Future for Open<I, H>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    H: Handler,
{
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.get_mut().0.poll_without_shutdown(context)
    }
}

/// Closes the writing side, and then discards the `unread` bytes. Meanwhile the connection gives way to
/// others as an idle one does.
async fn close<S: AsyncRead + AsyncWrite + OverTcp + Unpin>(
    mut stream: Taken<S>,
    unread: bool,
    limits: &Limits,
    standing: &Standing,
) {
    let ended = async {
        if stream.shutdown().await.is_ok() && unread {
            discard(stream.inner().tcp(), limits).await;
        }
    };
    tokio::select! {
        biased;
        () = ended => {}
        () = standing.must_give_way() => {}
    }
}

/// How much of an answer hyper buffers for a stream before the client must receive some of it. A stream may
/// hold two such pieces, and one that is read ahead. All streams of a connection together can hold 24 MiB.
/// Hyper also buffers up to 1 MiB a connection of requests' bodies, and nothing else is held.
const STREAM_SENDS: usize = 64 << 10;

/// Runs a connection to its end. After a signal from `end` it still finishes running requests. With `idle` it
/// also ends when it had no request for too long, which hyper checks for HTTP/1.1 only. Returns `None` if it
/// was dropped early.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: &mut Pin<Box<C>>,
    graceful_shutdown: fn(Pin<&mut C>),
    idle: Option<&Limits>,
    mut end: End,
) -> Option<hyper::Result<()>> {
    let standing = end.standing.clone();
    let why = tokio::select! {
        result = &mut *connection => return Some(result),
        why = end.comes() => why,
        () = has_idled(&standing, idle) => Why::Idled,
    };
    // Hyper would wait for the first request of a new connection, and for the rest of an incomplete header.
    let at_once = matches!(why, Why::GivesWay) && (standing.ends_at_once() || standing.idle_for().is_some());
    if !standing.was_asked() || at_once {
        return None;
    }
    graceful_shutdown(connection.as_mut());
    let Some(limits) = idle else {
        return Some(connection.await);
    };
    // The other end must acknowledge the shutdown, but may fail to.
    let limit = limits.handshake_timeout;
    loop {
        match tokio::time::timeout(limit, &mut *connection).await {
            Ok(result) => return Some(result),
            Err(_) if standing.idle_for().is_some_and(|idle| idle >= limit) => return None,
            Err(_) => {}
        }
    }
}

/// Returns when the connection has been idle for too long.
async fn has_idled(standing: &Standing, limits: Option<&Limits>) {
    let Some(limit) = limits.map(|limits| limits.header_timeout) else {
        return std::future::pending().await;
    };
    loop {
        let idle = standing.idle_for().unwrap_or_default();
        if idle >= limit {
            return;
        }
        tokio::time::sleep(limit - idle).await;
    }
}

/// Passes each request on with its [`Connection`].
struct Tagging<H> {
    handler: H,
    origin: Origin,
    standing: Standing,
    limits: Arc<Limits>,
    /// Over HTTP/2.
    streams: Option<Streams>,
    /// Set when a request was answered before all of its body was read.
    unread: Arc<AtomicBool>,
}

impl<H: Handler> hyper::service::Service<Request<Incoming>> for Tagging<H> {
    type Response = Response<Answered>;
    type Error = h2::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, h2::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let empty = request.body().is_end_stream();
        let (active, flight) = match &self.streams {
            None => (ActiveRequest::new(&self.standing, empty), None),
            Some(streams) => match streams.begin(&self.standing, empty) {
                Some((active, flight)) => (active, Some(flight)),
                // The request had no effect, so the client may send it again (RFC 9113, 8.7).
                None => return Box::pin(std::future::ready(Err(h2::Reason::REFUSED_STREAM.into()))),
            },
        };
        let rest = (!empty).then(|| {
            flight
                .as_ref()
                .map_or_else(Rest::default, |flight| flight.rest().clone())
        });
        // The client may wait for the answer before it sends the body.
        let expects = request.headers().contains_key(EXPECT);
        let mut request = request.map(|body| match rest.clone() {
            None => Body::empty(),
            Some(rest) => Body::new(Received::new(body, &self.limits, active.clone(), rest)),
        });
        let Origin {
            peer,
            remote,
            tls,
            more,
        } = &self.origin;
        let peer = peer.clone();
        let more = more.clone();
        let connections = active.clone();
        request.extensions_mut().insert(Connection {
            peer,
            remote: *remote,
            tls: *tls,
            more,
            active: connections,
        });
        let mut handler = self.handler.clone();
        let unread = self.unread.clone();
        Box::pin(async move {
            let Ok(()) = poll_fn(|context| handler.poll_ready(context)).await;
            let Ok(mut response) = handler.call(request).await;
            // Hyper closes a connection with an unread body. Without this header a client might send another
            // request on it.
            let early = rest.filter(|_| flight.is_none() && !active.body_is_taken());
            if let Some(rest) = early
                && (expects || !rest.read_short().await)
            {
                unread.store(true, Ordering::Relaxed);
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Answered::new(body, active, flight)))
        })
    }
}

//! One connection, from the handshake to its last answer.

use super::stall::{Received, Taken};
use super::stream::Stream;
use super::{Connection, Limits};
use crate::http::More;
use crate::identity::Peer;
use axum::body::Body;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
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

/// `slot` is given back at the connection's end. A future is as large as all that it may ever hold, and an idle connection keeps it:
/// what is large is in a box of its own, and only while it is needed.
pub(super) async fn serve<H: Handler>(
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    limits: Arc<Limits>,
    handler: H,
    mut draining: watch::Receiver<bool>,
    _slot: Option<OwnedSemaphorePermit>,
) {
    let more = More::default();
    let stream = Stream::new(stream, more.clone());
    let Some(tls) = tls else {
        let connection = Connection { peer: None, remote, tls: false, more };
        return speak(stream, connection, false, &limits, handler, draining).await;
    };
    let Some(stream) = Box::pin(shake_hands(stream, remote, tls, &limits, &mut draining)).await else { return };
    let session = stream.get_ref().1;
    let peer = session.peer_certificates().filter(|chain| !chain.is_empty()).map(|chain| Arc::new(Peer::new(chain.to_vec())));
    let http2 = session.alpn_protocol() == Some(b"h2");
    // Several answers share an HTTP/2 connection: what one of them says would hold up another's end.
    let more = if http2 { More::default() } else { more };
    speak(stream, Connection { peer, remote, tls: true, more }, http2, &limits, handler, draining).await;
}

async fn shake_hands(
    stream: Stream,
    remote: SocketAddr,
    tls: Arc<ServerConfig>,
    limits: &Limits,
    draining: &mut watch::Receiver<bool>,
) -> Option<Box<TlsStream<Stream>>> {
    let handshake = tokio::time::timeout(limits.handshake_timeout, TlsAcceptor::from(tls).accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        () = told(draining) => return None,
    };
    match shaken {
        Ok(Ok(mut stream)) => {
            stream.get_mut().1.set_buffer_limit(Some(ENCRYPTED_AT_ONCE));
            return Some(Box::new(stream));
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {} // a probe, most likely
        Ok(Err(error)) => tracing::info!(client.address = %remote, "the TLS handshake failed: {error}"),
        Err(_) => tracing::info!(client.address = %remote, "the TLS handshake took more than {:?}", limits.handshake_timeout),
    }
    None
}

/// As much as a download reads at once, so that it is sent with one call of the system.
const ENCRYPTED_AT_ONCE: usize = 256 << 10;

async fn speak<H: Handler>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    connection: Connection,
    http2: bool,
    limits: &Limits,
    handler: H,
    draining: watch::Receiver<bool>,
) {
    /// Less than that hyper does not take.
    const LEAST_HEADER: usize = 8 << 10;
    const STREAMS: u32 = 128;
    let remote = connection.remote;
    let asked = Arc::new(AtomicBool::new(false));
    let service = Tagging { handler, connection, asked: asked.clone(), stall_timeout: limits.stall_timeout };
    let stream = TokioIo::new(Taken::new(stream, limits.stall_timeout));
    let result = if http2 {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new()).max_header_list_size(limits.header_bytes).max_concurrent_streams(STREAMS);
        http.keep_alive_interval(limits.header_timeout).keep_alive_timeout(limits.handshake_timeout);
        drive(Box::pin(http.serve_connection(stream, service)), http2::Connection::graceful_shutdown, &asked, draining).await
    } else {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
        http.max_buf_size(usize::try_from(limits.header_bytes).unwrap_or(usize::MAX).max(LEAST_HEADER));
        drive(Box::pin(http.serve_connection(stream, service)), http1::Connection::graceful_shutdown, &asked, draining).await
    };
    if let Err(error) = result {
        tracing::debug!(client.address = %remote, "the connection ended early: {error}");
    }
}

/// Runs a connection to its end; once draining, to the end of the requests it has begun.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<Box<C>>,
    graceful_shutdown: fn(Pin<&mut C>),
    asked: &AtomicBool,
    mut draining: watch::Receiver<bool>,
) -> hyper::Result<()> {
    tokio::select! {
        result = &mut connection => return result,
        () = told(&mut draining) => {}
    }
    // Hyper would wait for the first request of a connection that has not had one yet.
    if !asked.load(Ordering::SeqCst) {
        return Ok(());
    }
    graceful_shutdown(connection.as_mut());
    connection.await
}

/// Returns when draining begins.
async fn told(draining: &mut watch::Receiver<bool>) {
    // An error means that the accept loop itself is gone, and everything is about to be.
    drop(draining.wait_for(|draining| *draining).await);
}

/// Hands each request on with its [`Connection`].
struct Tagging<H> {
    handler: H,
    connection: Connection,
    /// Whether there was a request at all.
    asked: Arc<AtomicBool>,
    stall_timeout: Duration,
}

impl<H: Handler> hyper::service::Service<Request<Incoming>> for Tagging<H> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.asked.store(true, Ordering::SeqCst);
        let whole = Arc::new(AtomicBool::new(request.body().is_end_stream()));
        let empty = whole.load(Ordering::Relaxed);
        let http1 = request.version() <= Version::HTTP_11;
        let mut request =
            request.map(|body| if empty { Body::empty() } else { Body::new(Received::new(body, self.stall_timeout, whole.clone())) });
        request.extensions_mut().insert(self.connection.clone());
        let mut handler = self.handler.clone();
        Box::pin(async move {
            poll_fn(|context| handler.poll_ready(context)).await?;
            let mut response = handler.call(request).await?;
            // Hyper closes a connection on which a body is still under way. A client that is not told might ask again on it.
            if http1 && !whole.load(Ordering::Relaxed) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        })
    }
}

//! A web server on a real socket. A test sets its answers, certificate and faults, and counts its requests.

use super::{Ca, DerPair};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pki_types::PrivateKeyDer;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// It serves until it is dropped.
pub struct Site {
    pub base: String,
    pub address: SocketAddr,
    state: Arc<State>,
    serving: tokio::task::JoinHandle<()>,
}

struct State {
    answers: Mutex<HashMap<String, Answer>>,
    /// Answers instead of `answers`.
    responder: Mutex<Option<Arc<Responder>>>,
    counts: Mutex<HashMap<String, usize>>,
    seen: AtomicUsize,
    /// The headers of the last request.
    headers: Mutex<HeaderMap>,
    tls: Mutex<Option<TlsAcceptor>>,
    unreachable: AtomicBool,
    /// Each answer needs a permit.
    gate: Semaphore,
}

#[derive(Clone, Default)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// A request, for a test that answers it by a function.
pub struct Asked {
    pub head: http::request::Parts,
    pub body: Bytes,
    /// Whether the client presented a certificate.
    pub certified: bool,
}

type Responder = dyn Fn(&Asked) -> Response<Bytes> + Send + Sync;

/// Holds back all answers until it is dropped.
pub struct Hold(Arc<State>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.gate.add_permits(1);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Site {
    /// Starts plain HTTP at `http://127.0.0.1:…`.
    pub async fn plain() -> Self {
        Self::serve(None).await
    }

    /// Starts TLS at `https://site.test:…`.
    pub async fn tls(identity: &DerPair) -> Self {
        Self::serve(Some(acceptor(identity, None))).await
    }

    /// Like [`Site::tls`]. Asks clients for a certificate of this authority, and accepts clients without one.
    pub async fn tls_for_clients_of(authority: &Ca, identity: &DerPair) -> Self {
        Self::serve(Some(acceptor(identity, Some(authority)))).await
    }

    async fn serve(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = if tls.is_some() {
            format!("https://site.test:{}", address.port())
        } else {
            format!("http://{address}")
        };
        let state = Arc::new(State {
            answers: Mutex::default(),
            responder: Mutex::default(),
            counts: Mutex::default(),
            seen: AtomicUsize::new(0),
            headers: Mutex::default(),
            tls: Mutex::new(tls),
            unreachable: AtomicBool::new(false),
            gate: Semaphore::new(1),
        });
        let serving = state.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if !serving.unreachable.load(Ordering::SeqCst) {
                    tokio::spawn(accept(stream, serving.clone()));
                }
            }
        });
        Self {
            base,
            address,
            state,
            serving,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Returns the address for a client's `resolve`.
    pub fn resolve(&self) -> Vec<(String, SocketAddr)> {
        vec![("site.test".to_owned(), self.address)]
    }

    pub fn answer(&self, path: &str, status: u16, body: impl Into<Bytes>) {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.into(),
        };
        self.state.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// Answers all requests by this function from now on.
    pub fn answer_all(&self, respond: impl Fn(&Asked) -> Response<Bytes> + Send + Sync + 'static) {
        *self.state.responder.lock().unwrap() = Some(Arc::new(respond));
    }

    /// Adds a header to the answer.
    pub fn header(&self, path: &str, name: HeaderName, value: &str) {
        let mut answers = self.state.answers.lock().unwrap();
        answers
            .get_mut(path)
            .unwrap()
            .headers
            .insert(name, HeaderValue::from_str(value).unwrap());
    }

    /// Sets the certificate for connections from now on.
    pub fn present(&self, identity: &DerPair) {
        *self.state.tls.lock().unwrap() = Some(acceptor(identity, None));
    }

    /// Ends connections without an answer from now on, or serves them again.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.state.unreachable.store(unreachable, Ordering::SeqCst);
    }

    pub fn hold(&self) -> Hold {
        self.state.gate.try_acquire().unwrap().forget();
        Hold(self.state.clone())
    }

    /// Returns the number of requests.
    pub fn seen(&self) -> usize {
        self.state.seen.load(Ordering::SeqCst)
    }

    pub fn count(&self, path: &str) -> usize {
        self.state.counts.lock().unwrap().get(path).copied().unwrap_or(0)
    }

    /// Returns a header of the last request.
    pub fn heard(&self, name: HeaderName) -> Option<String> {
        self.state
            .headers
            .lock()
            .unwrap()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    }
}

pub(crate) fn acceptor(identity: &DerPair, clients_of: Option<&Ca>) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(identity.key.clone().into());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients_of {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der.clone()).unwrap();
            let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap())
        }
    };
    let config = builder
        .with_single_cert(vec![identity.certificate.clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(stream: TcpStream, state: Arc<State>) {
    let tls = state.tls.lock().unwrap().clone();
    let Some(tls) = tls else {
        return converse(stream, false, state).await;
    };
    if let Ok(stream) = tls.accept(stream).await {
        let certified = stream.get_ref().1.peer_certificates().is_some();
        converse(stream, certified, state).await;
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, certified: bool, state: Arc<State>) {
    let service = service_fn(move |request| respond(request, certified, state.clone()));
    let conversation = hyper::server::conn::http1::Builder::new();
    drop(conversation.serve_connection(TokioIo::new(stream), service).await);
}

async fn respond(
    request: Request<Incoming>,
    certified: bool,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    *state.counts.lock().unwrap().entry(path.clone()).or_default() += 1;
    state.headers.lock().unwrap().clone_from(request.headers());
    state.seen.fetch_add(1, Ordering::SeqCst);
    let _permit = state.gate.acquire().await.unwrap();
    let responder = state.responder.lock().unwrap().clone();
    let response = match responder {
        None => state.answer(&path, request.headers()),
        Some(respond) => {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            respond(&Asked {
                head,
                body,
                certified,
            })
        }
    };
    Ok(response.map(Full::new))
}

impl State {
    /// The answer that was set for the path, or 404.
    fn answer(&self, path: &str, asked: &HeaderMap) -> Response<Bytes> {
        let found = self.answers.lock().unwrap().get(path).cloned();
        let Answer {
            mut status,
            headers,
            mut body,
        } = found.unwrap_or(Answer {
            status: StatusCode::NOT_FOUND,
            ..Answer::default()
        });
        let unchanged = headers
            .get("etag")
            .is_some_and(|etag| asked.get("if-none-match") == Some(etag));
        if unchanged {
            status = StatusCode::NOT_MODIFIED;
            body = Bytes::new();
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

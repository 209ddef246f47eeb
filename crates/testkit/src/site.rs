//! A web server on a real socket. A test sets its answers, certificate and faults, and counts its requests.

use super::DerPair;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pki_types::PrivateKeyDer;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

pub struct Site {
    pub base: String,
    pub address: SocketAddr,
    state: Arc<State>,
    serving: tokio::task::JoinHandle<()>,
}

struct State {
    answers: Mutex<HashMap<String, Answer>>,
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
        Self::serve(Some(identity)).await
    }

    async fn serve(identity: Option<&DerPair>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = if identity.is_some() {
            format!("https://site.test:{}", address.port())
        } else {
            format!("http://{address}")
        };
        let state = Arc::new(State {
            answers: Mutex::default(),
            counts: Mutex::default(),
            seen: AtomicUsize::new(0),
            headers: Mutex::default(),
            tls: Mutex::new(identity.map(acceptor)),
            unreachable: AtomicBool::new(false),
            gate: Semaphore::new(1),
        });
        let serving = state.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if !serving.unreachable.load(Ordering::SeqCst) {
                    tokio::spawn(converse(stream, serving.clone()));
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
        *self.state.tls.lock().unwrap() = Some(acceptor(identity));
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

fn acceptor(identity: &DerPair) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(identity.key.clone().into());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn converse(stream: TcpStream, state: Arc<State>) {
    let tls = state.tls.lock().unwrap().clone();
    let service = service_fn(move |request| respond(request, state.clone()));
    let http = hyper::server::conn::http1::Builder::new();
    match tls {
        None => drop(http.serve_connection(TokioIo::new(stream), service).await),
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                drop(http.serve_connection(TokioIo::new(stream), service).await);
            }
        }
    }
}

async fn respond(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    *state.counts.lock().unwrap().entry(path.clone()).or_default() += 1;
    state.headers.lock().unwrap().clone_from(request.headers());
    state.seen.fetch_add(1, Ordering::SeqCst);
    let _permit = state.gate.acquire().await.unwrap();
    let found = state.answers.lock().unwrap().get(&path).cloned();
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
        .is_some_and(|etag| request.headers().get("if-none-match") == Some(etag));
    if unchanged {
        (status, body) = (StatusCode::NOT_MODIFIED, Bytes::new());
    }
    let mut response = Response::new(Full::new(body));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

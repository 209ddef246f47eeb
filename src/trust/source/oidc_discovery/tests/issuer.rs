//! An OIDC issuer on a real socket, whose answers a test sets and whose visitors it counts.

use crate::trust::source::testing::{Ca, jwk_set};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub(super) const DOCUMENT: &str = "/.well-known/openid-configuration";
pub(super) const KEYS: &str = "/keys";

/// An issuer on a real socket.
pub(super) struct Issuer {
    pub(super) base: String,
    pub(super) address: SocketAddr,
    site: Arc<Site>,
}

struct Site {
    answers: Mutex<HashMap<String, (StatusCode, Bytes)>>,
    counts: Mutex<HashMap<String, usize>>,
    seen: AtomicUsize,
    cache_control: Mutex<String>,
    authorization: Mutex<Option<String>>,
    /// Nothing is answered without a permit.
    gate: Semaphore,
}

/// Holds all answers back until it is dropped.
pub(super) struct Hold<'a>(&'a Semaphore);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

impl Issuer {
    pub(super) async fn start() -> Self {
        Self::serve(None).await
    }

    pub(super) async fn start_tls(authority: &Ca) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["issuer.test".to_owned()]).unwrap();
        let signer = rcgen::Issuer::from_params(&authority.params, &authority.key);
        let certificate = params.signed_by(&key, &signer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        Self::serve(Some(tokio_rustls::TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn serve(tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = if tls.is_some() { format!("https://issuer.test:{}", address.port()) } else { format!("http://{address}") };
        let site = Arc::new(Site {
            answers: Mutex::default(),
            counts: Mutex::default(),
            seen: AtomicUsize::new(0),
            cache_control: Mutex::default(),
            authorization: Mutex::default(),
            gate: Semaphore::new(1),
        });
        let serving = site.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, tls.clone(), serving.clone()));
            }
        });
        let issuer = Self { base, address, site };
        issuer.reset();
        issuer
    }

    /// A good issuer again.
    pub(super) fn reset(&self) {
        self.answer(DOCUMENT, 200, document(&self.base, &self.url(KEYS)));
        self.answer(KEYS, 200, jwk_set(&["k1"]));
    }

    pub(super) fn answer(&self, path: &str, status: u16, body: Vec<u8>) {
        let answer = (StatusCode::from_u16(status).unwrap(), body.into());
        self.site.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(super) fn cache_control(&self, value: &str) {
        value.clone_into(&mut self.site.cache_control.lock().unwrap());
    }

    pub(super) fn hold(&self) -> Hold<'_> {
        self.site.gate.try_acquire().unwrap().forget();
        Hold(&self.site.gate)
    }

    pub(super) fn seen(&self) -> usize {
        self.site.seen.load(Ordering::SeqCst)
    }

    pub(super) fn count(&self, path: &str) -> usize {
        self.site.counts.lock().unwrap().get(path).copied().unwrap_or(0)
    }

    /// Of the last request.
    pub(super) fn authorization(&self) -> Option<String> {
        self.site.authorization.lock().unwrap().clone()
    }
}

async fn converse(stream: TcpStream, tls: Option<tokio_rustls::TlsAcceptor>, site: Arc<Site>) {
    let service = service_fn(move |request| respond(request, site.clone()));
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

async fn respond(request: Request<Incoming>, site: Arc<Site>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    *site.counts.lock().unwrap().entry(path.clone()).or_default() += 1;
    site.seen.fetch_add(1, Ordering::SeqCst);
    *site.authorization.lock().unwrap() = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let _permit = site.gate.acquire().await.unwrap();
    let found = site.answers.lock().unwrap().get(&path).cloned();
    let (status, body) = found.unwrap_or((StatusCode::NOT_FOUND, Bytes::new()));
    let cache_control = site.cache_control.lock().unwrap().clone();
    Ok(Response::builder().status(status).header("cache-control", cache_control).body(Full::new(body)).unwrap())
}

pub(super) fn document(issuer: &str, jwks_uri: &str) -> Vec<u8> {
    serde_json::json!({ "issuer": issuer, "jwks_uri": jwks_uri, "response_types_supported": ["id_token"] }).to_string().into_bytes()
}

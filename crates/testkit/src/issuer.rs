//! An OIDC issuer inside the test, with discovery and keys over HTTPS on loopback.

use super::{AUDIENCE, Ca, Signer};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use pki_types::pem::PemObject as _;
use pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub struct TestIssuer {
    pub url: String,
    pub signer: Signer,
    site: Arc<Site>,
}

struct Site {
    document: String,
    keys: Mutex<String>,
    fetches: AtomicUsize,
    unreachable: AtomicBool,
}

impl TestIssuer {
    /// Starts with a server certificate of `ca`.
    pub async fn start(ca: &Ca) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let signer = Signer::new("oidc-1");
        let site = Arc::new(Site {
            document: json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string(),
            keys: Mutex::new(json!({"keys": [signer.jwk()]}).to_string()),
            fetches: AtomicUsize::new(0),
            unreachable: AtomicBool::new(false),
        });
        let tls = acceptor(ca);
        let serving = site.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, tls.clone(), serving.clone()));
            }
        });
        Self { url, signer, site }
    }

    /// How often the discovery document and the keys were fetched.
    pub fn fetches(&self) -> usize {
        self.site.fetches.load(Ordering::SeqCst)
    }

    /// Publishes these keys from now on.
    pub fn publish(&self, signers: &[&Signer]) {
        let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
        *self.site.keys.lock().unwrap() = json!({ "keys": keys }).to_string();
    }

    /// While `unreachable`, connections end without an answer.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.site.unreachable.store(unreachable, Ordering::SeqCst);
    }

    pub fn token(&self, subject: &str) -> String {
        self.token_for(AUDIENCE, subject)
    }

    pub fn token_for(&self, audience: &str, subject: &str) -> String {
        self.signer.token(&self.claims(audience, subject))
    }

    pub fn claims(&self, audience: &str, subject: &str) -> Value {
        json!({"iss": self.url, "sub": subject, "aud": audience})
    }

    /// The username without a mapping.
    pub fn username(&self, subject: &str) -> String {
        format!("{}/{subject}", self.url)
    }

    /// The issuer's entry under `http.auth.bearer.oidc`.
    pub fn entry(&self, ca: &Ca) -> Value {
        json!({"issuer": self.url, "audiences": [AUDIENCE], "certificateAuthority": ca.pem})
    }
}

fn acceptor(ca: &Ca) -> TlsAcceptor {
    let pair = ca.server();
    let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    TlsAcceptor::from(Arc::new(
        config.with_no_client_auth().with_single_cert(chain, key).unwrap(),
    ))
}

async fn converse(stream: TcpStream, tls: TlsAcceptor, site: Arc<Site>) {
    if site.unreachable.load(Ordering::SeqCst) {
        return;
    }
    let Ok(stream) = tls.accept(stream).await else {
        return;
    };
    let service = service_fn(move |request| answer(request, site.clone()));
    drop(
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

async fn answer(request: Request<Incoming>, site: Arc<Site>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = match request.uri().path() {
        "/.well-known/openid-configuration" => site.document.clone(),
        "/keys" => site.keys.lock().unwrap().clone(),
        _ => return Ok(Response::builder().status(404).body(Full::default()).unwrap()),
    };
    site.fetches.fetch_add(1, Ordering::SeqCst);
    Ok(Response::new(Full::from(body)))
}

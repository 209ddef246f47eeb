//! Tests over real sockets, with certificates made at run time, and with rustls and plain clients. This file
//! has what they share, and requests that belong to no other file.

mod answers;
mod certificates;
mod drain;
mod handshakes;
mod places;
mod possession;
mod proxied;
mod reloads;
mod stalls;
mod unread;

use super::{
    ChainCheck, ClientAuth, Connection, InvalidTls, Limits, NotAccepted, PairFiles, Prepared, Reloaded,
    Settings, Tls, TlsSettings, run,
};
use crate::clock::Clock;
use crate::http::Stalled;
use crate::limits::SHORT_REST_BYTES;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http_body_util::BodyExt as _;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wharfinger_testkit::Ca;

const SOON: Duration = Duration::from_millis(50);
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const GET_AND_STAY: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

type Chain = (Vec<CertificateDer<'static>>, KeyPair);

/// An authority that clients trust, and a folder with the pair of files that the server presents.
struct Pki {
    ca: Ca,
    folder: tempfile::TempDir,
}

impl Pki {
    fn new() -> Self {
        let pki = Self {
            ca: Ca::root("servers"),
            folder: tempfile::tempdir().unwrap(),
        };
        pki.issue();
        pki
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces the server's pair, and returns the new certificate.
    fn issue(&self) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let cert = self.ca.certify(&params, &key);
        std::fs::write(self.folder().join("tls.crt"), cert.pem()).unwrap();
        std::fs::write(self.folder().join("tls.key"), key.serialize_pem()).unwrap();
        cert.der().clone()
    }

    fn settings(&self, client_auth: ClientAuth) -> TlsSettings {
        TlsSettings {
            files: vec![self.files()],
            client_auth,
            ..TlsSettings::default()
        }
    }

    fn files(&self) -> PairFiles {
        PairFiles {
            cert: self.folder().join("tls.crt"),
            key: self.folder().join("tls.key"),
        }
    }

    fn server(&self, client_auth: ClientAuth, judge: Option<ChainCheck>) -> Tls {
        open(self.settings(client_auth), judge)
    }

    fn client(&self, own: Option<&Chain>) -> ClientConfig {
        self.client_of(rustls::ALL_VERSIONS, own)
    }

    fn client_of(&self, versions: &[&'static SupportedProtocolVersion], own: Option<&Chain>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap();
        let builder = builder.with_root_certificates(roots);
        match own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(
                    chain.clone(),
                    PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
                )
                .unwrap(),
        }
    }
}

fn open(settings: TlsSettings, judge: Option<ChainCheck>) -> Tls {
    Tls::new(Prepared::read(settings).unwrap(), judge, Clock::system()).unwrap()
}

/// The reason why reading the only pair again failed.
fn failed(tls: &Tls) -> InvalidTls {
    let Reloaded { changed, mut failed } = tls.reload();
    assert_eq!((changed.len(), failed.len()), (0, 1), "{failed:?}");
    failed.remove(0)
}

fn not_accepted() -> NotAccepted {
    NotAccepted {
        reason: "a test does not accept it".into(),
        evidence: Box::default(),
    }
}

/// A self-signed certificate.
fn self_signed(expired: bool) -> Chain {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["nobody".to_owned()]).unwrap();
    if expired {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    }
    (vec![params.self_signed(&key).unwrap().der().clone()], key)
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Running {
    async fn start(tls: Option<Tls>, limits: Limits, handler: Router) -> Self {
        Self::with(
            Settings {
                tls,
                limits,
                ..Settings::default()
            },
            handler,
        )
        .await
    }

    async fn with(settings: Settings, handler: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { drop(stopped.await) };
        let ended = tokio::spawn(run(listener, settings, handler, Clock::system(), shutdown));
        Self { address, stop, ended }
    }

    async fn tls(tls: Tls) -> Self {
        Self::start(Some(tls), Limits::default(), says_who()).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Connects from another address of this machine.
    async fn connect_from(&self, address: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn shake(&self, client: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        shake_on(self.connect().await, client).await
    }

    /// The body of the answer.
    async fn ask(&self, client: ClientConfig) -> std::io::Result<String> {
        ask(&mut self.shake(&Arc::new(client)).await?).await
    }
}

async fn shake_on(stream: TcpStream, client: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(client.clone())
        .connect(ServerName::try_from("localhost").unwrap(), stream)
        .await
}

/// Answers with the `Connection` of the request.
fn says_who() -> Router {
    Router::new().fallback(async |request: Request| {
        let connection = request.extensions().get::<Connection>().unwrap();
        let peer = connection.peer.as_ref().map_or("nobody", |peer| {
            if peer.is_empty() {
                "an empty chain"
            } else {
                "a chain"
            }
        });
        format!("{} {peer} {}", connection.tls, connection.remote.ip())
    })
}

/// Answers an identified caller once `allowed` is notified. Notifies `begun` at the start.
fn waits(begun: &Arc<Notify>, allowed: &Arc<Notify>) -> Router {
    let begun = begun.clone();
    let allowed = allowed.clone();
    Router::new().fallback(async move |request: Request| {
        request
            .extensions()
            .get::<Connection>()
            .unwrap()
            .active
            .identified();
        begun.notify_one();
        allowed.notified().await;
        "finished"
    })
}

async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<String> {
    stream.write_all(GET).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

/// All bytes until the server closed or reset the connection.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes))
        .await
        .expect("the server closes the connection");
    bytes
}

#[tokio::test]
async fn a_plain_listener_serves_too() {
    let server = Running::start(None, Limits::default(), says_who()).await;
    assert_eq!(
        ask(&mut server.connect().await).await.unwrap(),
        "false nobody 127.0.0.1"
    );
}

#[tokio::test]
async fn a_large_header_is_rejected() {
    let limits = Limits {
        header_bytes: 16 << 10,
        ..Limits::default()
    };
    let server = Running::start(None, limits, says_who()).await;
    for (size, status) in [(15 << 10, "HTTP/1.1 200"), (17 << 10, "HTTP/1.1 431")] {
        let mut stream = server.connect().await;
        let request = format!(
            "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx: {}\r\n\r\n",
            "x".repeat(size)
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = String::from_utf8(rest(&mut stream).await).unwrap();
        assert!(answer.starts_with(status), "{size}: {answer}");
    }
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_for_its_turn() {
    let begun = Arc::new(Notify::new());
    let allowed = Arc::new(Notify::new());
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let server = Running::start(None, limits, waits(&begun, &allowed)).await;
    let mut first = server.connect().await;
    first.write_all(GET).await.unwrap();
    begun.notified().await;
    let mut second = server.connect().await;
    let asking = ask(&mut second);
    tokio::pin!(asking);
    assert!(
        tokio::time::timeout(SOON, &mut asking).await.is_err(),
        "served beside the first"
    );
    allowed.notify_one();
    assert!(
        String::from_utf8(rest(&mut first).await)
            .unwrap()
            .ends_with("finished"),
        "an identified connection is not closed"
    );
    allowed.notify_one();
    assert_eq!(asking.await.unwrap(), "finished");
}

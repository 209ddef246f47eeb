//! Tests over real sockets, with certificates made at run time, and with rustls and plain clients.

mod answers;
mod certificates;
mod places;
mod possession;
mod proxied;
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
use http::Method;
use http_body_util::BodyExt as _;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const SOON: Duration = Duration::from_millis(50);
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const GET_AND_STAY: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

type Chain = (Vec<CertificateDer<'static>>, KeyPair);

/// An authority that clients trust, and a folder with the pair of files that the server presents.
struct Pki {
    ca: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Self {
            ca,
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
        let cert = CertificateParams::new(["localhost".to_owned()])
            .unwrap()
            .signed_by(&key, &self.ca)
            .unwrap();
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
        roots.add(self.ca.der().clone()).unwrap();
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

/// Answers an identified caller when it is allowed to. Tells when it has started.
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
async fn t_11_a_client_needs_no_certificate_unless_one_is_required() {
    let pki = Pki::new();
    for auth in [ClientAuth::Off, ClientAuth::Optional] {
        let server = Running::tls(pki.server(auth, None)).await;
        assert_eq!(
            server.ask(pki.client(None)).await.unwrap(),
            "true nobody 127.0.0.1",
            "{auth:?}"
        );
    }
    let server = Running::tls(pki.server(ClientAuth::Required, None)).await;
    server.ask(pki.client(None)).await.unwrap_err();
}

#[tokio::test]
async fn x_24_a_bad_client_certificate_does_not_end_the_handshake_and_reaches_the_handler() {
    let pki = Pki::new();
    let server =
        Running::tls(pki.server(ClientAuth::Optional, Some(Arc::new(|_| Err(not_accepted()))))).await;
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        for expired in [false, true] {
            let client = pki.client_of(versions, Some(&self_signed(expired)));
            assert_eq!(server.ask(client).await.unwrap(), "true a chain 127.0.0.1");
        }
    }
}

#[tokio::test]
async fn a_client_sends_no_certificate_unless_asked() {
    let pki = Pki::new();
    let server = Running::tls(pki.server(ClientAuth::Off, None)).await;
    assert_eq!(
        server.ask(pki.client(Some(&self_signed(false)))).await.unwrap(),
        "true nobody 127.0.0.1"
    );
}

#[tokio::test]
async fn x_24_if_a_certificate_is_required_the_handshake_asks_the_judge() {
    let pki = Pki::new();
    let good = self_signed(false);
    let bad = self_signed(false);
    let accepted = good.0.clone();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let judge: ChainCheck = Arc::new(move |chain| {
        log.lock().unwrap().push(chain.to_vec());
        if chain == accepted {
            Ok(())
        } else {
            Err(not_accepted())
        }
    });
    let server = Running::tls(pki.server(ClientAuth::Required, Some(judge))).await;
    assert_eq!(
        server.ask(pki.client(Some(&good))).await.unwrap(),
        "true a chain 127.0.0.1"
    );
    server.ask(pki.client(Some(&bad))).await.unwrap_err();
    assert_eq!(*seen.lock().unwrap(), [good.0, bad.0]);
}

#[tokio::test]
async fn t_11_the_client_must_have_the_key_of_its_certificate() {
    let pki = Pki::new();
    let server = Running::tls(pki.server(ClientAuth::Optional, None)).await;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let another = PrivateKeyDer::try_from(KeyPair::generate().unwrap().serialize_der()).unwrap();
    let key = provider.key_provider.load_private_key(another).unwrap();
    let stolen = rustls::sign::CertifiedKey::new(self_signed(false).0, key);
    let mut client = pki.client(None);
    client.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(stolen));
    server.ask(client).await.unwrap_err();
}

/// A client that gets a list of authorities sends no certificate of another one, and the authorities can
/// change while it is connected.
#[tokio::test]
async fn t_11_no_authority_is_named_to_the_client() {
    #[derive(Debug)]
    struct Named(Mutex<Option<usize>>);
    impl rustls::client::ResolvesClientCert for Named {
        fn resolve(
            &self,
            authorities: &[&[u8]],
            _: &[rustls::SignatureScheme],
        ) -> Option<Arc<rustls::sign::CertifiedKey>> {
            *self.0.lock().unwrap() = Some(authorities.len());
            None
        }

        fn has_certs(&self) -> bool {
            true
        }
    }
    let pki = Pki::new();
    let server = Running::tls(pki.server(ClientAuth::Optional, None)).await;
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let named = Arc::new(Named(Mutex::new(None)));
        let mut client = pki.client_of(versions, None);
        client.client_auth_cert_resolver = named.clone();
        assert_eq!(server.ask(client).await.unwrap(), "true nobody 127.0.0.1");
        assert_eq!(*named.0.lock().unwrap(), Some(0), "asked, and told of none");
    }
}

#[tokio::test]
async fn x_22_no_session_is_resumed() {
    let pki = Pki::new();
    let server = Running::tls(pki.server(ClientAuth::Optional, None)).await;
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let client = Arc::new(pki.client_of(versions, Some(&self_signed(false))));
        for _ in 0..3 {
            let mut stream = server.shake(&client).await.unwrap();
            ask(&mut stream).await.unwrap();
            assert!(matches!(
                stream.get_ref().1.handshake_kind(),
                Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
            ));
            assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
        }
    }
}

/// The certificate that the server shows to a new connection.
async fn shown(server: &Running, client: &Arc<ClientConfig>) -> CertificateDer<'static> {
    server
        .shake(client)
        .await
        .unwrap()
        .get_ref()
        .1
        .peer_certificates()
        .unwrap()[0]
        .clone()
}

#[tokio::test]
async fn t_11_a_reload_swaps_the_certificate_and_breaks_no_connection() {
    let pki = Pki::new();
    let first = pki.issue();
    let tls = pki.server(ClientAuth::Off, None);
    let server = Running::tls(tls.clone()).await;
    let client = Arc::new(pki.client(None));
    let mut before = server.shake(&client).await.unwrap();
    assert_eq!(tls.reload(), Reloaded::default(), "nothing changed");

    let second = pki.issue();
    assert_eq!(shown(&server, &client).await, first, "not before the reload");
    assert_eq!(
        tls.reload(),
        Reloaded {
            changed: vec![pki.files().cert],
            failed: vec![]
        }
    );
    assert_eq!(shown(&server, &client).await, second);
    assert_eq!(ask(&mut before).await.unwrap(), "true nobody 127.0.0.1");
}

#[tokio::test]
async fn a_broken_pair_leaves_the_old_one_in_use() {
    let pki = Pki::new();
    let first = pki.issue();
    let tls = pki.server(ClientAuth::Off, None);
    let server = Running::tls(tls.clone()).await;
    let client = Arc::new(pki.client(None));
    let PairFiles { cert, key } = pki.files();
    let good_cert = std::fs::read(&cert).unwrap();

    std::fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert_eq!(
        failed(&tls),
        InvalidTls::Mismatch {
            cert: cert.clone(),
            key: key.clone()
        }
    );
    std::fs::write(&key, "").unwrap();
    assert_eq!(failed(&tls), InvalidTls::NoKey { file: key.clone() });
    std::fs::write(&cert, "").unwrap();
    assert_eq!(failed(&tls), InvalidTls::NoCertificate { file: cert.clone() });
    std::fs::write(&cert, &good_cert[..good_cert.len() / 2]).unwrap();
    assert!(matches!(failed(&tls), InvalidTls::Pem { file, .. } if file == cert));
    std::fs::remove_file(&cert).unwrap();
    assert_eq!(
        failed(&tls),
        InvalidTls::Unreadable {
            file: cert.clone(),
            why: std::io::ErrorKind::NotFound.into()
        }
    );

    assert_eq!(shown(&server, &client).await, first);
    let second = pki.issue();
    assert_eq!(
        tls.reload(),
        Reloaded {
            changed: vec![pki.files().cert],
            failed: vec![]
        }
    );
    assert_eq!(shown(&server, &client).await, second);
}

#[tokio::test]
async fn a_changed_file_is_noticed() {
    let pki = Pki::new();
    let tls = pki.server(ClientAuth::Off, None);
    let server = Running::tls(tls.clone()).await;
    let client = Arc::new(pki.client(None));
    let watching = tokio::spawn(tls.watch(Duration::from_millis(5)));
    let second = pki.issue();
    let noticed = async {
        while shown(&server, &client).await != second {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noticed)
        .await
        .unwrap();
    watching.abort();
}

#[tokio::test]
async fn t_11_http_2_is_offered_only_if_set() {
    let pki = Pki::new();
    for (http2, agreed) in [(false, &b"http/1.1"[..]), (true, b"h2")] {
        let settings = TlsSettings {
            http2,
            ..pki.settings(ClientAuth::Optional)
        };
        let server = Running::tls(open(settings, None)).await;
        let mut client = pki.client(Some(&self_signed(false)));
        client.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
        let stream = server.shake(&Arc::new(client)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(agreed));
    }
}

#[tokio::test]
async fn http_2_requests_know_their_connection_too() {
    let pki = Pki::new();
    let settings = TlsSettings {
        http2: true,
        ..pki.settings(ClientAuth::Optional)
    };
    let server = Running::tls(open(settings, None)).await;
    let mut client = pki.client(Some(&self_signed(false)));
    client.alpn_protocols = vec![b"h2".into()];
    let stream = hyper_util::rt::TokioIo::new(server.shake(&Arc::new(client)).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, stream)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("https://localhost/")
        .body(Body::empty())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let body = http_body_util::BodyExt::collect(answer.into_body())
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(body, "true a chain 127.0.0.1");

    server.stop.send(()).unwrap();
    server.ended.await.unwrap();
    connection.await.unwrap().unwrap();
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
async fn a_slow_handshake_is_cut_off() {
    let limits = Limits {
        handshake_timeout: SOON,
        ..Limits::default()
    };
    let server = Running::start(Some(Pki::new().server(ClientAuth::Off, None)), limits, says_who()).await;
    assert_eq!(rest(&mut server.connect().await).await, b"");
}

#[tokio::test]
async fn a_slow_header_and_a_silent_client_are_cut_off() {
    let limits = Limits {
        header_timeout: SOON,
        ..Limits::default()
    };
    let server = Running::start(None, limits, says_who()).await;
    for sent in [&b""[..], b"GET / HTTP/1.1\r\nhost: loc"] {
        let mut stream = server.connect().await;
        stream.write_all(sent).await.unwrap();
        assert_eq!(rest(&mut stream).await, b"");
    }
}

#[tokio::test]
async fn a_body_that_stalls_ends_with_an_error_that_says_so() {
    let reads = Router::new().fallback(async |body: Body| match body.collect().await {
        Ok(whole) => format!("{} bytes", whole.to_bytes().len()),
        Err(why) => format!("stalled: {}", why.into_inner().is::<Stalled>()),
    });
    let limits = Limits {
        stall_timeout: SOON,
        ..Limits::default()
    };
    let server = Running::start(None, limits, reads).await;
    for (sent, said) in [
        ("0123456789", "10 bytes"),
        ("012", "stalled: true"),
        ("", "stalled: true"),
    ] {
        let mut stream = server.connect().await;
        let request = format!(
            "PUT / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 10\r\n\r\n{sent}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = String::from_utf8(rest(&mut stream).await).unwrap();
        assert!(answer.ends_with(said), "{sent:?}: {answer}");
    }
}

#[tokio::test]
async fn a_client_whose_body_was_not_read_learns_that_the_connection_closes() {
    let handler = Router::new().fallback(async |method: Method, body: Body| {
        if method == Method::PUT {
            drop(body.collect().await);
        }
    });
    let server = Running::start(None, Limits::default(), handler).await;
    for (method, length, closes) in [
        ("PUT", 10, false),
        ("POST", 10, false),
        ("POST", SHORT_REST_BYTES + 1, true),
        ("POST", 0, false),
    ] {
        let mut stream = server.connect().await;
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{}",
            "x".repeat(length)
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(
            answer.contains("connection: close"),
            closes,
            "{method} {length}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_not_read_yet_does_not_stall() {
    let begun = Arc::new(Notify::new());
    let allowed = Arc::new(Notify::new());
    let handler = {
        let begun = begun.clone();
        let allowed = allowed.clone();
        Router::new().fallback(async move |body: Body| {
            begun.notify_one();
            allowed.notified().await;
            body.collect()
                .await
                .map_or(0, |whole| whole.to_bytes().len())
                .to_string()
        })
    };
    let limits = Limits {
        stall_timeout: SOON,
        ..Limits::default()
    };
    let server = Running::start(None, limits, handler).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"PUT / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 3\r\n\r\n012")
        .await
        .unwrap();
    begun.notified().await;
    tokio::time::sleep(2 * SOON).await; // the handler is the one that takes so long
    allowed.notify_one();
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(answer.ends_with('3'), "{answer}");
}

#[tokio::test]
async fn an_answer_that_the_client_does_not_receive_is_given_up() {
    struct Given(Arc<Notify>);
    impl Drop for Given {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let given_up = Arc::new(Notify::new());
    let handler = {
        let given_up = given_up.clone();
        Router::new().fallback(async move || {
            let given = Given(given_up);
            Body::from_stream(futures_util::stream::repeat_with(move || {
                let _held = &given;
                Ok::<_, std::convert::Infallible>(bytes::Bytes::from_static(&[0; 64 << 10]))
            }))
        })
    };
    let limits = Limits {
        stall_timeout: SOON,
        ..Limits::default()
    };
    for tls in [None, Some(Pki::new())] {
        let reloader = tls.as_ref().map(|pki| pki.server(ClientAuth::Off, None));
        let server = Running::start(reloader, limits.clone(), handler.clone()).await;
        let given_up = tokio::time::timeout(Duration::from_secs(20), given_up.notified());
        if let Some(pki) = &tls {
            let mut stream = server.shake(&Arc::new(pki.client(None))).await.unwrap();
            stream.write_all(GET).await.unwrap();
            given_up.await.expect("the server ends the answer");
        } else {
            let mut stream = server.connect().await;
            stream.write_all(GET).await.unwrap();
            given_up.await.expect("the server ends the answer");
        }
    }
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
        "a known one is not closed"
    );
    allowed.notify_one();
    assert_eq!(asking.await.unwrap(), "finished");
}

#[tokio::test]
async fn the_drain_lets_a_running_request_finish_and_accepts_no_new_connection() {
    let begun = Arc::new(Notify::new());
    let allowed = Arc::new(Notify::new());
    let server = Running::start(
        Some(Pki::new().server(ClientAuth::Off, None)),
        Limits::default(),
        says_who(),
    )
    .await;
    server.stop.send(()).unwrap();
    server.ended.await.unwrap(); // with nothing open it ends at once

    let server = Running::start(None, Limits::default(), waits(&begun, &allowed)).await;
    let mut busy = server.connect().await;
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    idle.write_all(GET_AND_STAY).await.unwrap();
    begun.notified().await;
    allowed.notify_one();
    idle.read_exact(&mut [0; 15]).await.unwrap();
    busy.write_all(GET_AND_STAY).await.unwrap();
    begun.notified().await;

    server.stop.send(()).unwrap();
    assert_eq!(rest(&mut silent).await, b"");
    rest(&mut idle).await;
    TcpStream::connect(server.address).await.unwrap_err();
    assert!(!server.ended.is_finished());
    allowed.notify_one();
    let answer = String::from_utf8(rest(&mut busy).await).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("finished"),
        "{answer}"
    );
    server.ended.await.unwrap();
}

#[tokio::test]
async fn the_drain_does_not_wait_for_ever() {
    let begun = Arc::new(Notify::new());
    let never = Arc::new(Notify::new());
    let limits = Limits {
        drain_timeout: SOON,
        ..Limits::default()
    };
    let server = Running::start(None, limits, waits(&begun, &never)).await;
    let mut busy = server.connect().await;
    busy.write_all(GET).await.unwrap();
    begun.notified().await;
    server.stop.send(()).unwrap();
    server.ended.await.unwrap();
    assert_eq!(rest(&mut busy).await, b"");
}

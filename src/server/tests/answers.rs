//! Clients that stop sending or receiving, over HTTP/1.1 and HTTP/2.

use super::*;
use crate::http::{StrangerBounds, Strangers};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body::Body as _;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Memory that records when it is freed.
struct Held {
    bytes: Vec<u8>,
    held: Arc<AtomicUsize>,
}

impl Held {
    fn bytes(size: usize, held: &Arc<AtomicUsize>) -> Bytes {
        held.fetch_add(size, Ordering::SeqCst);
        Bytes::from_owner(Self {
            bytes: vec![b'x'; size],
            held: held.clone(),
        })
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len(), Ordering::SeqCst);
    }
}

const PIECE: usize = 64 << 10;

/// Answers with one piece, or at `/endless` with as many as the client receives. `/in` identifies the caller.
fn pieces(held: &Arc<AtomicUsize>) -> Router {
    let held = held.clone();
    Router::new().fallback(async move |request: Request| {
        if request.uri().path() == "/in" {
            request
                .extensions()
                .get::<Connection>()
                .unwrap()
                .active
                .identified();
        }
        if request.uri().path() == "/nothing" {
            return Body::empty();
        }
        let first = futures_util::stream::once(std::future::ready(Held::bytes(PIECE, &held)));
        let more = if request.uri().path() == "/endless" {
            usize::MAX
        } else {
            0
        };
        let more = futures_util::stream::repeat_with(move || Held::bytes(PIECE, &held)).take(more);
        Body::from_stream(first.chain(more).map(Ok::<_, Infallible>))
    })
}

async fn http2(
    limits: Limits,
    handler: Router,
    window: u32,
) -> (Running, SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
    http2_with(
        Settings {
            limits,
            ..Settings::default()
        },
        handler,
        window,
    )
    .await
}

async fn http2_with(
    settings: Settings,
    handler: Router,
    window: u32,
) -> (Running, SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
    let pki = Pki::new();
    let tls = open(
        TlsSettings {
            http2: true,
            ..pki.settings(ClientAuth::Off)
        },
        None,
    );
    let server = Running::with(
        Settings {
            tls: Some(tls),
            ..settings
        },
        handler,
    )
    .await;
    let (sender, connection) = http2_to(&server, &pki, window).await;
    (server, sender, connection)
}

async fn http2_to(
    server: &Running,
    pki: &Pki,
    window: u32,
) -> (SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
    let mut client = pki.client(None);
    client.alpn_protocols = vec![b"h2".into()];
    let stream = TokioIo::new(server.shake(&Arc::new(client)).await.unwrap());
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn get(path: &str) -> http::Request<Body> {
    http::Request::get(format!("https://localhost{path}"))
        .body(Body::empty())
        .unwrap()
}

async fn eventually(mut condition: impl FnMut() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), met)
        .await
        .expect("the condition becomes true");
}

/// With an empty window no piece is handed to the connection. With a small one all pieces are.
#[tokio::test]
async fn http_2_streams_that_the_client_does_not_receive_end_and_free_their_bytes() {
    for window in [0, 1, 100] {
        for path in ["/", "/endless", "/in"] {
            let held = Arc::new(AtomicUsize::new(0));
            let limits = Limits {
                stall_timeout: SOON,
                ..Limits::default()
            };
            let (_server, mut sender, _connection) = http2(limits, pieces(&held), window).await;
            let mut answers = Vec::new();
            for _ in 0..20 {
                answers.push(sender.send_request(get(path)).await.unwrap().into_body());
            }
            assert!(
                held.load(Ordering::SeqCst) <= 20 * 3 * PIECE,
                "what one connection may hold"
            );
            eventually(|| held.load(Ordering::SeqCst) == 0).await;
            for mut answer in answers {
                let error = loop {
                    match answer.frame().await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => break error,
                        None => panic!("{window} {path}: the whole answer"),
                    }
                };
                assert!(!error.is_timeout(), "{window} {path}: reset, {error}");
            }
            let answer = sender.send_request(get("/nothing")).await.unwrap();
            assert!(answer.into_body().is_end_stream(), "the connection stays open");
        }
    }
}

/// A refused stream had no effect, and its client learns that it may try again.
#[tokio::test]
async fn http_2_streams_are_bounded_by_address_until_the_caller_is_identified() {
    let held = Arc::new(AtomicUsize::new(0));
    let strangers = Strangers::new(StrangerBounds {
        connections: 3,
        requests: 3,
    });
    let pki = Pki::new();
    let tls = open(
        TlsSettings {
            http2: true,
            ..pki.settings(ClientAuth::Off)
        },
        None,
    );
    let server = Running::with(
        Settings {
            tls: Some(tls),
            strangers,
            ..Settings::default()
        },
        pieces(&held),
    )
    .await;
    let (mut sender, _connection) = http2_to(&server, &pki, 0).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(sender.send_request(get("/")).await.unwrap());
    }
    let refused = sender.send_request(get("/in")).await.unwrap_err();
    let reason = std::error::Error::source(&refused)
        .and_then(|why| why.downcast_ref::<h2::Error>())
        .and_then(h2::Error::reason);
    assert_eq!(reason, Some(h2::Reason::REFUSED_STREAM));
    assert_eq!(
        held.load(Ordering::SeqCst),
        4 * PIECE,
        "the fifth was not asked for"
    );
    // Another client of the address logs in.
    let (mut other, _connection) = http2_to(&server, &pki, 0).await;
    let mut others = vec![other.send_request(get("/in")).await.unwrap()];
    for _ in 0..10 {
        others.push(other.send_request(get("/")).await.unwrap());
    }
    drop(others);
    open.clear();
    eventually(|| held.load(Ordering::SeqCst) == 0).await;
    while sender.send_request(get("/in")).await.is_err() {}
    for _ in 0..10 {
        open.push(sender.send_request(get("/")).await.unwrap());
    }
}

#[tokio::test]
async fn http_2_answers_arrive_whole() {
    let held = Arc::new(AtomicUsize::new(0));
    let (_server, mut sender, _connection) = http2(Limits::default(), pieces(&held), 1 << 20).await;
    for _ in 0..50 {
        let answer = sender.send_request(get("/")).await.unwrap();
        assert_eq!(
            answer.into_body().collect().await.unwrap().to_bytes().len(),
            PIECE
        );
    }
    let mut endless = sender.send_request(get("/endless")).await.unwrap().into_body();
    let mut taken = 0;
    while taken < 16 << 20 {
        taken += endless.frame().await.unwrap().unwrap().data_ref().unwrap().len();
        assert!(held.load(Ordering::SeqCst) <= 4 * PIECE);
    }
    drop(endless);
    eventually(|| held.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn an_idle_http_2_connection_ends() {
    for (asks, header_timeout) in [(false, SOON), (true, Duration::from_secs(2))] {
        let limits = Limits {
            header_timeout,
            ..Limits::default()
        };
        let held = Arc::new(AtomicUsize::new(0));
        let (_server, mut sender, connection) = http2(limits, pieces(&held), 1 << 20).await;
        if asks {
            sender
                .send_request(get("/"))
                .await
                .unwrap()
                .into_body()
                .collect()
                .await
                .unwrap();
        }
        // The client keeps answering pings, and keeps its side open.
        drop(
            tokio::time::timeout(Duration::from_secs(20), connection)
                .await
                .expect("the server ends it")
                .unwrap(),
        );
        assert!(sender.send_request(get("/")).await.is_err());
    }
}

/// Answers with the end of the body. `/in` identifies the caller.
fn reads() -> Router {
    Router::new().fallback(async |request: Request| {
        if request.uri().path() == "/in" {
            request
                .extensions()
                .get::<Connection>()
                .unwrap()
                .active
                .identified();
        }
        match request.into_body().collect().await {
            Ok(whole) => format!("{} bytes", whole.to_bytes().len()),
            Err(why) => format!("{:?}", why.into_inner().downcast::<Stalled>().unwrap()),
        }
    })
}

/// Sends a body byte by byte until it is whole or the server answers, and returns the answer.
async fn drip(server: &Running, path: &str, length: usize) -> String {
    let (mut read, mut write) = server.connect().await.into_split();
    let request = format!(
        "PUT {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    write.write_all(request.as_bytes()).await.unwrap();
    let dripping = tokio::spawn(async move {
        for _ in 0..length {
            tokio::time::sleep(Duration::from_millis(15)).await;
            if write.write_all(b"x").await.is_err() {
                break;
            }
        }
        write
    });
    let answer = String::from_utf8(rest(&mut read).await).unwrap();
    dripping.abort();
    answer
}

#[tokio::test]
async fn a_dripping_body_ends_unless_its_caller_is_identified() {
    let limits = Limits {
        stall_timeout: Duration::from_secs(1),
        unidentified_rate: 1 << 20,
        ..Limits::default()
    };
    let server = Running::start(None, limits.clone(), reads()).await;
    let slow = drip(&server, "/", 1 << 30).await;
    assert!(
        slow.ends_with(&format!("{:?}", Stalled::Slow { rate: 1 << 20 })),
        "{slow}"
    );
    let known = drip(&server, "/in", 100).await;
    assert!(known.ends_with("100 bytes"), "{known}");

    let timeout = Duration::from_millis(100);
    let server = Running::start(
        None,
        Limits {
            unidentified_rate: 1,
            unidentified_body_timeout: timeout,
            ..limits
        },
        reads(),
    )
    .await;
    let late = drip(&server, "/", 1 << 30).await;
    assert!(
        late.ends_with(&format!("{:?}", Stalled::Late { after: timeout })),
        "{late}"
    );
    let known = drip(&server, "/in", 100).await;
    assert!(known.ends_with("100 bytes"), "{known}");
}

#[tokio::test]
async fn a_slowly_received_answer_ends_unless_its_caller_is_identified() {
    let limits = Limits {
        stall_timeout: Duration::from_secs(1),
        unidentified_rate: 1 << 30,
        ..Limits::default()
    };
    let held = Arc::new(AtomicUsize::new(0));
    let server = Running::start(None, limits.clone(), pieces(&held)).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    stream.read_u8().await.unwrap();
    assert_ne!(held.load(Ordering::SeqCst), 0);
    let sipping = tokio::spawn(async move {
        while stream.read(&mut [0; 100]).await.is_ok_and(|read| read > 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    eventually(|| held.load(Ordering::SeqCst) == 0).await;
    sipping.abort();

    let (_server, mut sender, _connection) = http2(limits, pieces(&held), 1000).await;
    let mut sipped = sender.send_request(get("/endless")).await.unwrap().into_body();
    let ended = async {
        // Each received frame opens the window for the next.
        while let Some(Ok(_)) = sipped.frame().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended)
        .await
        .expect("the server ends it");
    let mut known = sender.send_request(get("/in")).await.unwrap().into_body();
    let mut taken = 0;
    while let Some(frame) = known.frame().await {
        taken += frame.unwrap().data_ref().unwrap().len();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(taken, PIECE);
}

//! Answers to clients that are still sending, and plain HTTP on a TLS port.

use super::*;
use crate::limits::DISCARDED_BYTES;
use bytes::Bytes;
use tokio::io::{ReadHalf, WriteHalf};

/// More bytes than sockets buffer.
const BODY: usize = 8 << 20;

/// A handler that reads no bodies.
fn refuses() -> Router {
    Router::new().fallback(async || (http::StatusCode::INSUFFICIENT_STORAGE, "refused"))
}

fn post(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n")
}

/// Sends a whole body before it looks for the answer.
async fn send_all(mut stream: impl AsyncRead + AsyncWrite + Unpin, length: usize) -> std::io::Result<String> {
    stream.write_all(post(length).as_bytes()).await?;
    for _ in 0..length / PIECE {
        stream.write_all(&[b'x'; PIECE]).await?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

const PIECE: usize = 64 << 10;

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_sends_first_and_reads_later() {
    let pki = Pki::new();
    let plain = Running::start(None, Limits::default(), refuses()).await;
    let tls = Running::start(
        Some(pki.server(ClientAuth::Off, None)),
        Limits::default(),
        refuses(),
    )
    .await;
    let client = Arc::new(pki.client(None));
    for _ in 0..3 {
        let answer = send_all(plain.connect().await, BODY).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 507 ") && answer.ends_with("refused"),
            "{answer}"
        );
        let answer = send_all(tls.shake(&client).await.unwrap(), BODY).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 507 ") && answer.ends_with("refused"),
            "{answer}"
        );
    }
}

/// Such a request cannot even be parsed.
#[tokio::test]
async fn the_answer_to_a_header_that_is_too_large_arrives_too() {
    let server = Running::start(None, Limits::default(), refuses()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n")
        .await
        .unwrap();
    for _ in 0..BODY / PIECE {
        stream.write_all(&[b'x'; PIECE]).await.unwrap();
    }
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

/// The client need not connect again, and its answers arrive in order.
#[tokio::test]
async fn a_short_rest_is_read_and_the_connection_stays_open() {
    let server = Running::start(None, Limits::default(), refuses()).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        let request = format!("{}{}", post(SHORT_REST_BYTES), "x".repeat(SHORT_REST_BYTES));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 507 "));
    }
}

/// A client that sent `Expect: 100-continue` gets its answer, and no 100.
#[tokio::test]
async fn a_client_is_not_asked_to_send_a_body_that_is_not_read() {
    let server = Running::start(None, Limits::default(), refuses()).await;
    let mut stream = server.connect().await;
    let request = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 507 ") && answer.contains("connection: close"),
        "{answer}"
    );
}

/// Writes as long as it can, and returns the number of bytes.
async fn pour(mut write: WriteHalf<impl AsyncWrite>) -> usize {
    let mut written = 0;
    while let Ok(more @ 1..) = write.write(&[b'x'; PIECE]).await {
        written += more;
    }
    written
}

fn split<S: AsyncRead + AsyncWrite>(stream: S) -> (ReadHalf<S>, WriteHalf<S>) {
    tokio::io::split(stream)
}

#[tokio::test]
async fn discarding_is_bounded_in_time_and_bytes() {
    let pki = Pki::new();
    let limits = Limits {
        discard_timeout: SOON,
        ..Limits::default()
    };
    let plain = Running::start(None, limits.clone(), refuses()).await;
    let tls = Running::start(Some(pki.server(ClientAuth::Off, None)), limits, refuses()).await;
    let most = DISCARDED_BYTES + (16 << 20); // what both kernels hold
    let mut stream = plain.connect().await;
    stream.write_all(post(usize::MAX >> 1).as_bytes()).await.unwrap();
    let (mut read, write) = split(stream);
    let (answer, written) = tokio::join!(rest(&mut read), pour(write));
    assert!(answer.ends_with(b"refused") && written < most, "{written}");
    let mut stream = tls.shake(&Arc::new(pki.client(None))).await.unwrap();
    stream.write_all(post(usize::MAX >> 1).as_bytes()).await.unwrap();
    let (mut read, write) = split(stream);
    let (answer, written) = tokio::join!(rest(&mut read), pour(write));
    assert!(answer.ends_with(b"refused") && written < most, "{written}");
}

/// A lingering connection has no request in flight, so it is closed first.
#[tokio::test]
async fn a_lingering_connection_gives_way_to_another() {
    let limits = Limits {
        connections: 1,
        discard_timeout: Duration::from_secs(60),
        ..Limits::default()
    };
    let server = Running::start(None, limits, refuses()).await;
    let mut lingers = server.connect().await;
    lingers.write_all(post(BODY).as_bytes()).await.unwrap();
    assert!(
        rest(&mut lingers).await.ends_with(b"refused"),
        "and the writing side has ended"
    );
    let mut other = server.connect().await;
    let other = ask(&mut other);
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(20), other)
            .await
            .expect("it gets its place")
            .unwrap(),
        "refused"
    );
}

/// The shutdown of the server does not wait long.
#[tokio::test]
async fn a_lingering_connection_ends_in_time_after_the_server_stops() {
    let limits = Limits {
        discard_timeout: SOON,
        drain_timeout: Duration::from_secs(60),
        ..Limits::default()
    };
    let server = Running::start(None, limits, refuses()).await;
    let mut lingers = server.connect().await;
    lingers.write_all(post(BODY).as_bytes()).await.unwrap();
    assert!(rest(&mut lingers).await.ends_with(b"refused"));
    server.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), server.ended)
        .await
        .expect("it ends")
        .unwrap();
}

/// A stream with its answer, and its connection, of which the client has read everything so far.
async fn early_answer(server: &Running, pki: &Pki) -> (h2::SendStream<Bytes>, JoinHandle<()>) {
    let mut client = pki.client(None);
    client.alpn_protocols = vec![b"h2".into()];
    let (mut sender, mut connection) = h2::client::handshake(server.shake(&Arc::new(client)).await.unwrap())
        .await
        .unwrap();
    let mut ping = connection.ping_pong().unwrap();
    let driven = tokio::spawn(async move { drop(connection.await) });
    let request = http::Request::post("https://localhost/").body(()).unwrap();
    let (answer, body) = sender.send_request(request, false).unwrap();
    let mut answer = answer.await.unwrap().into_body();
    assert_eq!(answer.data().await.unwrap().unwrap(), "refused");
    while let Some(end) = answer.data().await {
        assert_eq!(end.unwrap(), "");
    }
    ping.ping(h2::Ping::opaque()).await.unwrap();
    (body, driven)
}

/// curl loses an unread answer when the stream is reset.
#[tokio::test]
async fn over_http_2_no_reset_follows_an_early_answer_while_the_body_is_sent() {
    let pki = Pki::new();
    let tls = open(
        TlsSettings {
            http2: true,
            ..pki.settings(ClientAuth::Off)
        },
        None,
    );
    let server = Running::start(Some(tls), Limits::default(), refuses()).await;
    let (mut body, _connection) = early_answer(&server, &pki).await;
    let reset = std::future::poll_fn(|context| std::task::Poll::Ready(body.poll_reset(context))).await;
    assert!(reset.is_pending(), "{reset:?}");
    // This is larger than the window, so the server must open it again.
    let mut left = 1 << 20;
    while left > 0 {
        body.reserve_capacity(left);
        let capacity = std::future::poll_fn(|context| body.poll_capacity(context))
            .await
            .unwrap()
            .unwrap();
        body.send_data(vec![b'x'; capacity.min(left)].into(), capacity >= left)
            .unwrap();
        left = left.saturating_sub(capacity);
    }
}

#[tokio::test]
async fn over_http_2_the_final_reset_has_no_error() {
    let pki = Pki::new();
    let tls = open(
        TlsSettings {
            http2: true,
            ..pki.settings(ClientAuth::Off)
        },
        None,
    );
    let limits = Limits {
        discard_timeout: Duration::from_millis(1),
        ..Limits::default()
    };
    let server = Running::start(Some(tls), limits, refuses()).await;
    let (mut body, _connection) = early_answer(&server, &pki).await;
    let reset = tokio::time::timeout(
        Duration::from_secs(20),
        std::future::poll_fn(|context| body.poll_reset(context)),
    );
    assert_eq!(reset.await.expect("it comes").unwrap(), h2::Reason::NO_ERROR);
}

#[tokio::test]
async fn plain_http_gets_a_readable_answer_from_a_port_with_tls() {
    let pki = Pki::new();
    let server = Running::start(
        Some(pki.server(ClientAuth::Off, None)),
        Limits::default(),
        says_who(),
    )
    .await;
    for (head, said) in [
        (
            "GET /v2/ HTTP/1.1\r\nhost: r.example:5000\r\n",
            "this port speaks HTTPS: use https://r.example:5000\n",
        ),
        ("GET / HTTP/1.0\r\n", "this port speaks HTTPS: use https://\n"),
        (
            "GET / HTTP/1.1\r\nhost: <b>\r\n",
            "this port speaks HTTPS: use https://\n",
        ),
        ("HEAD / HTTP/1.1\r\nhost: r.example\r\n", ""),
        (
            "PUT / HTTP/1.1\r\nhost: r.example\r\ncontent-length: 1000000\r\n",
            "this port speaks HTTPS: use https://r.example\n",
        ),
    ] {
        let mut stream = server.connect().await;
        stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        let answer = String::from_utf8(rest(&mut stream).await).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.0 400 "),
            "{answer}"
        );
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, said, "{head}");
    }
    let mut stream = server.connect().await;
    stream.write_all(b"no HTTP\r\n\r\n").await.unwrap();
    assert_eq!(rest(&mut stream).await[0], 21, "a TLS alert");
    assert_eq!(
        server.ask(pki.client(None)).await.unwrap(),
        "true nobody 127.0.0.1"
    );
}

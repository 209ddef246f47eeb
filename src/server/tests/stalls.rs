//! Clients that stop in a handshake, a header or a body, or that do not receive an answer.

use super::*;
use http::Method;

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
async fn an_answer_that_the_client_does_not_receive_is_abandoned() {
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

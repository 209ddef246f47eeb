//! Clients that have not logged in, and a load balancer in front of them, with the settings of a running
//! server.

use crate::harness::{PATIENCE, Setup};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const GET: &[u8] = b"GET /v2/ HTTP/1.1\r\nhost: registry\r\nconnection: close\r\n\r\n";

/// A connection from another address of this machine.
async fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

/// Everything that the server sent before it closed the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("the server closes the connection");
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_strangers_and_load_balancers_hold_and_can_be_reloaded() {
    let mut setup = Setup::plain();
    setup.config["http"]["unidentified"] = json!({"connectionsPerAddress": 1, "requestsPerAddress": 10});
    let mut app = setup.start().await;
    let address: SocketAddr = app.host().parse().unwrap();
    let mut first = connect("127.0.0.2", address).await;
    let mut other = connect("127.0.0.3", address).await;
    let mut second = connect("127.0.0.2", address).await;
    assert_eq!(
        rest(&mut first).await,
        "",
        "the next connection of its address takes its place"
    );
    for stays in [&mut other, &mut second] {
        stays.write_all(GET).await.unwrap();
        assert!(rest(stays).await.starts_with("HTTP/1.1 401 "));
    }

    let mark = app.mark().await;
    app.setup.config["http"]["unidentified"] = json!({"connectionsPerAddress": 2});
    app.setup.config["http"]["proxyProtocol"] = json!(["127.0.0.2"]);
    app.setup.file();
    app.signal(Signal::HUP);
    let in_force = |line: &Value| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains("is in use"))
    };
    app.log.wait("the configuration is in use", mark, in_force).await;
    let mut first = connect("127.0.0.3", address).await;
    let mut second = connect("127.0.0.3", address).await;
    for stream in [&mut second, &mut first] {
        stream.write_all(GET).await.unwrap();
        assert!(rest(stream).await.starts_with("HTTP/1.1 401 "));
    }
    let mark = app.mark().await;
    let mut balanced = connect("127.0.0.2", address).await;
    balanced
        .write_all(&[b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", GET].concat())
        .await
        .unwrap();
    assert!(rest(&mut balanced).await.starts_with("HTTP/1.1 401 "));
    app.log
        .wait("the client is the one that the header names", mark, |line| {
            line["client.address"] == "203.0.113.7"
        })
        .await;
    let mut forged = connect("127.0.0.3", address).await;
    forged
        .write_all(&[b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", GET].concat())
        .await
        .unwrap();
    assert_eq!(rest(&mut forged).await, "");
    let mut bare = connect("127.0.0.2", address).await;
    bare.write_all(GET).await.unwrap();
    assert_eq!(rest(&mut bare).await, "");
    let named = |line: &Value| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains("turn on the PROXY protocol there"))
    };
    app.log
        .wait("the load balancer without a header is named", mark, named)
        .await;
}

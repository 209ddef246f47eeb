//! The attacks. Each one runs until it is dropped.

use super::attacker::{Attacker, CONNECTIONS, Held};
use super::certificates::{self, Chain};
use super::http2;
use super::site::Site;
use super::victim::PUBLIC_BLOB;
use futures_util::future::{BoxFuture, join_all};
use serde_json::json;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::time::{sleep, timeout};
use wharfinger_testkit::encode;

pub(crate) type Attack = for<'a> fn(&'a Attacker, &'a Site) -> BoxFuture<'a, ()>;

pub(crate) const ATTACKS: &[(&str, Attack)] = &[
    ("certificates", |attacker, _| {
        Box::pin(large_certificates(attacker))
    }),
    ("paths", |attacker, _| Box::pin(paths(attacker))),
    ("log", |attacker, _| Box::pin(log(attacker))),
    ("connections", |attacker, _| Box::pin(connections(attacker))),
    ("bodies", |attacker, _| Box::pin(bodies(attacker))),
    ("passwords", |attacker, _| Box::pin(passwords(attacker))),
    ("signatures", |attacker, site| {
        Box::pin(signatures(attacker, site))
    }),
    ("handshakes", |attacker, _| Box::pin(handshakes(attacker))),
];

/// The shortest request that has an answer.
const SHORT: &str = "GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n";

/// Leaf certificates with 20,000 names, on connections that stay open as long as the server allows.
async fn large_certificates(attacker: &Attacker) {
    let chain = certificates::many_names();
    let tls = attacker.tls(Some(&chain), false);
    let mut held = VecDeque::new();
    loop {
        if let Some(mut connection) = attacker.connect(&tls, chain.bytes()).await {
            connection.ask(SHORT).await;
            held.push_back(connection);
        }
        if held.len() > CONNECTIONS {
            held.pop_front();
        }
    }
}

/// Leaf certificates of the configured trust domain with 120 authorities of one name, and many short
/// requests.
async fn paths(attacker: &Attacker) {
    ask_over_and_over(attacker, Some(&certificates::one_name(120)), |_| SHORT.to_owned()).await;
}

/// Expired authorities, whose rejection is logged, and long paths.
async fn log(attacker: &Attacker) {
    let long = format!(
        "GET /v2/{}/tags/list HTTP/1.1\r\nHost: a\r\n\r\n",
        "%0a\"x".repeat(1500)
    );
    let request = move |number| {
        if number % 50 == 0 {
            long.clone()
        } else {
            SHORT.to_owned()
        }
    };
    ask_over_and_over(attacker, Some(&certificates::expired(48)), request).await;
}

/// Silent sockets, bodies that send one byte every ten seconds, and HTTP/2 streams whose client reads
/// nothing.
async fn connections(attacker: &Attacker) {
    let silent = (0..CONNECTIONS - 320).map(|_| async {
        loop {
            let Some(mut socket) = attacker.socket().await else {
                sleep(Duration::from_secs(1)).await;
                continue;
            };
            let _ = socket.read(&mut [0; 1]).await;
        }
    });
    let tls = attacker.tls(None, false);
    let dripping = (0..300).map(|_| async {
        loop {
            let Some(mut connection) = connect(attacker, &tls, 0).await else { continue };
            let head =
                "POST /v2/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100000\r\n\r\n";
            let mut open = attacker.write(&mut connection.stream, head.as_bytes()).await;
            while open.is_some() {
                open = attacker.write(&mut connection.stream, b"a").await;
                if timeout(Duration::from_secs(10), connection.stream.read(&mut [0; 1024])).await.is_ok() {
                    break;
                }
            }
        }
    });
    let h2 = attacker.tls(None, true);
    let greedy = (0..20).map(|_| async {
        loop {
            let Some(mut connection) = connect(attacker, &h2, 0).await else {
                continue;
            };
            let opening = http2::gets_without_a_window(128, PUBLIC_BLOB);
            if attacker.write(&mut connection.stream, &opening).await.is_some() {
                while connection
                    .stream
                    .read(&mut [0; 4096])
                    .await
                    .is_ok_and(|read| read > 0)
                {}
            }
        }
    });
    tokio::join!(join_all(silent), join_all(dripping), join_all(greedy));
}

/// Form bodies that are sent almost completely at once, and never finished.
async fn bodies(attacker: &Attacker) {
    let tls = attacker.tls(None, false);
    let body = "a".repeat(100 << 10);
    let request = format!(
        "POST /v2/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len() + 1000
    );
    let sending = (0..CONNECTIONS).map(|_| async {
        loop {
            let Some(mut connection) = connect(attacker, &tls, 0).await else {
                continue;
            };
            connection.ask(&request).await;
        }
    });
    join_all(sending).await;
}

/// Wrong passwords for a name that exists.
async fn passwords(attacker: &Attacker) {
    let request = |number| {
        let credential = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            format!("alice:wrong {number}"),
        );
        format!("GET /v2/ HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {credential}\r\n\r\n")
    };
    ask_over_and_over(attacker, None, request).await;
}

/// Tokens that name a known key and are signed by another one.
async fn signatures(attacker: &Attacker, site: &Site) {
    let stranger = wharfinger_testkit::Signer::new("jwt-1");
    let claims = json!({"sub": site.pki.domain.id("/builder"), "aud": [wharfinger_testkit::AUDIENCE], "exp": wharfinger_testkit::now() + 3600});
    let token = stranger.token(&claims);
    let signed = token.rsplit_once('.').unwrap().0.to_owned();
    let request = move |number: u64| {
        let mut signature = [7; 64];
        signature[..8].copy_from_slice(&number.to_be_bytes());
        format!(
            "GET /v2/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {signed}.{}\r\n\r\n",
            encode(signature)
        )
    };
    ask_over_and_over(attacker, None, request).await;
}

/// Handshakes only, as many at a time as allowed.
async fn handshakes(attacker: &Attacker) {
    let tls = attacker.tls(None, false);
    let shaking = (0..CONNECTIONS).map(|_| async {
        loop {
            drop(connect(attacker, &tls, 0).await);
        }
    });
    join_all(shaking).await;
}

/// One request after another, on a hundred connections.
async fn ask_over_and_over(attacker: &Attacker, chain: Option<&Chain>, request: impl Fn(u64) -> String) {
    let tls = attacker.tls(chain, false);
    let certificates = chain.map_or(0, Chain::bytes);
    let number = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let asking = (0..100).map(|_| async {
        loop {
            let Some(mut connection) = connect(attacker, &tls, certificates).await else {
                continue;
            };
            loop {
                let request = request(number.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
                if connection.ask(&request).await.is_none() {
                    break;
                }
            }
        }
    });
    join_all(asking).await;
}

/// After a refusal there is a pause.
async fn connect(attacker: &Attacker, tls: &super::tls::Tls, certificates: usize) -> Option<Held> {
    let connection = attacker.connect(tls, certificates).await;
    if connection.is_none() {
        sleep(Duration::from_millis(200)).await;
    }
    connection
}

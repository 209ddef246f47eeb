//! The choice of connections when there is no place for all.

use super::*;
use crate::http::{StrangerBounds, Strangers};
use crate::server::Networks;
use arc_swap::ArcSwap;
use futures_util::FutureExt as _;

/// Answers requests. `/in` identifies the caller, and `/wait` waits on a seat.
fn handler(begun: &Arc<Notify>, allowed: &Arc<Notify>) -> Router {
    let begun = begun.clone();
    let allowed = allowed.clone();
    Router::new().fallback(async move |request: Request| {
        let active = &request.extensions().get::<Connection>().unwrap().active;
        match request.uri().path() {
            "/in" => active.identified(),
            "/wait" => {
                begun.notify_one();
                active.sits(active.standing().stranger().unwrap().seat().await.unwrap());
                allowed.notified().await;
            }
            _ => {}
        }
        "answered"
    })
}

struct Site {
    server: Running,
    begun: Arc<Notify>,
    allowed: Arc<Notify>,
    strangers: Strangers,
    networks: Arc<ArcSwap<Networks>>,
}

impl Site {
    async fn new(connections: usize, of_one_address: usize) -> Self {
        Self::with(None, connections, of_one_address).await
    }

    async fn with(tls: Option<Tls>, connections: usize, of_one_address: usize) -> Self {
        Self::seated(tls, connections, of_one_address, 100).await
    }

    async fn seated(tls: Option<Tls>, connections: usize, of_one_address: usize, requests: usize) -> Self {
        let begun = Arc::new(Notify::new());
        let allowed = Arc::new(Notify::new());
        let limits = Limits {
            connections,
            ..Limits::default()
        };
        let strangers = Strangers::new(StrangerBounds {
            connections: of_one_address,
            requests,
        });
        let networks = Arc::new(ArcSwap::from_pointee(Networks::default()));
        let settings = Settings {
            tls,
            limits,
            strangers: strangers.clone(),
            networks: networks.clone(),
        };
        let server = Running::with(settings, handler(&begun, &allowed)).await;
        Self {
            server,
            begun,
            allowed,
            strangers,
            networks,
        }
    }

    /// A connection that stays open after an answer at this path.
    async fn idle(&self, from: &str, path: &str) -> TcpStream {
        let mut stream = self.server.connect_from(from).await;
        again(&mut stream, path).await;
        stream
    }

    /// A connection whose request is being answered, or waits for a seat.
    async fn busy(&self, from: &str) -> TcpStream {
        let mut stream = self.server.connect_from(from).await;
        stream.write_all(&get("/wait")).await.unwrap();
        self.begun.notified().await;
        stream
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

/// Sends a request and reads the answer. The connection must be open.
async fn again(stream: &mut TcpStream, path: &str) {
    stream.write_all(&get(path)).await.unwrap();
    answer(stream).await;
}

async fn answer(stream: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.ends_with(b"answered") {
        assert_ne!(
            stream.read_buf(&mut read).await.unwrap(),
            0,
            "closed after {:?}",
            String::from_utf8_lossy(&read)
        );
    }
}

#[tokio::test]
async fn one_address_cannot_take_the_places_of_others() {
    let site = Site::new(100, 2).await;
    let mut held = [site.busy("127.0.0.2").await, site.busy("127.0.0.2").await];
    assert_eq!(
        rest(&mut site.server.connect_from("127.0.0.2").await).await,
        b"",
        "a third of the same address"
    );
    site.idle("127.0.0.1", "/").await;
    for held in &mut held {
        site.allowed.notify_one();
        answer(held).await;
    }
    site.idle("127.0.0.2", "/").await;
}

#[tokio::test]
async fn the_idle_connection_of_an_address_is_closed_for_its_next_one() {
    let site = Site::new(100, 2).await;
    let mut oldest = site.idle("127.0.0.2", "/").await;
    let mut other = site.idle("127.0.0.2", "/").await;
    let mut elsewhere = site.idle("127.0.0.1", "/").await;
    let mut third = site.idle("127.0.0.2", "/").await;
    assert_eq!(rest(&mut oldest).await, b"");
    for stays in [&mut other, &mut elsewhere, &mut third] {
        again(stays, "/").await;
    }
}

#[tokio::test]
async fn an_identified_connection_is_not_counted() {
    let site = Site::new(100, 1).await;
    let mut known: Vec<_> = vec![
        site.idle("127.0.0.2", "/in").await,
        site.idle("127.0.0.2", "/in").await,
    ];
    known.push(site.idle("127.0.0.2", "/").await);
    for stream in &mut known {
        again(stream, "/").await;
    }
    drop(known);
    let stranger = site.strangers.at("127.0.0.2".parse().unwrap());
    while !stranger.connects() {
        tokio::task::yield_now().await;
    }
    assert!(!stranger.connects(), "each is given back once");
}

#[tokio::test]
async fn when_all_places_are_taken_the_longest_idle_unidentified_connection_is_closed() {
    let site = Site::new(5, 100).await;
    let mut known = site.idle("127.0.0.1", "/in").await;
    let mut silent = site.server.connect_from("127.0.0.2").await;
    let mut busy = site.busy("127.0.0.2").await;
    let mut partial = site.idle("127.0.0.2", "/").await;
    partial.write_all(b"GET / HTTP/1.1\r\nhost: loc").await.unwrap();
    let mut idle = site.idle("127.0.0.2", "/").await;
    for closed in [&mut silent, &mut partial, &mut idle] {
        // A probe from another address is served, and so is a caller that will be identified.
        let mut probe = site.idle("127.0.0.1", "/livez").await;
        again(&mut probe, "/in").await;
        assert_eq!(rest(closed).await, b"");
        drop(std::mem::replace(closed, probe));
    }
    again(&mut known, "/").await;
    site.allowed.notify_one();
    answer(&mut busy).await;
    for stays in [&mut silent, &mut partial, &mut idle] {
        again(stays, "/").await;
    }
}

#[tokio::test]
async fn a_request_that_waits_for_a_seat_gives_way_to_the_next_connection_of_its_address() {
    let site = Site::seated(None, 100, 3, 1).await;
    let mut seated = site.busy("127.0.0.2").await;
    let mut first = site.busy("127.0.0.2").await;
    let mut second = site.busy("127.0.0.2").await;
    site.idle("127.0.0.2", "/in").await;
    assert_eq!(rest(&mut first).await, b"", "the one that waited for the longest");
    for answered in [&mut seated, &mut second] {
        site.allowed.notify_one();
        answer(answered).await;
    }
}

#[tokio::test]
async fn if_all_places_are_busy_the_address_with_most_connections_loses_one() {
    let site = Site::seated(None, 6, 100, 2).await;
    let mut known = site.idle("127.0.0.1", "/in").await;
    let mut elsewhere = site.busy("127.0.0.3").await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(site.busy("127.0.0.2").await);
    }
    // Two of these wait, and two are being answered.
    for closed in [2, 3, 0] {
        let mut probe = site.idle("127.0.0.1", "/livez").await;
        again(&mut probe, "/in").await;
        assert_eq!(rest(&mut held[closed]).await, b"", "{closed}");
        std::mem::forget(probe);
    }
    again(&mut known, "/").await;
    for answered in [&mut elsewhere, &mut held[1]] {
        site.allowed.notify_waiters();
        answer(answered).await;
    }
}

#[tokio::test]
async fn a_connection_that_waits_for_a_place_is_counted_as_it_was_on_arrival() {
    let site = Site::new(1, 100).await;
    let known = site.idle("127.0.0.1", "/in").await;
    let mut waits = site.server.connect_from("127.0.0.2").await;
    while site.strangers.entries() < 2 {
        tokio::task::yield_now().await;
    }
    let proxy_protocol = ["127.0.0.2".parse().unwrap()].into_iter().collect();
    site.networks.store(Arc::new(Networks {
        proxy_protocol,
        ..Networks::default()
    }));
    drop(known);
    again(&mut waits, "/").await;
    let mut later = site.server.connect_from("127.0.0.2").await;
    later
        .write_all(&[b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", &*get("/")].concat())
        .await
        .unwrap();
    answer(&mut later).await;
}

#[tokio::test]
async fn the_connections_of_a_trusted_proxy_are_not_bounded_and_not_closed() {
    let site = Site::new(3, 1).await;
    let trusted_proxies = ["127.0.0.2".parse().unwrap()].into_iter().collect();
    site.networks.store(Arc::new(Networks {
        trusted_proxies,
        ..Networks::default()
    }));
    let mut proxied = [
        site.idle("127.0.0.2", "/").await,
        site.idle("127.0.0.2", "/").await,
    ];
    let mut stranger = site.idle("127.0.0.1", "/").await;
    let mut next = site.idle("127.0.0.3", "/").await;
    assert_eq!(rest(&mut stranger).await, b"");
    for stays in proxied.iter_mut().chain([&mut next]) {
        again(stays, "/").await;
    }
}

#[tokio::test]
async fn a_stalled_handshake_gives_way() {
    let pki = Pki::new();
    let site = Site::with(Some(pki.server(ClientAuth::Off, None)), 1, 100).await;
    let mut silent = site.server.connect().await;
    let mut begun = site.server.connect().await;
    assert_eq!(rest(&mut silent).await, b"");
    begun.write_all(b"\x16\x03\x01").await.unwrap();
    let mut stream = site.server.shake(&Arc::new(pki.client(None))).await.unwrap();
    assert_eq!(rest(&mut begun).await, b"");
    assert_eq!(ask(&mut stream).await.unwrap(), "answered");
}

/// The answer is one piece, which hyper accepts at once. Its unsent part is still in memory.
#[tokio::test]
async fn a_request_ends_when_its_answer_is_sent() {
    const PIECE: usize = 32 << 20;
    let handler = Router::new().fallback(async |request: Request| {
        let active = &request.extensions().get::<Connection>().unwrap().active;
        let Some(Ok(seat)) = active.standing().stranger().unwrap().seat().now_or_never() else {
            return Body::from("crowded");
        };
        active.sits(seat);
        Body::from(if request.uri().path() == "/large" {
            vec![b'x'; PIECE]
        } else {
            b"seated".to_vec()
        })
    });
    let pki = Pki::new();
    for tls in [false, true] {
        let strangers = Strangers::new(StrangerBounds {
            connections: 10,
            requests: 1,
        });
        let tls = tls.then(|| pki.server(ClientAuth::Off, None));
        let client = tls.is_some().then(|| Arc::new(pki.client(None)));
        let server = Running::with(
            Settings {
                tls,
                strangers,
                ..Settings::default()
            },
            handler.clone(),
        )
        .await;
        let connect = async || match &client {
            Some(client) => Box::new(server.shake(client).await.unwrap()) as Box<dyn Duplex>,
            None => Box::new(server.connect().await),
        };
        let mut slow = connect().await;
        slow.write_all(&get("/large")).await.unwrap();
        slow.read_u8().await.unwrap();
        assert_eq!(ask(&mut connect().await).await.unwrap(), "crowded");
        let mut large = Vec::new();
        while large.len() < PIECE {
            slow.read_buf(&mut large).await.unwrap();
        }
        while ask(&mut connect().await).await.unwrap() != "seated" {}
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

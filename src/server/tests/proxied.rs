//! A server behind a load balancer that passes connections through.

use super::*;
use crate::http::{StrangerBounds, Strangers, TrustedProxies};
use crate::server::Networks;
use arc_swap::ArcSwap;

/// A server that treats this machine's address as a load balancer's.
async fn balanced(tls: Option<Tls>, strangers: Strangers) -> Running {
    let proxy_protocol: TrustedProxies = ["127.0.0.1".parse().unwrap()].into_iter().collect();
    let networks = Arc::new(ArcSwap::from_pointee(Networks {
        proxy_protocol,
        ..Networks::default()
    }));
    Running::with(
        Settings {
            tls,
            strangers,
            networks,
            ..Settings::default()
        },
        says_who(),
    )
    .await
}

fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u8::try_from(rest.len()).unwrap();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family, 0, length], rest].concat()
}

fn headers() -> Vec<(Vec<u8>, &'static str)> {
    let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb];
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    v6[15] = 7;
    let with_values = [&v4[..], b"\x02\x00\x05r.exa"].concat();
    vec![
        (
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n".to_vec(),
            "203.0.113.7",
        ),
        (
            b"PROXY TCP6 2001:db8::7 fd00::1 4711 443\r\n".to_vec(),
            "2001:db8::7",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_2(0x21, 0x11, &v4), "203.0.113.7"),
        (version_2(0x21, 0x11, &with_values), "203.0.113.7"),
        (version_2(0x21, 0x21, &v6), "2001:db8::7"),
        (version_2(0x20, 0x00, &[]), "127.0.0.1"),
    ]
}

#[tokio::test]
async fn the_address_in_a_proxy_header_is_the_clients_and_its_certificate_is_seen() {
    let pki = Pki::new();
    let server = balanced(Some(pki.server(ClientAuth::Optional, None)), Strangers::default()).await;
    let client = Arc::new(pki.client(Some(&self_signed(false))));
    for (header, address) in headers() {
        let mut stream = server.connect().await;
        stream.write_all(&header).await.unwrap();
        let mut stream = shake_on(stream, &client).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), format!("true a chain {address}"));
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces_and_together_with_what_follows() {
    let server = balanced(None, Strangers::default()).await;
    for (header, address) in headers() {
        let mut stream = server.connect().await;
        stream.write_all(&[&header, GET].concat()).await.unwrap();
        assert!(
            String::from_utf8(rest(&mut stream).await)
                .unwrap()
                .ends_with(&format!("false nobody {address}"))
        );
        let mut stream = server.connect().await;
        for byte in header {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(ask(&mut stream).await.unwrap(), format!("false nobody {address}"));
    }
}

#[tokio::test]
async fn only_load_balancers_may_send_a_proxy_header_and_they_must() {
    let server = balanced(None, Strangers::default()).await;
    for no_header in [
        GET,
        b"PROXY TCP4 203.0.113.7 10.0.0.1 4711\r\n",
        b"PROXY TCP4 203.0.113.7",
    ] {
        let mut stream = server.connect().await;
        stream.write_all(no_header).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(
            rest(&mut stream).await,
            b"",
            "{:?}",
            String::from_utf8_lossy(no_header)
        );
    }
    let pki = Pki::new();
    for tls in [None, Some(pki.server(ClientAuth::Off, None))] {
        let plain = tls.is_none();
        let server = balanced(tls, Strangers::default()).await;
        for (header, _) in headers() {
            let mut stream = server.connect_from("127.0.0.2").await;
            stream.write_all(&[&header, GET].concat()).await.unwrap();
            assert_eq!(
                rest(&mut stream).await,
                b"",
                "{:?}",
                String::from_utf8_lossy(&header)
            );
        }
        if plain {
            assert_eq!(
                ask(&mut server.connect_from("127.0.0.2").await).await.unwrap(),
                "false nobody 127.0.0.2"
            );
        }
    }
}

#[tokio::test]
async fn connections_are_bounded_by_the_address_in_the_header() {
    let server = balanced(
        None,
        Strangers::new(StrangerBounds {
            connections: 1,
            requests: 1,
        }),
    )
    .await;
    let connect = async |client: &str| {
        let mut stream = server.connect().await;
        stream
            .write_all(format!("PROXY {client} 1 443\r\n").as_bytes())
            .await
            .unwrap();
        stream.write_all(GET_AND_STAY).await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        stream
    };
    let mut first = connect("TCP6 2001:db8::1 fd00::1").await;
    let mut other = connect("TCP4 203.0.113.7 10.0.0.1").await;
    let _same = connect("TCP6 2001:db8::2 fd00::1").await;
    rest(&mut first).await;
    other.write_all(GET).await.unwrap();
    assert!(
        String::from_utf8(rest(&mut other).await)
            .unwrap()
            .ends_with("203.0.113.7")
    );
    let mut own = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
        own.push(stream);
    }
    for mut stream in own {
        assert_eq!(
            ask(&mut stream).await.unwrap(),
            "false nobody 127.0.0.1",
            "the load balancer's own are not bounded"
        );
    }
}

/// Both share one deadline, and neither arrives.
#[tokio::test(start_paused = true)]
async fn a_missing_proxy_header_and_a_missing_handshake_time_out() {
    let pki = Pki::new();
    let server = balanced(Some(pki.server(ClientAuth::Off, None)), Strangers::default()).await;
    let limit = Limits::default().handshake_timeout;
    for (header, waits) in [
        (&b""[..], false),
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", true),
    ] {
        let began = tokio::time::Instant::now();
        let mut stream = server.connect().await;
        if waits {
            tokio::time::sleep(limit - Duration::from_secs(1)).await;
        }
        // A paused clock advances when nothing else happens.
        stream.write_all(header).await.unwrap();
        assert_eq!(rest(&mut stream).await, b"");
        assert!(
            began.elapsed() < limit + Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    }
}

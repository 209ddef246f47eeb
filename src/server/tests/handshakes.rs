//! The handshake: which certificate a client shows, which one it gets, and which protocol follows.

use super::*;
use rustls::HandshakeKind;
use std::sync::Mutex;

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
async fn x_24_if_a_certificate_is_required_the_handshake_verifies_its_chain() {
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
        assert_eq!(
            *named.0.lock().unwrap(),
            Some(0),
            "the server asks for a certificate and names no authority"
        );
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

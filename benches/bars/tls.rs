//! The client's side of TLS, and a server that only does handshakes, which shows the minimum cost of a
//! handshake.

use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use wharfinger_testkit::Pair;

/// The client's roots and certificate. Sessions are never resumed.
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    pub(crate) fn new(authority: &str, own: Option<&Pair>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificates(authority).remove(0)).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match own {
            Some(Pair { certificate, key }) => builder
                .with_client_auth_cert(certificates(certificate), private_key(key))
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.resumption = rustls::client::Resumption::disabled();
        Self(Arc::new(config))
    }

    pub(crate) fn shake(&self, mut stream: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
        let mut connection =
            ClientConnection::new(self.0.clone(), ServerName::try_from("localhost").unwrap()).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).unwrap();
        }
        StreamOwned::new(connection, stream)
    }
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(Result::unwrap)
        .collect()
}

fn private_key(pem: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// Serves on `address` until it is ended. Each connection gets a full handshake with the client's certificate
/// and one answer. `folder` has the server's certificate and key, and the clients' authority.
pub(crate) fn serve_bare(folder: &Path, address: &str) {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificates(&read("clients.crt")).remove(0)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    let builder = builder.with_client_cert_verifier(verifier);
    let mut config = builder
        .with_single_cert(
            certificates(&read("server.crt")),
            private_key(&read("server.key")),
        )
        .unwrap();
    config.send_tls13_tickets = 0;
    let config = Arc::new(config);
    let listener = TcpListener::bind(address).unwrap();
    for stream in listener.incoming() {
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream.unwrap());
        if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"));
            stream.conn.send_close_notify();
            drop(stream.flush());
        }
    }
}

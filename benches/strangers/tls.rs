//! The client's side of TLS, from its own address, with arbitrary certificates.

use pki_types::pem::PemObject as _;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[derive(Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// `chain` is sent unchanged and without checks. Sessions are never resumed.
    pub(crate) fn new(
        authority: &str,
        chain: Option<(Vec<CertificateDer<'static>>, &PrivateKeyDer<'static>)>,
        http2: bool,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap())
            .unwrap();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match chain {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = provider.key_provider.load_private_key(key.clone_key()).unwrap();
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(
                    chain, key,
                ))))
            }
        };
        config.resumption = rustls::client::Resumption::disabled();
        if http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Self(Arc::new(config))
    }

    pub(crate) async fn connect(
        &self,
        from: IpAddr,
        to: SocketAddr,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = connect(from, to).await?;
        TlsConnector::from(self.0.clone())
            .connect(ServerName::try_from("localhost").unwrap(), stream)
            .await
    }
}

/// A plain connection from one address of loopback to another.
pub(crate) async fn connect(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

//! What a connection's client certificate is worth.

use pki_types::CertificateDer;

/// The certificates that the client sent in the handshake, leaf first. TLS has proved that it has the leaf's key, and nothing more.
#[derive(Debug)]
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
}

impl Peer {
    #[must_use]
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self { chain }
    }

    /// Whether the client sent no certificate at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }
}

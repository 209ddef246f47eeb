//! What a request inherits from its connection. The server puts it into the extensions of every request.

use crate::identity::Peer;
use std::net::SocketAddr;
use std::sync::Arc;

/// One connection, as the server accepted it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Who presented a certificate in the handshake, if anyone did. The chain is proved to be in its hands, and nothing more.
    pub peer: Option<Arc<Peer>>,
    pub remote: SocketAddr,
    pub tls: bool,
}

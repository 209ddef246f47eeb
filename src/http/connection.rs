//! What a request inherits from its connection. The server adds it to the extensions of every request.

use super::standing::ActiveRequest;
use crate::identity::Peer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One connection, as the server accepted it. It is cheap to clone.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The certificate that the client presented in the handshake, if any. The client has proved that it has
    /// the key, and nothing else is verified yet.
    pub peer: Option<Arc<Peer>>,
    pub remote: SocketAddr,
    pub tls: bool,
    pub more: More,
    /// This request, as long as it is in flight.
    pub active: ActiveRequest,
}

/// Whether more of an answer is about to be sent: a hint from the code that makes the answer to the code that
/// sends it. All clones share it. It is cleared with the last piece, and if no further piece will come.
#[derive(Clone, Debug, Default)]
pub struct More(Arc<AtomicBool>);

impl More {
    pub(super) fn comes(&self, comes: bool) {
        self.0.store(comes, Ordering::Relaxed);
    }

    #[must_use]
    pub fn is_coming(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The client stopped in the middle of a request's body, or was too slow. The server makes the body fail with
/// this error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stalled {
    #[error("the client sent nothing for {after:?}")]
    Silent { after: Duration },
    #[error("it was slower than {rate} bytes a second, which is too slow for a caller who has not logged in")]
    Slow { rate: u64 },
    #[error("it took more than {after:?}, which is too long for a caller who has not logged in")]
    Late { after: Duration },
}

//! What a request inherits from its connection. The server puts it into the extensions of every request.

use super::standing::ActiveRequest;
use crate::identity::Peer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One connection, as the server accepted it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Who presented a certificate in the handshake, if anyone did. The chain is proved to be in its hands,
    /// and nothing more.
    pub peer: Option<Arc<Peer>>,
    pub remote: SocketAddr,
    pub tls: bool,
    pub more: More,
    /// Who sends this request, as far as it is known.
    pub active: ActiveRequest,
}

/// Whether more of an answer is about to be sent. A hint from whoever makes the answer, for whoever sends it;
/// all clones share it. It is not set when the last piece is handed over, nor when there will be none any
/// more.
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

/// The client stopped in the middle, or was too slow: the error of a request's body, which the server puts
/// there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stalled {
    #[error("nothing came for {after:?}")]
    Silent { after: Duration },
    #[error("it was slower than {rate} bytes a second, which is too slow for a caller who has not logged in")]
    Slow { rate: u64 },
    #[error("it took more than {after:?}, which is too long for a caller who has not logged in")]
    Late { after: Duration },
}

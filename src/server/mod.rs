//! Listeners. They serve TLS with certificates that can be reloaded, pass client certificates on to be
//! verified later, bound the cost of each connection, and let running requests finish at shutdown.
//!
//! [`run`] serves one bound listener with any tower service, such as an [`axum::Router`], and adds a
//! [`Connection`] to the extensions of each request. This module knows no identities. TLS only proves that
//! the client has the key of the certificate that it presents, if the key can prove it.
//! [`Peer`](crate::identity::Peer) verifies the certificate later.

mod accept;
mod admission;
mod answered;
mod client_certificate;
mod connection;
mod pace;
mod plain;
mod proxy_header;
mod slots;
mod stall;
mod stream;
mod streams;
#[cfg(test)]
mod tests;
mod tls;
mod unread;

pub use accept::run;
pub use admission::Networks;
pub use client_certificate::{ChainCheck, ClientAuth, NotAccepted};
pub use proxy_header::{InvalidProxyHeader, ProxyHeader};
pub use tls::{Expiring, Expiry, InvalidTls, PairFiles, Prepared, Reloaded, Tls, TlsSettings};

pub use crate::http::Connection;

use crate::http::Strangers;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `None` serves plain HTTP/1.1.
    pub tls: Option<Tls>,
    pub limits: Limits,
    /// The bounds for clients that have not identified themselves.
    pub strangers: Strangers,
    /// These may change at any time.
    pub networks: Arc<ArcSwap<Networks>>,
}

/// The bounds on the cost and the number of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time from accepting a connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// The time for a request header to arrive, including the wait for the next request on an open
    /// connection. Over HTTP/2, how long a connection may have no request.
    pub header_timeout: Duration,
    /// How long to wait for the next piece of a request's body, or for the client to receive the next piece
    /// of an answer.
    pub stall_timeout: Duration,
    /// After an answer that did not wait for the whole body, how long to discard the rest of the body.
    pub discard_timeout: Duration,
    /// Bytes per second that a caller who has not logged in must send and receive on average. `stall_timeout`
    /// is the time that such a caller may fall behind.
    pub unidentified_rate: u64,
    /// The time for the whole body of such a caller's request. Only the time spent waiting for the client is
    /// measured.
    pub unidentified_body_timeout: Duration,
    /// The size of a request header, at least 8 KiB. The request line and a token of 32 KiB must fit.
    pub header_bytes: u32,
    /// The number of open connections. For one more, an unidentified one is closed, an idle one first. If all
    /// are identified, new ones wait in the listener's backlog.
    pub connections: usize,
    /// How long running requests may take to finish at shutdown.
    pub drain_timeout: Duration,
}

impl Limits {
    /// Lowers the number of connections to what this many open files allow. Each connection may need a second
    /// file, for a blob.
    #[must_use]
    pub fn for_open_files(self, files: Option<u64>) -> Self {
        /// Open files of the store, the log and the sources of keys.
        const OTHERS: u64 = 64;
        const LEAST: usize = 16;
        let most = files.map_or(usize::MAX, |files| {
            usize::try_from(files.saturating_sub(OTHERS) / 2).unwrap_or(usize::MAX)
        });
        Self {
            connections: self.connections.min(most.max(LEAST)),
            ..self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(60),
            discard_timeout: Duration::from_secs(5),
            unidentified_rate: 1024,
            unidentified_body_timeout: Duration::from_secs(60 * 60),
            header_bytes: 64 << 10,
            connections: 10_000,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

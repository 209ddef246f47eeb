//! Listeners: TLS whose certificate is reloaded, client certificates that are taken along and judged later,
//! limits on what a connection may cost before it says anything, and an end that lets running requests
//! finish.
//!
//! [`run`] serves one bound listener with any tower service (an [`axum::Router`] is one) and tells each
//! request where it came from in an extension, [`Connection`]. It knows nothing of identities: TLS proves
//! here that the client has the key of the certificate it shows, where that key can prove it, and
//! [`Peer`](crate::identity::Peer) is what finds out whom that certificate stands for.

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
pub use client_certificate::{ClientAuth, Judge, NotAccepted};
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
    /// What clients that have not identified themselves have open.
    pub strangers: Strangers,
    /// May change at any time.
    pub networks: Arc<ArcSwap<Networks>>,
}

/// What one connection may cost, and how many there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the accepted connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// For a whole request header to arrive; the wait for a next request on an open connection counts too.
    /// Over HTTP/2, how long a connection may be without any request.
    pub header_timeout: Duration,
    /// For the next piece of a request's body to come once it is wanted, and for the client to take the next
    /// piece of an answer.
    pub stall_timeout: Duration,
    /// How long what still comes of a request's body is thrown away after an answer that did not wait for it.
    pub discard_timeout: Duration,
    /// Bytes a second that a caller who has not logged in must send and take on average, with `stall_timeout`
    /// as a credit.
    pub unidentified_rate: u64,
    /// For the whole body of such a caller's request; only the time that is spent waiting for it counts.
    pub unidentified_body_timeout: Duration,
    /// Of a request header. The request line and a token of 32 KiB must fit; at least 8 KiB.
    pub header_bytes: u32,
    /// Open at the same time. For one more, one that has identified nobody is closed, an idle one first; if
    /// there is none, more wait in the listener's backlog.
    pub connections: usize,
    /// How long running requests may take to finish after the server was told to stop.
    pub drain_timeout: Duration,
}

impl Limits {
    /// With no more connections than this many open files allow: each may need a second one, for a blob.
    #[must_use]
    pub fn for_open_files(self, files: Option<u64>) -> Self {
        /// Of the store, the log, sources of keys.
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

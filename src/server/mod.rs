//! Listeners: TLS whose certificate is reloaded, client certificates that are taken along and judged later, limits on what a
//! connection may cost before it says anything, and an end that lets running requests finish.
//!
//! [`run`] serves one bound listener with any tower service (an [`axum::Router`] is one) and tells each request where it came from
//! in an extension, [`Connection`]. It knows nothing of identities: TLS proves here that the client has the key of the certificate
//! it shows, and [`Peer`](crate::identity::Peer) is what finds out whom that certificate stands for.

mod accept;
mod client_certificate;
mod connection;
mod stall;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

pub use accept::run;
pub use client_certificate::{ClientAuth, Judge};
pub use tls::{Expiring, Expiry, InvalidTls, PairFiles, Prepared, Reloaded, Tls, TlsSettings};

pub use crate::http::Connection;

use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `None` serves plain HTTP/1.1.
    pub tls: Option<Tls>,
    pub limits: Limits,
}

/// What one connection may cost, and how many there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the accepted connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// For a whole request header to arrive; the wait for a next request on an open connection counts too.
    pub header_timeout: Duration,
    /// For the next piece of a request's body to come once it is wanted, and for the client to take the next piece of an answer.
    pub stall_timeout: Duration,
    /// Of a request header. The request line and a token of 32 KiB must fit; at least 8 KiB.
    pub header_bytes: u32,
    /// Open at the same time; more wait in the listener's backlog.
    pub connections: usize,
    /// How long running requests may take to finish after the server was told to stop.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(60),
            header_bytes: 64 << 10,
            connections: 10_000,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

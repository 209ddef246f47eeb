//! Requests that are answered before all of their body was read, such as a rejected push. Some clients look
//! for the answer only after they have sent the body, and lose it if the connection closes first. So the
//! server reads and discards the rest for a while, too slowly to be kept busy by it.
//!
//! Over HTTP/1.1 the server closes its own side after the answer ([RFC 9112,
//! 9.6](https://www.rfc-editor.org/rfc/rfc9112#section-9.6)). Over HTTP/2 it resets the stream without an
//! error, but only after that while ([RFC 9113, 8.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.1)):
//! curl 7.88 loses an unread answer when the stream is reset.

use super::Limits;
use super::stream::Stream;
use crate::limits::{DISCARDED_BYTES, SHORT_REST_BYTES};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// The part of a request's body that the handler did not read. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Rest(Arc<Mutex<Option<Incoming>>>);

impl Rest {
    pub(super) fn leave(&self, body: Incoming) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    pub(super) fn take(&self) -> Option<Incoming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Reads the rest if it is known to be short, and returns whether it was read completely. A longer rest
    /// is dropped.
    pub(super) async fn read_short(&self) -> bool {
        let Some(mut body) = self.take() else { return false };
        if body
            .size_hint()
            .exact()
            .is_none_or(|rest| rest > SHORT_REST_BYTES as u64)
        {
            return false;
        }
        let read = async {
            while let Some(frame) = body.frame().await {
                if frame.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(SHORT_REST_TIMEOUT, read)
            .await
            .unwrap_or(false)
    }
}

/// Discards the rest of a stream's body until it ends or time is up.
pub(super) async fn discard_body(mut body: Incoming, limit: Duration) {
    let all = async {
        let mut pace = Pace::new(limit);
        while let Some(Ok(frame)) = body.frame().await {
            pace.took(frame.data_ref().map_or(0, bytes::Bytes::len)).await;
        }
    };
    drop(tokio::time::timeout(limit, all).await);
}

/// Discards all bytes of a connection whose writing side is closed, until the client closes it or time is up.
/// TLS records are not decrypted.
pub(super) async fn discard(tcp: &mut TcpStream, limits: &Limits) {
    let limit = limits.discard_timeout;
    let all = async {
        let mut pace = Pace::new(limit);
        let mut buffer = vec![0; READ];
        while let Ok(read @ 1..) = tcp.read(&mut buffer).await {
            pace.took(read).await;
        }
    };
    drop(tokio::time::timeout(limit, all).await);
}

/// Spreads [`DISCARDED_BYTES`] over the whole time. A fast client is slowed down, not disconnected.
struct Pace {
    pause: Duration,
    piece: usize,
}

impl Pace {
    fn new(limit: Duration) -> Self {
        Self {
            pause: limit / PIECES,
            piece: 0,
        }
    }

    async fn took(&mut self, bytes: usize) {
        self.piece += bytes;
        while self.piece >= PIECE {
            self.piece -= PIECE;
            tokio::time::sleep(self.pause).await;
        }
    }
}

const PIECES: u32 = 256;
const PIECE: usize = DISCARDED_BYTES / PIECES as usize;
const READ: usize = 64 << 10;
/// A client sends a short body at once, or waits for the answer.
const SHORT_REST_TIMEOUT: Duration = Duration::from_secs(1);

/// A stream whose bytes come over TCP.
pub(super) trait OverTcp {
    fn tcp(&mut self) -> &mut TcpStream;
}

impl OverTcp for Stream {
    fn tcp(&mut self) -> &mut TcpStream {
        self.socket()
    }
}

impl OverTcp for Box<TlsStream<Stream>> {
    fn tcp(&mut self) -> &mut TcpStream {
        self.get_mut().0.socket()
    }
}

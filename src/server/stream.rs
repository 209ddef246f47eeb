//! The connection's bytes. While more of an answer is about to come the kernel holds back what fills no
//! segment (`TCP_CORK`), instead of sending each piece's rest by itself, which costs a tenth of a large
//! download. A PROXY header in front is read here, or refused.

use super::plain::{PlainHttp, is_http};
use super::proxy_header::{InvalidProxyHeader, ProxyHeader};
use crate::http::More;
use crate::limits::PROXY_HEADER_BYTES;
use bytes::{Buf as _, Bytes, BytesMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(super) struct Stream {
    tcp: TcpStream,
    more: More,
    corked: bool,
    /// What was read together with the PROXY header.
    ahead: Bytes,
    /// Whether anything was read.
    begun: bool,
    /// Whether what is read next must begin a TLS handshake.
    expects_tls: bool,
}

impl Stream {
    /// `more` says at each write whether another one is about to follow.
    pub(super) const fn new(tcp: TcpStream, more: More) -> Self {
        Self {
            tcp,
            more,
            corked: false,
            ahead: Bytes::new(),
            begun: false,
            expects_tls: false,
        }
    }

    /// The next read fails with [`PlainHttp`] if it finds that. What was read is read again after it.
    pub(super) const fn expect_tls(&mut self) {
        self.expects_tls = true;
    }

    pub(super) const fn socket(&mut self) -> &mut TcpStream {
        &mut self.tcp
    }

    /// Reads the header with which each connection of this peer begins. What follows it is read as if there
    /// were none.
    pub(super) async fn proxy_header(&mut self) -> Result<ProxyHeader, NoHeader> {
        self.begun = true;
        let mut read = BytesMut::with_capacity(FIRST);
        loop {
            if self.tcp.read_buf(&mut read).await? == 0 {
                return Err(NoHeader::Closed);
            }
            if let Some((header, length)) = ProxyHeader::parse(&read)? {
                read.advance(length);
                self.ahead = read.freeze();
                return Ok(header);
            }
            // What is longer than this is refused by its length, as soon as that is there.
            read.reserve(PROXY_HEADER_BYTES - read.len().min(PROXY_HEADER_BYTES - 1));
        }
    }

    /// Before a write.
    fn cork(&mut self) {
        if !self.corked && self.more.is_coming() {
            self.corked = set_cork(&self.tcp, true);
        }
    }

    /// After a write: the last one takes what was held back along, and nothing may wait any more.
    fn uncork(&mut self) {
        if self.corked && !self.more.is_coming() {
            set_cork(&self.tcp, false);
            self.corked = false;
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if !stream.ahead.is_empty() {
            if std::mem::take(&mut stream.expects_tls) && is_http(&stream.ahead) {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, PlainHttp)));
            }
            let now = stream.ahead.split_to(stream.ahead.len().min(buffer.remaining()));
            buffer.put_slice(&now);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut stream.tcp).poll_read(context, buffer);
        if !stream.begun && read.is_ready() {
            stream.begun = true;
            if buffer.filled().get(before..).is_some_and(ProxyHeader::is_begun) {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, UnexpectedHeader)));
            }
        }
        if stream.expects_tls && read.is_ready() {
            stream.expects_tls = false;
            let first = buffer.filled().get(before..).unwrap_or_default();
            if is_http(first) {
                stream.ahead = Bytes::copy_from_slice(first);
                buffer.set_filled(before);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, PlainHttp)));
            }
        }
        read
    }
}

/// Why a connection that must begin with a PROXY header did not get further.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHeader {
    /// As a check whether the port is open does it.
    #[error("it was closed at once")]
    Closed,
    #[error(transparent)]
    Failed(#[from] io::Error),
    #[error(transparent)]
    Invalid(#[from] InvalidProxyHeader),
}

#[derive(Debug, thiserror::Error)]
#[error("it begins with a PROXY header, and http.proxyProtocol does not name its address")]
struct UnexpectedHeader;

/// Enough for a header as load balancers send it.
const FIRST: usize = 512;

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        stream.cork();
        let written = Pin::new(&mut stream.tcp).poll_write_vectored(context, slices);
        stream.uncork();
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        stream.uncork();
        Pin::new(&mut stream.tcp).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(context)
    }
}

/// Says whether it is so now. A failure means that the peer has gone, which the next write tells.
#[cfg(target_os = "linux")]
fn set_cork(tcp: &TcpStream, corked: bool) -> bool {
    rustix::net::sockopt::set_tcp_cork(tcp, corked).is_ok() && corked
}

#[cfg(not(target_os = "linux"))]
fn set_cork(_: &TcpStream, _: bool) -> bool {
    false
}

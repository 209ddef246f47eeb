//! The bytes of a connection. While more of an answer is about to come, the kernel holds back incomplete
//! segments (`TCP_CORK`). Sending the end of each piece by itself would make a large download a tenth slower.
//! A leading PROXY header is read or rejected here.

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
    /// Bytes that were read together with the PROXY header.
    ahead: Bytes,
    /// Whether anything was read.
    begun: bool,
    /// Whether the next bytes must begin a TLS handshake.
    expects_tls: bool,
}

impl Stream {
    /// `more` tells at each write whether another one is about to follow.
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

    /// Makes the next read fail with [`PlainHttp`] if the client speaks that. The bytes can be read again.
    pub(super) const fn expect_tls(&mut self) {
        self.expects_tls = true;
    }

    pub(super) const fn socket(&mut self) -> &mut TcpStream {
        &mut self.tcp
    }

    /// Reads the PROXY header with which each connection of this peer begins. Later reads start after it.
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
            // A longer header is rejected as soon as its length is known.
            read.reserve(PROXY_HEADER_BYTES - read.len().min(PROXY_HEADER_BYTES - 1));
        }
    }

    /// Must be called before a write.
    fn cork(&mut self) {
        if !self.corked && self.more.is_coming() {
            self.corked = set_cork(&self.tcp, true);
        }
    }

    /// Must be called after a write. After the last one, lets the kernel send what it held back.
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

/// Why a connection has no valid PROXY header although it must.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHeader {
    /// Checks whether the port is open do this.
    #[error("it was closed at once")]
    Closed,
    #[error(transparent)]
    Failed(#[from] io::Error),
    #[error(transparent)]
    Invalid(#[from] InvalidProxyHeader),
}

#[derive(Debug, thiserror::Error)]
#[error("it begins with a PROXY header, but http.proxyProtocol does not list its address")]
struct UnexpectedHeader;

/// The size of the first read, which suffices for usual headers.
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

/// Returns the new state. A failure means that the peer has closed the connection, which the next write
/// reports.
#[cfg(target_os = "linux")]
fn set_cork(tcp: &TcpStream, corked: bool) -> bool {
    rustix::net::sockopt::set_tcp_cork(tcp, corked).is_ok() && corked
}

#[cfg(not(target_os = "linux"))]
fn set_cork(_: &TcpStream, _: bool) -> bool {
    false
}

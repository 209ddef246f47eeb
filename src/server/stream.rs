//! The connection's bytes. While more of an answer is about to come the kernel holds back what fills no segment (`TCP_CORK`), instead of
//! sending each piece's rest by itself, which costs a tenth of a large download.

use crate::http::More;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(super) struct Stream {
    tcp: TcpStream,
    more: More,
    corked: bool,
}

impl Stream {
    /// `more` says at each write whether another one is about to follow.
    pub(super) const fn new(tcp: TcpStream, more: More) -> Self {
        Self { tcp, more, corked: false }
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
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
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

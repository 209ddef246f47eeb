//! Clients that stop in the middle: of sending a request's body, or of taking an answer. Both hold what others could have: an
//! upload's lock, memory, a place among the connections.

use crate::http::Stalled;
use axum::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A request's body that ends with [`Stalled`] when nothing of it came for too long while somebody wanted it.
pub(super) struct Received {
    body: Incoming,
    patience: Patience,
    whole: Arc<AtomicBool>,
}

impl Received {
    /// `whole` is set when the last of it was taken.
    pub(super) fn new(body: Incoming, limit: Duration, whole: Arc<AtomicBool>) -> Self {
        Self { body, patience: Patience::new(limit), whole }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, patience, whole } = self.get_mut();
        match patience.watch(Pin::new(&mut *body).poll_frame(context), context) {
            Poll::Ready(Ok(frame)) => {
                whole.store(frame.is_none() || body.is_end_stream(), Ordering::Relaxed);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Ready(Err(stalled)) => Poll::Ready(Some(Err(stalled.into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose writes fail when the peer took nothing for too long.
pub(super) struct Taken<S> {
    stream: S,
    patience: Patience,
}

impl<S> Taken<S> {
    pub(super) const fn new(stream: S, limit: Duration) -> Self {
        Self { stream, patience: Patience::new(limit) }
    }
}

impl<S: AsyncWrite + Unpin> Taken<S> {
    fn write<T>(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Self { stream, patience } = self.get_mut();
        let written = poll(Pin::new(stream), context);
        Poll::Ready(
            ready!(patience.watch(written, context)).unwrap_or_else(|stalled| Err(io::Error::new(io::ErrorKind::TimedOut, stalled))),
        )
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(context, |stream, context| stream.poll_shutdown(context))
    }
}

/// How long to wait for the same thing. The timer is made at the first wait, and set anew at each.
struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Patience {
    const fn new(limit: Duration) -> Self {
        Self { limit, timer: None, waiting: false }
    }

    fn watch<T>(&mut self, poll: Poll<T>, context: &mut Context<'_>) -> Poll<Result<T, Stalled>> {
        if let Poll::Ready(progress) = poll {
            self.waiting = false;
            return Poll::Ready(Ok(progress));
        }
        let end = Instant::now() + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        if !std::mem::replace(&mut self.waiting, true) {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(context).map(|()| Err(Stalled { after: self.limit }))
    }
}

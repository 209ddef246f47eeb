//! Clients that stop while they send a request's body or receive an answer. They hold what others could use:
//! an upload's lock, memory, a place among the connections. A caller who has not logged in must not be slow,
//! either.

use super::Limits;
use super::pace::Pace;
use super::unread::Rest;
use crate::http::{ActiveRequest, Stalled, Standing};
use axum::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A request's body that fails with [`Stalled`] when the client sends nothing, or too little, while the
/// registry waits for it.
pub(super) struct Received {
    /// `None` after the drop has moved it to `rest`.
    body: Option<Incoming>,
    patience: Patience,
    active: ActiveRequest,
    rest: Rest,
}

impl Received {
    /// Notifies `active` when all of the body was read, and leaves an unread rest to `rest`.
    pub(super) fn new(body: Incoming, limits: &Limits, active: ActiveRequest, rest: Rest) -> Self {
        Self {
            body: Some(body),
            patience: Patience::new(limits, limits.unidentified_body_timeout),
            active,
            rest,
        }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if !self.active.body_is_taken()
            && let Some(body) = self.body.take()
        {
            self.rest.leave(body);
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self {
            body,
            patience,
            active,
            ..
        } = self.get_mut();
        let Some(body) = body else {
            return Poll::Ready(None);
        };
        let bytes = |frame: &Option<Result<Frame<Bytes>, _>>| match frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        match patience.watch(
            Pin::new(&mut *body).poll_frame(context),
            bytes,
            active.is_identified(),
            context,
        ) {
            Poll::Ready(Ok(frame)) => {
                active.standing().moved();
                active.body_taken(frame.is_none() || body.is_end_stream());
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Ready(Err(stalled)) => Poll::Ready(Some(Err(stalled.into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// A stream whose writes fail when the peer receives nothing for too long, or too little. It records in the
/// standing whether bytes are unsent.
pub(super) struct Taken<S> {
    stream: S,
    patience: Patience,
    standing: Standing,
}

impl<S> Taken<S> {
    pub(super) const fn new(stream: S, limits: &Limits, standing: Standing) -> Self {
        Self {
            stream,
            patience: Patience::new(limits, Duration::MAX),
            standing,
        }
    }

    pub(super) const fn inner(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncWrite + Unpin> Taken<S> {
    fn write<T>(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        let Self {
            stream,
            patience,
            standing,
        } = self.get_mut();
        let written = poll(Pin::new(stream), context);
        // A proxy receives only as fast as its client.
        let trusted = standing.is_identified() || standing.is_exempt();
        let count = match &written {
            Poll::Ready(Ok(written)) => bytes(written),
            _ => 0,
        };
        if count > 0 {
            standing.moved();
        }
        Poll::Ready(
            ready!(patience.watch(written, |_| count, trusted, context))
                .unwrap_or_else(|stalled| Err(io::Error::new(io::ErrorKind::TimedOut, stalled))),
        )
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.standing.wrote();
        self.write(
            context,
            |stream, context| stream.poll_write(context, bytes),
            |written| *written,
        )
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.standing.wrote();
        self.write(
            context,
            |stream, context| stream.poll_write_vectored(context, slices),
            |written| *written,
        )
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self
            .as_mut()
            .write(context, |stream, context| stream.poll_flush(context), |()| 0);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.standing.flushed();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(context, |stream, context| stream.poll_shutdown(context), |()| 0)
    }
}

/// Bounds each wait. The timer is made at the first wait, and reset at each.
struct Patience {
    limit: Duration,
    /// For a caller who has not logged in.
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: Option<Instant>,
}

impl Patience {
    const fn new(limits: &Limits, deadline: Duration) -> Self {
        let limit = limits.stall_timeout;
        Self {
            limit,
            pace: Pace::new(limit, limits.unidentified_rate, deadline),
            timer: None,
            waiting: None,
        }
    }

    fn watch<T>(
        &mut self,
        poll: Poll<T>,
        bytes: impl FnOnce(&T) -> usize,
        trusted: bool,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, Stalled>> {
        if let Poll::Ready(progress) = poll {
            let waited = self
                .waiting
                .take()
                .map(|since| since.elapsed())
                .unwrap_or_default();
            if !trusted {
                self.pace
                    .took(waited, u64::try_from(bytes(&progress)).unwrap_or(u64::MAX));
            }
            return Poll::Ready(Ok(progress));
        }
        let left = if trusted {
            self.limit
        } else {
            self.limit.min(self.pace.left())
        };
        let end = Instant::now() + left;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        if self.waiting.is_none() {
            self.waiting = Some(Instant::now());
            timer.as_mut().reset(end);
        }
        let over = || {
            if trusted {
                Stalled::Silent { after: self.limit }
            } else {
                self.pace.over(self.limit)
            }
        };
        timer.as_mut().poll(context).map(|()| Err(over()))
    }
}

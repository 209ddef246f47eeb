//! The body of an answer while it is sent. The request is in flight until all of it is sent. Over HTTP/2 that
//! is when the connection has accepted the last piece, which can take long, since each stream waits for its
//! client's window.

use super::unread::Rest;
use crate::http::ActiveRequest;
use axum::body::Body;
use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use http_body::{Body as _, Frame, SizeHint};
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

/// The progress of the answer on one HTTP/2 stream.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// The number of pieces that wait to be sent.
    pieces: AtomicUsize,
    /// The number of bytes that were sent.
    sent: AtomicU64,
    all_sent: AtomicWaker,
    /// The unread rest of the request's body.
    rest: Rest,
}

impl Flight {
    /// Whether a piece waits for the client.
    pub(super) fn waits(&self) -> bool {
        self.pieces.load(Ordering::SeqCst) > 0
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) const fn rest(&self) -> &Rest {
        &self.rest
    }
}

pub(super) struct Answered {
    body: Body,
    active: ActiveRequest,
    /// Only over HTTP/2.
    flight: Option<Arc<Flight>>,
    done: bool,
}

impl Answered {
    pub(super) fn new(body: Body, active: ActiveRequest, flight: Option<Arc<Flight>>) -> Self {
        let done = body.is_end_stream();
        Self {
            body,
            active,
            flight,
            done,
        }
    }

    /// Is ready once all pieces are sent. Hyper keeps the stream's future until then, so that it can be
    /// dropped.
    fn poll_end(flight: &Flight, context: &Context<'_>) -> Poll<()> {
        flight.all_sent.register(context.waker());
        if flight.waits() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl http_body::Body for Answered {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let answered = self.get_mut();
        let frame = if answered.done {
            None
        } else {
            ready!(Pin::new(&mut answered.body).poll_frame(context))
        };
        let Some(frame) = frame else {
            answered.done = true;
            if let Some(flight) = &answered.flight {
                ready!(Self::poll_end(flight, context));
            }
            return Poll::Ready(None);
        };
        answered.active.standing().wrote();
        let flight = &answered.flight;
        Poll::Ready(Some(
            frame.map(|frame| frame.map_data(|bytes| Piece::new(bytes, flight.clone()))),
        ))
    }

    fn is_end_stream(&self) -> bool {
        match &self.flight {
            None => self.body.is_end_stream(),
            Some(flight) => (self.done || self.body.is_end_stream()) && !flight.waits(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes that record when they are sent.
pub(super) struct Piece {
    bytes: Bytes,
    flight: Option<Arc<Flight>>,
}

impl Piece {
    fn new(bytes: Bytes, flight: Option<Arc<Flight>>) -> Self {
        flight.as_ref().inspect(|flight| {
            flight.pieces.fetch_add(1, Ordering::SeqCst);
        });
        Self { bytes, flight }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(flight) = &self.flight
            && flight.pieces.fetch_sub(1, Ordering::SeqCst) == 1
        {
            flight.all_sent.wake();
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(flight) = &self.flight {
            flight
                .sent
                .fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }
}

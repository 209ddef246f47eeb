//! The tasks of the streams of one HTTP/2 connection. A stream whose client receives nothing of the answer
//! for too long, or too little, is dropped. That resets the stream and frees what it holds.

use super::Limits;
use super::answered::Flight;
use super::pace::Pace;
use super::unread::discard_body;
use crate::http::{ActiveRequest, OpenStream, Standing};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// The executor with which hyper runs the streams of a connection. Hyper calls the service for a stream and
/// then runs that stream, before it turns to the next. So the service leaves here what the stream needs.
#[derive(Clone)]
pub(super) struct Streams {
    next: Arc<Mutex<Next>>,
    /// Whether the one stream to which the limits by address do not apply is open.
    own: Arc<AtomicBool>,
    limits: Arc<Limits>,
}

/// The count of an open stream on an unidentified connection.
enum Open {
    /// Each connection may have one in any case, since connections are bounded. So a client can always
    /// present its credential.
    Own(Arc<AtomicBool>),
    OfAddress {
        _stream: OpenStream,
    },
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Self::Own(taken) = self {
            taken.store(false, Ordering::SeqCst);
        }
    }
}

/// How the next stream is run.
#[derive(Default)]
enum Next {
    #[default]
    Unwatched,
    Watched(ActiveRequest, Arc<Flight>, Option<Open>),
}

impl Streams {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        Self {
            next: Arc::default(),
            own: Arc::default(),
            limits,
        }
    }

    /// Announces the request of the next stream. `None` if the client's address has too many streams.
    pub(super) fn begin(
        &self,
        standing: &Standing,
        body_taken: bool,
    ) -> Option<(ActiveRequest, Arc<Flight>)> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match standing.stranger().filter(|_| !standing.is_identified()) {
            None => None,
            Some(_) if !self.own.swap(true, Ordering::SeqCst) => Some(Open::Own(self.own.clone())),
            Some(stranger) => match stranger.stream() {
                Some(stream) => Some(Open::OfAddress { _stream: stream }),
                None => {
                    metrics::counter!("wharfinger_streams_reset_total", "reason" => "address").increment(1);
                    return None;
                }
            },
        };
        let active = ActiveRequest::new(standing, body_taken);
        let flight = Arc::new(Flight::default());
        *next = Next::Watched(active.clone(), flight.clone(), open);
        Some((active, flight))
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let next = std::mem::take(&mut *self.next.lock().unwrap_or_else(PoisonError::into_inner));
        match next {
            Next::Watched(active, flight, open) => drop(tokio::spawn(Watched::new(
                stream,
                active,
                flight,
                open,
                &self.limits,
            ))),
            Next::Unwatched => drop(tokio::spawn(stream)),
        }
    }
}

/// A stream that ends when its client does not receive the answer. After an early answer it discards the rest
/// of the request's body for a while.
struct Watched<F> {
    stream: Pin<Box<F>>,
    watch: Watch,
    discarding: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<F> Watched<F> {
    fn new(
        stream: F,
        active: ActiveRequest,
        flight: Arc<Flight>,
        open: Option<Open>,
        limits: &Limits,
    ) -> Self {
        let watch = Watch {
            active,
            flight,
            open,
            limit: limits.stall_timeout,
            discard_timeout: limits.discard_timeout,
            pace: Pace::new(limits.stall_timeout, limits.unidentified_rate, Duration::MAX),
            waiting: None,
            timer: None,
        };
        Self {
            stream: Box::pin(stream),
            watch,
            discarding: None,
        }
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self {
            stream,
            watch,
            discarding,
        } = self.get_mut();
        if let Some(discarding) = discarding {
            return discarding.as_mut().poll(context);
        }
        if stream.as_mut().poll(context).is_ready() {
            let Some(rest) = watch.flight.rest().take() else {
                return Poll::Ready(());
            };
            let discard = discarding.insert(Box::pin(discard_body(rest, watch.discard_timeout)));
            return discard.as_mut().poll(context);
        }
        watch.poll(context)
    }
}

struct Watch {
    active: ActiveRequest,
    flight: Arc<Flight>,
    /// `None` once the request has identified its caller.
    open: Option<Open>,
    limit: Duration,
    discard_timeout: Duration,
    pace: Pace,
    /// Set while a piece waits for the client.
    waiting: Option<Waiting>,
    timer: Option<Pin<Box<Sleep>>>,
}

struct Waiting {
    looked: Instant,
    sent: u64,
    /// The time since the last byte was sent.
    still: Duration,
}

impl Watch {
    /// Becomes ready when the client has not read for too long. Checks a few times within the limit.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.active.is_identified() {
            self.open = None;
        }
        if !self.flight.waits() {
            self.waiting = None;
            return Poll::Pending;
        }
        let every = self.limit / LOOKS;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
        let waiting = self.waiting.get_or_insert_with(|| {
            timer.as_mut().reset(Instant::now() + every);
            Waiting {
                looked: Instant::now(),
                sent: self.flight.sent(),
                still: Duration::ZERO,
            }
        });
        while timer.as_mut().poll(context).is_ready() {
            let waited = waiting.looked.elapsed();
            let sent = self.flight.sent();
            let bytes = sent.saturating_sub(waiting.sent);
            waiting.still = if bytes == 0 {
                waiting.still + waited
            } else {
                Duration::ZERO
            };
            (waiting.looked, waiting.sent) = (Instant::now(), sent);
            let trusted = self.active.is_identified();
            if !trusted {
                self.pace.took(waited, bytes);
            }
            if waiting.still >= self.limit || (!trusted && self.pace.left().is_zero()) {
                metrics::counter!("wharfinger_streams_reset_total", "reason" => "not_taken").increment(1);
                return Poll::Ready(());
            }
            timer.as_mut().reset(Instant::now() + every);
        }
        Poll::Pending
    }
}

const LOOKS: u32 = 4;

//! The metrics of requests, credentials and bytes. Each thread keeps its own handles, so that a request costs
//! a few lookups in a small map and no lock.

use crate::identity::{CredentialType, Failure, Identity, reason};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use metrics::{Counter, Gauge, Histogram};
use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::Instant;

/// The measurement of one request.
pub(super) struct Measure {
    route: &'static str,
    method: &'static str,
    begun: Instant,
    in_flight: InFlight,
}

impl Measure {
    pub(super) fn begin(route: &'static str, method: &Method, begun: Instant) -> Self {
        Self {
            route,
            method: known(method),
            begun,
            in_flight: InFlight::begin(),
        }
    }

    /// Counts the bytes of the request's body as they are read.
    pub(super) fn received(body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Counted {
            body,
            bytes: with_handles(|handles| handles.received.clone()),
            _in_flight: None,
        })
    }

    /// Counts the answer, and its bytes as they are sent. The request is in flight until the last one.
    pub(super) fn end(self, response: Response) -> Response {
        let seconds = self.begun.elapsed().as_secs_f64();
        let sent = with_handles(|handles| {
            let answered = handles.answered(self.route, self.method, response.status());
            answered.requests.increment(1);
            answered.seconds.record(seconds);
            handles.sent.clone()
        });
        match response.body().size_hint().exact() {
            Some(small) if small <= AT_ONCE => {
                sent.increment(small);
                response
            }
            _ => response.map(|body| {
                Body::new(Counted {
                    body,
                    bytes: sent,
                    _in_flight: Some(self.in_flight),
                })
            }),
        }
    }
}

/// Counts an accepted or rejected credential.
pub(super) fn verdict(outcome: Result<&Identity, &Failure>) {
    match outcome {
        Ok(identity) => with_handles(|handles| handles.accepted(identity.credential()).increment(1)),
        Err(failure) => {
            let (result, evidence) = match failure {
                Failure::Refused(refusal) => ("refused", &refusal.evidence),
                Failure::Undecidable { evidence, .. } | Failure::Busy { evidence, .. } => {
                    ("undecidable", evidence)
                }
            };
            let credential = evidence.credential.map_or("unknown", CredentialType::as_str);
            metrics::counter!("wharfinger_verdicts_total", "credential" => credential, "result" => result, "reason" => reason(failure))
                .increment(1);
        }
    }
}

fn known(method: &Method) -> &'static str {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
        .into_iter()
        .find(|known| method == known)
        .unwrap_or("other")
}

/// The handles of one thread.
struct Handles {
    answered: HashMap<(&'static str, &'static str, StatusCode), Answered>,
    accepted: HashMap<CredentialType, Counter>,
    received: Counter,
    sent: Counter,
    in_flight: Gauge,
}

struct Answered {
    requests: Counter,
    seconds: Histogram,
}

impl Handles {
    fn new() -> Self {
        Self {
            answered: HashMap::new(),
            accepted: HashMap::new(),
            received: metrics::counter!("wharfinger_http_received_bytes_total"),
            sent: metrics::counter!("wharfinger_http_sent_bytes_total"),
            in_flight: metrics::gauge!("wharfinger_http_requests_in_flight"),
        }
    }

    fn accepted(&mut self, credential: CredentialType) -> &Counter {
        self.accepted.entry(credential).or_insert_with(
            || metrics::counter!("wharfinger_verdicts_total", "credential" => credential.as_str(), "result" => "accepted", "reason" => ""),
        )
    }

    fn answered(&mut self, route: &'static str, method: &'static str, status: StatusCode) -> &Answered {
        self.answered.entry((route, method, status)).or_insert_with(|| Answered {
            requests: metrics::counter!("wharfinger_http_requests_total", "route" => route, "method" => method, "status" => status.as_str().to_owned()),
            seconds: metrics::histogram!("wharfinger_http_request_seconds", "route" => route),
        })
    }
}

fn with_handles<T>(use_them: impl FnOnce(&mut Handles) -> T) -> T {
    thread_local!(static HANDLES: RefCell<Handles> = RefCell::new(Handles::new()));
    HANDLES.with_borrow_mut(use_them)
}

struct InFlight(Gauge);

impl InFlight {
    fn begin() -> Self {
        let gauge = with_handles(|handles| handles.in_flight.clone());
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// A body whose bytes are counted.
struct Counted {
    body: Body,
    bytes: Counter,
    _in_flight: Option<InFlight>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.bytes
                .increment(u64::try_from(data.len()).unwrap_or(u64::MAX));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body of at most this size is a single piece, and is counted when the answer is complete.
const AT_ONCE: u64 = 64 * 1024;

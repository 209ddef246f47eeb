//! The connections, and what faults do to them.

use super::conditions::check_write;
use super::fault::{Fault, When};
use super::operation::{Call, Operation};
use super::rules::Conditions;
use super::state::State;
use super::xml;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::header::{CONTENT_LENGTH, DATE, ETAG};
use http::{HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

type Answer = Response<BoxBody<Bytes, io::Error>>;

/// Between the check of a condition and the write, if they are two steps.
const GAP: Duration = Duration::from_millis(20);

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        let tls = tls.clone();
        connections.spawn(async move {
            match tls {
                None => converse(stream, state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        converse(stream, state).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request| respond(request, state.clone()));
    let connection = hyper::server::conn::http1::Builder::new();
    drop(connection.serve_connection(TokioIo::new(stream), service).await);
}

/// An error ends the connection.
async fn respond(request: Request<Incoming>, state: Arc<Mutex<State>>) -> io::Result<Answer> {
    let (head, body) = request.into_parts();
    let mut call = Call::new(head);
    let (number, fault, latency) = {
        let mut state = state.lock().unwrap();
        if state.unreachable {
            return Err(closed());
        }
        let fault = state.fault(&call);
        (state.log.begin(&call), fault, state.rules.latency)
    };
    let request = Asked {
        number,
        state: state.clone(),
    };
    // A body that does not arrive whole has no effect.
    call.body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    // A task of its own: a client that leaves does not take the effect with it.
    let answer = tokio::spawn(async move { request.answer(call, fault).await });
    let answer = answer.await.map_err(io::Error::other)?;
    if latency > Duration::ZERO {
        tokio::time::sleep(latency).await;
    }
    let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
    state.lock().unwrap().log.end(number, status);
    answer
}

struct Asked {
    number: usize,
    state: Arc<Mutex<State>>,
}

impl Asked {
    async fn answer(&self, call: Call, fault: Option<Fault>) -> io::Result<Answer> {
        match fault {
            None => Ok(whole(self.effect(&call, false).await)),
            Some(Fault::Refuse(When::Before, refusal)) => {
                Ok(whole(self.dated(refusal.response_to(call.operation))))
            }
            Some(Fault::Close(When::Before)) => Err(closed()),
            Some(Fault::Silence(When::Before)) => std::future::pending().await,
            Some(Fault::Late(wait)) => {
                self.state.lock().unwrap().postpone(self.number, call, wait);
                Err(closed())
            }
            Some(Fault::Hold(When::Before, gate)) => {
                gate.pass().await;
                Ok(whole(self.effect(&call, false).await))
            }
            Some(after) => {
                let response = self.effect(&call, matches!(after, Fault::OldPage)).await;
                self.spoil(response, after, call.operation).await
            }
        }
    }

    /// What a fault after the effect does to the answer.
    async fn spoil(
        &self,
        mut response: Response<Bytes>,
        fault: Fault,
        operation: Operation,
    ) -> io::Result<Answer> {
        match fault {
            Fault::Refuse(_, refusal) => Ok(whole(self.dated(refusal.response_to(operation)))),
            Fault::Silence(_) => std::future::pending().await,
            Fault::Torn => Ok(torn(response)),
            Fault::WrongTag => {
                let wrong = HeaderValue::from_static("\"00000000000000000000000000000000\"");
                response.headers_mut().insert(ETAG, wrong);
                Ok(whole(response))
            }
            Fault::OldPage => Ok(whole(response)),
            Fault::Hold(_, gate) => {
                gate.pass().await;
                Ok(whole(response))
            }
            Fault::Close(_) | Fault::Late(_) => Err(closed()),
        }
    }

    async fn effect(&self, call: &Call, old_pages: bool) -> Response<Bytes> {
        let refused = {
            let state = self.state.lock().unwrap();
            state.access.check(call, state.clock.now()).err()
        };
        let response = match refused {
            Some(refusal) => refusal.response_to(call.operation),
            None => self.permitted(call, old_pages).await,
        };
        self.dated(response)
    }

    async fn permitted(&self, call: &Call, old_pages: bool) -> Response<Bytes> {
        let conditions = self.state.lock().unwrap().rules.conditions;
        if conditions == Conditions::NotAtomic {
            let checked = {
                let state = self.state.lock().unwrap();
                check_write(state.bucket.objects.get(&call.key), call)
            };
            if let Err(refusal) = checked {
                return refusal.response_to(call.operation);
            }
            tokio::time::sleep(GAP).await;
        }
        let checks = conditions == Conditions::Kept;
        let mut state = self.state.lock().unwrap();
        state.apply(self.number, call, checks, old_pages)
    }

    fn dated(&self, mut response: Response<Bytes>) -> Response<Bytes> {
        let now = self.state.lock().unwrap().clock.now();
        response.headers_mut().insert(DATE, xml::http_date(now));
        response
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "a fault of the test")
}

fn whole(response: Response<Bytes>) -> Answer {
    response.map(|body| Full::new(body).map_err(|never| match never {}).boxed())
}

/// Announces the whole body and sends half of it.
fn torn(response: Response<Bytes>) -> Answer {
    let length = response.body().len().max(1);
    let mut response = response.map(|body| {
        let half = body.slice(..body.len() / 2);
        let first = stream::once(async { Ok(Frame::data(half)) });
        let end = stream::once(async {
            // While the body is not ready, the server sends what it has.
            tokio::task::yield_now().await;
            Err(closed())
        });
        let frames = first.chain(end);
        BodyExt::boxed(StreamBody::new(frames))
    });
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

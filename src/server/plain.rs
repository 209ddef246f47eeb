//! Plain HTTP on a TLS port. It gets an HTTP answer, since a client would show the bytes of a TLS alert as
//! they are.

use crate::limits::HOST_BYTES;
use axum::body::Body;
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use tower_service::Service;

/// Whether a connection that begins with these bytes speaks plain HTTP. No TLS record begins like this.
pub(super) fn is_http(first: &[u8]) -> bool {
    first.first().is_some_and(u8::is_ascii_uppercase)
}

/// The error of a read that finds plain HTTP.
#[derive(Debug, thiserror::Error)]
#[error("the client speaks plain HTTP, and this port speaks HTTPS")]
pub(super) struct PlainHttp;

/// Answers every request with 400.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpeaksHttps;

impl Service<Request<Body>> for SpeaksHttps {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut response = Response::new(Body::from(said(&request)));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        ready(Ok(response))
    }
}

fn said(request: &Request<Body>) -> String {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .filter(|host| host.len() <= HOST_BYTES);
    match host.and_then(|host| host.parse::<Authority>().ok()) {
        Some(host) => format!("this port speaks HTTPS: use https://{host}\n"),
        None => "this port speaks HTTPS: use https://\n".to_owned(),
    }
}

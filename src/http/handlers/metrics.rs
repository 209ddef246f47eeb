//! `/metrics`. On the registry's own address, policy decides who may read it. The separate listener for
//! health and metrics serves it to every client.

use super::Call;
use crate::access;
use crate::http::fault::Fault;
use crate::telemetry::{CONTENT_TYPE, Scrape};
use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};

pub(in crate::http) fn answer(call: &Call) -> Result<Response, Fault> {
    if !access::may_read_metrics(&call.live.policy, &call.identity) {
        return Err(Fault::no_metrics());
    }
    Ok(text(&call.app.scrape))
}

pub(in crate::http) fn text(scrape: &Scrape) -> Response {
    let mut response = Response::new(Body::from(scrape.text()));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}

//! `/v2/_wharfinger/jwks`: the public keys of our own tokens (RFC 7517), for whoever is sent one.

use super::{Call, Reply};
use crate::http::fault::Fault;
use axum::response::Response;
use http::StatusCode;
use http::header::CACHE_CONTROL;

pub(in crate::http) fn answer(call: &Call) -> Result<Response, Fault> {
    // Shorter than a new key is published before it signs.
    Ok(Reply::new(StatusCode::OK)
        .header(CACHE_CONTROL, "public, max-age=300")
        .json(&call.app.tokens.keys().published()))
}

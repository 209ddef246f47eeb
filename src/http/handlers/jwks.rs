//! `/v2/_wharfinger/jwks`: the public keys of the registry's own tokens (RFC 7517), for services that verify
//! them.

use super::{Call, Reply};
use crate::http::fault::Fault;
use axum::response::Response;
use http::StatusCode;
use http::header::CACHE_CONTROL;

pub(in crate::http) fn answer(call: &Call) -> Result<Response, Fault> {
    // A new key is published for longer than this before it signs.
    Ok(Reply::new(StatusCode::OK)
        .header(CACHE_CONTROL, "public, max-age=300")
        .json(&call.app.tokens.keys().published()))
}

//! `/v2/`: shows clients that this is a registry, and whether they need a credential. An anonymous caller
//! gets a 401 even if it may pull, since clients that get a 200 never present their credential.

use super::{Call, Reply};
use crate::http::fault::Fault;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

pub(in crate::http) fn answer(call: &Call) -> Result<Response, Fault> {
    let anonymous = call.identity.is_anonymous() && call.identity.scope().is_none();
    if anonymous && call.live.open.is_none() {
        return Err(Fault::unauthenticated());
    }
    Ok(Reply::new(StatusCode::OK).json(&json!({})))
}

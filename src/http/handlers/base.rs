//! `/v2/`: where clients find out that this is a registry, and whether they need a credential. 401 for the
//! anonymous even where they may pull, since clients that were answered 200 never present the credential that
//! they have.

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

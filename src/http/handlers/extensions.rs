//! `/v2/_oci/ext/discover`: the extensions of the specification that the registry supports. Each entry must
//! have the address of its documentation, so `_wharfinger` is left out until it has one.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/extensions/_oci.md>

use super::{Call, Reply};
use crate::http::fault::Fault;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

pub(in crate::http) fn answer(call: &Call) -> Result<Response, Fault> {
    if call.identity.is_anonymous() && !call.live.policy.serves_anonymous() {
        return Err(Fault::unauthenticated());
    }
    let catalog = json!({
        "name": "_catalog",
        "url": "https://distribution.github.io/distribution/spec/api/#catalog",
        "description": "the repositories that the caller may read",
        "endpoints": ["/v2/_catalog"],
    });
    Ok(Reply::new(StatusCode::OK).json(&json!({"extensions": [catalog]})))
}

//! `/v2/`: where clients find out that this is a registry, and whether they need a credential. 401 for the
//! anonymous even where they may pull, since clients that were answered 200 never present the credential that
//! they have.

use super::{Call, Reply};
use crate::http::answer::Fault;
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::json;

pub(super) fn answer(call: &Call) -> Result<Response, Fault> {
    match call.parts.method {
        Method::GET | Method::HEAD if call.live.open.is_some() => {
            Ok(Reply::new(StatusCode::OK).json(&json!({})))
        }
        Method::GET | Method::HEAD if call.identity.is_anonymous() && call.identity.scope().is_none() => {
            Err(Fault::unauthenticated())
        }
        Method::GET | Method::HEAD => Ok(Reply::new(StatusCode::OK).json(&json!({}))),
        _ => Err(Fault::method_not_allowed("GET, HEAD")),
    }
}

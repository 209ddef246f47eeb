//! `/v2/token`: what clients ask that know only the token protocol. The token that they present has been verified by now; they get it
//! back and present it as Bearer from then on.
//!
//! <https://distribution.github.io/distribution/spec/auth/token/>

use super::{Call, Reply};
use crate::http::answer::Fault;
use crate::http::auth::presented;
use axum::response::Response;
use http::header::CACHE_CONTROL;
use http::{Method, StatusCode};
use serde_json::json;

pub(super) fn answer(call: &Call) -> Result<Response, Fault> {
    match call.parts.method {
        Method::GET => {}
        // Clients that try OAuth2's POST first go on with GET when they are told 404.
        Method::POST => return Err(Fault::not_found()),
        _ => return Err(Fault::method_not_allowed("GET")),
    }
    if call.identity.is_anonymous() {
        return Err(Fault::no_token());
    }
    let presented = presented(&call.parts);
    let token = call.live.authenticator.token(&presented).ok_or_else(Fault::no_token)?;
    let seconds = call.identity.valid_until().since(call.now).as_secs();
    Ok(Reply::new(StatusCode::OK).header(CACHE_CONTROL, "no-store").json(&json!({
        "token": token.expose(),
        "access_token": token.expose(),
        "expires_in": seconds,
    })))
}

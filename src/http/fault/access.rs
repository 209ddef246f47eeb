//! Requests that policy, or the registry's setup, does not allow.

use super::{ChallengeError, Fault, RETRY_SECONDS};
use crate::access::{BeyondScope, Denied, DeniedBy};
use crate::http::turns::Crowded;
use crate::limits::FORMS_OF_ADDRESS;
use crate::oci::ErrorCode;
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde_json::json;

impl Fault {
    /// Nobody in particular asks for what somebody may have.
    pub(in crate::http) fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            ErrorCode::Unauthorized,
            "authentication is required",
        )
    }

    /// The token is good, and was asked for something else.
    fn insufficient_scope() -> Self {
        let message =
            "the token's scope does not name this: ask for another token with the scope of the challenge";
        Self {
            challenge: Some(ChallengeError::InsufficientScope),
            ..Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
        }
    }

    pub(in crate::http) fn no_metrics() -> Self {
        let message = "policy does not allow you to read the metrics";
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
            .log("accessControl.metrics.users does not name this identity")
    }

    /// A caller who has not logged in, and whose address has too many requests in flight.
    pub(in crate::http) fn crowded(why: Crowded) -> Self {
        let message = "too many requests of your address are being answered for callers who have not logged in: log in, or try again later";
        Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message)
            .header(RETRY_AFTER, RETRY_SECONDS)
            .log(format!(
                "callers at this address who have not logged in have as many requests in flight as \
                 http.unidentified.requestsPerAddress allows, or send {FORMS_OF_ADDRESS} forms, and {why}"
            ))
    }

    /// An open registry on loopback, asked under a name that may be anyone's.
    pub(in crate::http) fn not_a_name_of_loopback() -> Self {
        let message = "this registry has no login and answers to names of loopback alone, as localhost and 127.0.0.1: use one of them";
        let log = "the Host is no name of loopback: if it should be one of this registry, start with --open and name it in http.externalURL";
        Self::new(StatusCode::MISDIRECTED_REQUEST, ErrorCode::Denied, message).log(log)
    }

    pub(in crate::http) fn open_behind_a_proxy() -> Self {
        let message = "this registry has no login, and does not answer what a proxy hands on";
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message).log(
            "the request has a header that proxies write: configure a login, or start with --open to let everybody behind the proxy in",
        )
    }

    pub(in crate::http) fn open_to_another_site() -> Self {
        let message = "this registry has no login, and does not answer pages of other sites";
        let log = "a browser sent it for another site: if its page may use this registry, name its origin in http.allowOrigin";
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message).log(log)
    }
}

impl From<Denied> for Fault {
    fn from(denied: Denied) -> Self {
        if denied.by == DeniedBy::Scope {
            return Self::insufficient_scope().log(&denied);
        }
        let Denied {
            action, repository, ..
        } = &denied;
        let message = format!("policy does not allow you to {} in {repository}", action.as_str());
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
            .detail(json!({"repository": repository.as_str(), "action": action.as_str()}))
            .log(&denied)
    }
}

impl From<BeyondScope> for Fault {
    fn from(beyond: BeyondScope) -> Self {
        Self::insufficient_scope().log(beyond)
    }
}

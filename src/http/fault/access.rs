//! Requests that policy or the configuration does not allow.

use super::{ChallengeError, Fault, RETRY_SECONDS};
use crate::access::{BeyondScope, Denied, DeniedBy};
use crate::http::turns::Crowded;
use crate::limits::FORMS_OF_ADDRESS;
use crate::oci::ErrorCode;
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde_json::json;

impl Fault {
    /// An anonymous caller needs an identity here.
    pub(in crate::http) fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            ErrorCode::Unauthorized,
            "authentication is required",
        )
    }

    /// The token is good, but was issued for something else.
    fn insufficient_scope() -> Self {
        let message =
            "the token's scope does not cover this request: get a token with the scope in the challenge";
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

    /// The address of an anonymous caller has too many requests in flight.
    pub(in crate::http) fn crowded(why: Crowded) -> Self {
        let message =
            "too many requests from your address are in progress without a login: log in, or try again later";
        Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message)
            .header(RETRY_AFTER, RETRY_SECONDS)
            .log(format!(
                "this address has as many requests in flight without a login as \
                 http.unidentified.requestsPerAddress allows, or is sending {FORMS_OF_ADDRESS} forms, and {why}"
            ))
    }

    /// An open registry on loopback got a request for a host name that is not a loopback name.
    pub(in crate::http) fn not_a_name_of_loopback() -> Self {
        let message = "this registry has no login, so it answers only to loopback names, such as localhost and 127.0.0.1: use one of them";
        let log = "the Host header is not a loopback name: if it is a name of this registry, start with --open and put it into http.externalURL";
        Self::new(StatusCode::MISDIRECTED_REQUEST, ErrorCode::Denied, message).log(log)
    }

    pub(in crate::http) fn open_behind_a_proxy() -> Self {
        let message = "this registry has no login, so it rejects requests that a proxy forwards";
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message).log(
            "the request has a header that proxies add: configure a login, or start with --open to let in everyone behind the proxy",
        )
    }

    pub(in crate::http) fn open_to_another_site() -> Self {
        let message = "this registry has no login, so it rejects requests from pages of other sites";
        let log = "a browser sent the request for a page of another site: to let that page use this registry, add its origin to http.allowOrigin";
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

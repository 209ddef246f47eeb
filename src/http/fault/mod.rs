//! Errors as clients get them, in the specification's words. This folder alone knows which status and which
//! code an error gets. What the client reads and what the log reads are separate texts.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes>

mod access;
mod credential;
mod registry;
mod request;
mod token;

use crate::limits::MESSAGE_BYTES;
use crate::oci::ErrorCode;
use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use std::borrow::Cow;

/// How long a client should wait after an answer that may differ soon.
const RETRY_SECONDS: &str = "5";

/// The codes of RFC 6750, 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChallengeError {
    /// The token is bad, so the client should not present it again.
    InvalidToken,
    /// The token is good, and another token of the same caller could do this.
    InsufficientScope,
}

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    /// `None` for a failure of the registry: the specification has no code for that.
    code: Option<ErrorCode>,
    message: Cow<'static, str>,
    /// One error is reported for each entry, with its text in place of `message`. Without entries one error
    /// without detail is reported.
    details: Vec<(Option<String>, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What only the log says.
    pub(super) log: Option<String>,
    /// What the challenge of a 401 says about the credential.
    pub(super) challenge: Option<ChallengeError>,
    /// Another caller would get the same answer.
    for_everybody: bool,
    /// The error code of RFC 6749, 5.2, for clients that ask for tokens.
    oauth: Option<&'static str>,
}

impl Fault {
    fn new(
        status: StatusCode,
        code: impl Into<Option<ErrorCode>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            details: Vec::new(),
            headers: Vec::new(),
            log: None,
            challenge: None,
            for_everybody: false,
            oauth: None,
        }
    }

    fn detail(mut self, detail: Value) -> Self {
        self.details.push((None, detail));
        self
    }

    fn log(mut self, text: impl ToString) -> Self {
        self.log = Some(text.to_string());
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// Adds a header to a 416, so that the client knows where to continue.
    pub(super) fn header_on_range(self, name: HeaderName, value: &str) -> Self {
        if self.status == StatusCode::RANGE_NOT_SATISFIABLE {
            self.header(name, value)
        } else {
            self
        }
    }

    /// Keeps a 403 for an anonymous caller, since no credential would help.
    fn for_everybody(self) -> Self {
        Self {
            for_everybody: true,
            ..self
        }
    }

    /// Turns a 403 for an anonymous caller into a 401, since a credential might help.
    #[must_use]
    pub(super) fn for_anonymous(mut self, with_token: bool) -> Self {
        if self.status == StatusCode::FORBIDDEN && !self.for_everybody {
            let Self {
                status,
                code,
                message,
                ..
            } = Self::unauthenticated();
            (self.status, self.code, self.message) = (status, code, message);
            // Without this error clients present an anonymous token again and again.
            self.challenge = with_token.then_some(ChallengeError::InsufficientScope);
        }
        self
    }

    /// Adds the request's id where the log has more to say. Most clients show the message to their users, but
    /// no header.
    #[must_use]
    pub(super) fn with_request_id(mut self, id: &str) -> Self {
        let refused = self.challenge.is_some()
            || matches!(self.status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
        if refused || self.status.is_server_error() {
            self.message = format!("{} (request {id})", self.message).into();
        }
        self
    }

    pub(super) fn response(self) -> Response {
        let code = self.code.map_or("UNKNOWN", ErrorCode::as_str);
        let whole = short(&self.message);
        let error = |(message, detail): &(Option<String>, Value)| {
            let message = message.as_deref().map_or(whole.clone(), short);
            json!({"code": code, "message": message, "detail": detail})
        };
        let errors: Vec<Value> = if self.details.is_empty() {
            vec![error(&(None, json!({})))]
        } else {
            self.details.iter().map(error).collect()
        };
        let body = match self.oauth {
            None => json!({ "errors": errors }),
            Some(error) => json!({ "errors": errors, "error": error, "error_description": whole }),
        };
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// Cuts a long message. Some messages repeat what the client sent.
fn short(message: &str) -> Cow<'_, str> {
    if message.len() <= MESSAGE_BYTES {
        return Cow::Borrowed(message);
    }
    let (kept, rest) = message.split_at(message.floor_char_boundary(MESSAGE_BYTES));
    Cow::Owned(format!("{kept}… ({} more bytes)", rest.len()))
}

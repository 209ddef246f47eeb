//! The token endpoint that a challenge names: its requests and what it issues.

use super::answer::Answer;
use super::challenge::Challenge;
use super::request::Request;
use crate::secret::Secret;
use serde_json::Value;

impl Challenge {
    /// The request of docker's token protocol.
    #[must_use]
    pub fn get_token(&self, parameters: &[(&str, &str)]) -> Request {
        Request::get(self.token_url(parameters))
    }

    /// The OAuth request for a grant, with its other parameters.
    #[must_use]
    pub fn post_token(&self, grant: &str, parameters: &[(&str, &str)]) -> Request {
        let common = [("grant_type", grant), ("service", self.service())];
        Request::form(self.token_url(&[]), &[&common, parameters].concat())
    }
}

/// A token that an endpoint issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedToken {
    pub token: Secret,
    /// Its lifetime in seconds, if the endpoint says it.
    pub expires_in: Option<i64>,
}

impl IssuedToken {
    /// Reads the body of a successful answer. Returns `None` if there is no token in it.
    #[must_use]
    pub fn read(answer: &Answer) -> Option<Self> {
        let body = answer.json();
        let token = body
            .get("token")
            .or_else(|| body.get("access_token"))
            .and_then(Value::as_str)
            .filter(|token| !token.is_empty())?;
        Some(Self {
            token: Secret::new(token),
            expires_in: body.get("expires_in").and_then(Value::as_i64),
        })
    }
}

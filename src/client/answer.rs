//! A registry's answer, or why there is none.

use crate::tls_failure::Failure;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use std::fmt;

pub type Outcome = Result<Answer, Unanswered>;

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub Failure);

/// Its `Debug` shows neither headers nor body: they can hold an issued token.
#[derive(Clone, Default)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body, or `null` if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The registry's own message, from an error of the distribution-spec or of OAuth. A long one is cut. A
    /// badly written registry could put a secret into it.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        let body = self.json();
        let message = body
            .pointer("/errors/0/message")
            .or_else(|| body.get("error_description"))
            .or_else(|| body.get("error"));
        Some(message?.as_str()?.chars().take(SHOWN).collect())
    }

    /// The status, with the registry's message if there is one.
    #[must_use]
    pub fn said(&self) -> String {
        let status = self.status.as_u16();
        self.message()
            .map_or_else(|| status.to_string(), |message| format!("{status}: {message}"))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// In characters.
const SHOWN: usize = 300;

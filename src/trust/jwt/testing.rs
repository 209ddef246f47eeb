//! Signs valid and invalid tokens for tests.

use super::Algorithm;
use serde_json::{Value, json};
use std::ops::Deref;
pub(crate) use wharfinger_testkit::encode;

/// The kit's signer for an [`Algorithm`]. It adds no claims to a token.
#[derive(Clone)]
pub(crate) struct Signer(wharfinger_testkit::Signer);

impl Signer {
    pub(crate) fn new(algorithm: Algorithm, id: &str) -> Self {
        Self(wharfinger_testkit::Signer::of(algorithm.as_str(), id))
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_of(self.header(), claims)
    }
}

impl Deref for Signer {
    type Target = wharfinger_testkit::Signer;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Returns a JWK Set of these keys.
pub(crate) fn key_set(keys: &[Value]) -> Vec<u8> {
    json!({"keys": keys}).to_string().into_bytes()
}

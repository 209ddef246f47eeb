//! The access tokens of an external token server. Unlike ID tokens, they list what their bearer may do at one
//! service.
//!
//! <https://distribution.github.io/distribution/spec/auth/jwt/>

use super::claims::{self, Dates};
use super::rejected::{Failure, Rejected};
use super::signature::{self, Tried};
use super::unverified::Unverified;
use super::verify::check_typ;
use crate::clock::Timestamp;
use crate::spiffe_id::SCHEME;
use crate::trust::Authorities;
use crate::trust::jwks::KeySet;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// How these tokens are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenServerRules {
    /// Compared byte for byte with `iss`, if it is configured.
    pub issuer: Option<String>,
    /// Must be in `aud`.
    pub service: String,
    pub clock_skew: Duration,
}

/// A verified access token. Only [`verify_token_server`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedAccess {
    claims: Map<String, Value>,
    access: Value,
    key: Arc<str>,
    valid_until: Timestamp,
}

impl VerifiedAccess {
    /// Returns the subject, which is empty for a token of an anonymous caller.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.claims.get("sub").and_then(Value::as_str).unwrap_or_default()
    }

    #[must_use]
    pub fn issuer(&self) -> &str {
        self.claims.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the entries of the claim `access` that have not expired.
    #[must_use]
    pub const fn access(&self) -> &Value {
        &self.access
    }

    #[must_use]
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Returns the fingerprint of the signing key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns when the token or the first of its `access` entries expires.
    #[must_use]
    pub const fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    #[must_use]
    pub fn into_claims(self) -> Map<String, Value> {
        self.claims
    }
}

/// Verifies an access token by the token server's keys. Keys without a `kid`, such as those from PEM, are
/// tried for every `kid`.
pub fn verify_token_server(
    token: &Unverified,
    rules: &TokenServerRules,
    keys: &Authorities<KeySet>,
    now: Timestamp,
) -> Result<VerifiedAccess, Failure> {
    check_typ(token)?;
    let issuer = token.issuer().unwrap_or_default();
    if let Some(expected) = rules.issuer.as_ref().filter(|expected| *expected != issuer) {
        return Err(Rejected::Issuer {
            expected: expected.clone(),
            found: issuer.into(),
        }
        .into());
    }
    claims::check_audience(
        &claims::audiences(&token.claims)?,
        std::slice::from_ref(&rules.service),
        false,
    )?;
    let subject = token.subject().unwrap_or_default();
    if subject
        .get(..SCHEME.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    {
        return Err(Rejected::SubjectIsSpiffeId.into());
    }
    let dates = Dates::read(&token.claims)?;
    dates.check(now, rules.clock_skew)?;
    let held = keys.view(now)?;
    let key = match held.keys.key_ids().next() {
        Some(_) => signature::check(token, &held.keys, &Tried::default())?,
        None => signature::check(
            &Unverified {
                key_id: None,
                ..token.clone()
            },
            &held.keys,
            &Tried::default(),
        )?,
    };
    let entries = token
        .claims
        .get("access")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    // An entry with a malformed `exp` is never used.
    let expiry = |entry: &Value| match entry.get("exp") {
        None => Some(Timestamp::MAX),
        Some(exp) => exp.as_f64().and_then(Timestamp::from_numeric_date),
    };
    let fresh: Vec<_> = entries
        .filter_map(|entry| Some((entry, expiry(entry)?)))
        .filter(|(_, expires)| now < *expires)
        .collect();
    let first = fresh
        .iter()
        .map(|(_, expires)| *expires)
        .min()
        .unwrap_or(Timestamp::MAX);
    Ok(VerifiedAccess {
        access: fresh.into_iter().map(|(entry, _)| entry.clone()).collect(),
        claims: claims::settled(&token.claims, &dates, None),
        key,
        valid_until: dates.expires.min(held.usable_until).min(first),
    })
}

//! A verified token.

use super::Algorithm;
use super::claims::{self, Dates};
use super::remembered::Remembered;
use super::unverified::Unverified;
use super::vouching::Vouching;
use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use crate::trust::jwks::KeySet;
use crate::trust::{Generation, Held};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// A token whose claims and signature were verified. Only verification makes one.
#[derive(Clone)]
pub struct VerifiedJwt {
    claims: Arc<Map<String, Value>>,
    spiffe_id: Option<SpiffeId>,
    key_id: Option<String>,
    accepted_by: Vec<usize>,
    algorithm: Algorithm,
    fingerprint: Arc<str>,
    generation: Generation,
    expires: Timestamp,
    valid_until: Timestamp,
}

impl VerifiedJwt {
    pub(super) fn new(
        token: &Unverified,
        dates: &Dates,
        spiffe_id: Option<SpiffeId>,
        accepted_by: Vec<usize>,
        vouching: Vouching,
    ) -> Self {
        let Vouching {
            held,
            fingerprint,
            until,
            at: _,
        } = vouching;
        Self {
            claims: Arc::new(claims::settled(&token.claims, dates, spiffe_id.as_ref())),
            spiffe_id,
            key_id: token.key_id.clone(),
            accepted_by,
            algorithm: token.algorithm,
            fingerprint,
            generation: held.generation,
            expires: dates.expires,
            valid_until: dates.expires.min(held.usable_until).min(until),
        }
    }

    /// Makes one from a remembered token whose signing key is still in `held`.
    pub(super) fn again(
        remembered: &Remembered,
        dates: &Dates,
        spiffe_id: Option<SpiffeId>,
        accepted_by: Vec<usize>,
        (held, until): (&Held<KeySet>, Timestamp),
    ) -> Self {
        Self {
            claims: Arc::new(claims::settled(&remembered.claims, dates, spiffe_id.as_ref())),
            spiffe_id,
            key_id: None,
            accepted_by,
            algorithm: remembered.alg,
            fingerprint: remembered.key.as_str().into(),
            generation: held.generation,
            expires: dates.expires,
            valid_until: held.usable_until.min(until),
        }
    }

    /// Returns the claims. `aud` is a list, dates are whole seconds, and only a JWT-SVID has `spiffe`.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    pub(crate) fn shared_claims(&self) -> Arc<Map<String, Value>> {
        self.claims.clone()
    }

    /// Returns the SPIFFE ID of a JWT-SVID. `None` for an ID token, even if its subject looks like a SPIFFE
    /// ID.
    #[must_use]
    pub const fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.spiffe_id.as_ref()
    }

    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    #[must_use]
    pub fn subject(&self) -> &str {
        self.claims.get("sub").and_then(Value::as_str).unwrap_or_default()
    }

    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Returns the indexes of the entries given to [`super::verify_oidc`] that accept the token, in order.
    /// Empty for a JWT-SVID.
    #[must_use]
    pub fn accepted_by(&self) -> &[usize] {
        &self.accepted_by
    }

    /// Returns what one of the registry's own tokens must contain to verify this token again.
    #[must_use]
    pub fn remembered(&self) -> Remembered {
        let mut claims = (*self.claims).clone();
        claims.remove("spiffe");
        Remembered {
            key: self.fingerprint.to_string(),
            alg: self.algorithm,
            claims,
        }
    }

    /// Returns the fingerprint of the signing key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.fingerprint
    }

    /// Returns the generation of the keys that verified the token.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Returns when the token expires or its keys become stale, whichever is first. It may be in the past by
    /// up to the allowed clock skew.
    #[must_use]
    pub const fn valid_until(&self) -> Timestamp {
        self.valid_until
    }
}

impl fmt::Debug for VerifiedJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("VerifiedJwt");
        shown
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .field("key_id", &self.key_id);
        shown.field("expires", &self.expires).finish_non_exhaustive()
    }
}

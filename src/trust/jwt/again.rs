//! Judging a token again that was verified before and is not at hand any more: one of our own tokens remembers it. Everything counts
//! as at the first time, except when it expires, since a session may outlive the credential that began it. That its key still
//! vouches takes the place of the signature.

use super::claims::Dates;
use super::rejected::{Failure, Rejected};
use super::verify::{VerifiedJwt, check_entry_claims, check_svid_claims};
use super::{Algorithm, OidcRules, SvidRules};
use crate::clock::Timestamp;
use crate::spiffe_id::SpiffeId;
use crate::trust::jwks::KeySet;
use crate::trust::{Authorities, Held};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// A verified token without its signature. Worth something only where somebody else vouches for it, as the signature of a token of
/// our own does.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// The fingerprint of the key that signed.
    pub(super) key: String,
    pub(super) alg: Algorithm,
    pub(super) claims: Map<String, Value>,
}

impl Remembered {
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.claims.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    #[must_use]
    pub fn subject(&self) -> &str {
        self.claims.get("sub").and_then(Value::as_str).unwrap_or_default()
    }

    /// The subject, if it is a SPIFFE ID.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<SpiffeId> {
        self.subject().parse().ok()
    }

    pub(in crate::trust) fn expires(&self) -> Result<Timestamp, Rejected> {
        Ok(Dates::read(&self.claims)?.expires)
    }
}

/// Without the claims.
impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").field("key", &self.key).field("alg", &self.alg).finish_non_exhaustive()
    }
}

/// As [`super::verify_svid`].
pub async fn reverify_svid(
    remembered: &Remembered,
    rules: &SvidRules,
    keys: &Authorities<KeySet>,
    now: Timestamp,
) -> Result<VerifiedJwt, Failure> {
    let (id, dates) = check_svid_claims(&remembered.claims, remembered.alg, rules)?;
    let held = still_vouching(remembered, keys, now).await?;
    Ok(VerifiedJwt::again(remembered, &dates, Some(id), vec![], &held))
}

/// As [`super::verify_oidc`].
pub async fn reverify_oidc(
    remembered: &Remembered,
    entries: &[&OidcRules],
    keys: &Authorities<KeySet>,
    now: Timestamp,
) -> Result<VerifiedJwt, Failure> {
    let dates = Dates::read(&remembered.claims)?;
    let mut first = Ok(());
    let mut accepted = Vec::new();
    for (index, rules) in entries.iter().enumerate() {
        let lifetime = || rules.max_lifetime.map_or(Ok(()), |longest| dates.check_lifetime(longest, now));
        match check_entry_claims(&remembered.claims, remembered.alg, rules).and_then(|()| lifetime()) {
            Ok(()) => accepted.push(index),
            Err(why) => first = first.and(Err(why)),
        }
    }
    if accepted.is_empty() {
        return Err(first.err().unwrap_or(Rejected::NoAudienceConfigured).into());
    }
    let held = still_vouching(remembered, keys, now).await?;
    Ok(VerifiedJwt::again(remembered, &dates, None, accepted, &held))
}

/// Asks the source once more if the key is missing: another replica may know newer keys.
async fn still_vouching(remembered: &Remembered, keys: &Authorities<KeySet>, now: Timestamp) -> Result<Arc<Held<KeySet>>, Failure> {
    if let Some(held) = keys.view(now).ok().filter(|held| vouches(remembered, &held.keys)) {
        return Ok(held);
    }
    keys.refetch(now).await;
    let held = keys.view(now)?;
    if vouches(remembered, &held.keys) { Ok(held) } else { Err(Rejected::KeyWithdrawn { issuer: remembered.issuer().into() }.into()) }
}

fn vouches(remembered: &Remembered, keys: &KeySet) -> bool {
    let demanded = |issuer: Option<&str>| issuer.is_none_or(|issuer| issuer == remembered.issuer());
    keys.keys()
        .iter()
        .any(|key| **key.fingerprint() == *remembered.key && key.verifier(remembered.alg).is_some() && demanded(key.demanded_issuer()))
}

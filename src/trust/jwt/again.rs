//! Verifies a remembered token again. The original token is gone, but one of the registry's own tokens
//! contains its claims. All rules apply as at first, except the expiry: a session may outlive the credential
//! that began it. Instead of the signature, the signing key must still be in the key set.

use super::claims::Dates;
use super::rejected::{Failure, Rejected};
use super::remembered::Remembered;
use super::verified::VerifiedJwt;
use super::verify::{check_entry_claims, check_svid_claims};
use super::{OidcRules, SvidRules};
use crate::clock::Timestamp;
use crate::trust::jwks::{Key, KeySet};
use crate::trust::{Authorities, Held, Sender};
use std::sync::Arc;

/// The registry's own token that remembers another one.
#[derive(Clone, Copy, Debug)]
pub struct Bearer {
    /// The sender that takes a place while newer keys are fetched.
    pub sender: Sender,
    pub expires: Timestamp,
}

/// As [`super::verify_svid`], for a remembered token.
pub async fn reverify_svid(
    remembered: &Remembered,
    bearer: Bearer,
    rules: &SvidRules,
    keys: &Authorities<KeySet>,
    now: Timestamp,
) -> Result<VerifiedJwt, Failure> {
    let (id, dates) = check_svid_claims(&remembered.claims, remembered.alg, rules)?;
    let (held, until) = still_vouching(remembered, bearer, keys, now).await?;
    Ok(VerifiedJwt::again(
        remembered,
        &dates,
        Some(id),
        vec![],
        (&held, until),
    ))
}

/// As [`super::verify_oidc`], for a remembered token.
pub async fn reverify_oidc(
    remembered: &Remembered,
    bearer: Bearer,
    entries: &[&OidcRules],
    keys: &Authorities<KeySet>,
    now: Timestamp,
) -> Result<VerifiedJwt, Failure> {
    let dates = Dates::read(&remembered.claims)?;
    let mut first = Ok(());
    let mut accepted = Vec::new();
    for (index, rules) in entries.iter().enumerate() {
        let lifetime = || {
            rules
                .max_lifetime
                .map_or(Ok(()), |longest| dates.check_lifetime(longest, now))
        };
        match check_entry_claims(&remembered.claims, remembered.alg, rules).and_then(|()| lifetime()) {
            Ok(()) => accepted.push(index),
            Err(why) => first = first.and(Err(why)),
        }
    }
    if accepted.is_empty() {
        return Err(first.err().unwrap_or(Rejected::NoAudienceConfigured).into());
    }
    let (held, until) = still_vouching(remembered, bearer, keys, now).await?;
    Ok(VerifiedJwt::again(
        remembered,
        &dates,
        None,
        accepted,
        (&held, until),
    ))
}

/// Returns the keys that still include the signing key, and when that key stops verifying if it is withdrawn.
/// If the key is missing, newer keys are fetched: another replica of the registry may have seen them first.
async fn still_vouching(
    remembered: &Remembered,
    bearer: Bearer,
    keys: &Authorities<KeySet>,
    now: Timestamp,
) -> Result<(Arc<Held<KeySet>>, Timestamp), Failure> {
    // The registry's own token may expire while its request waits.
    let check = |held: Arc<Held<KeySet>>, now| match vouches_until(remembered, &held.keys, now) {
        _ if now >= bearer.expires => Err(Rejected::Expired {
            at: bearer.expires,
            now,
        }),
        Some(until) => Ok((held, until)),
        None => Err(Rejected::KeyWithdrawn {
            issuer: remembered.issuer().into(),
        }),
    };
    let Ok(held) = keys.view(now) else {
        keys.refetch(now).await;
        let now = keys.later(now);
        return Ok(check(keys.view(now)?, now)?);
    };
    match check(held, now) {
        Err(why @ Rejected::KeyWithdrawn { .. }) => {
            Ok(keys.check_with_newer_keys(bearer.sender, now, why, check).await?)
        }
        checked => Ok(checked?),
    }
}

fn vouches_until(remembered: &Remembered, keys: &KeySet, now: Timestamp) -> Option<Timestamp> {
    let demanded = |issuer: Option<&str>| issuer.is_none_or(|issuer| issuer == remembered.issuer());
    let current = keys.keys().iter().map(|key| (key, Timestamp::MAX));
    let signed = |key: &Key| **key.fingerprint() == *remembered.key && key.verifier(remembered.alg).is_some();
    let mut all = current.chain(keys.withdrawn_at(now));
    all.find(|(key, _)| signed(key) && demanded(key.demanded_issuer()))
        .map(|(_, until)| until)
}

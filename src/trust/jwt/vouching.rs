//! Finds the keys that verify a token.

use super::rejected::{Failure, Rejected};
use super::signature::{self, Tried};
use super::unverified::Unverified;
use crate::clock::Timestamp;
use crate::trust::jwks::KeySet;
use crate::trust::{Authorities, Held};
use std::sync::Arc;

/// The keys that verified a token.
pub(super) struct Vouching {
    pub(super) held: Arc<Held<KeySet>>,
    pub(super) fingerprint: Arc<str>,
    /// When a withdrawn key stops verifying. For a current key it is later than the keys' staleness bound.
    pub(super) until: Timestamp,
    /// When the signature was checked. This is later than the token's arrival if newer keys were fetched.
    pub(super) at: Timestamp,
}

/// Finds the keys that signed the token. If newer keys may help, they are fetched.
pub(super) async fn vouching_keys(
    token: &Unverified,
    keys: &Authorities<KeySet>,
    now: Timestamp,
) -> Result<Vouching, Failure> {
    let tried = Tried::default();
    let check = |held, now| vouching(token, held, &tried, now);
    let Ok(held) = keys.view(now) else {
        keys.refetch(now).await;
        let now = keys.later(now);
        return Ok(check(keys.view(now)?, now)?);
    };
    match check(held, now) {
        Err(why) if signature::newer_keys_may_help(token, &why) => {
            Ok(keys.check_with_newer_keys(token.sender, now, why, check).await?)
        }
        checked => Ok(checked?),
    }
}

/// Checks the signature by the latest key set, then by withdrawn keys that still verify.
pub(super) fn vouching(
    token: &Unverified,
    held: Arc<Held<KeySet>>,
    tried: &Tried,
    at: Timestamp,
) -> Result<Vouching, Rejected> {
    let why = match signature::check(token, &held.keys, tried) {
        Ok(fingerprint) => {
            return Ok(Vouching {
                held,
                fingerprint,
                until: Timestamp::MAX,
                at,
            });
        }
        Err(why) => why,
    };
    let withdrawn: KeySet = held.keys.withdrawn_at(at).map(|(key, _)| key.clone()).collect();
    let Ok(fingerprint) = signature::check(token, &withdrawn, tried) else {
        return Err(why);
    };
    let until = held
        .keys
        .withdrawn_at(at)
        .find(|(key, _)| *key.fingerprint() == fingerprint)
        .map_or(at, |(_, until)| until);
    Ok(Vouching {
        held,
        fingerprint,
        until,
        at,
    })
}

//! Which keys vouch for a token.

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
    /// Later than the keys' own bound unless the key is withdrawn.
    pub(super) until: Timestamp,
    /// When the signature was checked, which is later than when the token came if its key had to be fetched.
    pub(super) at: Timestamp,
}

/// Finds the keys that signed the token. If they may be newer than those that are held, their source is asked
/// again.
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
            Ok(keys.judge_by_newer(token.sender, now, why, check).await?)
        }
        judged => Ok(judged?),
    }
}

/// By a key of the latest set, or by one that it lacks and that still verifies.
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

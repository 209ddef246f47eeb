//! Entries of one issuer with different keys, as those of clusters whose issuer is the default one: which
//! keys a token is signed by. Nobody is asked on the network, and no claim is looked at.

use super::signature::Tried;
use super::unverified::Unverified;
use super::vouching::vouching;
use crate::clock::Timestamp;
use crate::trust::Authorities;
use crate::trust::jwks::KeySet;

/// Whether one of the keys that may be used now signed the token.
#[must_use]
pub fn is_signed_by(token: &Unverified, keys: &Authorities<KeySet>, now: Timestamp) -> bool {
    keys.view(now)
        .is_ok_and(|held| vouching(token, held, &Tried::default(), now).is_ok())
}

/// Whether the key of this fingerprint is among those that may be used now.
#[must_use]
pub fn holds_key(keys: &Authorities<KeySet>, fingerprint: &str, now: Timestamp) -> bool {
    fingerprints(keys, now).iter().any(|held| &**held == fingerprint)
}

/// Those of the keys that may be used now.
#[must_use]
pub fn fingerprints(keys: &Authorities<KeySet>, now: Timestamp) -> Vec<std::sync::Arc<str>> {
    keys.view(now).map_or_else(
        |_| Vec::new(),
        |held| {
            held.keys
                .keys()
                .iter()
                .map(|key| key.fingerprint().clone())
                .collect()
        },
    )
}

//! For several entries of one issuer with different keys, such as Kubernetes clusters with the default
//! issuer: whose keys signed a token. No keys are fetched, and no claims are checked.

use super::signature::Tried;
use super::unverified::Unverified;
use super::vouching::vouching;
use crate::clock::Timestamp;
use crate::trust::Authorities;
use crate::trust::jwks::KeySet;

/// Whether a key that is usable now signed the token.
#[must_use]
pub fn is_signed_by(token: &Unverified, keys: &Authorities<KeySet>, now: Timestamp) -> bool {
    keys.view(now)
        .is_ok_and(|held| vouching(token, held, &Tried::default(), now).is_ok())
}

/// Whether a key with this fingerprint is usable now.
#[must_use]
pub fn holds_key(keys: &Authorities<KeySet>, fingerprint: &str, now: Timestamp) -> bool {
    fingerprints(keys, now).iter().any(|held| &**held == fingerprint)
}

/// Returns the fingerprints of the keys that are usable now.
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

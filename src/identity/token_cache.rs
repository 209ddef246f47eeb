//! Tokens that were verified lately, so that one that comes with every request of a push is verified once. What is kept is an
//! identity, never a decision, and never a refusal. A token is known again by a keyed hash of all of it, its signature included.
//!
//! An entry counts as long as its token does by the wall clock, and as long as the keys that vouched for it are the ones that count: it
//! has the generation of the very snapshot that verified it, so a rotation while it was being verified makes it useless. A changed
//! configuration brings a new authenticator with a cache of its own.

use super::Identity;
use super::identity::Proof;
use crate::clock::Timestamp;
use crate::recent::Recent;
use crate::secret::Secret;
use crate::trust::jwks::KeySet;
use crate::trust::{Authorities, Generation};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

pub(super) struct TokenCache {
    key: hmac::Key,
    /// By the hash's last bits, so that threads seldom wait for each other.
    shards: Vec<Mutex<Recent<Hash, Arc<Entry>>>>,
}

struct Entry {
    identity: Identity,
    keys: Arc<Authorities<KeySet>>,
    generation: Generation,
    /// Before it nothing is known of the token: the clock was set back.
    since: Timestamp,
}

/// A token's name in the cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Hash([u8; 32]);

impl TokenCache {
    /// `None` without randomness for its key.
    pub(super) fn new() -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok()?;
        let shards = (0..SHARDS).map(|_| Mutex::new(Recent::new(BYTES / SHARDS))).collect();
        Some(Self { key, shards })
    }

    /// Whatever verification looks at besides the configuration, the keys and the time must be in it.
    pub(super) fn hash(&self, token: &Secret) -> Hash {
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(hmac::sign(&self.key, token.expose().as_bytes()).as_ref()) {
            *to = *from;
        }
        Hash(hash)
    }

    pub(super) fn get(&self, hash: Hash, now: Timestamp) -> Option<Identity> {
        let entry = self.shard(hash)?.lock().unwrap_or_else(PoisonError::into_inner).get(&hash)?;
        let counts = entry.since <= now && now < entry.identity.valid_until() && entry.keys.generation(now) == Some(entry.generation);
        counts.then(|| entry.identity.clone())
    }

    /// Keeps who presented a token that was verified at `now` by the keys of an issuer or a trust domain.
    pub(super) fn put(&self, hash: Hash, identity: &Identity, keys: &Arc<Authorities<KeySet>>, now: Timestamp) {
        let Proof::Jwt(verified) = &identity.proof else { return };
        let weight = OVERHEAD + 4 * identity.claims().iter().map(|(name, value)| name.len() + size(value)).sum::<usize>();
        let entry = Entry { identity: identity.clone(), keys: keys.clone(), generation: verified.generation(), since: now };
        if let Some(shard) = self.shard(hash) {
            shard.lock().unwrap_or_else(PoisonError::into_inner).put(hash, Arc::new(entry), weight);
        }
    }

    fn shard(&self, hash: Hash) -> Option<&Mutex<Recent<Hash, Arc<Entry>>>> {
        self.shards.get(usize::from(hash.0[31]) % SHARDS)
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCache")
    }
}

/// About how many bytes a claim takes.
fn size(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::String(text) => text.len(),
        Value::Array(all) => all.iter().map(|one| 32 + size(one)).sum(),
        Value::Object(all) => all.iter().map(|(name, one)| 32 + name.len() + size(one)).sum(),
        _ => 32,
    }
}

const SHARDS: usize = 16;
/// Of all shards, about.
const BYTES: usize = 32 << 20;
/// What an entry weighs beside its claims, about. They are held twice, in the identity and in its proof.
const OVERHEAD: usize = 1024;

//! A cache of the identities behind tokens, so that a token that comes with every request of a push is
//! verified once. It holds no access decisions and no rejections. A token is looked up by a keyed hash of the
//! whole token, including its signature.
//!
//! A changed configuration makes a new authenticator with its own empty cache.

use super::Identity;
use super::grounds::Known;
use crate::clock::Timestamp;
use crate::recent::Recent;
use crate::secret::Secret;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

pub(super) struct TokenCache {
    key: hmac::Key,
    /// The hash's last byte chooses the shard, so that threads seldom wait for each other.
    shards: Vec<Mutex<Recent<Hash, Arc<Known>>>>,
}

/// The key of a token in the cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Hash([u8; 32]);

impl TokenCache {
    /// Returns `None` if no random key can be made.
    pub(super) fn new() -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok()?;
        let shards = (0..SHARDS)
            .map(|_| Mutex::new(Recent::new(BYTES / SHARDS)))
            .collect();
        Some(Self { key, shards })
    }

    /// Everything that affects verification must be in the hash, except the configuration, the keys and the
    /// time.
    pub(super) fn hash(&self, token: &Secret) -> Hash {
        let mut hash = [0; 32];
        for (to, from) in hash
            .iter_mut()
            .zip(hmac::sign(&self.key, token.expose().as_bytes()).as_ref())
        {
            *to = *from;
        }
        Hash(hash)
    }

    pub(super) fn get(&self, hash: Hash, now: Timestamp) -> Option<Identity> {
        let known = self
            .shard(hash)?
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&hash)?;
        known.identity(now)
    }

    pub(super) fn put(&self, hash: Hash, known: Known) {
        if let Some(shard) = self.shard(hash) {
            let weight = known.weight();
            shard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .put(hash, Arc::new(known), weight);
        }
    }

    fn shard(&self, hash: Hash) -> Option<&Mutex<Recent<Hash, Arc<Known>>>> {
        self.shards.get(usize::from(hash.0[31]) % SHARDS)
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCache")
    }
}

const SHARDS: usize = 16;
/// The size of all shards together, about.
const BYTES: usize = 32 << 20;

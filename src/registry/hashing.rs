//! Hashing that can be interrupted and continued. An upload's hash state is part of its session, so it
//! survives a restart.

use crate::oci::{Algorithm, Digest};
use crate::storage::Look;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};
use std::sync::{Arc, Mutex, PoisonError};

/// A hash under way.
#[derive(Clone)]
pub(super) enum Hasher {
    Sha256(Box<Sha256>),
    Sha512(Box<Sha512>),
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Box::default()),
            Algorithm::Sha512 => Self::Sha512(Box::default()),
        }
    }

    /// `None` if `state` is not what [`Hasher::state`] gave for this algorithm after `length` bytes.
    pub(super) fn restore(algorithm: Algorithm, state: &str, length: u64) -> Option<Self> {
        let state = STANDARD.decode(state).ok()?;
        let (hasher, found) = match algorithm {
            Algorithm::Sha256 => (
                Self::Sha256(Box::new(restore(&state)?)),
                hashed(&state, 32, 8, 64)?,
            ),
            Algorithm::Sha512 => (
                Self::Sha512(Box::new(restore(&state)?)),
                hashed(&state, 64, 16, 128)?,
            ),
        };
        (found == u128::from(length) && length < LONGEST).then_some(hasher)
    }

    pub(super) fn state(&self) -> String {
        match self {
            Self::Sha256(hash) => STANDARD.encode(hash.serialize()),
            Self::Sha512(hash) => STANDARD.encode(hash.serialize()),
        }
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    #[expect(clippy::expect_used, reason = "each hash has its algorithm's length")]
    pub(super) fn digest(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::from_hash(Algorithm::Sha256, &hash.finalize()),
            Self::Sha512(hash) => Digest::from_hash(Algorithm::Sha512, &hash.finalize()),
        }
        .expect("the hash has its algorithm's length")
    }
}

pub(super) fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.digest()
}

/// A hash that is computed while bytes are written.
pub(super) struct Hashing(Arc<Mutex<Option<Hasher>>>);

impl Hashing {
    pub(super) fn new(hasher: Hasher) -> Self {
        Self(Arc::new(Mutex::new(Some(hasher))))
    }

    /// A callback that hashes the bytes as they are written.
    pub(super) fn look(&self) -> Look {
        let hasher = self.0.clone();
        Box::new(move |bytes| {
            if let Some(hasher) = &mut *hasher.lock().unwrap_or_else(PoisonError::into_inner) {
                hasher.update(bytes);
            }
        })
    }

    /// Returns the hash. Call this after the write.
    pub(super) fn end(self) -> Option<Hasher> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The number of bytes that a hash state covers. After the words of the hash, the state has the number of
/// complete blocks, then the number of bytes in the next block.
fn hashed(state: &[u8], words: usize, counter: usize, block: u128) -> Option<u128> {
    let (count, rest) = state.get(words..)?.split_at_checked(counter)?;
    let mut blocks = [0; 16];
    blocks.get_mut(..counter)?.copy_from_slice(count);
    u128::from_le_bytes(blocks)
        .checked_mul(block)?
        .checked_add(u128::from(*rest.first()?))
}

/// More bytes than any upload has, and well below the limit of SHA-256.
const LONGEST: u64 = 1 << 60;

fn restore<T: SerializableState>(state: &[u8]) -> Option<T> {
    T::deserialize(&SerializedState::<T>::try_from(state).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_resumes_where_it_was_laid_down() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut first = Hasher::new(algorithm);
            first.update(&[7; 1000]);
            let mut second = Hasher::restore(algorithm, &first.state(), 1000).unwrap();
            second.update(&[8; 77]);
            let whole = [vec![7; 1000], vec![8; 77]].concat();
            assert_eq!(second.digest(), digest_of(algorithm, &whole));
        }
    }

    #[test]
    fn a_damaged_state_is_not_resumed() {
        let state = Hasher::new(Algorithm::Sha256).state();
        assert!(Hasher::restore(Algorithm::Sha256, &state, 0).is_some());
        assert!(Hasher::restore(Algorithm::Sha512, &state, 0).is_none());
        assert!(Hasher::restore(Algorithm::Sha256, "not base64!", 0).is_none());
    }

    #[test]
    fn a_state_after_another_number_of_bytes_is_not_resumed() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for length in [0_u64, 1, 63, 64, 127, 128, 1000] {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(&vec![7; usize::try_from(length).unwrap()]);
                for other in [length + 1, length + 64, length + 128] {
                    assert!(
                        Hasher::restore(algorithm, &hasher.state(), other).is_none(),
                        "{algorithm} {length} {other}"
                    );
                }
                assert!(
                    Hasher::restore(algorithm, &hasher.state(), length).is_some(),
                    "{algorithm} {length}"
                );
            }
        }
    }

    #[test]
    fn known_digests_of_nothing() {
        assert_eq!(
            digest_of(Algorithm::Sha256, b"").hex(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}

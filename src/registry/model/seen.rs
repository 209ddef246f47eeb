//! What an actor remembers of the state of one record.

use super::values::Key;
use std::fmt;

/// A state of one record as an actor read it. Versions are canonical: the state is either current or an
/// earlier one, with which no write succeeds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    pub key: Key,
    pub version: u8,
}

pub(super) const STALE: u8 = 0;
pub(super) const PRESENT: u8 = 1;
/// A version during a step, before it is made canonical.
pub(super) const NEW: u8 = 2;
/// The key has neither a record nor a tombstone.
pub(super) const NOTHING: u8 = 3;

impl Seen {
    /// The state of an absent record.
    pub(super) const fn nothing(key: Key) -> Self {
        Self {
            key,
            version: NOTHING,
        }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}{}",
            self.key,
            if self.version == STALE {
                " (changed since)"
            } else {
                ""
            }
        )
    }
}

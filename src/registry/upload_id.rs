//! The name of an upload.

use super::Error;
use crate::storage::Failure;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
#[cfg(test)]
use std::sync::{Mutex, PoisonError};

/// Names an upload and, later, its bytes: 128 random bits that cannot be guessed, as 32 lower-case
/// hexadecimal characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UploadId(String);

impl UploadId {
    pub(super) fn random() -> Result<Self, Error> {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|failure| Failure::Io(Arc::new(failure)))?;
        Ok(Self(format!("{:032x}", u128::from_be_bytes(random))))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(text: &str) -> Result<Self, InvalidUploadId> {
        if text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidUploadId)
        }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Prints only a part of the name, because a person who knows the whole name of an anonymous upload controls
/// it.
impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadId({}…)", self.0.get(..8).unwrap_or_default())
    }
}

/// Makes new names. They are random, unless a test gives a seed.
#[derive(Clone, Default)]
pub(super) struct Ids {
    #[cfg(test)]
    seeded: Option<Arc<Mutex<fastrand::Rng>>>,
}

impl Ids {
    #[cfg(test)]
    pub(super) fn seeded(seed: u64) -> Self {
        Self {
            seeded: Some(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)))),
        }
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests have a seed"))]
    pub(super) fn next(&self) -> Result<UploadId, Error> {
        #[cfg(test)]
        if let Some(seeded) = &self.seeded {
            return Ok(UploadId(format!(
                "{:032x}",
                seeded.lock().unwrap_or_else(PoisonError::into_inner).u128(..)
            )));
        }
        UploadId::random()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an upload's name is 32 lower-case hexadecimal characters")]
pub struct InvalidUploadId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_names() {
        let id = UploadId::random().unwrap();
        assert_eq!(id.to_string().parse(), Ok(id.clone()));
        assert_ne!(UploadId::random().unwrap(), id);
        for bad in ["", "../../etc/passwd", &"A".repeat(32), &"a".repeat(33)] {
            assert_eq!(bad.parse::<UploadId>(), Err(InvalidUploadId), "{bad}");
        }
    }
}

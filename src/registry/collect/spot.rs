//! A position in the order of digests. The keys of blobs and links have the same order.

use crate::oci::{Algorithm, Digest};
use std::fmt;
use std::str::FromStr;

/// The beginning of a digest. Several digests may have the same beginning, but not by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    algorithm: Algorithm,
    start: [u8; 16],
}

impl Spot {
    /// Before every digest.
    pub(super) const BEGIN: Self = Self {
        algorithm: Algorithm::Sha256,
        start: [0; 16],
    };

    /// The order of digests is divided into this many equal shares.
    pub(super) const SHARES: u64 = 1 << 10;

    /// The share that contains this position. Digests of other algorithms than SHA-256 are in the last.
    pub(super) fn share(&self) -> u64 {
        let [first, second, ..] = self.start;
        match self.algorithm {
            Algorithm::Sha256 => u64::from(u16::from_be_bytes([first, second]) >> 6),
            Algorithm::Sha512 => Self::SHARES,
        }
    }

    pub(super) fn of(digest: &Digest) -> Self {
        let mut start = [0; 16];
        for (byte, pair) in start.iter_mut().zip(digest.hex().as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
        }
        Self {
            algorithm: digest.algorithm(),
            start,
        }
    }
}

/// Parses the output of [`Display`](fmt::Display).
impl FromStr for Spot {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (algorithm, rest) = text.split_once('/').ok_or(())?;
        let algorithm: Algorithm = algorithm.parse().map_err(drop)?;
        let (_, start) = rest.split_once('/').ok_or(())?;
        let zeros = algorithm.hex_len().checked_sub(start.len()).ok_or(())?;
        let digest = format!("{algorithm}:{start}{}", "0".repeat(zeros));
        digest.parse().map(|digest| Self::of(&digest)).map_err(drop)
    }
}

/// The part of a key from the algorithm on. The keys of the digests at this position sort right after it.
impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, ..] = self.start;
        write!(f, "{}/{first:02x}/", self.algorithm)?;
        self.start.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::keys;

    #[test]
    fn spots_sort_as_the_keys_do() {
        let digest = |algorithm: Algorithm, hex: &str| -> Digest {
            format!("{algorithm}:{}", hex.repeat(algorithm.hex_len() / hex.len()))
                .parse()
                .unwrap()
        };
        let digests = [
            digest(Algorithm::Sha256, "00"),
            digest(Algorithm::Sha256, "0f"),
            digest(Algorithm::Sha256, "a0"),
            digest(Algorithm::Sha256, "ff"),
            digest(Algorithm::Sha512, "00"),
            digest(Algorithm::Sha512, "9c"),
        ];
        assert!(digests.is_sorted_by_key(Spot::of));
        assert!(digests.is_sorted_by_key(|digest| Spot::of(digest).to_string()));
        for digest in &digests {
            let key = keys::blob(digest).to_string();
            assert_eq!(Spot::of(digest).to_string().parse(), Ok(Spot::of(digest)));
            let before = keys::blobs().key(Spot::of(digest)).to_string();
            assert!(before < key && key.starts_with(&before), "{before} {key}");
            assert!(keys::blobs().key(Spot::BEGIN).to_string() < key);
        }
        for bad in ["", "sha256", "sha256/00", "md5/00/00", "sha256/00/zz"] {
            assert_eq!(bad.parse::<Spot>(), Err(()), "{bad}");
        }
    }
}

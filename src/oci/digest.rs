//! Digests: `algorithm ":" encoded` (image-spec, descriptor.md, Digests).

use std::fmt;
use std::str::FromStr;

/// The registered algorithms that this registry supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns how many hexadecimal characters an encoded digest has.
    #[must_use]
    pub const fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl FromStr for Algorithm {
    type Err = InvalidDigest;

    fn from_str(name: &str) -> Result<Self, InvalidDigest> {
        match name {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(InvalidDigest::Algorithm),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A digest of a supported algorithm, with the right number of lower-case hexadecimal characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    text: String,
}

impl Digest {
    /// Makes a digest from the raw hash, whose length must fit the algorithm.
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Result<Self, InvalidDigest> {
        use std::fmt::Write;
        if hash.len() * 2 != algorithm.hex_len() {
            return Err(InvalidDigest::Encoded);
        }
        let mut text = format!("{algorithm}:");
        for byte in hash {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self { algorithm, text })
    }

    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the part after the colon.
    #[must_use]
    pub fn hex(&self) -> &str {
        self.text
            .get(self.algorithm.as_str().len() + 1..)
            .unwrap_or_default()
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let (algorithm, hex) = text.split_once(':').ok_or(InvalidDigest::Encoded)?;
        let algorithm: Algorithm = algorithm.parse()?;
        if hex.len() != algorithm.hex_len() || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(InvalidDigest::Encoded);
        }
        Ok(Self {
            algorithm,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDigest {
    #[error("the digest algorithm must be sha256 or sha512")]
    Algorithm,
    #[error("a digest is `sha256:` and 64, or `sha512:` and 128, lower-case hexadecimal characters")]
    Encoded,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_grammar() {
        let a64 = "a".repeat(64);
        let a128 = "0".repeat(128);
        for good in [format!("sha256:{a64}"), format!("sha512:{a128}")] {
            assert_eq!(good.parse::<Digest>().unwrap().as_str(), good);
        }
        for (bad, why) in [
            (format!("sha256:{}", "A".repeat(64)), InvalidDigest::Encoded),
            (format!("sha256:{}", "a".repeat(63)), InvalidDigest::Encoded),
            (format!("sha256:{a128}"), InvalidDigest::Encoded),
            (format!("sha256:{}g", "a".repeat(63)), InvalidDigest::Encoded),
            ("sha256:baddigeststring".into(), InvalidDigest::Encoded),
            (a64.clone(), InvalidDigest::Encoded),
            (format!("md5:{}", "a".repeat(32)), InvalidDigest::Algorithm),
            (format!("SHA256:{a64}"), InvalidDigest::Algorithm),
            (String::new(), InvalidDigest::Encoded),
        ] {
            assert_eq!(bad.parse::<Digest>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn digest_of_a_hash() {
        let digest = Digest::from_hash(Algorithm::Sha256, &[0xab; 32]).unwrap();
        assert_eq!(digest.hex(), "ab".repeat(32));
        assert_eq!(digest.algorithm(), Algorithm::Sha256);
        assert_eq!(
            Digest::from_hash(Algorithm::Sha512, &[0; 32]),
            Err(InvalidDigest::Encoded)
        );
    }
}

//! The SHA-256 digest of a key or a certificate, as operators write it.

use crate::trust;
use std::fmt;
use std::str::FromStr;

/// Written as 64 hexadecimal digits, in any case and with or without colons, or as 43 characters of base64url
/// (RFC 7638 3.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// Whether a key with this fingerprint has this thumbprint.
    pub(super) fn is_of_key(&self, fingerprint: &str) -> bool {
        trust::fingerprint_of_digest(&self.0) == fingerprint
    }

    /// Whether `text` is this thumbprint in lower-case hexadecimal.
    pub(super) fn is_hex(&self, text: &str) -> bool {
        self.to_string() == text
    }
}

impl FromStr for Thumbprint {
    type Err = InvalidThumbprint;

    fn from_str(text: &str) -> Result<Self, InvalidThumbprint> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        if digits.len() == 64 {
            let digit = |byte: u8| {
                char::from(byte)
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            };
            let pairs = digits.chunks_exact(2).map(|pair| {
                pair.iter()
                    .try_fold(0, |sum, byte| Some(sum * 16 + digit(*byte)?))
            });
            let bytes: Option<Vec<u8>> = pairs.collect();
            return bytes
                .and_then(|bytes| bytes.try_into().ok())
                .map(Self)
                .ok_or(InvalidThumbprint);
        }
        trust::digest_of_base64url(text)
            .map(Self)
            .ok_or(InvalidThumbprint)
    }
}

/// Shows it in hexadecimal.
impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a SHA-256 digest: 64 hexadecimal digits, or 43 characters of base64url")]
pub struct InvalidThumbprint;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_written_in_three_ways() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let colons: Vec<_> = hex
            .as_bytes()
            .chunks(2)
            .map(|pair| String::from_utf8_lossy(pair).to_uppercase())
            .collect();
        for text in [
            hex,
            &hex.to_uppercase(),
            &colons.join(":"),
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0",
        ] {
            let parsed: Thumbprint = text.parse().unwrap();
            assert_eq!(parsed.to_string(), hex);
            assert!(parsed.is_hex(hex) && parsed.is_of_key(&trust::fingerprint(b"abc")));
            assert!(!parsed.is_of_key(&trust::fingerprint(b"abd")));
        }
        for bad in [
            "",
            &hex[1..],
            &hex.replace('b', "g"),
            &format!("{hex}00"),
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0",
        ] {
            assert_eq!(bad.parse::<Thumbprint>(), Err(InvalidThumbprint), "{bad}");
        }
    }
}

//! A public key in a comparable form, to check that a JWK and its certificate have the same key (B-17).

use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Numbers are big-endian. RSA numbers have no leading zeros, and EC coordinates are as long as the curve's
/// field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::trust) enum PublicKey {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point on a NIST curve. The length of the point identifies the curve.
    Ec {
        point: Vec<u8>,
    },
    Ed25519 {
        point: Vec<u8>,
    },
    Other,
}

impl PublicKey {
    pub(in crate::trust) fn of(info: &SubjectPublicKeyInfo<'_>) -> Self {
        if info.algorithm.algorithm.to_id_string() == ED25519 {
            return Self::Ed25519 {
                point: info.subject_public_key.data.to_vec(),
            };
        }
        match info.parsed() {
            Ok(Parsed::RSA(key)) => Self::rsa(key.modulus, key.exponent),
            Ok(Parsed::EC(point)) => Self::Ec {
                point: point.data().to_vec(),
            },
            _ => Self::Other,
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Rsa { .. } => "RSA",
            Self::Ec { .. } => "EC",
            Self::Ed25519 { .. } => "Ed25519",
            Self::Other => "other",
        }
    }

    pub(in crate::trust) fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self::Rsa {
            modulus: without_leading_zeros(modulus),
            exponent: without_leading_zeros(exponent),
        }
    }

    pub(in crate::trust) fn ec(x: &[u8], y: &[u8]) -> Self {
        Self::Ec {
            point: [&[UNCOMPRESSED_POINT][..], x, y].concat(),
        }
    }
}

fn without_leading_zeros(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

const UNCOMPRESSED_POINT: u8 = 4;
const ED25519: &str = "1.3.101.112";

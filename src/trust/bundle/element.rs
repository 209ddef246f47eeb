//! One element of a SPIFFE bundle's `keys` with `use: x509-svid` (SPIFFE Trust Domain and Bundle 4.2.2, RFC
//! 7517 4.7).

use crate::trust::json;
use crate::trust::jwks::name;
use crate::trust::skipped::Skipped;
use crate::trust::x509::{Authority, PublicKey, Unfit};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

/// Reads an X.509 authority. Returns `None` for other elements. Reading the JWT keys reports those with an
/// unknown `use`.
pub(super) fn authority(index: usize, element: &Value) -> Option<Result<Authority, Skipped>> {
    let jwk = element.as_object()?;
    let skipped = |why: Unusable| Skipped {
        element: name(index, element),
        why: why.to_string(),
        ignored: why.is_ignored(),
    };
    (jwk.get("use")? == "x509-svid").then(|| read(jwk).map_err(skipped))
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unusable {
    #[error("this is a private key: its parameter `d` must never be published; replace the authority")]
    PrivateKey,
    #[error(
        "expected a public key, without the private parameter `d`, found `d: null`; leave the member out"
    )]
    NullPrivateKey,
    #[error("this is a shared secret (kty `oct`), which cannot be an authority's key")]
    SharedSecret,
    #[error("expected kty `RSA`, `EC` or `OKP`, found {found:?}")]
    Type { found: String },
    #[error("expected a string as `{member}`, found {found}")]
    Mistyped {
        member: &'static str,
        found: &'static str,
    },
    #[error("`{member}` is not base64url without padding")]
    Encoding { member: &'static str },
    #[error("expected a list with a certificate as `x5c`, found {found}")]
    NoCertificate { found: &'static str },
    #[error("the first element of `x5c` is not base64 (the standard alphabet, padded)")]
    CertificateEncoding,
    #[error("the certificate in `x5c` is not usable: {0}")]
    Certificate(#[from] Unfit),
    #[error("the certificate in `x5c` has another public key than the element itself")]
    OtherKey,
}

impl Unusable {
    /// Whether the standard says to ignore such an element: it has an unknown type, or no certificate.
    fn is_ignored(&self) -> bool {
        matches!(
            self,
            Self::Type { .. }
                | Self::NoCertificate {
                    found: "nothing" | "an empty list"
                }
        )
    }
}

fn read(jwk: &Map<String, Value>) -> Result<Authority, Unusable> {
    match jwk.get("d") {
        None => {}
        Some(Value::Null) => return Err(Unusable::NullPrivateKey),
        Some(_) => return Err(Unusable::PrivateKey),
    }
    let key = public_key(jwk)?;
    let first = match jwk.get("x5c") {
        Some(Value::Array(certificates)) => certificates.first().ok_or(Unusable::NoCertificate {
            found: "an empty list",
        })?,
        found => {
            return Err(Unusable::NoCertificate {
                found: json::kind(found),
            });
        }
    };
    let first = first.as_str().ok_or(Unusable::NoCertificate {
        found: "a list of something else",
    })?;
    let der = STANDARD
        .decode(first)
        .map_err(|_| Unusable::CertificateEncoding)?;
    let authority = Authority::parse(&der)?;
    if *authority.public_key() == key {
        Ok(authority)
    } else {
        Err(Unusable::OtherKey)
    }
}

fn public_key(jwk: &Map<String, Value>) -> Result<PublicKey, Unusable> {
    match text(jwk, "kty")? {
        "RSA" => Ok(PublicKey::rsa(&number(jwk, "n")?, &number(jwk, "e")?)),
        "EC" => Ok(PublicKey::ec(&number(jwk, "x")?, &number(jwk, "y")?)),
        "OKP" => Ok(PublicKey::Ed25519 {
            point: number(jwk, "x")?,
        }),
        "oct" => Err(Unusable::SharedSecret),
        other => Err(Unusable::Type {
            found: other.to_owned(),
        }),
    }
}

fn text<'a>(jwk: &'a Map<String, Value>, member: &'static str) -> Result<&'a str, Unusable> {
    let found = jwk.get(member);
    found.and_then(Value::as_str).ok_or(Unusable::Mistyped {
        member,
        found: json::kind(found),
    })
}

fn number(jwk: &Map<String, Value>, member: &'static str) -> Result<Vec<u8>, Unusable> {
    URL_SAFE_NO_PAD
        .decode(text(jwk, member)?)
        .map_err(|_| Unusable::Encoding { member })
}

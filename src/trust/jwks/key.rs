//! One public key of a JWK Set (RFC 7517 4, RFC 7518 6, RFC 8037 2), parsed for each algorithm that fits it.

use super::UseRule;
use crate::trust::algorithm::Algorithm;
use crate::trust::fingerprint;
use crate::trust::json;
use aws_lc_rs::signature::{
    self as lc, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use std::fmt;
use std::sync::Arc;

#[derive(Clone)]
pub(in crate::trust) struct Key {
    id: Option<Arc<str>>,
    issuer: Option<Arc<str>>,
    fingerprint: Arc<str>,
    verifiers: Arc<[(Algorithm, ParsedPublicKey)]>,
}

impl Key {
    /// Parses an element. Returns `None` for a valid element with another purpose.
    pub(super) fn parse(element: &Value, rule: UseRule) -> Result<Option<Self>, Unusable> {
        let Value::Object(jwk) = element else {
            return Err(Unusable::NotAnObject {
                found: json::kind(Some(element)),
            });
        };
        let used = used_for_tokens(jwk, rule);
        if used == Ok(false) {
            return Ok(None);
        }
        // A private key here was leaked, whatever its purpose.
        match jwk.get("d") {
            None => {}
            Some(Value::Null) => return Err(Unusable::NullPrivateKey),
            Some(_) => return Err(Unusable::PrivateKey),
        }
        used?;
        let id = match jwk.get("kid") {
            Some(Value::String(id)) if !id.is_empty() => Some(id.as_str().into()),
            None if matches!(rule, UseRule::Oidc | UseRule::Ignored) => None,
            found => {
                return Err(Unusable::KeyId {
                    found: json::kind(found),
                });
            }
        };
        match jwk.get("key_ops") {
            None => {}
            Some(Value::Array(operations)) if operations.iter().any(|one| one == "verify") => {}
            Some(Value::Array(_)) => return Err(Unusable::Operations),
            found => {
                return Err(Unusable::OperationsType {
                    found: json::kind(found),
                });
            }
        }
        let mut verifiers = verifiers(jwk)?;
        if let Some(bound) = jwk.get("alg") {
            let bound = bound.as_str().ok_or(Unusable::Mistyped {
                member: "alg",
                found: json::kind(Some(bound)),
            })?;
            let only: Algorithm = bound
                .parse()
                .map_err(|_| Unusable::UnknownAlgorithm { found: bound.into() })?;
            verifiers.retain(|(algorithm, _)| *algorithm == only);
            if verifiers.is_empty() {
                return Err(Unusable::Algorithm { found: bound.into() });
            }
        }
        let fingerprint = fingerprint(required_members(jwk)?.to_string().as_bytes()).into();
        Ok(Some(Self {
            id,
            issuer: None,
            fingerprint,
            verifiers: verifiers.into(),
        }))
    }

    pub(super) fn demanding(&self, issuer: Arc<str>) -> Self {
        Self {
            issuer: Some(issuer),
            ..self.clone()
        }
    }

    pub(in crate::trust) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the beginning of the key's thumbprint (RFC 7638), which identifies the key independently of
    /// its `kid`.
    pub(in crate::trust) const fn fingerprint(&self) -> &Arc<str> {
        &self.fingerprint
    }

    /// Returns the `iss` that a token must have for this key to verify it.
    pub(in crate::trust) fn demanded_issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    pub(super) fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.verifiers.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Returns the key parsed for `algorithm`, if it fits.
    pub(in crate::trust) fn verifier(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.verifiers
            .iter()
            .find(|(fitting, _)| *fitting == algorithm)
            .map(|(_, key)| key)
    }
}

/// Compares the key, its `kid` and the `iss` that it demands.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let verifiers = |key: &Self| {
            key.verifiers
                .iter()
                .map(|(algorithm, key)| (*algorithm, key.as_ref().to_vec()))
                .collect::<Vec<_>>()
        };
        self.id == other.id && self.issuer == other.issuer && verifiers(self) == verifiers(other)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.verifiers.iter().map(|(algorithm, _)| algorithm).collect();
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("issuer", &self.issuer)
            .field("algorithms", &algorithms)
            .finish()
    }
}

/// Why an element of a key set is skipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("expected an object, found {found}")]
    NotAnObject { found: &'static str },
    #[error("expected `use` to be {expected}, found {found}")]
    Use { expected: &'static str, found: String },
    #[error("this is a private key: its parameter `d` must never be published; replace the key")]
    PrivateKey,
    #[error(
        "expected a public key, without the private parameter `d`, found `d: null`; leave the member out"
    )]
    NullPrivateKey,
    #[error(
        "this is a shared secret (kty `oct`), with which anyone who reads the set could sign; replace it by a key pair"
    )]
    SharedSecret,
    #[error("expected a non-empty string as `kid`, found {found}")]
    KeyId { found: &'static str },
    #[error("the key is not for verifying: its `key_ops` has no `verify`")]
    Operations,
    #[error("expected a list as `key_ops`, found {found}")]
    OperationsType { found: &'static str },
    #[error("`alg` is {found:?}, which does not fit the key")]
    Algorithm { found: String },
    #[error("`alg` is {found:?}, which is not a supported signature algorithm")]
    UnknownAlgorithm { found: String },
    #[error("expected a string as `{member}`, found {found}")]
    Mistyped {
        member: &'static str,
        found: &'static str,
    },
    #[error("`{member}` is not base64url without padding")]
    Encoding { member: &'static str },
    #[error("expected kty `RSA`, `EC` or `OKP`, found {found:?}")]
    Type { found: String },
    #[error("expected crv {expected}, found {found:?}")]
    Curve { expected: &'static str, found: String },
    #[error("the coordinates are not a point of the curve {curve}")]
    Point { curve: &'static str },
    #[error("expected an RSA modulus of 2048 to 8192 bits, found {bits}")]
    Modulus { bits: usize },
    #[error("the RSA public exponent must be odd, above 1 and below 2^33")]
    Exponent,
    #[error("modulus and exponent do not form an RSA key")]
    Rsa,
}

impl Unusable {
    /// Whether a standard says to ignore such a key: it is for another use, or has an unknown type, curve or
    /// algorithm (RFC 7517 4.2, 4.3 and 5, SPIFFE Trust Domain and Bundle 4.2). Malformed or dangerous keys
    /// are reported as faults.
    pub(super) const fn is_ignored(&self) -> bool {
        matches!(
            self,
            Self::Use { .. }
                | Self::Operations
                | Self::UnknownAlgorithm { .. }
                | Self::Type { .. }
                | Self::Curve { .. }
        )
    }
}

fn used_for_tokens(jwk: &Map<String, Value>, rule: UseRule) -> Result<bool, Unusable> {
    let found = jwk.get("use");
    let stated = found.and_then(Value::as_str);
    if found.is_some() && stated.is_none() && rule != UseRule::Ignored {
        return Err(Unusable::Mistyped {
            member: "use",
            found: json::kind(found),
        });
    }
    let (good, expected) = match rule {
        UseRule::Ignored => (true, ""),
        UseRule::Oidc => (found.is_none() || stated == Some("sig"), "absent or `sig`"),
        UseRule::WorkloadApi => (
            found.is_none() || matches!(stated, Some("jwt-svid" | "sig")),
            "absent, `jwt-svid` or `sig`",
        ),
        UseRule::SpiffeBundle if matches!(stated, Some("x509-svid" | "wit-svid")) => return Ok(false),
        UseRule::SpiffeBundle => (stated == Some("jwt-svid"), "`x509-svid` or `jwt-svid`"),
    };
    let shown = || stated.map_or_else(|| json::kind(found).to_owned(), |text| format!("{text:?}"));
    if good {
        Ok(true)
    } else {
        Err(Unusable::Use {
            expected,
            found: shown(),
        })
    }
}

fn verifiers(jwk: &Map<String, Value>) -> Result<Vec<(Algorithm, ParsedPublicKey)>, Unusable> {
    match text(jwk, "kty")? {
        "RSA" => rsa(jwk),
        "EC" => match text(jwk, "crv")? {
            "P-256" => ec(jwk, "P-256", 32, Algorithm::ES256, &lc::ECDSA_P256_SHA256_FIXED),
            "P-384" => ec(jwk, "P-384", 48, Algorithm::ES384, &lc::ECDSA_P384_SHA384_FIXED),
            "P-521" => ec(jwk, "P-521", 66, Algorithm::ES512, &lc::ECDSA_P521_SHA512_FIXED),
            other => Err(Unusable::Curve {
                expected: "P-256, P-384 or P-521",
                found: other.into(),
            }),
        },
        "OKP" => match text(jwk, "crv")? {
            "Ed25519" => {
                let key = ParsedPublicKey::new(&lc::ED25519, number(jwk, "x")?);
                Ok(vec![(
                    Algorithm::EdDSA,
                    key.map_err(|_| Unusable::Point { curve: "Ed25519" })?,
                )])
            }
            other => Err(Unusable::Curve {
                expected: "Ed25519",
                found: other.into(),
            }),
        },
        "oct" => Err(Unusable::SharedSecret),
        other => Err(Unusable::Type { found: other.into() }),
    }
}

fn ec(
    jwk: &Map<String, Value>,
    curve: &'static str,
    coordinate_bytes: usize,
    algorithm: Algorithm,
    verification: &'static dyn VerificationAlgorithm,
) -> Result<Vec<(Algorithm, ParsedPublicKey)>, Unusable> {
    let x = number(jwk, "x")?;
    let y = number(jwk, "y")?;
    if x.len() != coordinate_bytes || y.len() != coordinate_bytes {
        return Err(Unusable::Point { curve });
    }
    let point = [&[UNCOMPRESSED_POINT][..], &x, &y].concat();
    let key = ParsedPublicKey::new(verification, point).map_err(|_| Unusable::Point { curve })?;
    Ok(vec![(algorithm, key)])
}

/// An RSA key fits six algorithms unless its `alg` names one. Some issuers put a leading zero before the
/// modulus, as DER does.
fn rsa(jwk: &Map<String, Value>) -> Result<Vec<(Algorithm, ParsedPublicKey)>, Unusable> {
    let n = number(jwk, "n")?;
    let e = number(jwk, "e")?;
    let n = without_leading_zeros(&n);
    let e = without_leading_zeros(&e);
    if !(2048..=8192).contains(&bits(n)) {
        return Err(Unusable::Modulus { bits: bits(n) });
    }
    // With an exponent of 1, anyone could sign.
    let odd = e.last().is_some_and(|last| last % 2 == 1);
    if !odd || !(2..=33).contains(&bits(e)) {
        return Err(Unusable::Exponent);
    }
    let key = RsaPublicKeyComponents { n, e };
    RSA.into_iter()
        .map(|(algorithm, kind)| {
            Ok((
                algorithm,
                key.to_parsed_public_key(kind).map_err(|_| Unusable::Rsa)?,
            ))
        })
        .collect()
}

/// Returns the members of a thumbprint in order (RFC 7638 3.2). Different encodings of one key have the same
/// thumbprint.
fn required_members(jwk: &Map<String, Value>) -> Result<Value, Unusable> {
    let shortest = |member| Ok(URL_SAFE_NO_PAD.encode(without_leading_zeros(&number(jwk, member)?)));
    let kty = text(jwk, "kty")?;
    let crv = || text(jwk, "crv");
    Ok(match kty {
        "RSA" => json!({"e": shortest("e")?, "kty": kty, "n": shortest("n")?}),
        "EC" => json!({"crv": crv()?, "kty": kty, "x": text(jwk, "x")?, "y": text(jwk, "y")?}),
        _ => json!({"crv": crv()?, "kty": kty, "x": text(jwk, "x")?}),
    })
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    number
        .iter()
        .position(|byte| *byte != 0)
        .and_then(|first| number.get(first..))
        .unwrap_or_default()
}

/// Returns the bit length of a number without leading zero bytes.
fn bits(number: &[u8]) -> usize {
    number
        .first()
        .map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
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

const UNCOMPRESSED_POINT: u8 = 4;

const RSA: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::RS256, &lc::RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::RS384, &lc::RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::RS512, &lc::RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::PS256, &lc::RSA_PSS_2048_8192_SHA256),
    (Algorithm::PS384, &lc::RSA_PSS_2048_8192_SHA384),
    (Algorithm::PS512, &lc::RSA_PSS_2048_8192_SHA512),
];

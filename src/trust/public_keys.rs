//! The public keys of an external token server: a JWK Set, or PEM with `PUBLIC KEY` sections or certificates.
//! Only the key of a certificate is used.

use super::bundle::section;
use super::jwks::{InvalidJwks, KeySet, Parsed, UseRule, from_elements, name, parse};
use super::skipped::Skipped;
use super::x509::PublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pki_types::pem::{SectionKind, SliceIter};
use serde_json::{Value, json};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Reads public keys. Keys from PEM have no `kid`.
pub(in crate::trust) fn public_keys(text: &[u8]) -> Result<Parsed<KeySet>, InvalidJwks> {
    let sections: Vec<(SectionKind, Vec<u8>)> = SliceIter::new(text).filter_map(Result::ok).collect();
    if sections.is_empty() {
        return parse(text, UseRule::Oidc);
    }
    let mut elements = Vec::new();
    let mut places = Vec::new();
    let mut unread = Vec::new();
    for (index, (kind, der)) in sections.iter().enumerate() {
        let place = format!("PEM section {}", index + 1);
        match element(*kind, der) {
            Some(element) => {
                elements.push(element);
                places.push(place);
            }
            None => unread.push(Skipped::new(
                place,
                format!("{EXPECTED}, found {}", section(*kind)),
            )),
        }
    }
    let mut parsed = from_elements(&elements, UseRule::Ignored);
    for skipped in &mut parsed.skipped {
        let place = (0..)
            .zip(&places)
            .find(|(index, _)| name(*index, &Value::Null) == skipped.element);
        skipped.element = place.map_or_else(String::new, |(_, place)| place.clone());
    }
    parsed.skipped.extend(unread);
    Ok(parsed)
}

fn element(kind: SectionKind, der: &[u8]) -> Option<Value> {
    let key = match kind {
        SectionKind::PublicKey => PublicKey::of(&SubjectPublicKeyInfo::from_der(der).ok()?.1),
        SectionKind::Certificate => {
            PublicKey::of(x509_parser::parse_x509_certificate(der).ok()?.1.public_key())
        }
        _ => return None,
    };
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Some(match key {
        PublicKey::Rsa { modulus, exponent } => {
            json!({"kty": "RSA", "n": encode(&modulus), "e": encode(&exponent)})
        }
        PublicKey::Ed25519 { point } => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(&point)}),
        PublicKey::Ec { point } => {
            let coordinates = point.get(1..)?;
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            let crv = match x.len() {
                32 => "P-256",
                48 => "P-384",
                _ => "P-521",
            };
            json!({"kty": "EC", "crv": crv, "x": encode(x), "y": encode(y)})
        }
        PublicKey::Other => return None,
    })
}

const EXPECTED: &str = "expected a PUBLIC KEY or CERTIFICATE with an RSA, Ed25519 or NIST curve's key";

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};

    #[test]
    fn keys_come_as_pem_keys_as_certificates_and_as_key_sets() {
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ED25519,
            &rcgen::PKCS_RSA_SHA256,
        ] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let spki = key.subject_public_key_info();
            let pem = format!(
                "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
                base64::engine::general_purpose::STANDARD.encode(spki)
            );
            let certificate = CertificateParams::default().self_signed(&key).unwrap().pem();
            let one = public_keys(pem.as_bytes()).unwrap();
            let other = public_keys(certificate.as_bytes()).unwrap();
            assert_eq!((one.value.len(), other.value.len()), (1, 1), "{algorithm:?}");
            let fingerprint = |parsed: &Parsed<KeySet>| parsed.value.keys()[0].fingerprint().clone();
            assert_eq!(fingerprint(&one), fingerprint(&other), "{algorithm:?}");
        }
        let private = public_keys(KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap();
        assert_eq!((private.value.len(), private.skipped.len()), (0, 1));
        let why = private.skipped[0].to_string();
        assert!(
            why.starts_with("PEM section 1: expected a PUBLIC KEY or CERTIFICATE")
                && why.ends_with("found PRIVATE KEY"),
            "{why}"
        );
        assert_eq!(public_keys(br#"{"keys":[]}"#).unwrap().value.len(), 0);
        assert!(public_keys(b"neither").is_err());
    }
}

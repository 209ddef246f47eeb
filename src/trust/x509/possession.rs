//! Whether the TLS handshake can prove that the client has the private key of its certificate. The server's
//! verifier and [`super::Leaf::parse`] share this pure function. If the handshake cannot check the proof,
//! parsing the leaf fails, so there is no identity.

use super::der::{self, take_tagged, values};
use super::name;
use super::outline::Outline;
use super::rejected::{Malformed, Rejected, Unprovable};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519, ML_DSA_44, ML_DSA_65,
    ML_DSA_87, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use pki_types::{AlgorithmIdentifier, SubjectPublicKeyInfoDer, alg_id};
use x509_parser::asn1_rs::{FromDer as _, Oid};

/// Returns the public key of a certificate within the limits, if the handshake can check its signatures. The
/// certificate may be invalid otherwise, such as one of version 1. That is decided later, so that a client
/// with a valid token is still accepted.
pub fn provable_key(certificate: &[u8]) -> Result<SubjectPublicKeyInfoDer<'static>, Rejected> {
    let outline = Outline::bounded(certificate)?;
    check(outline.public_key.content)?;
    Ok(SubjectPublicKeyInfoDer::from(outline.public_key.whole.to_vec()))
}

/// Whether keys of this algorithm can be proved.
#[cfg(test)]
pub(crate) fn can_prove(id: &AlgorithmIdentifier) -> bool {
    ALGORITHMS.iter().any(|(known, _)| known == id)
}

/// Checks the content of a `SubjectPublicKeyInfo`.
fn check(info: &[u8]) -> Result<(), Rejected> {
    let mut rest = info;
    let algorithm = take_tagged(&mut rest, der::SEQUENCE)
        .ok_or(Malformed::Der)?
        .content;
    let bits = take_tagged(&mut rest, der::BIT_STRING)
        .ok_or(Malformed::Der)?
        .content;
    let Some((0, key)) = bits.split_first().map(|(unused, key)| (*unused, key)) else {
        return Err(Malformed::Der.into());
    };
    let Some((id, verification)) = ALGORITHMS.iter().find(|(id, _)| id.as_ref() == algorithm) else {
        return Err(Unprovable::Algorithm { oid: oid(algorithm) }.into());
    };
    if *id == alg_id::RSA_ENCRYPTION {
        let bits = modulus_bits(key).ok_or(Unprovable::Malformed)?;
        if !RSA_BITS.contains(&bits) {
            return Err(Unprovable::RsaSize { bits }.into());
        }
    }
    if CURVES.contains(id) && !matches!(key.first(), Some(2..=4)) {
        // The verifier supports only compressed and uncompressed points (RFC 5480 2.2).
        return Err(Unprovable::Malformed.into());
    }
    ParsedPublicKey::new(*verification, key)
        .map(drop)
        .map_err(|_| Unprovable::Malformed.into())
}

fn modulus_bits(mut key: &[u8]) -> Option<usize> {
    let numbers = take_tagged(&mut key, der::SEQUENCE)
        .filter(|_| key.is_empty())?
        .content;
    let modulus = values(numbers)
        .next()?
        .ok()
        .filter(|value| value.tag == der::INTEGER)?
        .content;
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let unused = modulus.first()?.leading_zeros();
    (modulus.len() * 8).checked_sub(usize::try_from(unused).ok()?)
}

/// Returns the algorithm's OID, and its curve if there is one.
fn oid(mut algorithm: &[u8]) -> String {
    let text = |bytes: &[u8]| {
        Oid::from_der(bytes).map_or_else(
            |_| "an unreadable one".to_owned(),
            |(_, oid)| name::shortened(&oid.to_id_string()),
        )
    };
    let name =
        take_tagged(&mut algorithm, der::OBJECT_IDENTIFIER).map_or_else(|| text(&[]), |oid| text(oid.whole));
    match take_tagged(&mut algorithm, der::OBJECT_IDENTIFIER) {
        Some(curve) => format!("{name} with {}", text(curve.whole)),
        None => name,
    }
}

/// The algorithms of the TLS provider, by the key's algorithm.
const ALGORITHMS: [(AlgorithmIdentifier, &dyn VerificationAlgorithm); 8] = [
    (alg_id::ECDSA_P256, &ECDSA_P256_SHA256_ASN1),
    (alg_id::ECDSA_P384, &ECDSA_P384_SHA384_ASN1),
    (alg_id::ECDSA_P521, &ECDSA_P521_SHA512_ASN1),
    (alg_id::ED25519, &ED25519),
    (alg_id::RSA_ENCRYPTION, &RSA_PKCS1_2048_8192_SHA256),
    (alg_id::ML_DSA_44, &ML_DSA_44),
    (alg_id::ML_DSA_65, &ML_DSA_65),
    (alg_id::ML_DSA_87, &ML_DSA_87),
];
const CURVES: [AlgorithmIdentifier; 3] = [alg_id::ECDSA_P256, alg_id::ECDSA_P384, alg_id::ECDSA_P521];
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

//! Makes certificates for tests.

use super::{Authority, Leaf, X509Authorities, der};
use crate::clock::Timestamp;
use crate::trust::{Held, Slot};
use pki_types::CertificateDer;
use rcgen::{
    CertificateParams, CustomExtension, KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey as _,
};
use std::cell::Cell;
use std::sync::Arc;
use time::OffsetDateTime;
pub(crate) use wharfinger_testkit::{Ca, uri};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
pub(crate) const HOUR: i64 = 3600;

/// Returns the time `seconds` after [`NOW`].
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(NOW.as_secs() + seconds)
}

/// Signs the same certificate again as version 1, which has no extensions.
pub(crate) fn version_1(ca: &Ca, certificate: &CertificateDer<'_>) -> CertificateDer<'static> {
    let part = |tag: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        // This encodes a length in its shortest form only from 256 bytes on.
        let length = if content.len() > 255 {
            [&[0x82][..], &length].concat()
        } else {
            vec![0x81, length[1]]
        };
        let length = if content.len() > 127 {
            length
        } else {
            vec![u8::try_from(content.len()).unwrap()]
        };
        [&[tag][..], &length, content].concat()
    };
    let mut whole = certificate.as_ref();
    let mut members = der::take(&mut whole).unwrap().content;
    let signed: Vec<_> = der::values(der::take(&mut members).unwrap().content)
        .map(Result::unwrap)
        .collect();
    let without: Vec<_> = signed
        .iter()
        .filter(|value| !matches!(value.tag, 0xa0 | 0xa3))
        .map(|value| value.whole)
        .collect();
    let signed = part(der::SEQUENCE, &without.concat());
    let algorithm = der::take(&mut members).unwrap().whole;
    let signature = part(
        der::BIT_STRING,
        &[&[0][..], &ca.key().sign(&signed).unwrap()].concat(),
    );
    part(der::SEQUENCE, &[&signed[..], algorithm, &signature].concat()).into()
}

/// Makes up a public key without a private key.
pub(crate) struct MadeUp {
    bytes: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl MadeUp {
    pub(crate) fn new(algorithm: &'static SignatureAlgorithm, bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            algorithm,
        }
    }

    /// Returns an RSA key with a modulus of `bytes` bytes and the exponent 65537.
    pub(crate) fn rsa(bytes: usize) -> Self {
        let number = [
            &[0x02, 0x82][..],
            &u16::try_from(bytes + 1).unwrap().to_be_bytes(),
            &[0],
            &vec![0xc5; bytes],
        ]
        .concat();
        let number = if bytes < 255 {
            [
                &[0x02, 0x81, u8::try_from(bytes + 1).unwrap(), 0][..],
                &vec![0xc5; bytes],
            ]
            .concat()
        } else {
            number
        };
        let numbers = [&number[..], &[0x02, 3, 1, 0, 1]].concat();
        let length = u16::try_from(numbers.len()).unwrap().to_be_bytes();
        let length = if numbers.len() > 255 {
            [&[0x82][..], &length].concat()
        } else {
            vec![0x81, length[1]]
        };
        Self {
            bytes: [&[0x30][..], &length, &numbers].concat(),
            algorithm: &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl PublicKeyData for MadeUp {
    fn der_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

/// Adds an unknown critical extension.
pub(crate) fn unknown_critical(params: &mut CertificateParams) {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
}

/// Returns what a source with these certificates holds.
pub(crate) fn authorities(all: &[&Ca]) -> X509Authorities {
    all.iter().map(|ca| Authority::parse(&ca.der).unwrap()).collect()
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

pub(in crate::trust) fn key_for(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

pub(crate) fn valid(params: &mut CertificateParams, from: Timestamp, to: Timestamp) {
    params.not_before = OffsetDateTime::from_unix_timestamp(from.as_secs()).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(to.as_secs()).unwrap();
}

/// Returns a source that holds these authorities without a staleness bound.
pub(in crate::trust) fn holding(authorities: &[&Ca]) -> Arc<Held<X509Authorities>> {
    holding_until(authorities, Timestamp::MAX)
}

pub(in crate::trust) fn holding_until(
    authorities: &[&Ca],
    usable_until: Timestamp,
) -> Arc<Held<X509Authorities>> {
    held(self::authorities(authorities), usable_until)
}

pub(in crate::trust) fn held(
    authorities: X509Authorities,
    usable_until: Timestamp,
) -> Arc<Held<X509Authorities>> {
    let slot = Slot::new("test bundle");
    slot.publish(authorities, NOW, usable_until);
    slot.held().unwrap()
}

pub(in crate::trust) fn leaf(der: &CertificateDer<'_>) -> Leaf {
    Leaf::parse(der).unwrap()
}

/// Returns how many signatures this thread has checked since the last call.
pub(crate) fn signature_checks() -> usize {
    SIGNATURE_CHECKS.replace(0)
}

pub(super) fn count_signature_check() {
    SIGNATURE_CHECKS.set(SIGNATURE_CHECKS.get() + 1);
}

thread_local! {
    static SIGNATURE_CHECKS: Cell<usize> = const { Cell::new(0) };
}

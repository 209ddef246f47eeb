//! Makes certificates for tests.

use super::{Authority, Leaf, X509Authorities, der};
use crate::clock::Timestamp;
use crate::trust::{Held, Slot};
use pki_types::CertificateDer;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm, SigningKey as _,
};
use std::cell::Cell;
use std::sync::Arc;
use time::OffsetDateTime;

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
pub(crate) const HOUR: i64 = 3600;

/// Returns the time `seconds` after [`NOW`].
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(NOW.as_secs() + seconds)
}

/// A certificate authority with its key.
pub(crate) struct Ca {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) der: CertificateDer<'static>,
}

impl Ca {
    pub(crate) fn root(name: &str) -> Self {
        Self::root_with(name, |_| {})
    }

    pub(crate) fn root_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::root_of(name, key(), change)
    }

    pub(crate) fn root_of(name: &str, key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        change(&mut params);
        let der = params.self_signed(&key).unwrap().der().clone();
        Self {
            issuer: Issuer::new(params, key),
            der,
        }
    }

    pub(crate) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| {})
    }

    pub(crate) fn intermediate_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        let key = key();
        change(&mut params);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self {
            issuer: Issuer::new(params, key),
            der,
        }
    }

    /// Certifies another authority's name and key.
    pub(in crate::trust) fn cross_sign(&self, name: &str, other: &Self) -> CertificateDer<'static> {
        authority(name)
            .signed_by(other.issuer.key(), &self.issuer)
            .unwrap()
            .der()
            .clone()
    }

    /// Makes a well-formed X.509-SVID.
    pub(crate) fn svid(&self, id: &str) -> CertificateDer<'static> {
        self.svid_with(id, |_| {})
    }

    pub(crate) fn svid_with(
        &self,
        id: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        self.leaf(&key(), |params| {
            params.subject_alt_names = vec![uri(id)];
            change(params);
        })
    }

    pub(crate) fn leaf(
        &self,
        key: &impl PublicKeyData,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "US");
        params.distinguished_name.push(DnType::OrganizationName, "SPIRE");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        params.signed_by(key, &self.issuer).unwrap().der().clone()
    }

    /// Makes an X.509-SVID for any key, valid or not.
    pub(crate) fn svid_for(&self, id: &str, key: &impl PublicKeyData) -> CertificateDer<'static> {
        self.leaf(key, |params| params.subject_alt_names = vec![uri(id)])
    }

    /// Signs the same certificate again as version 1, which has no extensions.
    pub(crate) fn version_1(&self, certificate: &CertificateDer<'_>) -> CertificateDer<'static> {
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
            &[&[0][..], &self.issuer.key().sign(&signed).unwrap()].concat(),
        );
        part(der::SEQUENCE, &[&signed[..], algorithm, &signature].concat()).into()
    }
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

pub(crate) fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
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

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

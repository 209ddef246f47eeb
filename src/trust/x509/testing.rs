//! Certificates made while a test runs.

use super::{Authority, Leaf, X509Authorities};
use crate::clock::Timestamp;
use crate::trust::{Held, Slot};
use pki_types::CertificateDer;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SignatureAlgorithm,
};
use std::sync::Arc;
use time::OffsetDateTime;

pub(in crate::trust) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
pub(in crate::trust) const HOUR: i64 = 3600;

/// `seconds` after [`NOW`].
pub(in crate::trust) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(NOW.as_secs() + seconds)
}

/// A certificate authority with its key.
pub(in crate::trust) struct Ca {
    pub(in crate::trust) issuer: Issuer<'static, KeyPair>,
    pub(in crate::trust) der: CertificateDer<'static>,
}

impl Ca {
    pub(in crate::trust) fn root(name: &str) -> Self {
        Self::root_with(name, |_| {})
    }

    pub(in crate::trust) fn root_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::root_of(name, key(), change)
    }

    pub(in crate::trust) fn root_of(name: &str, key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        change(&mut params);
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), der }
    }

    pub(in crate::trust) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| {})
    }

    pub(in crate::trust) fn intermediate_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (mut params, key) = (authority(name), key());
        change(&mut params);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), der }
    }

    /// Certifies another authority's name and key.
    pub(in crate::trust) fn cross_sign(&self, name: &str, other: &Self) -> CertificateDer<'static> {
        authority(name).signed_by(other.issuer.key(), &self.issuer).unwrap().der().clone()
    }

    /// A well-formed X.509-SVID.
    pub(in crate::trust) fn svid(&self, id: &str) -> CertificateDer<'static> {
        self.svid_with(id, |_| {})
    }

    pub(in crate::trust) fn svid_with(&self, id: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        self.leaf(&key(), |params| {
            params.subject_alt_names = vec![uri(id)];
            change(params);
        })
    }

    pub(in crate::trust) fn leaf(&self, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "US");
        params.distinguished_name.push(DnType::OrganizationName, "SPIRE");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        params.signed_by(key, &self.issuer).unwrap().der().clone()
    }
}

pub(in crate::trust) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

pub(in crate::trust) fn key_for(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

pub(in crate::trust) fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

pub(in crate::trust) fn valid(params: &mut CertificateParams, from: Timestamp, to: Timestamp) {
    params.not_before = OffsetDateTime::from_unix_timestamp(from.as_secs()).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(to.as_secs()).unwrap();
}

/// A source that holds these authorities, usable for ever.
pub(in crate::trust) fn holding(authorities: &[&Ca]) -> Arc<Held<X509Authorities>> {
    holding_until(authorities, Timestamp::MAX)
}

pub(in crate::trust) fn holding_until(authorities: &[&Ca], usable_until: Timestamp) -> Arc<Held<X509Authorities>> {
    held(authorities.iter().map(|ca| Authority::parse(&ca.der).unwrap()).collect(), usable_until)
}

pub(in crate::trust) fn held(authorities: X509Authorities, usable_until: Timestamp) -> Arc<Held<X509Authorities>> {
    let slot = Slot::new("test bundle");
    slot.publish(authorities, NOW, usable_until);
    slot.held().unwrap()
}

pub(in crate::trust) fn leaf(der: &CertificateDer<'_>) -> Leaf {
    Leaf::parse(der).unwrap()
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

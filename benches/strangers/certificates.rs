//! Certificates that a stranger may present.

use pki_types::pem::PemObject as _;
use pki_types::{CertificateDer, PrivateKeyDer};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use time::OffsetDateTime;
use wharfinger_testkit::{Pair, TestPki, uri};

pub(crate) struct Chain {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Chain {
    pub(crate) fn bytes(&self) -> usize {
        self.certificates.iter().map(|der| der.len()).sum()
    }
}

/// A certificate that the registry trusts.
pub(crate) fn good(pki: &TestPki) -> Chain {
    let Pair { certificate, key } = pki.domain.x509_svid("/builder");
    let certificates = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .map(Result::unwrap)
        .collect();
    Chain {
        certificates,
        key: PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
    }
}

/// Self-signed, 60 KB, with 20,000 names of one letter.
pub(crate) fn many_names() -> Chain {
    let key = KeyPair::generate().unwrap();
    let mut params = named("many names");
    params.subject_alt_names = vec![SanType::DnsName("a".try_into().unwrap()); 20_000];
    let certificates = vec![params.self_signed(&key).unwrap().der().clone()];
    Chain {
        certificates,
        key: private(&key),
    }
}

/// A leaf that claims the configured trust domain, and `count` authorities with the same name but different
/// keys.
pub(crate) fn one_name(count: usize) -> Chain {
    let key = KeyPair::generate().unwrap();
    let authorities = authorities(count, "same", 3600);
    let leaf = svid().signed_by(&key, &authorities[0].0).unwrap();
    chain(&key, leaf.der(), authorities)
}

/// The same with `count` expired authorities.
pub(crate) fn expired(count: usize) -> Chain {
    let key = KeyPair::generate().unwrap();
    let authorities = authorities(count, "an authority of a stranger that has expired", -60);
    let leaf = svid().signed_by(&key, &authorities[0].0).unwrap();
    chain(&key, leaf.der(), authorities)
}

fn chain(
    key: &KeyPair,
    leaf: &CertificateDer<'static>,
    authorities: Vec<(Issuer<'static, KeyPair>, CertificateDer<'static>)>,
) -> Chain {
    let certificates = std::iter::once(leaf.clone())
        .chain(authorities.into_iter().map(|(_, der)| der))
        .collect();
    Chain {
        certificates,
        key: private(key),
    }
}

fn authorities(
    count: usize,
    name: &str,
    good_for: i64,
) -> Vec<(Issuer<'static, KeyPair>, CertificateDer<'static>)> {
    let make = |_| {
        let key = KeyPair::generate().unwrap();
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_after = OffsetDateTime::from_unix_timestamp(wharfinger_testkit::now() + good_for).unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        (Issuer::new(params, key), der)
    };
    (0..count).map(make).collect()
}

fn svid() -> CertificateParams {
    let mut params = named("svid");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.subject_alt_names = vec![uri("spiffe://prod.test/builder")];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = OffsetDateTime::from_unix_timestamp(wharfinger_testkit::now() - 3600).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(wharfinger_testkit::now() + 3600).unwrap();
    params
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(key.serialize_der()).unwrap()
}

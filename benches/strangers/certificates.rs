//! Certificates that a stranger may present.

use pki_types::pem::PemObject as _;
use pki_types::{CertificateDer, PrivateKeyDer};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, KeyUsagePurpose, SanType};
use time::OffsetDateTime;
use wharfinger_testkit::{Ca, Pair, TestPki, uri};

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
        key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    }
}

/// A leaf that claims the configured trust domain, and `count` authorities with the same name but different
/// keys.
pub(crate) fn one_name(count: usize) -> Chain {
    chain(&authorities(count, "same", 3600))
}

/// The same with `count` expired authorities.
pub(crate) fn expired(count: usize) -> Chain {
    chain(&authorities(
        count,
        "an authority of a stranger that has expired",
        -60,
    ))
}

/// A leaf of the first of these authorities, and all of them.
fn chain(authorities: &[Ca]) -> Chain {
    let leaf = authorities[0].der_pair(&svid());
    let authorities = authorities.iter().map(|ca| ca.der.clone());
    Chain {
        certificates: std::iter::once(leaf.certificate).chain(authorities).collect(),
        key: PrivateKeyDer::Pkcs8(leaf.key.into()),
    }
}

fn authorities(count: usize, name: &str, good_for: i64) -> Vec<Ca> {
    let make = |_| Ca::root_with(name, |params| valid(params, good_for));
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
    valid(&mut params, 3600);
    params
}

/// Makes it valid since an hour ago, for so many seconds more.
fn valid(params: &mut CertificateParams, good_for: i64) {
    let at = |seconds| OffsetDateTime::from_unix_timestamp(wharfinger_testkit::now() + seconds).unwrap();
    params.not_before = at(-3600);
    params.not_after = at(good_for);
}

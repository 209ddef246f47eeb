//! X.509-SVIDs, one test a rule; the names carry the rule's number in the project's list of verifier rules.

use super::*;
use crate::clock::Timestamp;
use crate::spiffe_id::InvalidSpiffeId;
use crate::trust::{Held, Slot};
use pki_types::CertificateDer;
use pki_types::pem::PemObject;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use std::sync::Arc;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const ID: &str = "spiffe://td.example/ns/a";

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

fn root() -> Authority {
    root_until(2040)
}

fn root_until(year: i32) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().unwrap();
    params.distinguished_name.push(DnType::CommonName, format!("{:?}", &key.public_key_raw()[..8]));
    let der = params.self_signed(&key).unwrap().der().clone();
    Authority { issuer: Issuer::new(params, key), der }
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri(ID)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    params
}

fn sign(params: &CertificateParams, by: &Authority) -> CertificateDer<'static> {
    params.signed_by(&KeyPair::generate().unwrap(), &by.issuer).unwrap().der().clone()
}

fn held(roots: &[&Authority]) -> Arc<Held<X509Authorities>> {
    let der: Vec<u8> = roots.iter().flat_map(|root| root.der.to_vec()).collect();
    let slot = Slot::new("test");
    slot.publish(parse_der(&der).unwrap().value, NOW, Timestamp::MAX);
    slot.held().unwrap()
}

fn judge(change: impl FnOnce(&mut CertificateParams)) -> Result<VerifiedChain, Rejected> {
    let root = root();
    let mut params = params();
    change(&mut params);
    verify_svid(&Leaf::parse(&sign(&params, &root))?, &[], &held(&[&root]), NOW)
}

#[test]
fn x_1_x_2_x_3_exactly_one_uri_name_that_is_a_spiffe_id() {
    assert_eq!(judge(|_| ()).unwrap().spiffe_id().as_str(), ID);
    for several in [[ID, "spiffe://td.example/b"], [ID, ID], [ID, "https://x.example"], ["https://x.example", ID]] {
        let names = several.map(uri).to_vec();
        assert_eq!(judge(|params| params.subject_alt_names = names).unwrap_err(), Rejected::UriNames { found: 2 }, "{several:?}");
    }
    let dns = vec![SanType::DnsName("x.example".try_into().unwrap())];
    let in_common_name = |params: &mut CertificateParams| {
        params.subject_alt_names = dns;
        params.distinguished_name.push(DnType::CommonName, ID);
    };
    assert_eq!(judge(in_common_name).unwrap_err(), Rejected::UriNames { found: 0 });
    let https = judge(|params| params.subject_alt_names = vec![uri("https://td.example/a")]);
    assert_eq!(https.unwrap_err(), Rejected::SpiffeId(InvalidSpiffeId::Scheme));
}

#[test]
fn x_4_other_names_may_stand_beside_it() {
    assert!(judge(|params| params.subject_alt_names.push(SanType::DnsName("x.example".try_into().unwrap()))).is_ok());
}

#[test]
fn x_5_x_6_x_7_x_8_a_leaf_is_no_authority_and_may_sign() {
    assert_eq!(judge(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)).unwrap_err(), Rejected::Authority);
    for more in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
        assert_eq!(judge(|params| params.key_usages.push(more)).unwrap_err(), Rejected::KeyUsage);
    }
    assert_eq!(judge(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]).unwrap_err(), Rejected::KeyUsage);
    assert_eq!(judge(|params| params.key_usages = vec![]).unwrap_err(), Rejected::NoKeyUsage);
    assert_eq!(judge(|params| params.subject_alt_names = vec![uri("spiffe://td.example")]).unwrap_err(), Rejected::NoPath);
}

#[test]
fn x_9_basic_constraints_may_be_absent() {
    assert!(judge(|params| params.is_ca = IsCa::NoCa).is_ok());
}

#[test]
fn x_10_extended_key_usage_is_absent_or_has_client_auth() {
    assert!(judge(|params| params.extended_key_usages = vec![]).is_ok());
    assert!(judge(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]).is_ok());
    for bad in [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::CodeSigning] {
        assert_eq!(judge(|params| params.extended_key_usages = vec![bad]).unwrap_err(), Rejected::ExtendedKeyUsage);
    }
}

#[test]
fn x_11_dates_and_signatures() {
    assert!(matches!(judge(|params| params.not_after = rcgen::date_time_ymd(2026, 2, 1)), Err(Rejected::Expired { .. })));
    assert!(matches!(judge(|params| params.not_before = rcgen::date_time_ymd(2029, 1, 1)), Err(Rejected::NotYetValid { .. })));
    let root = root();
    let mut flipped = sign(&params(), &root).to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let leaf = Leaf::parse(&flipped.into()).unwrap();
    assert!(matches!(verify_svid(&leaf, &[], &held(&[&root]), NOW), Err(Rejected::Path { .. })));
}

#[test]
fn x_12_x_13_only_an_authority_of_its_own_trust_domain() {
    let (own, foreign) = (root(), root());
    let leaf = Leaf::parse(&sign(&params(), &foreign)).unwrap();
    assert!(matches!(verify_svid(&leaf, &[], &held(&[&own]), NOW), Err(Rejected::Path { .. })));
    assert!(matches!(verify_svid(&leaf, std::slice::from_ref(&foreign.der), &held(&[&own]), NOW), Err(Rejected::Path { .. })));
    assert!(matches!(verify_svid(&leaf, &[], &held(&[]), NOW), Err(Rejected::NoAuthority(_))));
    assert!(verify_svid(&leaf, &[], &held(&[&own, &foreign]), NOW).is_ok(), "any of its authorities may vouch");
}

#[test]
fn x_16_an_intermediate_must_be_fit_to_sign() {
    let root = root();
    for (usages, fit) in [(vec![KeyUsagePurpose::KeyCertSign], true), (vec![KeyUsagePurpose::DigitalSignature], false)] {
        let mut between = CertificateParams::default();
        between.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        between.key_usages = usages;
        between.distinguished_name.push(DnType::CommonName, "intermediate");
        between.not_after = rcgen::date_time_ymd(2028, 1, 1);
        let key = KeyPair::generate().unwrap();
        let der = between.signed_by(&key, &root.issuer).unwrap().der().clone();
        let signer = Authority { issuer: Issuer::new(between, key), der };
        let leaf = Leaf::parse(&sign(&params(), &signer)).unwrap();
        let verdict = verify_svid(&leaf, std::slice::from_ref(&signer.der), &held(&[&root]), NOW);
        match fit {
            true => assert_eq!(verdict.unwrap().valid_until().to_string(), "2028-01-01T00:00:00Z", "the earliest end counts"),
            false => assert_eq!(verdict.unwrap_err(), Rejected::IntermediateKeyUsage),
        }
    }
}

#[test]
fn x_17_an_expired_authority_vouches_for_nobody() {
    let old = root_until(2026);
    let leaf = Leaf::parse(&sign(&params(), &old)).unwrap();
    assert!(matches!(verify_svid(&leaf, &[], &held(&[&old]), NOW), Err(Rejected::NoAuthority(_))));
}

#[test]
fn x_21_nothing_may_follow_the_leaf() {
    let mut der = sign(&params(), &root()).to_vec();
    der.push(0);
    assert_eq!(Leaf::parse(&der.into()).unwrap_err(), Rejected::TrailingBytes);
    assert_eq!(Leaf::parse(&CertificateDer::from(vec![1, 2, 3])).unwrap_err(), Rejected::Malformed);
}

#[test]
fn what_means_to_be_an_svid_is_never_anything_else() {
    let leaf = |name: &str| {
        let mut params = params();
        params.subject_alt_names = vec![uri(name)];
        Leaf::parse(&sign(&params, &root())).unwrap()
    };
    assert!(leaf(ID).claims_spiffe() && leaf("SPIFFE://TD/a").claims_spiffe());
    assert!(!leaf("https://spiffe.example/a").claims_spiffe());
}

#[test]
fn a_broken_bundle_is_an_error_and_an_emptied_one_is_not() {
    assert!(parse_der(&[]).unwrap().value.is_empty());
    assert_eq!(parse_der(&[0x30, 5, 1]).unwrap_err(), InvalidBundle::Framing);
    assert_eq!(parse_pem(b"no certificates").unwrap_err(), InvalidBundle::NoCertificate);
}

#[test]
fn what_a_real_spire_issued_verifies_in_its_own_domain_and_in_no_other() {
    let domains = ["cluster-a.example", "cluster-b.example", "cluster-c.example"];
    let read = |domain: &str, file: &str| std::fs::read(format!("testdata/spire/{domain}/{file}")).unwrap();
    let now = Timestamp::from_secs(1_795_500_000);
    for own in domains {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(own, "x509-svid.pem")).map(Result::unwrap).collect();
        let leaf = Leaf::parse(&chain[0]).unwrap();
        for other in domains {
            let slot = Slot::new(other);
            slot.publish(parse_pem(&read(other, "bundle.pem")).unwrap().value, now, Timestamp::MAX);
            let held = slot.held().unwrap();
            assert_eq!(verify_svid(&leaf, &chain[1..], &held, now).is_ok(), own == other, "{own} by {other}");
            let after = Timestamp::from_secs(2_000_000_000);
            assert!(verify_svid(&leaf, &chain[1..], &held, after).is_err());
        }
    }
}

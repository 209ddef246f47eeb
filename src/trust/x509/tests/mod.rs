//! Tests of the rules for a leaf. The names have the number of the rule for X.509-SVIDs.

mod claims;
mod limits;
mod path;
mod possession;
mod spire;

use super::testing::{Ca, NOW, holding, key, leaf, uri};
use super::*;
use crate::spiffe_id::{InvalidSpiffeId, SpiffeId};
use pki_types::CertificateDer;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType,
};

const ID: &str = "spiffe://example.org/ns/a/sa/b";

/// Parses the certificate.
fn id_of(change: impl FnOnce(&mut CertificateParams)) -> Result<SpiffeId, Rejected> {
    leaf(&Ca::root("root").svid_der_with(ID, change)).spiffe_id()
}

fn accepted() -> Result<SpiffeId, Rejected> {
    Ok(ID.parse().unwrap())
}

fn extension(oid: &[u64], content: &[u8]) -> CustomExtension {
    CustomExtension::from_oid_content(oid, content.to_vec())
}

#[test]
fn x_01_exactly_one_uri_name() {
    for names in [
        [ID, "spiffe://example.org/other"],
        [ID, ID],
        [ID, "https://example.org/"],
        ["https://example.org/", ID],
    ] {
        let found = id_of(|params| params.subject_alt_names = names.map(uri).to_vec());
        assert_eq!(found, Err(Rejected::SeveralUriNames { found: 2 }), "{names:?}");
    }
}

#[test]
fn x_02_the_uri_name_is_a_spiffe_id() {
    let with = |names: Vec<SanType>| id_of(|params| params.subject_alt_names = names);
    assert_eq!(with(vec![]), Err(Rejected::NoUriName));
    assert_eq!(
        with(vec![SanType::DnsName("example.org".try_into().unwrap())]),
        Err(Rejected::NoUriName)
    );
    let long = format!("spiffe://example.org/{}", "a".repeat(2048));
    for (found, why) in [
        ("https://example.org/a", InvalidSpiffeId::Scheme),
        ("SPIFFE://example.org/a", InvalidSpiffeId::Scheme),
        ("spiffe:example.org/a", InvalidSpiffeId::Scheme),
        ("spiffe://Example.org/a", InvalidSpiffeId::TrustDomainCharacter),
        (
            "spiffe://example.org:443/a",
            InvalidSpiffeId::TrustDomainCharacter,
        ),
        ("spiffe://example.org/a?b", InvalidSpiffeId::PathCharacter),
        ("spiffe://example.org/a/", InvalidSpiffeId::EmptySegment),
        (&long, InvalidSpiffeId::TooLong),
    ] {
        assert_eq!(
            with(vec![uri(found)]),
            Err(Rejected::SpiffeId {
                found: name::shortened(found),
                why
            })
        );
    }
}

#[test]
fn x_03_no_other_name_is_an_identity() {
    for names in [vec![], vec![SanType::DnsName("example.org".try_into().unwrap())]] {
        let found = id_of(|params| {
            params.distinguished_name.push(DnType::CommonName, ID);
            params.subject_alt_names = names;
        });
        assert_eq!(found, Err(Rejected::NoUriName));
    }
}

#[test]
fn x_04_other_kinds_of_name_may_stand_beside_it() {
    let found = id_of(|params| {
        params
            .subject_alt_names
            .push(SanType::DnsName("example.org".try_into().unwrap()));
        params
            .subject_alt_names
            .push(SanType::Rfc822Name("a@example.org".try_into().unwrap()));
        params
            .subject_alt_names
            .push(SanType::IpAddress([10, 0, 0, 1].into()));
    });
    assert_eq!(found, accepted());
}

#[test]
fn x_05_a_leaf_must_not_be_an_authority() {
    let found = id_of(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(found, Err(Rejected::CertificateAuthority));
}

#[test]
fn x_06_a_leaf_may_sign_neither_certificates_nor_revocation_lists() {
    for (usage, found) in [
        (KeyUsagePurpose::KeyCertSign, "keyCertSign"),
        (KeyUsagePurpose::CrlSign, "cRLSign"),
    ] {
        let outcome = id_of(|params| params.key_usages.push(usage));
        assert_eq!(outcome, Err(Rejected::AuthorityKeyUsage { found }));
    }
}

#[test]
fn x_07_a_trust_domain_is_not_a_workload() {
    let found = id_of(|params| params.subject_alt_names = vec![uri("spiffe://example.org")]);
    assert_eq!(
        found,
        Err(Rejected::RootPath {
            trust_domain: "example.org".parse().unwrap()
        })
    );
}

#[test]
fn x_08_key_usage_has_digital_signature() {
    assert_eq!(
        id_of(|params| params.key_usages.clear()),
        Err(Rejected::NoKeyUsage)
    );
    let other = id_of(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    assert_eq!(other, Err(Rejected::NoDigitalSignature));
    let not_critical = id_of(|params| {
        params.key_usages.clear();
        params.custom_extensions = vec![extension(KEY_USAGE, &[3, 2, 7, 0x80])];
    });
    assert_eq!(
        not_critical,
        accepted(),
        "criticality is the issuer's duty and is not checked"
    );
}

#[test]
fn x_09_basic_constraints_may_be_absent() {
    assert_eq!(id_of(|params| params.is_ca = IsCa::NoCa), accepted());
}

#[test]
fn x_10_extended_key_usage_is_absent_or_allows_clients() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
    for (usages, outcome) in [
        (vec![], accepted()),
        (vec![ClientAuth], accepted()),
        (vec![ServerAuth, ClientAuth], accepted()),
        (vec![ServerAuth], Err(Rejected::NoClientAuth)),
        (vec![CodeSigning], Err(Rejected::NoClientAuth)),
        (vec![Any], Err(Rejected::NoClientAuth)),
    ] {
        assert_eq!(
            id_of(|params| params.extended_key_usages = usages.clone()),
            outcome,
            "{usages:?}"
        );
    }
}

#[test]
fn x_14_signing_certificates_never_authenticate() {
    let root = Ca::root_with("root", |params| {
        params.subject_alt_names = vec![uri("spiffe://example.org")]
    });
    let signing = root.intermediate_with("signing", |params| params.subject_alt_names = vec![uri(ID)]);
    let view = holding(&[&root]);
    for certificate in [&root.der, &signing.der] {
        let presented = leaf(certificate);
        assert!(presented.claims_spiffe());
        assert!(verify_svid(&presented, &[], &view, NOW).is_err());
        assert_eq!(
            verify_plain(&presented, &[], &view, NOW).unwrap_err(),
            Rejected::CertificateAuthority
        );
    }
    assert_eq!(
        leaf(&signing.der).spiffe_id(),
        Err(Rejected::CertificateAuthority)
    );
}

#[test]
fn x_21_nothing_follows_the_leaf() {
    let good = Ca::root("root").svid_der(ID);
    let malformed = |der: Vec<u8>| match Leaf::parse(&CertificateDer::from(der)) {
        Err(Rejected::Malformed(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        malformed([good.as_ref(), &[0]].concat()),
        Malformed::TrailingBytes { bytes: 1 }
    );
    assert_eq!(
        malformed([good.as_ref(), good.as_ref()].concat()),
        Malformed::TrailingBytes { bytes: good.len() }
    );
    assert_eq!(malformed(vec![]), Malformed::Der);
    assert_eq!(malformed(good[..good.len() - 1].to_vec()), Malformed::Der);
    assert_eq!(malformed(b"-----BEGIN CERTIFICATE-----".to_vec()), Malformed::Der);
}

#[test]
fn an_unreadable_extension_is_not_treated_as_absent() {
    let malformed = |oid: &[u64], contents: &[&[u8]]| {
        let der = Ca::root("root").leaf(&key(), |params| {
            (params.is_ca, params.key_usages, params.extended_key_usages) = (IsCa::NoCa, vec![], vec![]);
            params.custom_extensions = contents.iter().map(|content| extension(oid, content)).collect();
        });
        Leaf::parse(&der).unwrap_err()
    };
    let unreadable = |oid: &str| Rejected::Malformed(Malformed::Extension { oid: oid.into() });
    assert_eq!(
        malformed(BASIC_CONSTRAINTS, &[&[0x30, 3, 1, 1]]),
        unreadable("2.5.29.19")
    );
    assert_eq!(
        malformed(BASIC_CONSTRAINTS, &[&[0x30, 0, 0]]),
        unreadable("2.5.29.19"),
        "bytes behind the value"
    );
    assert_eq!(malformed(KEY_USAGE, &[&[4, 1, 0x80]]), unreadable("2.5.29.15"));
    assert_eq!(malformed(EXTENDED_KEY_USAGE, &[&[5, 0]]), unreadable("2.5.29.37"));
    let name = [&[0x30, 2 + 30, 0x86, 30][..], ID.as_bytes()].concat();
    assert_eq!(ID.len(), 30);
    assert_eq!(
        malformed(ALTERNATIVE_NAME, &[&[&name[..], &name].concat()]),
        unreadable("2.5.29.17")
    );
    let twice = Rejected::Malformed(Malformed::RepeatedExtension {
        oid: "2.5.29.17".into(),
    });
    assert_eq!(malformed(ALTERNATIVE_NAME, &[&name, &name]), twice);
    for names in [&[0x30, 3, 0x86, 1, 0xff][..], &[0x30, 4, 0x87, 2, 10, 0]] {
        assert_eq!(
            malformed(ALTERNATIVE_NAME, &[names]),
            Rejected::Malformed(Malformed::AlternativeName),
            "no UTF-8; no address"
        );
    }
}

#[test]
fn an_invalid_svid_is_not_accepted_as_a_plain_certificate() {
    for (name, claims) in [
        (ID, true),
        ("SPIFFE://example.org/a", true),
        ("spiffe:", true),
        ("https://example.org/spiffe://example.org/a", false),
        ("spiff", false),
    ] {
        let der = Ca::root("root").svid_der_with(ID, |params| {
            params.subject_alt_names = vec![uri("https://first.example"), uri(name)]
        });
        assert_eq!(leaf(&der).claims_spiffe(), claims, "{name}");
    }
}

#[test]
fn a_rejection_says_what_was_expected_and_found_in_printable_text() {
    let why = id_of(|params| params.subject_alt_names = vec![uri("spiffe://a\u{1b}[2J/b")])
        .unwrap_err()
        .to_string();
    assert_eq!(
        why,
        "the URI name spiffe://a\\u{1b}[2J/b of the X.509-SVID is not a SPIFFE ID: a trust domain consists of a-z, 0-9, `.`, `-` and `_`; \
         no upper case, user, port or percent-encoding"
    );
}

const ALTERNATIVE_NAME: &[u64] = &[2, 5, 29, 17];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];

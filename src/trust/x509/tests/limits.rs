//! Tests of the limits of a chain in bytes and signature checks.

use super::super::testing::{Ca, NOW, at, holding, key, leaf, signature_checks, uri, valid};
use super::super::*;
use super::{ID, extension};
use crate::clock::Timestamp;
use crate::limits::{
    CERTIFICATE_BYTES, CERTIFICATE_EXTENSIONS, CERTIFICATE_NAME_BYTES, CERTIFICATE_NAMES, CHAIN_BYTES,
    SIGNATURE_CHECKS,
};
use pki_types::CertificateDer;
use rcgen::{CertificateParams, DnType, SanType};

fn ders(chain: &[Ca]) -> Vec<CertificateDer<'static>> {
    chain.iter().map(|ca| ca.der.clone()).collect()
}

/// Makes certificates with one name, none of which signed another.
fn namesakes(name: &str, count: usize) -> Vec<Ca> {
    (0..count).map(|_| Ca::root(name)).collect()
}

fn dns(count: usize) -> Vec<SanType> {
    (0..count)
        .map(|_| SanType::DnsName("a".try_into().unwrap()))
        .collect()
}

fn too_large(change: impl FnOnce(&mut CertificateParams)) -> Oversized {
    match Leaf::parse(&Ca::root("root").svid_der_with(ID, change)) {
        Err(Rejected::Oversized(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_leaf_over_a_limit_is_rejected_before_it_is_parsed() {
    let large = Ca::root("root").svid_der_with(ID, |params| params.subject_alt_names = dns(20_000));
    assert!(large.len() > 60_000);
    let why = Rejected::Oversized(Oversized::Bytes { found: large.len() });
    assert_eq!(Leaf::parse(&large).unwrap_err(), why);
    assert_eq!(check_chain(std::slice::from_ref(&large)), Err(why));

    let names = |count| move |params: &mut CertificateParams| params.subject_alt_names.extend(dns(count));
    // The subject has two attributes and the issuer one, beside the URI.
    assert_eq!(
        too_large(names(CERTIFICATE_NAMES - 3)),
        Oversized::Names {
            found: CERTIFICATE_NAMES + 1
        }
    );
    assert!(Leaf::parse(&Ca::root("root").svid_der_with(ID, names(CERTIFICATE_NAMES - 4))).is_ok());
    let long = "a".repeat(CERTIFICATE_NAME_BYTES + 1);
    let found = too_large(|params| {
        params
            .subject_alt_names
            .push(SanType::DnsName(long.as_str().try_into().unwrap()))
    });
    assert_eq!(
        found,
        Oversized::Name {
            bytes: CERTIFICATE_NAME_BYTES + 1
        }
    );
    let found = too_large(|params| params.distinguished_name.push(DnType::CommonName, long.as_str()));
    assert!(matches!(found, Oversized::Name { bytes } if bytes > CERTIFICATE_NAME_BYTES));
    let found = too_large(|params| {
        params.custom_extensions = (0..=CERTIFICATE_EXTENSIONS as u64)
            .map(|number| extension(&[1, 2, number], &[5, 0]))
            .collect();
    });
    assert!(matches!(found, Oversized::Extensions { found } if found > CERTIFICATE_EXTENSIONS));
    let many = Ca::root("root").svid_der_with(ID, |params| {
        params.subject_alt_names.extend(dns(CERTIFICATE_NAMES))
    });
    assert!(
        check_chain(&[many]).is_err(),
        "the connection does not keep it either"
    );
}

#[test]
fn a_long_or_large_chain_is_rejected_without_a_signature_check() {
    let root = Ca::root("root");
    let view = holding(&[&root]);
    let signer = root.intermediate("signer");
    let der = signer.svid_der(ID);
    signature_checks();
    let judged = |chain: &[CertificateDer<'static>]| verify_svid(&leaf(&der), chain, &view, NOW).unwrap_err();
    let many = ders(&namesakes("root", 120));
    assert_eq!(judged(&many), Rejected::TooManyIntermediates { found: 120 });
    let whole: Vec<_> = std::iter::once(der.clone()).chain(many).collect();
    assert_eq!(
        check_chain(&whole),
        Err(Rejected::TooManyIntermediates { found: 120 })
    );
    let bulky = root.intermediate_with("bulky", |params| {
        params
            .custom_extensions
            .push(extension(&[1, 2, 3], &vec![0; CHAIN_BYTES]))
    });
    let found = judged(std::slice::from_ref(&bulky.der));
    assert!(
        matches!(found, Rejected::ChainTooLarge { bytes } if bytes > CHAIN_BYTES),
        "{found:?}"
    );
    let large = root.intermediate_with("large", |params| {
        params
            .custom_extensions
            .push(extension(&[1, 2], &vec![0; CERTIFICATE_BYTES]))
    });
    let why = PassedOver {
        subject: String::new(),
        why: Unfit::Oversized(Oversized::Bytes {
            found: large.der.len(),
        }),
    };
    let no_path = Rejected::NoPath {
        issuer: "CN=signer".into(),
        origin: "test bundle".into(),
        passed_over: vec![why],
    };
    assert_eq!(judged(&[large.der]), no_path);
    assert_eq!(signature_checks(), 0);
    let repeated = vec![der.clone(); 3];
    assert!(
        verify_svid(&leaf(&der), &[&repeated[..], &[signer.der]].concat(), &view, NOW).is_ok(),
        "the client's own certificate is not counted"
    );
}

#[test]
fn authorities_of_one_name_cost_no_more_than_the_budget() {
    let root = Ca::root("root");
    let namesakes = namesakes("root", 6);
    let der = namesakes[0].svid_der(ID);
    let presented = leaf(&der);
    signature_checks();
    let judged = verify_svid(&presented, &ders(&namesakes), &holding(&[&root]), NOW).unwrap_err();
    assert_eq!(
        judged,
        Rejected::SignatureChecks {
            origin: "test bundle".into()
        }
    );
    assert_eq!(signature_checks(), SIGNATURE_CHECKS);
    // Another entry does not get a new budget.
    assert!(verify_plain(&presented, &ders(&namesakes), &holding(&[&Ca::root("root")]), NOW).is_err());
    assert_eq!(signature_checks(), 0);
}

#[test]
fn the_budget_is_shared_by_all_entries() {
    let der = Ca::root("root").leaf(&key(), |_| {});
    let presented = leaf(&der);
    signature_checks();
    for entry in 1..=20 {
        let judged = verify_plain(&presented, &[], &holding(&[&Ca::root("root")]), NOW).unwrap_err();
        let exceeded = matches!(judged, Rejected::SignatureChecks { .. });
        assert_eq!(exceeded, entry > SIGNATURE_CHECKS, "{entry}: {judged:?}");
    }
    assert_eq!(signature_checks(), SIGNATURE_CHECKS);
}

#[test]
fn certificates_that_lead_to_no_authority_are_not_tried() {
    let root = Ca::root("root");
    let namesakes = namesakes("other", 6);
    signature_checks();
    let judged = verify_svid(
        &leaf(&namesakes[0].svid_der(ID)),
        &ders(&namesakes),
        &holding(&[&root]),
        NOW,
    )
    .unwrap_err();
    assert_eq!(
        judged,
        Rejected::NoPath {
            issuer: "CN=other".into(),
            origin: "test bundle".into(),
            passed_over: vec![]
        }
    );
    assert_eq!(signature_checks(), 0);
}

#[test]
fn the_authority_that_the_key_identifier_names_is_tried_first() {
    let mut roots = namesakes("root", 40);
    let signer = roots.pop().unwrap();
    let with_id = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![uri(ID)];
        params.use_authority_key_identifier_extension = true;
    };
    let all: Vec<_> = roots.iter().chain([&signer]).collect();
    signature_checks();
    assert!(verify_svid(&leaf(&signer.leaf(&key(), with_id)), &[], &holding(&all), NOW).is_ok());
    assert_eq!(signature_checks(), 1);
    let without = verify_svid(&leaf(&signer.svid_der(ID)), &[], &holding(&all), NOW);
    assert_eq!(
        without.unwrap_err(),
        Rejected::SignatureChecks {
            origin: "test bundle".into()
        }
    );
}

#[test]
fn an_authority_with_another_key_identifier_is_not_tried() {
    let named = |params: &mut CertificateParams| params.use_authority_key_identifier_extension = true;
    let roots = namesakes("root", 17);
    let signer = roots.last().unwrap();
    let refused = |judged: Result<VerifiedChain, Rejected>| matches!(judged, Err(Rejected::NoPath { .. }));
    let presented = leaf(&signer.leaf(&key(), named));
    signature_checks();
    for other in &roots[..16] {
        assert!(refused(verify_plain(&presented, &[], &holding(&[other]), NOW)));
    }
    assert_eq!(signature_checks(), 0);
    assert!(verify_plain(&presented, &[], &holding(&[signer]), NOW).is_ok());
    assert_eq!(signature_checks(), 1);

    let intermediate = signer.intermediate_with("signer", named);
    let mut chain = ders(&namesakes("signer", 5));
    chain.push(intermediate.der.clone());
    let presented = leaf(&intermediate.leaf(&key(), named));
    signature_checks();
    for other in &roots[..16] {
        assert!(refused(verify_plain(&presented, &chain, &holding(&[other]), NOW)));
    }
    assert_eq!(signature_checks(), 0);
    assert!(verify_plain(&presented, &chain, &holding(&[signer]), NOW).is_ok());
    assert_eq!(signature_checks(), 2);
}

#[test]
fn little_is_kept_of_a_rejected_certificate() {
    // 2, 1, and then thousands of arcs.
    let long: Vec<u64> = [2, 1].into_iter().chain(std::iter::repeat_n(1, 14_000)).collect();
    let unreadable = |params: &mut CertificateParams| {
        params.is_ca = rcgen::IsCa::NoCa;
        params.custom_extensions = vec![extension(&[2, 5, 29, 19], b"\x30")];
    };
    let twice = |params: &mut CertificateParams| {
        let long: Vec<u64> = long.iter().copied().take(7_000).collect();
        params.custom_extensions = vec![extension(&long, b""), extension(&long, b"")];
    };
    let critical = |params: &mut CertificateParams| {
        let mut unknown = extension(&long, b"");
        unknown.set_criticality(true);
        params.custom_extensions = vec![unknown];
    };
    let use_of = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::Other(long.clone())];
    };
    let names = |count: usize| move |params: &mut CertificateParams| params.subject_alt_names = dns(count);
    let long_uri = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![uri(&format!(
            "https://{}",
            "a".repeat(CERTIFICATE_NAME_BYTES - 8)
        ))];
    };
    let root = Ca::root("root");
    let changes: [&dyn Fn(&mut CertificateParams); 6] = [
        &unreadable,
        &twice,
        &critical,
        &use_of,
        &names(CERTIFICATE_NAMES + 1),
        &long_uri,
    ];
    let mut reasons = vec![];
    for change in changes {
        let der = root.svid_der_with(ID, change);
        let signer = root.intermediate_with("signer", change);
        let by_signer = signer.svid_der(ID);
        for (der, chain) in [
            (&der, vec![]),
            (&by_signer, vec![signer.der.clone()]),
            (&by_signer, vec![signer.der.clone(); 6]),
        ] {
            let judged =
                Leaf::parse(der).and_then(|leaf| verify_svid(&leaf, &chain, &holding(&[&root]), NOW));
            reasons.extend(judged.err());
        }
    }
    let found = |is: fn(&Rejected) -> bool| reasons.iter().any(is);
    assert!(
        found(|why| matches!(why, Rejected::Malformed(Malformed::RepeatedExtension { .. }))),
        "{reasons:?}"
    );
    assert!(
        found(|why| matches!(why, Rejected::Malformed(Malformed::Extension { .. }))),
        "{reasons:?}"
    );
    assert!(
        found(|why| matches!(why, Rejected::CriticalExtension { .. })),
        "{reasons:?}"
    );
    assert!(found(|why| matches!(why, Rejected::Path { .. })), "{reasons:?}");
    assert!(
        found(|why| matches!(why, Rejected::SpiffeId { .. })),
        "{reasons:?}"
    );
    for why in reasons {
        let kept = format!("{why:?}").len();
        assert!(kept <= 4 * 1024, "{kept} bytes: {why}");
    }
}

#[test]
fn a_rejection_is_cached_until_the_next_date_of_any_certificate() {
    let root = Ca::root_with("root", |params| valid(params, at(30), at(400)));
    let signer = root.intermediate_with("signer", |params| valid(params, at(20), at(300)));
    let der = signer.svid_der_with(ID, |params| valid(params, at(10), at(200)));
    let presented = leaf(&der);
    let chain = [signer.der];
    let view = holding(&[&root]);
    for (now, change) in [(0, 10), (10, 20), (20, 30), (30, 201), (201, 301), (301, 401)] {
        assert_eq!(
            next_change(&presented, &chain, &view, at(now)),
            at(change),
            "{now}"
        );
    }
    assert_eq!(next_change(&presented, &chain, &view, at(401)), Timestamp::MAX);
}

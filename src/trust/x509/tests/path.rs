//! Tests of the rules for a chain.

mod name_constraints;

use super::super::testing::{
    Ca, HOUR, NOW, at, held, holding, holding_until, key, key_for, leaf, uri, valid,
};
use super::super::*;
use super::{ID, extension};
use crate::clock::Timestamp;
use crate::trust::Held;
use pki_types::CertificateDer;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, RsaKeySize,
};
use std::time::Duration;

type Outcome = Result<Timestamp, Rejected>;

/// Returns until when the chain is valid.
fn judge(der: &CertificateDer<'_>, chain: &[&Ca], view: &Held<X509Authorities>, now: Timestamp) -> Outcome {
    let chain: Vec<_> = chain.iter().map(|ca| ca.der.clone()).collect();
    verify_svid(&leaf(der), &chain, view, now).map(|chain| chain.valid_until())
}

fn no_path(issuer: &str, passed_over: Vec<PassedOver>) -> Rejected {
    Rejected::NoPath {
        issuer: issuer.into(),
        origin: "test bundle".into(),
        passed_over,
    }
}

fn passed_over(subject: &str, why: Unfit) -> PassedOver {
    PassedOver {
        subject: subject.into(),
        why,
    }
}

fn broken(why: webpki::Error) -> Rejected {
    Rejected::Path {
        origin: "test bundle".into(),
        why,
    }
}

fn path_len(most: u8) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(most))
}

#[test]
fn x_11_a_leaf_is_valid_from_its_first_to_its_last_second() {
    let root = Ca::root("root");
    let view = holding(&[&root]);
    let der = root.svid_der_with(ID, |params| valid(params, NOW, at(HOUR)));
    let not_yet = Rejected::NotYetValid {
        not_before: NOW,
        now: at(-1),
    };
    assert_eq!(judge(&der, &[], &view, at(-1)), Err(not_yet));
    assert_eq!(judge(&der, &[], &view, NOW), Ok(at(HOUR)));
    assert_eq!(
        judge(&der, &[], &view, at(HOUR).plus(Duration::from_millis(999))),
        Ok(at(HOUR))
    );
    let expired = Rejected::Expired {
        not_after: at(HOUR),
        now: at(HOUR + 1),
    };
    assert_eq!(judge(&der, &[], &view, at(HOUR + 1)), Err(expired));
}

#[test]
fn x_11_an_intermediate_is_used_only_while_it_is_valid() {
    let root = Ca::root("root");
    let view = holding(&[&root]);
    let old = root.intermediate_with("old", |params| valid(params, at(0), at(HOUR)));
    let der = old.svid_der(ID);
    assert_eq!(judge(&der, &[&old], &view, at(HOUR)), Ok(at(HOUR)));
    for (now, why) in [
        (at(HOUR + 1), Unfit::Expired { not_after: at(HOUR) }),
        (at(-1), Unfit::NotYetValid { not_before: at(0) }),
    ] {
        assert_eq!(
            judge(&der, &[&old], &view, now),
            Err(no_path("CN=old", vec![passed_over("CN=old", why)]))
        );
    }
}

#[test]
fn x_11_path_length() {
    let root = Ca::root("root");
    let first = root.intermediate_with("first", path_len(0));
    let second = first.intermediate("second");
    let view = holding(&[&root]);
    assert!(judge(&first.svid_der(ID), &[&first], &view, NOW).is_ok());
    let too_long = Err(broken(webpki::Error::PathLenConstraintViolated));
    assert_eq!(
        judge(&second.svid_der(ID), &[&second, &first], &view, NOW),
        too_long
    );
}

#[test]
fn x_11_path_length_of_the_authority_itself() {
    let root = Ca::root_with("root", path_len(0));
    let view = holding(&[&root]);
    let between = root.intermediate("between");
    assert!(judge(&root.svid_der(ID), &[], &view, NOW).is_ok());
    let too_long = Err(broken(webpki::Error::PathLenConstraintViolated));
    assert_eq!(judge(&between.svid_der(ID), &[&between], &view, NOW), too_long);
}

#[test]
fn x_11_unknown_critical_extension() {
    let root = Ca::root("root");
    let mut unknown = extension(&[1, 2, 3, 4], &[5, 0]);
    assert!(
        judge(
            &root.svid_der_with(ID, |params| params.custom_extensions.push(unknown.clone())),
            &[],
            &holding(&[&root]),
            NOW
        )
        .is_ok()
    );
    unknown.set_criticality(true);
    let der = root.svid_der_with(ID, |params| params.custom_extensions.push(unknown));
    let why = judge(&der, &[], &holding(&[&root]), NOW).unwrap_err();
    assert_eq!(
        why,
        Rejected::CriticalExtension {
            oid: "1.2.3.4".into()
        }
    );
    assert!(why.to_string().contains("critical extension 1.2.3.4"), "{why}");
}

#[test]
fn x_11_a_leaf_must_not_be_an_issuer() {
    let root = Ca::root("root");
    let workload = root.intermediate_with("workload", |params| {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.subject_alt_names = vec![uri("spiffe://example.org/workload")];
    });
    let why = no_path(
        "CN=workload",
        vec![passed_over("CN=workload", Unfit::NotAnAuthority)],
    );
    assert_eq!(
        judge(&workload.svid_der(ID), &[&workload], &holding(&[&root]), NOW),
        Err(why)
    );
}

#[test]
fn x_11_a_flipped_bit() {
    let root = Ca::root("root");
    let mut der = root.svid_der(ID).to_vec();
    *der.last_mut().unwrap() ^= 1;
    let outcome = judge(&der.into(), &[], &holding(&[&root]), NOW);
    assert_eq!(outcome, Err(broken(webpki::Error::InvalidSignatureForPublicKey)));
}

#[test]
fn x_12_only_its_own_trust_domain() {
    let ours = Ca::root("example.org");
    let theirs = Ca::root("other.org");
    let our_signer = ours.intermediate("signer");
    let their_signer = theirs.intermediate("signer of other.org");
    let crossed = theirs.cross_sign("crossed", &our_signer);
    let view = holding(&[&ours]);
    assert!(judge(&ours.svid_der(ID), &[], &view, NOW).is_ok());
    assert_eq!(
        judge(&theirs.svid_der(ID), &[], &view, NOW),
        Err(no_path("CN=other.org", vec![]))
    );
    assert_eq!(
        judge(&theirs.svid_der(ID), &[&theirs], &view, NOW),
        Err(no_path("CN=other.org", vec![])),
        "bringing the root along"
    );
    let by_signer = judge(&their_signer.svid_der(ID), &[&their_signer], &view, NOW);
    assert_eq!(by_signer, Err(no_path("CN=signer of other.org", vec![])));
    // The intermediate's key is also certified by another root. The chain leads to the right root only with
    // the right certificate.
    let by_crossed = our_signer.svid_der(ID);
    assert!(verify_svid(&leaf(&by_crossed), std::slice::from_ref(&crossed), &view, NOW).is_err());
    assert!(judge(&by_crossed, &[&our_signer], &view, NOW).is_ok());
    assert!(
        verify_svid(&leaf(&by_crossed), &[crossed], &holding(&[&theirs]), NOW).is_err(),
        "and the name does not fit either"
    );
}

#[test]
fn x_12_an_authority_with_the_same_name_is_not_trusted() {
    let ours = Ca::root("root");
    let theirs = Ca::root("root");
    let outcome = judge(&theirs.svid_der(ID), &[], &holding(&[&ours]), NOW);
    assert_eq!(outcome, Err(broken(webpki::Error::InvalidSignatureForPublicKey)));
}

#[test]
fn x_13_an_empty_bundle_verifies_no_certificate() {
    let root = Ca::root("root");
    let outcome = judge(&root.svid_der(ID), &[], &holding(&[]), NOW);
    assert_eq!(
        outcome,
        Err(Rejected::NoAuthorities {
            origin: "test bundle".into()
        })
    );
}

#[test]
fn x_15_an_intermediates_own_name_is_not_checked() {
    let root = Ca::root("root");
    let signer = root.intermediate_with("signer", |params| {
        params.subject_alt_names = vec![uri("spiffe://other.org/a")]
    });
    assert!(judge(&signer.svid_der(ID), &[&signer], &holding(&[&root]), NOW).is_ok());
}

#[test]
fn x_16_an_intermediate_must_have_key_cert_sign() {
    let root = Ca::root("root");
    for usages in [
        vec![],
        vec![KeyUsagePurpose::DigitalSignature],
        vec![KeyUsagePurpose::CrlSign],
    ] {
        let signer = root.intermediate_with("signer", |params| params.key_usages = usages.clone());
        let why = no_path("CN=signer", vec![passed_over("CN=signer", Unfit::NoKeyCertSign)]);
        assert_eq!(
            judge(&signer.svid_der(ID), &[&signer], &holding(&[&root]), NOW),
            Err(why),
            "{usages:?}"
        );
    }
}

#[test]
fn x_16_an_authority_must_be_one() {
    let leafish = Ca::root_with("leaf", |params| params.is_ca = IsCa::ExplicitNoCa);
    assert_eq!(Authority::parse(&leafish.der).err(), Some(Unfit::NotAnAuthority));
    let no_signer = Ca::root_with("root", |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature]
    });
    assert_eq!(Authority::parse(&no_signer.der).err(), Some(Unfit::NoKeyCertSign));
    assert!(Authority::parse(&Ca::root_with("root", |params| params.key_usages.clear()).der).is_ok());
}

#[test]
fn x_17_an_authority_is_used_only_while_it_is_valid() {
    let old = Ca::root_with("old", |params| valid(params, at(0), at(HOUR)));
    let view = holding(&[&old]);
    let der = old.svid_der(ID);
    assert_eq!(judge(&der, &[], &view, at(HOUR)), Ok(at(HOUR)));
    for now in [at(HOUR + 1), at(-1)] {
        let why = Rejected::AuthoritiesOutOfDate {
            origin: "test bundle".into(),
            held: 1,
            last: at(HOUR),
            now,
        };
        assert_eq!(
            judge(&der, &[], &view, now),
            Err(why),
            "the same keys at another time"
        );
    }
    let both = holding(&[&old, &Ca::root("new")]);
    assert_eq!(both.keys.earliest_expiry(), Some(at(HOUR)));
    assert_eq!(
        judge(&der, &[], &both, at(HOUR + 1)),
        Err(no_path("CN=old", vec![]))
    );
}

#[test]
fn x_17_a_renewed_authority_is_valid_as_long_as_its_new_certificate() {
    let key = key();
    let renewed = |to| {
        Ca::root_of(
            "root",
            KeyPair::try_from(key.serialize_der()).unwrap(),
            |params| valid(params, at(0), to),
        )
    };
    let first = renewed(at(HOUR));
    let second = renewed(at(2 * HOUR));
    let view = holding(&[&first, &second]);
    assert_eq!(judge(&first.svid_der(ID), &[], &view, NOW), Ok(at(2 * HOUR)));
}

/// Extensions that the path builder does not support, in an intermediate that the client sends.
#[test]
fn x_11_a_critical_policy_of_an_issuer_is_named_in_the_reason() {
    let root = Ca::root("root");
    // certificatePolicies: anyPolicy; inhibitAnyPolicy: 0
    let policies: [(&[u64], &[u8], &str); 2] = [
        (
            &[2, 5, 29, 32],
            &[0x30, 8, 0x30, 6, 6, 4, 0x55, 0x1d, 0x20, 0],
            "certificatePolicies (2.5.29.32)",
        ),
        (&[2, 5, 29, 54], &[2, 1, 0], "inhibitAnyPolicy (2.5.29.54)"),
    ];
    for (oid, content, name) in policies {
        let issuing = |critical: bool| {
            root.intermediate_with("issuing", |params| {
                let mut policy = extension(oid, content);
                policy.set_criticality(critical);
                params.custom_extensions.push(policy);
            })
        };
        let harmless = issuing(false);
        let critical = issuing(true);
        assert!(judge(&harmless.svid_der(ID), &[&harmless], &holding(&[&root]), NOW).is_ok());
        let why = judge(&critical.svid_der(ID), &[&critical], &holding(&[&root]), NOW)
            .unwrap_err()
            .to_string();
        let sentence = format!(
            "the issuer CN=issuing in the certificate's chain cannot be used: it has the critical extension {name}, which \
             this registry does not support; issue it without that extension, or not critical"
        );
        assert_eq!(why, sentence);
        let below = critical.intermediate("below");
        let why = judge(&below.svid_der(ID), &[&below, &critical], &holding(&[&root]), NOW)
            .unwrap_err()
            .to_string();
        assert_eq!(why, sentence, "also further up");
        for sent in [&[][..], &[&critical]] {
            assert!(
                judge(&critical.svid_der(ID), sent, &holding(&[&critical]), NOW).is_ok(),
                "an authority that is configured is trusted"
            );
        }
    }
}

#[test]
fn a_plain_chain_follows_rfc_5280_where_an_svid_is_stricter() {
    let root = Ca::root("root");
    let bare = root.intermediate_with("bare", |params| params.key_usages.clear());
    let any = root.intermediate_with("any", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]
    });
    let servers = root.intermediate_with("servers", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
    });
    let plain = |ca: &Ca, usages: &[ExtendedKeyUsagePurpose], chain: &[&Ca]| {
        let der = ca.leaf(&key(), |params| params.extended_key_usages = usages.to_vec());
        let chain: Vec<_> = chain.iter().map(|ca| ca.der.clone()).collect();
        verify_plain(&leaf(&der), &chain, &holding(&[&root]), NOW).map(|_| ())
    };
    let clients = [ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(
        plain(&bare, &clients, &[&bare]),
        Ok(()),
        "an authority without key usage may sign"
    );
    assert_eq!(plain(&any, &clients, &[&any]), Ok(()));
    assert_eq!(plain(&root, &[ExtendedKeyUsagePurpose::Any], &[]), Ok(()));
    assert_eq!(
        plain(
            &root,
            &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Any],
            &[]
        ),
        Ok(())
    );
    assert_eq!(
        plain(&root, &[ExtendedKeyUsagePurpose::ServerAuth], &[]),
        Err(Rejected::NoClientAuth)
    );
    let why = plain(&servers, &clients, &[&servers]).unwrap_err().to_string();
    assert!(
        why.contains("extended key usage") && !why.contains("RequiredEku"),
        "{why}"
    );
    assert!(
        judge(&any.svid_der(ID), &[&any], &holding(&[&root]), NOW).is_err(),
        "the standard of SVIDs is stricter"
    );
}

#[test]
fn x_19_at_most_six_intermediates() {
    let root = Ca::root("root");
    let mut chain: Vec<Ca> = Vec::new();
    for depth in 1..=7 {
        let next = chain
            .last()
            .unwrap_or(&root)
            .intermediate(&format!("at depth {depth}"));
        chain.push(next);
        let sent: Vec<_> = chain.iter().rev().collect();
        let outcome = judge(
            &chain.last().unwrap().svid_der(ID),
            &sent,
            &holding(&[&root]),
            NOW,
        );
        assert_eq!(outcome.is_ok(), depth <= 6, "{depth}: {outcome:?}");
    }
}

#[test]
fn x_20_key_types() {
    let rsa = || KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let pairs = [
        (
            key_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            key_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        ),
        (
            key_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            key_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        ),
        (
            key_for(&rcgen::PKCS_ECDSA_P521_SHA512),
            key_for(&rcgen::PKCS_ECDSA_P521_SHA512),
        ),
        (key_for(&rcgen::PKCS_ED25519), key_for(&rcgen::PKCS_ED25519)),
        (rsa(), rsa()),
    ];
    for (of_root, of_leaf) in pairs {
        let algorithm = format!("{:?}", of_root.algorithm());
        let root = Ca::root_of("root", of_root, |_| {});
        let der = root.leaf(&of_leaf, |params| params.subject_alt_names = vec![uri(ID)]);
        assert!(judge(&der, &[], &holding(&[&root]), NOW).is_ok(), "{algorithm}");
    }
}

#[test]
fn x_23_valid_until_is_the_earliest_bound_and_the_generation_is_the_sources() {
    let root = Ca::root_with("root", |params| valid(params, at(0), at(4 * HOUR)));
    let signer = root.intermediate_with("signer", |params| valid(params, at(0), at(3 * HOUR)));
    let unused = root.intermediate_with("unused", |params| valid(params, at(0), at(1)));
    let long = |ca: &Ca| ca.svid_der_with(ID, |params| valid(params, at(0), at(9 * HOUR)));
    let view = holding(&[&root]);
    assert_eq!(
        judge(&long(&root), &[], &view, NOW),
        Ok(at(4 * HOUR)),
        "the authority"
    );
    assert_eq!(
        judge(&long(&signer), &[&unused, &signer], &view, NOW),
        Ok(at(3 * HOUR)),
        "the intermediate that was used"
    );
    let short = signer.svid_der_with(ID, |params| valid(params, at(0), at(2 * HOUR)));
    assert_eq!(
        judge(&short, &[&signer], &view, NOW),
        Ok(at(2 * HOUR)),
        "the leaf"
    );
    let stale_soon = holding_until(&[&root], at(HOUR));
    assert_eq!(
        judge(&short, &[&signer], &stale_soon, NOW),
        Ok(at(HOUR)),
        "the source's staleness bound"
    );

    let verified = verify_svid(&leaf(&long(&root)), &[], &view, NOW).unwrap();
    assert_eq!(verified.generation(), view.generation);
    assert_ne!(verified.generation(), stale_soon.generation);
}

#[test]
fn a_chain_may_repeat_the_leaf_carry_junk_and_come_in_any_order() {
    let root = Ca::root("root");
    let first = root.intermediate("first");
    let second = first.intermediate("second");
    let der = second.svid_der(ID);
    let junk = CertificateDer::from(vec![1, 2, 3]);
    let chain = [root.der.clone(), junk, first.der.clone(), der.clone(), second.der];
    assert!(verify_svid(&leaf(&der), &chain, &holding(&[&root]), NOW).is_ok());
    let why = verify_svid(&leaf(&der), &chain[1..2], &holding(&[&root]), NOW).unwrap_err();
    assert_eq!(
        why,
        no_path(
            "CN=second",
            vec![passed_over("", Unfit::Malformed(Malformed::Der))]
        )
    );
    assert_eq!(
        why.to_string(),
        "no chain leads from the certificate's issuer CN=second to an authority from test bundle: the certificate must \
         be sent with its intermediates, and the bundle must have their root (ignored: (no name): malformed: expected an \
         X.509 certificate in DER)"
    );
}

#[test]
fn a_plain_certificate_needs_a_path_but_no_spiffe_id() {
    let root = Ca::root("root");
    let view = held(
        [Authority::parse(&root.der).unwrap()].into_iter().collect(),
        Timestamp::MAX,
    );
    let plain = |change: fn(&mut CertificateParams)| {
        let der = root.leaf(&key(), |params| {
            (params.is_ca, params.key_usages, params.extended_key_usages) = (IsCa::NoCa, vec![], vec![]);
            change(params);
        });
        verify_plain(&leaf(&der), &[], &view, NOW)
    };
    assert_eq!(plain(|_| {}).unwrap().subject_dn(), "O=SPIRE,C=US");
    assert_eq!(
        plain(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]).unwrap_err(),
        Rejected::NoClientAuth
    );
    assert_eq!(
        plain(|params| valid(params, at(-2), at(-1))).unwrap_err(),
        Rejected::Expired {
            not_after: at(-1),
            now: NOW
        }
    );
    let named = plain(|params| params.subject_alt_names = vec![uri(ID)]).unwrap();
    assert_eq!(
        (named.spiffe_id(), named.claims().get("spiffe")),
        (None, None),
        "this entry does not accept SPIFFE IDs"
    );
    let stranger = Ca::root("stranger").leaf(&key(), |_| {});
    assert_eq!(
        verify_plain(&leaf(&stranger), &[], &view, NOW).unwrap_err(),
        no_path("CN=stranger", vec![])
    );
}

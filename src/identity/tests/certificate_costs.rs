//! Tests of what a rejected client certificate may cost in signature checks and bytes.

use super::*;
use crate::limits::{CHAIN_BYTES, SIGNATURE_CHECKS};
use crate::trust::x509::testing::{
    Ca, MadeUp, authorities, signature_checks, unknown_critical, uri, valid, version_1,
};
use crate::trust::x509::{Oversized, Rejected, Unprovable, X509Authorities};
use rcgen::{CertificateParams, SanType};

const CI: &str = "spiffe://prod.example/ci";

fn slot(name: &str, all: &[&Ca]) -> Arc<Slot<X509Authorities>> {
    let slot = Slot::new(name);
    slot.publish(authorities(all), NOW, Timestamp::MAX);
    slot
}

fn trusting(slot: &Arc<Slot<X509Authorities>>) -> Authenticator {
    let domain = Domain {
        x509: Some(Arc::new(Authorities::new(vec![slot.clone()]))),
        ..domain("prod.example")
    };
    Authenticator::new(vec![], vec![domain], vec![])
}

fn entry(name: &str, slot: &Arc<Slot<X509Authorities>>) -> CertificateEntry {
    CertificateEntry {
        name: name.into(),
        authorities: Arc::new(Authorities::new(vec![slot.clone()])),
        mapping: naming("'somebody'"),
    }
}

/// Six authorities with the name of the real one, and a leaf of the first.
fn namesakes(id: Option<&str>) -> (Ca, Peer) {
    let all: Vec<_> = (0..6).map(|_| Ca::root("prod.example")).collect();
    let names = |params: &mut CertificateParams| params.subject_alt_names = id.map(uri).into_iter().collect();
    let leaf = all[0].svid_der_with(CI, names);
    let chain = std::iter::once(leaf)
        .chain(all.iter().map(|ca| ca.der.clone()))
        .collect();
    (all.into_iter().next().unwrap(), Peer::new(chain))
}

#[tokio::test]
async fn a_rejection_is_cached_until_the_keys_change() {
    let root = Ca::root("prod.example");
    let slot = slot("roots", &[&root]);
    let (first, peer) = namesakes(Some(CI));
    let authenticator = trusting(&slot);
    signature_checks();
    let refused = Refused::Chain(Rejected::SignatureChecks {
        origin: "roots".into(),
    });
    assert_eq!(reason(meet_at(&authenticator, &peer, NOW).await), refused);
    assert_eq!(signature_checks(), SIGNATURE_CHECKS);
    for _ in 0..100 {
        assert_eq!(reason(meet_at(&authenticator, &peer, NOW).await), refused);
    }
    assert_eq!(signature_checks(), 0);
    slot.publish(authorities(&[&root, &first]), NOW, Timestamp::MAX);
    assert_eq!(
        meet_at(&authenticator, &peer, NOW).await.unwrap().username(),
        CI,
        "a bundle that came later"
    );
    assert!(signature_checks() <= SIGNATURE_CHECKS);
    slot.publish(authorities(&[&root]), NOW, Timestamp::MAX);
    assert_eq!(
        reason(meet_at(&authenticator, &peer, NOW).await),
        refused,
        "and was withdrawn"
    );
    let other = trusting(&slot);
    assert_eq!(
        reason(meet_at(&other, &peer, NOW).await),
        refused,
        "another configuration verifies again"
    );
    assert_eq!(signature_checks(), 2 * SIGNATURE_CHECKS);
}

#[test]
fn concurrent_requests_verify_a_certificate_once() {
    let root = Ca::root("prod.example");
    let authenticator = slot("roots", &[]);
    let peer = namesakes(Some(CI)).1;
    authenticator.publish(authorities(&[&root]), NOW, Timestamp::MAX);
    let authenticator = trusting(&authenticator);
    let begin = std::sync::Barrier::new(8);
    let checked = || {
        begin.wait();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(runtime.block_on(meet_at(&authenticator, &peer, NOW)).is_err());
        signature_checks()
    };
    let spent: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(checked)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(spent, SIGNATURE_CHECKS);
}

#[tokio::test]
async fn a_rejection_for_a_date_is_cached_until_that_date() {
    let later = NOW.plus(Duration::from_secs(60));
    let end = NOW.plus(Duration::from_secs(600));
    let root = Ca::root_with("prod.example", |params| valid(params, later, end));
    let leaf = root.svid_der_with(CI, |params| valid(params, NOW, end));
    let authenticator = trusting(&slot("roots", &[&root]));
    let peer = Peer::new(vec![leaf]);
    let refused = |outcome| {
        assert!(matches!(
            reason(outcome),
            Refused::Chain(Rejected::AuthoritiesOutOfDate { .. })
        ))
    };
    refused(meet_at(&authenticator, &peer, NOW).await);
    refused(meet_at(&authenticator, &peer, later.minus(Duration::from_secs(1))).await);
    assert_eq!(
        meet_at(&authenticator, &peer, later).await.unwrap().username(),
        CI
    );
    let expired = |now: Timestamp| Refused::Chain(Rejected::Expired { not_after: end, now });
    for later in [1, 2] {
        let now = end.plus(Duration::from_secs(later));
        let outcome = reason(meet_at(&authenticator, &peer, now).await);
        assert_eq!(
            outcome,
            expired(now),
            "a cached rejection shows the time of the request"
        );
    }
    let young = root.svid_der_with(CI, |params| valid(params, end.minus(Duration::from_secs(1)), end));
    let peer = Peer::new(vec![young]);
    assert!(meet_at(&authenticator, &peer, later).await.is_err());
    assert!(
        meet_at(&authenticator, &peer, end.minus(Duration::from_secs(1)))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn an_identity_of_a_later_entry_ends_when_an_earlier_entry_may_accept_the_certificate() {
    let later = NOW.plus(Duration::from_secs(60));
    let key = rcgen::KeyPair::generate().unwrap();
    let copy = || rcgen::KeyPair::try_from(key.serialize_der()).unwrap();
    let now = Ca::root_of("root", copy(), |_| {});
    let soon = Ca::root_of("root", copy(), |params| {
        valid(params, later, Timestamp::from_secs(4_000_000_000))
    });
    let named = |name: &str, ca: &Ca| CertificateEntry {
        mapping: naming(&format!("'{name}'")),
        ..entry(name, &slot(name, &[ca]))
    };
    let authenticator = Authenticator::new(vec![], vec![], vec![named("soon", &soon), named("now", &now)]);
    let peer = Peer::new(vec![now.leaf(&rcgen::KeyPair::generate().unwrap(), |_| {})]);
    assert_eq!(
        meet_at(&authenticator, &peer, NOW).await.unwrap().username(),
        "now"
    );
    assert_eq!(
        meet_at(&authenticator, &peer, later).await.unwrap().username(),
        "soon"
    );
}

#[tokio::test]
async fn a_certificate_that_names_its_authoritys_key_is_accepted_by_the_last_of_many_entries() {
    let roots: Vec<_> = (0..=SIGNATURE_CHECKS).map(|_| Ca::root("ca")).collect();
    let entries = roots
        .iter()
        .enumerate()
        .map(|(i, ca)| entry(&i.to_string(), &slot("roots", &[ca])))
        .collect();
    let authenticator = Authenticator::new(vec![], vec![], entries);
    let named = |params: &mut CertificateParams| params.use_authority_key_identifier_extension = true;
    let peer = Peer::new(vec![
        roots
            .last()
            .unwrap()
            .leaf(&rcgen::KeyPair::generate().unwrap(), named),
    ]);
    signature_checks();
    assert_eq!(
        meet_at(&authenticator, &peer, NOW).await.unwrap().username(),
        "somebody"
    );
    assert_eq!(signature_checks(), 1);
}

#[tokio::test]
async fn requests_wait_for_their_certificates_verification_without_blocking_a_thread() {
    let root = Ca::root("prod.example");
    let authenticator = trusting(&slot("roots", &[&root]));
    let peer = Peer::new(vec![root.svid_der(CI)]);
    signature_checks();
    let verifying = peer.verifying().await;
    let mut requests: Vec<_> = (0..128)
        .map(|_| Box::pin(meet_at(&authenticator, &peer, NOW)))
        .collect();
    for request in &mut requests {
        assert!(
            futures_util::FutureExt::now_or_never(request).is_none(),
            "it waits"
        );
    }
    assert_eq!(signature_checks(), 0);
    drop(verifying);
    // A request that is cancelled meanwhile does not delay the others.
    drop(requests.remove(0));
    for found in futures_util::future::join_all(requests).await {
        assert_eq!(found.unwrap().username(), CI);
    }
    assert_eq!(signature_checks(), 1);
}

/// A handshake that requires a certificate needs this. tokio's locks are not ready in a task that has used up
/// its budget.
#[tokio::test]
async fn a_chain_that_no_other_request_has_is_verified_at_once() {
    use futures_util::FutureExt;
    let root = Ca::root("prod.example");
    let authenticator = trusting(&slot("roots", &[&root]));
    let peer = Peer::new(vec![root.svid_der(CI)]);
    while tokio::task::consume_budget().now_or_never().is_some() {}
    assert_eq!(
        meet_at(&authenticator, &peer, NOW)
            .now_or_never()
            .unwrap()
            .unwrap()
            .username(),
        CI
    );
}

#[tokio::test]
async fn a_missing_source_after_others_does_not_cause_fetches_for_each_request() {
    let root = Ca::root("prod.example");
    let silent = Slot::new("silent");
    let entries = vec![entry("first", &slot("first", &[&root])), entry("second", &silent)];
    let authenticator = Authenticator::new(vec![], vec![], entries);
    let (first, peer) = namesakes(None);
    let undecidable = |outcome| assert!(matches!(outcome, Err(Failure::Undecidable { .. })));
    signature_checks();
    for _ in 0..100 {
        undecidable(meet_at(&authenticator, &peer, NOW).await);
    }
    assert_eq!(signature_checks(), SIGNATURE_CHECKS);
    undecidable(meet_at(&authenticator, &peer, NOW.plus(Duration::from_secs(10))).await);
    assert_eq!(
        signature_checks(),
        SIGNATURE_CHECKS,
        "its reason is not older than ten seconds"
    );
    silent.publish(authorities(&[&first]), NOW, Timestamp::MAX);
    assert!(
        matches!(
            reason(meet_at(&authenticator, &peer, NOW.plus(Duration::from_secs(11))).await),
            Refused::Chain(_)
        ),
        "the budget is spent"
    );
}

#[tokio::test]
async fn a_key_that_cannot_be_proved_never_becomes_an_identity() {
    let root = Ca::root("prod.example");
    let weak = |uris: &[&str]| {
        let leaf = root.leaf(&MadeUp::rsa(128), |params| {
            params.subject_alt_names = uris.iter().map(|name| uri(name)).collect()
        });
        Peer::new(vec![leaf])
    };
    let slot = slot("roots", &[&root]);
    let uris = Attributes {
        order: vec![Attribute::Uri, Attribute::CommonName],
        ..Attributes::common_name()
    };
    let by_uri = CertificateEntry {
        mapping: Mapping::by_attributes(uris, false),
        ..entry("uris", &slot)
    };
    let mut both = trusting(&slot);
    both.certificates.push(entry("any", &slot));
    let expected = Refused::Chain(Rejected::UnprovableKey(Unprovable::RsaSize { bits: 1024 }));
    signature_checks();
    for authenticator in [
        trusting(&slot),
        both,
        Authenticator::new(vec![], vec![], vec![by_uri]),
    ] {
        for uris in [&[CI][..], &[], &["https://prod.example"]] {
            let peer = weak(uris);
            for _ in 0..2 {
                assert_eq!(reason(meet_at(&authenticator, &peer, NOW).await), expected);
            }
            assert!(peer.verdict_for_test().is_none());
        }
    }
    assert_eq!(signature_checks(), 0, "no authority was used");
    let strong = root.leaf(&rcgen::KeyPair::generate().unwrap(), |_| {});
    let entries = || vec![entry("any", &slot)];
    assert!(
        meet_at(
            &Authenticator::new(vec![], vec![], entries()),
            &Peer::new(vec![strong]),
            NOW
        )
        .await
        .is_ok(),
        "the key is the reason"
    );
}

#[tokio::test]
async fn a_certificate_that_rustls_rejects_is_rejected_with_its_own_reason() {
    let root = Ca::root("prod.example");
    let authenticator = trusting(&slot("roots", &[&root]));
    let critical = Peer::new(vec![root.svid_der_with(CI, unknown_critical)]);
    let why = meet_at(&authenticator, &critical, NOW).await.unwrap_err();
    assert!(why.to_string().contains("critical extension 1.2.3.4"), "{why}");
    let version_1 = Peer::new(vec![version_1(&root, &root.svid_der(CI))]);
    assert_eq!(
        reason(meet_at(&authenticator, &version_1, NOW).await),
        Refused::Chain(Rejected::Version { found: 1 })
    );
}

#[tokio::test]
async fn a_chain_over_a_limit_is_not_kept_except_its_log_evidence() {
    let root = Ca::root("prod.example");
    let authenticator = trusting(&slot("roots", &[&root]));
    let large = root.svid_der_with(CI, |params| {
        params
            .subject_alt_names
            .extend((0..20_000).map(|_| SanType::DnsName("a".try_into().unwrap())));
        params.serial_number = Some(0x0123_4567_u64.into());
    });
    let found = large.len();
    let peer = Peer::new(vec![large]);
    assert!(
        !peer.is_empty(),
        "it is not treated as a client without a certificate"
    );
    assert_eq!(peer.der_bytes(), 0);
    let Err(Failure::Refused(refusal)) = meet_at(&authenticator, &peer, NOW).await else {
        panic!("it yields an identity")
    };
    assert_eq!(
        refusal.reason,
        Refused::Chain(Rejected::Oversized(Oversized::Bytes { found }))
    );
    assert_eq!(
        (
            refusal.evidence.subject.as_deref(),
            refusal.evidence.serial.as_deref()
        ),
        (Some(CI), Some("01234567"))
    );

    let peer = Peer::new(
        std::iter::once(root.svid_der(CI))
            .chain(vec![root.der.clone(); 120])
            .collect(),
    );
    assert_eq!(peer.der_bytes(), 0);
    assert_eq!(
        reason(meet_at(&authenticator, &peer, NOW).await),
        Refused::Chain(Rejected::TooManyIntermediates { found: 120 })
    );
    let (_, peer) = namesakes(Some(CI));
    assert!(meet_at(&authenticator, &peer, NOW).await.is_err());
    assert!(
        (1..=CHAIN_BYTES).contains(&peer.der_bytes()),
        "a certificate that later keys may verify is kept"
    );
}

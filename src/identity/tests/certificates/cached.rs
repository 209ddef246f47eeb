//! How long a verified certificate and the identity of its connection are cached.

use super::*;
use crate::identity::grounds::Grounds;

#[tokio::test]
async fn without_roots_a_certificate_is_undecided_and_nothing_is_cached() {
    let slot = Slot::new("late");
    let roots = Arc::new(Authorities::new(vec![slot.clone()]));
    let authenticator = Authenticator::new(
        vec![],
        vec![Domain {
            x509: Some(roots),
            ..domain("prod.example")
        }],
        vec![],
    );
    let peer = client(&PROD_CA, &[CI], None);
    match meet(&authenticator, &peer).await {
        Err(Failure::Undecidable { evidence, .. }) => assert_eq!(evidence.subject.as_deref(), Some(CI)),
        other => panic!("{other:?}"),
    }
    slot.publish(authorities(&PROD_CA), NOW, Timestamp::MAX);
    assert_eq!(meet(&authenticator, &peer).await.unwrap().username(), CI);
}

#[tokio::test]
async fn x_23_a_cached_verification_ends_with_its_generation() {
    let slot = Slot::new("roots");
    slot.publish(authorities(&PROD_CA), NOW, Timestamp::MAX);
    let roots = Arc::new(Authorities::new(vec![slot.clone()]));
    let authenticator = Authenticator::new(
        vec![],
        vec![Domain {
            x509: Some(roots),
            ..domain("prod.example")
        }],
        vec![],
    );
    let peer = client(&PROD_CA, &[CI], None);
    assert!(meet(&authenticator, &peer).await.is_ok());
    slot.publish(authorities(&OTHER_CA), NOW, Timestamp::MAX);
    assert_eq!(
        reason(meet(&authenticator, &peer).await),
        no_path("CN=prod.example", "roots"),
        "its root was withdrawn"
    );
    slot.publish(authorities(&PROD_CA), NOW, Timestamp::MAX);
    assert!(
        meet(&authenticator, &peer).await.is_ok(),
        "a cached rejection also ends with its generation"
    );
    slot.publish(X509Authorities::default(), NOW, Timestamp::MAX);
    let revoked = Refused::Chain(Rejected::NoAuthorities {
        origin: "roots".into(),
    });
    assert_eq!(reason(meet(&authenticator, &peer).await), revoked);
}

#[tokio::test]
async fn x_23_a_cached_verification_is_used_until_its_generation_changes_or_it_expires() {
    let authenticator = authenticator();
    let peer = client(&PROD_CA, &[CI], None);
    assert!(meet(&authenticator, &peer).await.is_ok());
    let kept = peer.verdict_for_test().unwrap();
    assert!(meet(&authenticator, &peer).await.is_ok());
    assert!(Arc::ptr_eq(&kept, &peer.verdict_for_test().unwrap()));
    let last = LEAF_EXPIRES.minus(Duration::from_millis(1));
    assert!(meet_at(&authenticator, &peer, last).await.is_ok());
    let now = LEAF_EXPIRES.plus(Duration::from_secs(1));
    let expired = Refused::Chain(Rejected::Expired {
        not_after: LEAF_EXPIRES,
        now,
    });
    assert_eq!(reason(meet_at(&authenticator, &peer, now).await), expired);
}

#[tokio::test]
async fn a_connections_identity_is_cached_while_its_sources_are_unchanged() {
    let entry_of = |slot: &Arc<Slot<X509Authorities>>, name: &str| CertificateEntry {
        name: name.into(),
        authorities: Arc::new(Authorities::new(vec![slot.clone()])),
        mapping: naming(&format!("'{name}'")),
    };
    let publish = |slot: &Slot<X509Authorities>, ca: &Ca| slot.publish(authorities(ca), NOW, Timestamp::MAX);
    let first = Slot::new("first");
    let second = Slot::new("second");
    publish(&first, &PROD_CA);
    publish(&second, &OTHER_CA);
    let authenticator = Authenticator::new(
        vec![],
        vec![],
        vec![entry_of(&first, "first"), entry_of(&second, "second")],
    );
    let peer = client(&OTHER_CA, &[], Some("alice"));
    let known = |now| {
        peer.known_to(&authenticator.itself, now)
            .map(|found| found.unwrap().username().to_owned())
    };
    assert_eq!(known(NOW), None);
    assert_eq!(meet(&authenticator, &peer).await.unwrap().username(), "second");
    assert_eq!(known(NOW).as_deref(), Some("second"));
    assert_eq!(
        known(NOW.minus(Duration::from_millis(1))),
        None,
        "the clock was set back"
    );
    assert_eq!(known(LEAF_EXPIRES), None);
    publish(&first, &OTHER_CA);
    assert_eq!(known(NOW), None, "the entry that rejected it may accept it now");
    assert_eq!(meet(&authenticator, &peer).await.unwrap().username(), "first");
    publish(&second, &PROD_CA);
    assert_eq!(
        known(NOW).as_deref(),
        Some("first"),
        "the second entry was not tried"
    );
    let mut grounds = Grounds::default();
    grounds.rest_on(&authenticator.certificates[0].authorities, NOW);
    let planted = Identity {
        username: "planted".into(),
        ..meet(&authenticator, &peer).await.unwrap()
    };
    peer.keep(&authenticator.itself, Ok(planted), grounds, NOW);
    assert_eq!(
        meet(&authenticator, &peer).await.unwrap().username(),
        "planted",
        "a cached verification is not repeated"
    );
    let renamed = Authenticator::new(vec![], vec![], vec![entry_of(&first, "renamed")]);
    assert!(
        peer.known_to(&renamed.itself, NOW).is_none(),
        "another configuration"
    );
    assert_eq!(meet(&renamed, &peer).await.unwrap().username(), "renamed");
}

#[tokio::test]
async fn a_cached_verification_does_not_outlive_the_configuration_of_its_trust_domain() {
    let peer = client(&PROD_CA, &[CI], None);
    assert!(meet(&authenticator(), &peer).await.is_ok());
    let without = Authenticator::new(vec![], vec![], vec![]);
    assert_eq!(reason(meet(&without, &peer).await), Refused::UnknownTrustDomain);
    let others = Authenticator::new(
        vec![],
        vec![Domain {
            x509: Some(held(authorities(&OTHER_CA))),
            ..domain("prod.example")
        }],
        vec![],
    );
    assert_eq!(
        reason(meet(&others, &peer).await),
        no_path("CN=prod.example", "test")
    );
}

#[tokio::test]
async fn a_cached_verification_of_an_svid_is_not_used_for_a_plain_certificate() {
    let shared = held(authorities(&OTHER_CA));
    let uri = Attributes {
        order: vec![Attribute::Uri],
        ..Attributes::common_name()
    };
    let entry = CertificateEntry {
        name: "uris".into(),
        authorities: shared.clone(),
        mapping: Mapping::by_attributes(uri, false),
    };
    let domains = vec![Domain {
        x509: Some(shared),
        ..domain("other.example")
    }];
    let plain = Authenticator::new(vec![], vec![], vec![entry]);
    let svids = Authenticator::new(vec![], domains, vec![]);
    let peer = client(&OTHER_CA, &["spiffe://other.example/ci"], None);
    for _ in 0..2 {
        assert_eq!(
            meet(&plain, &peer).await.unwrap().credential(),
            CredentialType::X509
        );
        let identity = meet(&svids, &peer).await.unwrap();
        assert_eq!(
            (identity.credential(), identity.spiffe_id().is_some()),
            (CredentialType::X509Svid, true)
        );
    }
}

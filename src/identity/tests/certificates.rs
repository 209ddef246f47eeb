//! Tests of client certificates: SVIDs of configured trust domains, and plain certificates by entry.

mod cached;

use super::*;
use crate::spiffe_id::InvalidSpiffeId;
use crate::trust::x509::{Malformed, Rejected, X509Authorities};
use pki_types::CertificateDer;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use wharfinger_testkit::{Ca, uri};

/// 2027-01-01.
const LEAF_EXPIRES: Timestamp = Timestamp::from_secs(1_798_761_600);

/// A root of the trust domain `name`.
fn root(name: &str) -> Ca {
    Ca::root_with(name, |params| {
        params.subject_alt_names = vec![uri(&format!("spiffe://{name}"))];
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    })
}

pub(super) fn authorities(ca: &Ca) -> X509Authorities {
    let parsed = bundle::parse_pem(ca.pem.as_bytes()).unwrap();
    assert_eq!(parsed.skipped, []);
    parsed.value
}

/// A client certificate with these URIs and this common name.
pub(super) fn client(ca: &Ca, uris: &[&str], name: Option<&str>) -> Peer {
    client_used(ca, uris, name, &[KeyUsagePurpose::DigitalSignature])
}

fn client_used(ca: &Ca, uris: &[&str], name: Option<&str>, usages: &[KeyUsagePurpose]) -> Peer {
    let mut params = CertificateParams::default();
    params.distinguished_name = name.map_or_else(DistinguishedName::new, common_name);
    params.subject_alt_names = uris.iter().map(|id| uri(id)).collect();
    params.key_usages = usages.to_vec();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(7_u64.into());
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    let certificate = ca.certify(&params, &KeyPair::generate().unwrap());
    Peer::new(vec![certificate.der().clone()])
}

fn common_name(name: &str) -> DistinguishedName {
    let mut dn = DistinguishedName::new();
    dn.push(DnType::CommonName, name);
    dn
}

static PROD_CA: LazyLock<Ca> = LazyLock::new(|| root("prod.example"));
pub(super) static OTHER_CA: LazyLock<Ca> = LazyLock::new(|| root("other.example"));
const CI: &str = "spiffe://prod.example/ci";

/// Two trust domains with roots, one for tokens only, one without keys; and one plain entry that trusts the
/// root of `other.example`.
fn authenticator() -> Authenticator {
    let with_roots = |name, ca: &Ca| Domain {
        x509: Some(held(authorities(ca))),
        ..domain(name)
    };
    let domains = vec![
        with_roots("prod.example", &PROD_CA),
        with_roots("other.example", &OTHER_CA),
        domain_with_keys("jwt.example", &PROD),
        Domain {
            x509: Some(silent()),
            ..domain("silent.example")
        },
    ];
    Authenticator::new(
        vec![issuer("https://a.example", &oidc_keys(&A))],
        domains,
        vec![entry("lab", &OTHER_CA)],
    )
}

fn entry(name: &str, ca: &Ca) -> CertificateEntry {
    CertificateEntry {
        name: name.into(),
        authorities: held(authorities(ca)),
        mapping: Mapping::default(),
    }
}

fn no_path(issuer: &str, origin: &str) -> Refused {
    Refused::Chain(Rejected::NoPath {
        issuer: issuer.into(),
        origin: origin.into(),
        passed_over: vec![],
    })
}

async fn meet(authenticator: &Authenticator, peer: &Peer) -> Result<Identity, Failure> {
    meet_at(authenticator, peer, NOW).await
}

#[tokio::test]
async fn an_x509_svid_gets_its_spiffe_id_as_username() {
    let identity = meet(&authenticator(), &client(&PROD_CA, &[CI], Some("ignored")))
        .await
        .unwrap();
    assert_eq!(identity.username(), CI);
    assert_eq!(identity.principal(), &Principal::Spiffe(CI.parse().unwrap()));
    assert_eq!(identity.credential(), CredentialType::X509Svid);
    assert_eq!(identity.claims().get("sub"), Some(&json!(CI)));
    assert_eq!(identity.valid_until(), LEAF_EXPIRES);
}

#[tokio::test]
async fn x_12_only_the_roots_of_its_own_trust_domain_are_used() {
    let forged = client(&OTHER_CA, &[CI], None);
    assert_eq!(
        reason(meet(&authenticator(), &forged).await),
        no_path("CN=other.example", "test")
    );
}

#[tokio::test]
async fn a_certificate_with_a_spiffe_uri_is_never_tried_as_a_plain_certificate() {
    let unknown = client(&OTHER_CA, &["spiffe://elsewhere.example/ci"], Some("alice"));
    assert_eq!(
        reason(meet(&authenticator(), &unknown).await),
        Refused::UnknownTrustDomain
    );
    let tokens_only = client(&OTHER_CA, &["spiffe://jwt.example/ci"], Some("alice"));
    assert_eq!(
        reason(meet(&authenticator(), &tokens_only).await),
        Refused::KindNotAccepted
    );
    let spiffe_id = |found: &str, why| Rejected::SpiffeId {
        found: found.into(),
        why,
    };
    let bad: [(&[&str], Rejected); 4] = [
        (
            &["SPIFFE://other.example/ci"],
            spiffe_id("SPIFFE://other.example/ci", InvalidSpiffeId::Scheme),
        ),
        (
            &["spiffe://other.example/ci/"],
            spiffe_id("spiffe://other.example/ci/", InvalidSpiffeId::EmptySegment),
        ),
        (
            &["spiffe://other.example"],
            Rejected::RootPath {
                trust_domain: "other.example".parse().unwrap(),
            },
        ),
        (
            &["https://other.example", "spiffe://other.example/ci"],
            Rejected::SeveralUriNames { found: 2 },
        ),
    ];
    for (uris, expected) in bad {
        let outcome = meet(&authenticator(), &client(&OTHER_CA, uris, Some("alice"))).await;
        assert_eq!(reason(outcome), Refused::Chain(expected), "{uris:?}");
    }
}

#[tokio::test]
async fn an_invalid_svid_of_a_configured_trust_domain_is_not_tried_by_entries_that_name_uris() {
    let attributes = Attributes {
        order: vec![Attribute::Uri, Attribute::CommonName],
        ..Attributes::common_name()
    };
    let uris = CertificateEntry {
        mapping: Mapping::by_attributes(attributes, false),
        ..entry("uris", &OTHER_CA)
    };
    let domains = vec![Domain {
        x509: Some(held(authorities(&PROD_CA))),
        ..domain("prod.example")
    }];
    let authenticator = Authenticator::new(vec![], domains, vec![uris]);
    let spiffe_id = |found: &str, why| Rejected::SpiffeId {
        found: found.into(),
        why,
    };
    let signs = &[KeyUsagePurpose::DigitalSignature][..];
    let bad: [(&[&str], &[KeyUsagePurpose], Rejected); 7] = [
        (&[CI], &[], Rejected::NoKeyUsage),
        (
            &[CI, "https://other.example"],
            signs,
            Rejected::SeveralUriNames { found: 2 },
        ),
        (
            &["https://other.example", "SPIFFE://PROD.example/ci"],
            signs,
            Rejected::SeveralUriNames { found: 2 },
        ),
        (
            &["spiffe://prod.example"],
            signs,
            Rejected::RootPath {
                trust_domain: "prod.example".parse().unwrap(),
            },
        ),
        (
            &["SPIFFE://prod.example/ci"],
            signs,
            spiffe_id("SPIFFE://prod.example/ci", InvalidSpiffeId::Scheme),
        ),
        (
            &["spiffe://PROD.example/ci"],
            signs,
            spiffe_id("spiffe://PROD.example/ci", InvalidSpiffeId::TrustDomainCharacter),
        ),
        (
            &["spiffe://prod.example:443/ci"],
            signs,
            spiffe_id(
                "spiffe://prod.example:443/ci",
                InvalidSpiffeId::TrustDomainCharacter,
            ),
        ),
    ];
    for (uris, usages, expected) in bad {
        let outcome = meet(
            &authenticator,
            &client_used(&OTHER_CA, uris, Some("alice"), usages),
        )
        .await;
        assert_eq!(reason(outcome), Refused::Chain(expected), "{uris:?}");
    }
    let foreign = client(&OTHER_CA, &["spiffe://elsewhere.example/ci"], None);
    assert_eq!(
        meet(&authenticator, &foreign).await.unwrap().username(),
        "spiffe://elsewhere.example/ci",
        "of no configured trust domain"
    );
}

#[tokio::test]
async fn a_plain_certificate_gets_its_common_name_as_username() {
    let identity = meet(&authenticator(), &client(&OTHER_CA, &[], Some("alice")))
        .await
        .unwrap();
    assert_eq!(identity.username(), "alice");
    assert_eq!(identity.credential(), CredentialType::X509);
    assert_eq!(identity.spiffe_id(), None);
    assert_eq!(
        identity.principal(),
        &Principal::Certificate {
            entry: "lab".into(),
            subject: "CN=alice".into()
        }
    );
    assert_eq!(
        reason(meet(&authenticator(), &client(&OTHER_CA, &["urn:x"], None)).await),
        Refused::NoCommonName
    );
    let named_like_an_svid = client(&OTHER_CA, &[], Some(CI));
    assert_eq!(
        reason(meet(&authenticator(), &named_like_an_svid).await),
        Refused::UsernameIsSpiffeId
    );
}

#[tokio::test]
async fn a_plain_certificate_that_fits_no_entry_is_rejected() {
    let stranger = reason(meet(&authenticator(), &client(&PROD_CA, &[], Some("alice"))).await);
    assert_eq!(stranger, no_path("CN=prod.example", "test"));
    let without_entries = Authenticator::new(vec![], vec![], vec![]);
    assert_eq!(
        reason(meet(&without_entries, &client(&PROD_CA, &[], Some("alice"))).await),
        Refused::KindNotAccepted
    );
    let garbage = Peer::new(vec![CertificateDer::from(b"no certificate".to_vec())]);
    assert_eq!(
        reason(meet(&authenticator(), &garbage).await),
        Refused::Chain(Malformed::Der.into())
    );
}

#[tokio::test]
async fn an_entry_without_roots_ends_the_search() {
    let silent = CertificateEntry {
        name: "silent".into(),
        authorities: silent(),
        mapping: Mapping::default(),
    };
    let authenticator = Authenticator::new(vec![], vec![], vec![silent, entry("second", &OTHER_CA)]);
    let outcome = meet(&authenticator, &client(&OTHER_CA, &[], Some("alice"))).await;
    assert!(
        matches!(outcome, Err(Failure::Undecidable { .. })),
        "an identity must not depend on an outage"
    );
}

#[tokio::test]
async fn a_header_comes_before_the_certificate_and_a_rejected_one_does_not_fall_back_to_it() {
    let peer = client(&PROD_CA, &[CI], None);
    let ask = async |header: &str| {
        let presented = Presented {
            authorization: vec![header.as_bytes()],
            peer: Some(&peer),
            ambient: true,
            address: None,
        };
        authenticator().authenticate(&presented, NOW).await
    };
    let token = id_token(&A, "https://a.example", "alice");
    assert_eq!(
        ask(&bearer(&token)).await.unwrap().username(),
        "https://a.example/alice"
    );
    assert!(ask("Basic Og==").await.unwrap().is_anonymous());
    assert_eq!(reason(ask(&basic("alice:hunter2")).await), Refused::NotAToken);
    assert_eq!(
        reason(ask(&bearer(&id_token(&A, "https://b.example", "alice"))).await),
        Refused::UnknownIssuer
    );
    let bad_peer = client(&OTHER_CA, &[CI], None);
    let presented = Presented {
        authorization: vec![bearer(&token).leak().as_bytes()],
        peer: Some(&bad_peer),
        ambient: true,
        address: None,
    };
    assert!(
        authenticator().authenticate(&presented, NOW).await.is_ok(),
        "a valid token beside an invalid certificate"
    );
}

#[tokio::test]
async fn a_request_on_behalf_of_another_site_has_no_certificate() {
    let peer = client(&PROD_CA, &[CI], None);
    let presented = Presented {
        authorization: vec![],
        peer: Some(&peer),
        ambient: false,
        address: None,
    };
    assert!(
        authenticator()
            .authenticate(&presented, NOW)
            .await
            .unwrap()
            .is_anonymous()
    );
    let none = Peer::new(vec![]);
    assert!(meet(&authenticator(), &none).await.unwrap().is_anonymous());
}

#[tokio::test]
async fn only_a_uri_may_yield_a_username_like_a_spiffe_id() {
    for (attribute, uris, name) in [(Attribute::CommonName, &[][..], CI), (Attribute::Uri, &[CI], "x")] {
        let attributes = Attributes {
            order: vec![attribute],
            ..Attributes::common_name()
        };
        let entry = CertificateEntry {
            mapping: Mapping::by_attributes(attributes, false),
            ..entry("by attributes", &OTHER_CA)
        };
        let outcome = meet(
            &Authenticator::new(vec![], vec![], vec![entry]),
            &client(&OTHER_CA, uris, Some(name)),
        )
        .await;
        match attribute {
            Attribute::Uri => assert_eq!(outcome.unwrap().username(), CI),
            _ => assert_eq!(reason(outcome), Refused::UsernameIsSpiffeId),
        }
    }
}

#[tokio::test]
async fn the_evidence_names_the_certificate() {
    let Err(Failure::Refused(refusal)) = meet(&authenticator(), &client(&OTHER_CA, &[CI], None)).await else {
        panic!("it is accepted")
    };
    let evidence = refusal.evidence;
    assert_eq!(evidence.credential, Some(CredentialType::X509Svid));
    assert_eq!(
        (evidence.subject.as_deref(), evidence.issuer.as_deref()),
        (Some(CI), Some("CN=other.example"))
    );
    assert!(evidence.serial.is_some_and(|serial| serial.contains('7')));
}
#[tokio::test]
async fn plain_entries_are_tried_in_order() {
    let no_bob = || CertificateEntry {
        mapping: validating("claims.sub != 'CN=bob'", "no bob"),
        ..entry("first", &OTHER_CA)
    };
    let entries = |last| vec![entry("prod", &PROD_CA), no_bob(), last];
    let authenticator = Authenticator::new(vec![], vec![], entries(entry("second", &OTHER_CA)));
    let of = |identity: Identity| match identity.principal() {
        Principal::Certificate { entry, .. } => entry.clone(),
        other => panic!("{other}"),
    };
    assert_eq!(
        of(meet(&authenticator, &client(&OTHER_CA, &[], Some("alice")))
            .await
            .unwrap()),
        "first"
    );
    assert_eq!(
        of(meet(&authenticator, &client(&OTHER_CA, &[], Some("bob")))
            .await
            .unwrap()),
        "second"
    );
    let authenticator = Authenticator::new(vec![], vec![], entries(entry("prod again", &PROD_CA)));
    let no_bob = Refused::Validation {
        message: "no bob".into(),
    };
    assert_eq!(
        reason(meet(&authenticator, &client(&OTHER_CA, &[], Some("bob"))).await),
        no_bob
    );
}

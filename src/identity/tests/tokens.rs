//! Tests of the routing of tokens to the rules and keys of the issuer that they name.

use super::*;
use crate::trust::jwt::Rejected;
use crate::trust::jwt::testing::encode;

/// One issuer, one that skips `iss`, a trust domain for tokens, one for certificates only, and one without
/// keys.
fn authenticator() -> Authenticator {
    let issuers = vec![
        issuer("https://a.example", &oidc_keys(&A)),
        skipping("https://any.example", &oidc_keys(&ANY)),
        issuer("https://silent.example", &silent()),
    ];
    let domains = vec![
        domain_with_keys("prod.example", &PROD),
        Domain {
            x509: Some(silent()),
            ..domain("x509.example")
        },
        Domain {
            jwt: Some(silent()),
            ..domain("silent.example")
        },
    ];
    Authenticator::new(issuers, domains, vec![])
}

/// The same without the entry that skips the comparison of `iss`.
fn strict() -> Authenticator {
    Authenticator::new(
        vec![issuer("https://a.example", &oidc_keys(&A))],
        vec![domain_with_keys("prod.example", &PROD)],
        vec![],
    )
}

#[tokio::test]
async fn an_id_token_gets_issuer_and_subject_as_username() {
    let identity = identify(&authenticator(), &id_token(&A, "https://a.example", "alice")).await;
    assert_eq!(identity.username(), "https://a.example/alice");
    assert_eq!(
        identity.principal(),
        &Principal::Oidc {
            issuer: "https://a.example".into(),
            entry: None,
            subject: "alice".into()
        }
    );
    assert_eq!(identity.credential(), CredentialType::Oidc);
    assert_eq!(identity.groups(), [""; 0]);
    assert_eq!(identity.claims().get("aud"), Some(&json!(["zot"])));
    assert_eq!(identity.valid_until(), Timestamp::from_secs(EXPIRES));
}

#[tokio::test]
async fn a_jwt_svid_gets_its_spiffe_id_as_username() {
    let id = "spiffe://prod.example/ci";
    let identity = identify(&authenticator(), &jwt_svid(&PROD, id)).await;
    assert_eq!(identity.username(), id);
    assert_eq!(identity.principal(), &Principal::Spiffe(id.parse().unwrap()));
    assert_eq!(identity.credential(), CredentialType::JwtSvid);
    assert_eq!(
        identity
            .claims()
            .get("spiffe")
            .and_then(|spiffe| spiffe.get("path")),
        Some(&json!("/ci"))
    );
}

#[tokio::test]
async fn a_spiffe_id_of_a_configured_trust_domain_is_always_verified_as_a_jwt_svid() {
    let claims =
        json!({"iss": "https://a.example", "sub": "spiffe://prod.example/ci", "aud": "zot", "exp": EXPIRES});
    assert_eq!(
        identify(&authenticator(), &PROD.token(&claims))
            .await
            .credential(),
        CredentialType::JwtSvid
    );
    let unknown = Rejected::UnknownKey {
        key_id: "a".into(),
        known: vec!["prod".into()],
        nameless: 0,
    };
    assert_eq!(
        refuse(&authenticator(), &A.token(&claims)).await,
        Refused::Jwt(unknown)
    );
}

#[tokio::test]
async fn the_keys_of_one_issuer_do_not_verify_for_another() {
    let unknown = |key_id: &str, known: &str| {
        Refused::Jwt(Rejected::UnknownKey {
            key_id: key_id.into(),
            known: vec![known.into()],
            nameless: 0,
        })
    };
    let a = id_token(&ANY, "https://a.example", "alice");
    assert_eq!(refuse(&authenticator(), &a).await, unknown("any", "a"));
    let prod = jwt_svid(&A, "spiffe://prod.example/ci");
    assert_eq!(refuse(&authenticator(), &prod).await, unknown("a", "prod"));
    let any = id_token(&A, "https://elsewhere.example", "alice");
    assert_eq!(refuse(&authenticator(), &any).await, unknown("a", "any"));
}

#[tokio::test]
async fn a_foreign_spiffe_id_is_an_unknown_trust_domain_unless_a_configured_issuer_issued_the_token() {
    let foreign = "spiffe://elsewhere.example/ci";
    for token in [
        jwt_svid(&PROD, foreign),
        id_token(&ANY, "https://b.example", foreign),
        jwt_svid(&ANY, foreign),
    ] {
        assert_eq!(
            refuse(&authenticator(), &token).await,
            Refused::UnknownTrustDomain
        );
    }
    let identity = identify(&authenticator(), &id_token(&A, "https://a.example", foreign)).await;
    assert_eq!(
        identity.username(),
        "https://a.example/spiffe://elsewhere.example/ci"
    );
    assert_eq!(identity.spiffe_id(), None);
    assert_eq!(identity.credential(), CredentialType::Oidc);
}

#[tokio::test]
async fn issuers_are_compared_byte_for_byte() {
    for name in [
        "https://A.example",
        "https://a.example/",
        "http://a.example",
        " https://a.example",
        "https://a.exampl",
        "",
    ] {
        assert_eq!(
            refuse(&strict(), &id_token(&A, name, "alice")).await,
            Refused::UnknownIssuer,
            "{name}"
        );
    }
    for iss in [json!(null), json!(["https://a.example"]), json!(1)] {
        let token = A.token(&json!({"iss": iss, "sub": "alice", "aud": "zot", "exp": EXPIRES}));
        assert_eq!(refuse(&strict(), &token).await, Refused::UnknownIssuer, "{iss}");
    }
}

#[tokio::test]
async fn a_trust_domain_for_certificates_only_accepts_no_token() {
    assert_eq!(
        refuse(&authenticator(), &jwt_svid(&PROD, "spiffe://x509.example/ci")).await,
        Refused::KindNotAccepted
    );
}

#[tokio::test]
async fn the_tokens_claims_are_checked() {
    let expired = A.token(&json!({"iss": "https://a.example", "sub": "alice", "aud": "zot", "exp": 1}));
    let at = Timestamp::from_secs(1);
    assert_eq!(
        refuse(&authenticator(), &expired).await,
        Refused::Jwt(Rejected::Expired { at, now: NOW })
    );
    let elsewhere =
        PROD.token(&json!({"sub": "spiffe://prod.example/ci", "aud": "elsewhere", "exp": EXPIRES}));
    let why = Rejected::Audience {
        expected: vec!["zot".into()],
        found: vec!["elsewhere".into()],
    };
    assert_eq!(refuse(&authenticator(), &elsewhere).await, Refused::Jwt(why));
}

#[tokio::test]
async fn without_keys_a_token_is_undecided() {
    let tokens = [
        id_token(&A, "https://silent.example", "alice"),
        jwt_svid(&PROD, "spiffe://silent.example/ci"),
    ];
    for (token, subject) in tokens.into_iter().zip(["alice", "spiffe://silent.example/ci"]) {
        match ask(&authenticator(), &[&bearer(&token)]).await {
            Err(Failure::Undecidable { evidence, .. }) => {
                assert_eq!(evidence.subject.as_deref(), Some(subject))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_entry_that_skips_the_issuer_accepts_tokens_that_no_other_entry_is_for() {
    let identity = identify(&authenticator(), &id_token(&ANY, "https://b.example", "bob")).await;
    assert_eq!(
        identity.principal(),
        &Principal::Oidc {
            issuer: "https://b.example".into(),
            entry: None,
            subject: "bob".into()
        }
    );
    let own = identify(&authenticator(), &id_token(&ANY, "https://any.example", "bob")).await;
    assert_eq!(own.username(), "https://any.example/bob");
}

#[tokio::test]
async fn an_issuer_that_may_write_any_iss_cannot_get_another_issuers_username() {
    let keys = oidc_keys(&ANY);
    let issuers = vec![
        issuer("https://a.example/team", &oidc_keys(&A)),
        skipping("https://any.example", &keys),
    ];
    let authenticator = Authenticator::new(issuers, vec![], vec![]);
    assert_eq!(
        identify(&authenticator, &id_token(&A, "https://a.example/team", "x/y"))
            .await
            .username(),
        "https://a.example/team/x/y"
    );
    for (iss, sub) in [
        ("https://a.example", "team/x/y"),
        ("https://a.example/team/x", "y"),
        ("https://a.example/team/", "x"),
    ] {
        let other = Refused::UsernameIsAnIssuers {
            issuer: "https://a.example/team".into(),
        };
        assert_eq!(
            refuse(&authenticator, &id_token(&ANY, iss, sub)).await,
            other,
            "{iss}"
        );
    }
    assert_eq!(
        refuse(&authenticator, &id_token(&ANY, "spiffe://prod.example", "ci")).await,
        Refused::UsernameIsSpiffeId
    );
    assert_eq!(
        identify(&authenticator, &id_token(&ANY, "https://a.example/teams", "x"))
            .await
            .username(),
        "https://a.example/teams/x"
    );
}

#[tokio::test]
async fn the_evidence_names_the_token_without_showing_it() {
    let token = id_token(&A, "https://b.example", "alice");
    let Err(Failure::Refused(refusal)) = ask(&strict(), &[&bearer(&token)]).await else {
        panic!("it is accepted")
    };
    let expected = Evidence {
        credential: Some(CredentialType::Oidc),
        issuer: Some("https://b.example".into()),
        key_id: Some("a".into()),
        subject: Some("alice".into()),
        serial: None,
    };
    assert_eq!(refusal.evidence, expected);
    let text = refusal.to_string();
    assert!(
        text.ends_with(r#" (oidc, issuer "https://b.example", key "a", subject "alice")"#),
        "{text}"
    );
    let long = id_token(&A, "https://b.example", &"ä".repeat(5000));
    let Err(Failure::Refused(refusal)) = ask(&strict(), &[&bearer(&long)]).await else {
        panic!("it is accepted")
    };
    assert_eq!(refusal.evidence.subject.unwrap().chars().count(), 257);
}

#[tokio::test]
async fn the_evidence_describes_even_an_unparsable_token() {
    let signed = |header: &str, claims: &str| format!("{}.{}.", encode(header), encode(claims));
    let oidc = r#"{"iss":"https://a.example","sub":"alice"}"#;
    let svid = r#"{"sub":"spiffe://nowhere.example/x"}"#;
    for (token, credential, subject) in [
        (
            signed(r#"{"alg":"none","kid":"a"}"#, oidc),
            Some(CredentialType::Oidc),
            Some("alice"),
        ),
        (
            signed(r#"{"alg":"none","kid":"a"}"#, svid),
            Some(CredentialType::JwtSvid),
            Some("spiffe://nowhere.example/x"),
        ),
        (
            signed(r#"{"alg":"ES256","kid":"a"}"#, r#"{"sub":"eve","sub":"alice"}"#),
            Some(CredentialType::Oidc),
            Some("alice"),
        ),
        (signed(r#"{"alg":"ES256","kid":"a"}"#, "[]"), None, None),
    ] {
        let Err(Failure::Refused(refusal)) = ask(&strict(), &[&bearer(&token)]).await else {
            panic!("it is accepted")
        };
        let Evidence {
            credential: found,
            key_id,
            subject: named,
            ..
        } = refusal.evidence;
        assert_eq!(
            (found, key_id.as_deref(), named.as_deref()),
            (credential, Some("a"), subject)
        );
    }
    let Err(Failure::Refused(refusal)) = ask(&strict(), &[&bearer("a.b")]).await else {
        panic!("it is accepted")
    };
    assert_eq!(refusal.evidence, Evidence::default());
}

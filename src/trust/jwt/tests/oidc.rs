//! OIDC ID tokens.

use super::*;

fn rules() -> OidcRules {
    OidcRules {
        hosts: Vec::new(),
        issuer: "https://issuer.example".into(),
        skip_issuer: false,
        audiences: vec!["zot".into()],
        algorithms: None,
        clock_skew: Duration::from_secs(30),
        max_lifetime: None,
        single_audience: false,
    }
}

fn claims(changes: Value) -> Value {
    with(
        json!({"iss": "https://issuer.example", "sub": "repo:acme/app", "aud": ["zot"], "exp": EXP}),
        changes,
    )
}

async fn judge(token: &str, entries: &[OidcRules], keys: KeySet) -> Result<VerifiedJwt, Failure> {
    let entries: Vec<_> = entries.iter().collect();
    verify_oidc(&Unverified::parse(token)?, &entries, &authorities(keys), NOW).await
}

async fn verify(token: &str, rules: OidcRules) -> Result<Map<String, Value>, Failure> {
    judge(token, &[rules], keys(&[signer().jwk()], UseRule::Oidc))
        .await
        .map(|verified| verified.claims().clone())
}

async fn refused(changes: Value) -> Rejected {
    rejected(verify(&signer().token(&claims(changes)), rules()).await)
}

#[tokio::test]
async fn t_7_2_every_asymmetric_algorithm_that_fits_the_key() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm, "key");
        let verified = judge(
            &signer.token(&claims(json!({}))),
            &[rules()],
            keys(&[signer.jwk()], UseRule::Oidc),
        )
        .await;
        let verified = verified.unwrap_or_else(|why| panic!("{algorithm}: {why}"));
        assert_eq!(
            (verified.subject(), verified.issuer()),
            ("repo:acme/app", Some("https://issuer.example"))
        );
        assert_eq!(verified.accepted_by(), [0]);
    }
    let only = OidcRules {
        algorithms: Some(vec![Algorithm::RS256, Algorithm::ES384]),
        ..rules()
    };
    let why = rejected(verify(&signer().token(&claims(json!({}))), only).await);
    let allowed = vec![Algorithm::RS256, Algorithm::ES384];
    assert_eq!(
        why,
        Rejected::AlgorithmNotAllowed {
            found: Algorithm::ES256,
            allowed
        }
    );
}

/// RFC 9864: issuers write either name into tokens and keys.
#[tokio::test]
async fn t_7_2_eddsa_and_ed25519_are_one_algorithm() {
    let signer = Signer::new(Algorithm::EdDSA, "key");
    let all = [
        signer.jwk(),
        signer.jwk_with("alg", "EdDSA"),
        signer.jwk_with("alg", "Ed25519"),
    ];
    for name in ["EdDSA", "Ed25519"] {
        let token = signer.token_of(
            with(signer.header(), json!({"alg": name})).to_string(),
            claims(json!({})).to_string(),
        );
        for jwk in &all {
            let only = OidcRules {
                algorithms: Some(vec!["Ed25519".parse().unwrap()]),
                ..rules()
            };
            let verified = judge(&token, &[only], keys(std::slice::from_ref(jwk), UseRule::Oidc)).await;
            assert!(verified.is_ok(), "{name} {jwk}: {verified:?}");
        }
        let others = Signer::new(Algorithm::EdDSA, "key");
        assert_eq!(
            judge(&token, &[rules()], keys(&[others.jwk()], UseRule::Oidc))
                .await
                .map(drop),
            Err(Rejected::Signature.into())
        );
        let why = judge(
            &token,
            &[rules()],
            keys(&[Signer::new(Algorithm::ES256, "key").jwk()], UseRule::Oidc),
        )
        .await
        .map(drop);
        assert!(
            matches!(
                why,
                Err(Failure::Rejected(Rejected::AlgorithmDoesNotFitKey { .. }))
            ),
            "{why:?}"
        );
    }
}

/// Cloud Foundry and SAP put `jku` into every token.
#[tokio::test]
async fn t_7_2_a_header_that_locates_a_key_is_ignored() {
    let impostor = Signer::new(Algorithm::ES256, "one");
    for hint in [
        json!({"jku": "https://uaa.cf.example/token_keys"}),
        json!({"x5u": 1}),
        json!({"x5c": []}),
        json!({"jwk": impostor.jwk()}),
    ] {
        let token = |by: &Signer| {
            by.token_of(
                with(by.header(), hint.clone()).to_string(),
                claims(json!({})).to_string(),
            )
        };
        verify(&token(signer()), rules()).await.unwrap();
        assert_eq!(
            rejected(verify(&token(&impostor), rules()).await),
            Rejected::Signature
        );
    }
}

#[tokio::test]
async fn t_7_3_the_issuer_is_one_string_and_ours() {
    for other in [
        "https://issuer.example/",
        "https://ISSUER.example",
        "http://issuer.example",
        "https://evil.example",
    ] {
        let why = Rejected::Issuer {
            expected: "https://issuer.example".into(),
            found: other.into(),
        };
        assert_eq!(refused(json!({"iss": other})).await, why);
        verify(
            &signer().token(&claims(json!({"iss": other}))),
            OidcRules {
                skip_issuer: true,
                ..rules()
            },
        )
        .await
        .unwrap();
    }
    for (bad, found) in [
        (json!(null), "nothing"),
        (json!(1), "a number"),
        (json!(["https://issuer.example"]), "a list"),
        (json!(""), "an empty one"),
    ] {
        let why = Rejected::Claim {
            claim: "iss",
            expected: "a non-empty string",
            found,
        };
        assert_eq!(refused(json!({"iss": bad})).await, why);
        let skipping = verify(
            &signer().token(&claims(json!({"iss": bad}))),
            OidcRules {
                skip_issuer: true,
                ..rules()
            },
        )
        .await;
        assert_eq!(
            rejected(skipping),
            why,
            "`iss` is required even if it is not compared"
        );
    }
}

#[tokio::test]
async fn t_7_3_subject_audience_and_expiry_are_needed() {
    for (claim, bad) in [
        ("sub", json!(null)),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("aud", json!(null)),
        ("aud", json!(["zot", 1])),
        ("exp", json!(null)),
        ("exp", json!("1")),
    ] {
        let why = refused(json!({claim: bad})).await;
        assert!(
            matches!(why, Rejected::Claim { claim: named, .. } if named == claim),
            "{claim} {bad}: {why}"
        );
    }
    assert!(matches!(
        refused(json!({"aud": "other"})).await,
        Rejected::Audience { .. }
    ));
    assert!(matches!(
        refused(json!({"exp": NOW.as_secs() - 30})).await,
        Rejected::Expired { .. }
    ));
    assert!(matches!(
        refused(json!({"nbf": NOW.as_secs() + 31})).await,
        Rejected::NotYetValid { claim: "nbf", .. }
    ));
    assert!(matches!(
        refused(json!({"iat": NOW.as_secs() + 31})).await,
        Rejected::NotYetValid { claim: "iat", .. }
    ));
    let open = OidcRules {
        audiences: vec![],
        ..rules()
    };
    assert_eq!(
        rejected(verify(&signer().token(&claims(json!({}))), open).await),
        Rejected::NoAudienceConfigured
    );
}

#[tokio::test]
async fn t_7_2_typ_in_any_case_but_no_access_token() {
    let typed = |typ: &str| {
        signer().token_of(
            with(signer().header(), json!({"typ": typ})).to_string(),
            claims(json!({})).to_string(),
        )
    };
    for good in ["JWT", "jwt", "Jwt", "jose"] {
        verify(&typed(good), rules()).await.unwrap();
    }
    for bad in [
        "at+jwt",
        "AT+JWT",
        "application/at+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "",
    ] {
        assert_eq!(
            rejected(verify(&typed(bad), rules()).await),
            Rejected::Type { found: bad.into() }
        );
    }
}

#[tokio::test]
async fn t_7_2_tokens_that_only_jsonwebtoken_accepts_are_rejected() {
    for (header, why) in [
        (
            json!({"crit": ["foo"]}),
            Rejected::ForbiddenHeader { name: "crit" },
        ),
        (
            json!({"crit": ["b64"], "b64": false}),
            Rejected::ForbiddenHeader { name: "crit" },
        ),
        (json!({"b64": false}), Rejected::ForbiddenHeader { name: "b64" }),
    ] {
        let token = signer().token_of(
            with(signer().header(), header).to_string(),
            claims(json!({})).to_string(),
        );
        assert_eq!(rejected(verify(&token, rules()).await), why);
    }
}

#[tokio::test]
async fn a_token_lives_no_longer_than_allowed() {
    let short = || OidcRules {
        max_lifetime: Some(Duration::from_secs(600)),
        ..rules()
    };
    let now = NOW.as_secs();
    for (issued, expires, lifetime) in [
        (json!(now - 300), now + 300, 600),
        (json!(now - 400), now + 300, 700),
        (json!(null), now + 600, 600),
        (json!(null), now + 601, 601),
    ] {
        let outcome = verify(
            &signer().token(&claims(json!({"iat": issued, "exp": expires}))),
            short(),
        )
        .await;
        if lifetime <= 600 {
            outcome.unwrap();
        } else {
            let why = Rejected::Lifetime {
                longest: Duration::from_secs(600),
                found: Duration::from_secs(lifetime),
            };
            assert_eq!(rejected(outcome), why);
        }
    }
}

#[tokio::test]
async fn t_7_5_one_signature_check_for_all_entries_of_an_issuer() {
    let entry = |audience: &str| OidcRules {
        audiences: vec![audience.into()],
        ..rules()
    };
    let strict = OidcRules {
        max_lifetime: Some(Duration::from_secs(1)),
        ..rules()
    };
    let entries = [entry("other"), rules(), strict, entry("zot")];
    let keys = keys(&[signer().jwk()], UseRule::Oidc);
    let token = signer().token(&claims(json!({})));
    let verified = judge(&token, &entries, keys.clone()).await.unwrap();
    assert_eq!(verified.accepted_by(), [1, 3]);
    let why = judge(&token, &[entry("first"), entry("second")], keys.clone())
        .await
        .unwrap_err();
    let first = Rejected::Audience {
        expected: vec!["first".into()],
        found: vec!["zot".into()],
    };
    assert_eq!(why, Failure::Rejected(first), "the first entry's reason");
    assert!(judge(&token, &[], keys).await.is_err(), "no entry, no token");
}

#[tokio::test]
async fn the_claims_spiffe_and_x509_of_a_token_are_dropped() {
    let token = signer().token(&claims(
        json!({"sub": "spiffe://prod.example/a", "spiffe": {"id": "x"}, "x509": 1, "aud": "zot"}),
    ));
    let verified = judge(&token, &[rules()], keys(&[signer().jwk()], UseRule::Oidc))
        .await
        .unwrap();
    assert_eq!(
        verified.spiffe_id(),
        None,
        "an ID token is not an SVID, whatever its subject"
    );
    assert!(!verified.claims().contains_key("spiffe") && !verified.claims().contains_key("x509"));
    assert_eq!(verified.claims()["aud"], json!(["zot"]));
}

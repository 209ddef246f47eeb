//! Tests of JWT-SVID's rules about claims and keys.

use super::*;
use crate::spiffe_id::InvalidSpiffeId;
use std::str::FromStr;

pub(super) fn rules() -> SvidRules {
    SvidRules {
        hosts: Vec::new(),
        trust_domain: TrustDomain::from_str("prod.example").unwrap(),
        audiences: vec![
            "registry.example.com".into(),
            "https://registry.example.com".into(),
        ],
        clock_skew: Duration::from_secs(30),
        single_audience: false,
    }
}

pub(super) fn claims(changes: Value) -> Value {
    with(
        json!({"sub": "spiffe://prod.example/ns/app/sa/ci", "aud": "registry.example.com", "exp": EXP, "iat": 1_799_999_990}),
        changes,
    )
}

pub(super) async fn judge(
    token: &str,
    rules: &SvidRules,
    keys: KeySet,
) -> Result<Map<String, Value>, Failure> {
    let verified = verify_svid(&Unverified::parse(token)?, rules, &authorities(keys), NOW).await?;
    Ok(verified.claims().clone())
}

pub(super) async fn verify(token: &str) -> Result<Map<String, Value>, Failure> {
    judge(token, &rules(), keys(&[signer().jwk()], UseRule::WorkloadApi)).await
}

async fn with_claims(changes: Value) -> Result<Map<String, Value>, Failure> {
    verify(&signer().token(&claims(changes))).await
}

async fn refused(changes: Value) -> Rejected {
    let shown = changes.to_string();
    match with_claims(changes).await {
        Err(Failure::Rejected(why)) => why,
        other => panic!("{shown}: {other:?}"),
    }
}

fn claim(claim: &'static str, expected: &'static str, found: &'static str) -> Rejected {
    Rejected::Claim {
        claim,
        expected,
        found,
    }
}

#[tokio::test]
async fn a_valid_token_yields_its_normalized_claims() {
    let token = signer().token(&claims(
        json!({"x509": {"a": 1}, "spiffe": {"id": "spiffe://evil/x"}, "exp": 1_800_000_300.9, "role": "ci"}),
    ));
    let verified = verify_svid(
        &Unverified::parse(&token).unwrap(),
        &rules(),
        &authorities(keys(&[signer().jwk()], UseRule::WorkloadApi)),
        NOW,
    )
    .await
    .unwrap();
    let id = "spiffe://prod.example/ns/app/sa/ci";
    assert_eq!(
        Value::Object(verified.claims().clone()),
        json!({
            "sub": id, "aud": ["registry.example.com"], "exp": EXP, "iat": 1_799_999_990, "role": "ci",
            "spiffe": {"id": id, "trust_domain": "prod.example", "path": "/ns/app/sa/ci", "segments": ["ns", "app", "sa", "ci"]},
        })
    );
    assert_eq!(verified.spiffe_id().unwrap().as_str(), id);
    assert_eq!(
        (verified.subject(), verified.issuer(), verified.key_id()),
        (id, None, Some("one"))
    );
    assert_eq!(verified.expires(), Timestamp::from_millis(EXP * 1000 + 900));
    assert_eq!(verified.valid_until(), verified.expires());
    assert!(verified.accepted_by().is_empty());
}

#[tokio::test]
async fn an_identity_is_valid_until_its_keys_become_stale() {
    let slot = Slot::new("test");
    let stale = NOW.plus(Duration::from_secs(10));
    slot.publish(keys(&[signer().jwk()], UseRule::WorkloadApi), NOW, stale);
    let all = Authorities::new(vec![slot]);
    let token = Unverified::parse(&signer().token(&claims(json!({})))).unwrap();
    let verified = verify_svid(&token, &rules(), &all, NOW).await.unwrap();
    assert_eq!(verified.valid_until(), stale);
    assert_eq!(Some(verified.generation()), all.generation(NOW));
}

#[tokio::test]
async fn j_08_the_subject_is_a_spiffe_id() {
    let text = "a non-empty string";
    assert_eq!(refused(json!({"sub": null})).await, claim("sub", text, "nothing"));
    assert_eq!(
        refused(json!({"sub": ""})).await,
        claim("sub", text, "an empty one")
    );
    assert_eq!(
        refused(json!({"sub": ["spiffe://prod.example/a"]})).await,
        claim("sub", text, "a list")
    );
    for (sub, why) in [
        ("system:serviceaccount:a:b", InvalidSpiffeId::Scheme),
        (" spiffe://prod.example/a", InvalidSpiffeId::Scheme),
        ("SPIFFE://prod.example/a", InvalidSpiffeId::Scheme),
        ("spiffe://prod.example/a/", InvalidSpiffeId::EmptySegment),
        ("spiffe://prod.example/%61", InvalidSpiffeId::PathCharacter),
        ("spiffe://prod.example/a ", InvalidSpiffeId::PathCharacter),
        ("spiffe://prod.example/a/../b", InvalidSpiffeId::DotSegment),
        ("spiffe://Prod.example/a", InvalidSpiffeId::TrustDomainCharacter),
        (
            "spiffe://prod.example:443/a",
            InvalidSpiffeId::TrustDomainCharacter,
        ),
    ] {
        assert_eq!(
            refused(json!({"sub": sub})).await,
            Rejected::Subject(why),
            "{sub}"
        );
    }
}

#[tokio::test]
async fn j_09_a_trust_domain_is_not_a_workload() {
    let why = refused(json!({"sub": "spiffe://prod.example"})).await;
    assert_eq!(
        why,
        Rejected::SubjectWithoutPath {
            trust_domain: rules().trust_domain
        }
    );
}

#[tokio::test]
async fn j_10_one_of_our_audiences_is_in_aud() {
    for good in [
        json!("registry.example.com"),
        json!(["https://registry.example.com"]),
        json!(["other", "registry.example.com"]),
    ] {
        with_claims(json!({"aud": good})).await.unwrap();
    }
    let refuse = |found| claim("aud", "a string or a list of strings", found);
    assert_eq!(refused(json!({"aud": null})).await, refuse("nothing"));
    assert_eq!(refused(json!({"aud": 1})).await, refuse("a number"));
    assert_eq!(
        refused(json!({"aud": {"registry.example.com": 1}})).await,
        refuse("an object")
    );
    let mixed = refuse("a list with something else in it");
    assert_eq!(refused(json!({"aud": ["registry.example.com", 1]})).await, mixed);
    assert_eq!(
        refused(json!({"aud": ["registry.example.com", ["registry.example.com"]]})).await,
        mixed
    );
    let literal_null = signer().token_of(
        signer().header().to_string(),
        r#"{"sub":"spiffe://prod.example/a","aud":null,"exp":1800000300}"#,
    );
    assert_eq!(rejected(verify(&literal_null).await), refuse("null"));
    for other in [
        json!([]),
        json!(""),
        json!([""]),
        json!("other"),
        json!("Registry.example.com"),
        json!("registry.example.co"),
        json!("registry.example.com/"),
    ] {
        assert!(
            matches!(refused(json!({"aud": other})).await, Rejected::Audience { .. }),
            "{other}"
        );
    }
}

#[tokio::test]
async fn j_11_without_a_configured_audience_no_token_is_accepted() {
    for audiences in [vec![], vec![String::new()]] {
        let rules = SvidRules { audiences, ..rules() };
        for aud in [json!([]), json!(""), json!("registry.example.com")] {
            let token = signer().token(&claims(json!({"aud": aud})));
            let outcome = judge(&token, &rules, keys(&[signer().jwk()], UseRule::WorkloadApi)).await;
            assert_eq!(rejected(outcome), Rejected::NoAudienceConfigured);
        }
    }
    let rules = SvidRules {
        audiences: vec![String::new(), "registry.example.com".into()],
        ..rules()
    };
    let outcome = judge(
        &signer().token(&claims(json!({"aud": ""}))),
        &rules,
        keys(&[signer().jwk()], UseRule::WorkloadApi),
    )
    .await;
    assert!(
        matches!(rejected(outcome), Rejected::Audience { .. }),
        "an empty audience matches nothing"
    );
}

#[tokio::test]
async fn j_12_several_audiences_are_rejected_if_configured() {
    let token = signer().token(&claims(json!({"aud": ["registry.example.com", "other"]})));
    verify(&token).await.unwrap();
    let rules = SvidRules {
        single_audience: true,
        ..rules()
    };
    let keys = keys(&[signer().jwk()], UseRule::WorkloadApi);
    let why = rejected(judge(&token, &rules, keys.clone()).await);
    assert_eq!(
        why,
        Rejected::SeveralAudiences {
            found: vec!["registry.example.com".into(), "other".into()]
        }
    );
    judge(
        &signer().token(&claims(json!({"aud": ["registry.example.com"]}))),
        &rules,
        keys,
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn j_13_exp_is_required_and_not_past_except_for_the_skew() {
    let now = NOW.as_secs();
    with_claims(json!({"exp": now - 29})).await.unwrap();
    assert_eq!(
        refused(json!({"exp": now - 30})).await,
        Rejected::Expired {
            at: Timestamp::from_secs(now - 30),
            now: NOW
        }
    );
    assert_eq!(
        refused(json!({"exp": -1})).await,
        Rejected::Expired {
            at: Timestamp::from_secs(-1),
            now: NOW
        }
    );
    assert_eq!(
        refused(json!({"exp": null})).await,
        claim("exp", "a number", "nothing")
    );
    assert_eq!(
        refused(json!({"exp": EXP.to_string()})).await,
        claim("exp", "a number", "a string")
    );
    for endless in [json!(1e300), json!(u64::MAX), json!(i64::MIN)] {
        assert_eq!(
            refused(json!({"exp": endless})).await,
            Rejected::NotADate { claim: "exp" }
        );
    }
    let literal_null = signer().token_of(
        signer().header().to_string(),
        r#"{"sub":"spiffe://prod.example/a","aud":"registry.example.com","exp":null}"#,
    );
    assert_eq!(
        rejected(verify(&literal_null).await),
        claim("exp", "a number", "null")
    );
}

#[tokio::test]
async fn j_14_a_date_is_any_json_number() {
    for date in ["1800000300", "1800000300.5", "1.8000003e9", "1.8000003E+9"] {
        let payload = format!(
            r#"{{"sub":"spiffe://prod.example/a","aud":"registry.example.com","exp":{date},"iat":1.7e9,"nbf":1.7e9}}"#
        );
        let verified = verify(&signer().token_of(signer().header().to_string(), &payload))
            .await
            .unwrap();
        assert_eq!(verified["exp"].as_i64(), Some(EXP), "{date}");
        assert_eq!(
            verified["iat"].as_i64(),
            Some(1_700_000_000),
            "a mapping sees an integer"
        );
    }
}

#[tokio::test]
async fn j_15_nbf_is_checked_if_present() {
    not_in_the_future("nbf").await;
}

#[tokio::test]
async fn j_16_iat_is_not_in_the_future() {
    not_in_the_future("iat").await;
}

async fn not_in_the_future(name: &'static str) {
    let now = NOW.as_secs();
    with_claims(json!({name: null})).await.unwrap();
    with_claims(json!({name: now + 30})).await.unwrap();
    let why = Rejected::NotYetValid {
        claim: name,
        at: Timestamp::from_secs(now + 31),
        now: NOW,
    };
    assert_eq!(refused(json!({name: now + 31})).await, why);
    assert_eq!(
        refused(json!({name: "now"})).await,
        claim(name, "a number", "a string")
    );
    assert_eq!(
        refused(json!({name: 1e15})).await,
        Rejected::NotADate { claim: name }
    );
}

#[tokio::test]
async fn j_17_only_keys_of_the_subjects_trust_domain() {
    let foreign = refused(json!({"sub": "spiffe://test.example/ns/app/sa/ci"})).await;
    let domain = |name: &str| name.parse::<TrustDomain>().unwrap();
    assert_eq!(
        foreign,
        Rejected::TrustDomain {
            expected: domain("prod.example"),
            found: domain("test.example")
        }
    );
    let token = signer().token(&claims(json!({})));
    let same_id = keys(
        &[Signer::new(Algorithm::ES256, "one").jwk()],
        UseRule::WorkloadApi,
    );
    assert_eq!(
        rejected(judge(&token, &rules(), same_id).await),
        Rejected::Signature,
        "the kid alone proves nothing"
    );
    let why = Rejected::UnknownKey {
        key_id: "one".into(),
        known: vec![],
        nameless: 0,
    };
    assert_eq!(
        rejected(judge(&token, &rules(), KeySet::default()).await),
        why,
        "an empty bundle revokes"
    );
    let nothing = Authorities::new(vec![Slot::new("agent")]);
    let undecidable = verify_svid(&Unverified::parse(&token).unwrap(), &rules(), &nothing, NOW)
        .await
        .unwrap_err();
    assert_eq!(undecidable.to_string(), "no usable keys: agent: no answer yet");
}

#[tokio::test]
async fn j_18_in_a_bundle_only_keys_for_jwt_svids() {
    let token = signer().token(&claims(json!({})));
    let bundle = |jwk| {
        jwks::parse(&key_set(&[jwk]), UseRule::SpiffeBundle)
            .unwrap()
            .value
    };
    judge(&token, &rules(), bundle(signer().jwk_with("use", "jwt-svid")))
        .await
        .unwrap();
    for other in [
        json!("wit-svid"),
        json!("x509-svid"),
        json!("sig"),
        json!("JWT-SVID"),
        json!(null),
    ] {
        let passed_over = other == "wit-svid" || other == "x509-svid";
        let why = rejected(judge(&token, &rules(), bundle(signer().jwk_with("use", other))).await);
        match why {
            Rejected::UnknownKey { known, .. } => assert!(passed_over && known.is_empty()),
            Rejected::UnusableKey { why, .. } => assert!(!passed_over && why.contains("`use`"), "{why}"),
            other => panic!("{other}"),
        }
    }
    assert!(bundle(signer().jwk()).is_empty());
}

#[tokio::test]
async fn j_19_a_token_may_be_presented_again() {
    let token = signer().token(&claims(json!({"jti": "1"})));
    assert_eq!(verify(&token).await, verify(&token).await);
    verify(&token).await.unwrap();
}

#[tokio::test]
async fn j_20_iss_is_ignored_except_by_keys_that_demand_one() {
    let plain = keys(&[signer().jwk()], UseRule::WorkloadApi);
    let demanding = keys(&[signer().jwk()], UseRule::Oidc).demanding_issuer("https://oidc.prod.example");
    for (iss, found) in [
        (json!("https://anything"), Some("https://anything".to_owned())),
        (
            json!("https://oidc.prod.example/"),
            Some("https://oidc.prod.example/".into()),
        ),
        (json!(["https://oidc.prod.example"]), None),
        (json!(null), None),
    ] {
        let token = signer().token(&claims(json!({"iss": iss})));
        judge(&token, &rules(), plain.clone()).await.unwrap();
        let why = Rejected::KeyOfAnotherIssuer {
            demanded: "https://oidc.prod.example".into(),
            found,
        };
        assert_eq!(rejected(judge(&token, &rules(), demanding.clone()).await), why);
    }
    judge(
        &signer().token(&claims(json!({"iss": "https://oidc.prod.example"}))),
        &rules(),
        demanding,
    )
    .await
    .unwrap();
}

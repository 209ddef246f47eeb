//! Tests of JWT-SVID's rules about serialization, header and signature.

use super::svid::{claims, judge, rules, verify};
use super::*;
use crate::limits::{JSON_DEPTH, TOKEN_BYTES};
use crate::trust::InvalidJson;
use crate::trust::NoKeys;
use crate::trust::jwt::rejected::Part;
use crate::trust::jwt::testing::encode;

async fn with_header(changes: Value) -> Result<Map<String, Value>, Failure> {
    let header = with(signer().header(), changes);
    verify(&signer().token_of(header.to_string(), claims(json!({})).to_string())).await
}

async fn verify_by(token: &str, signer: &Signer) -> Result<Map<String, Value>, Failure> {
    judge(token, &rules(), keys(&[signer.jwk()], UseRule::WorkloadApi)).await
}

fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

const NINE: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::ES512,
];

#[tokio::test]
async fn j_01_and_t_7_1_compact_serialization_only() {
    let token = signer().token(&claims(json!({})));
    verify(&token).await.unwrap();
    let [header, payload, signature] = parts(&token);
    let json = json!({"protected": header, "payload": payload, "signature": signature}).to_string();
    for (bad, parts) in [
        (json, 1),
        (format!("{header}.{payload}"), 2),
        (format!("{token}."), 4),
        (format!("{token}.x.y"), 5),
        (String::new(), 1),
    ] {
        assert_eq!(
            rejected(verify(&bad).await),
            Rejected::NotCompact { parts },
            "{bad}"
        );
    }
    for (bad, part) in [
        (format!("{header}=.{payload}.{signature}"), Part::Header),
        (format!(" {token}"), Part::Header),
        (format!("{header}.{payload}\n.{signature}"), Part::Claims),
        (format!("{token}=="), Part::Signature),
        (format!("{token}\n"), Part::Signature),
        (format!("{header}.{payload}.+/{signature}"), Part::Signature),
    ] {
        assert_eq!(rejected(verify(&bad).await), Rejected::Encoding { part }, "{bad}");
    }
}

#[tokio::test]
async fn j_02_only_the_nine_algorithms() {
    for name in [
        "none", "None", "", "HS256", "HS512", "es256", "ES256K", "ed25519", "Ed448", "RSA-OAEP",
    ] {
        assert_eq!(
            rejected(with_header(json!({"alg": name})).await),
            Rejected::UnknownAlgorithm { found: name.into() }
        );
    }
    assert_eq!(
        rejected(with_header(json!({"alg": null})).await),
        Rejected::HeaderType {
            name: "alg",
            found: "nothing"
        }
    );
    assert_eq!(
        rejected(with_header(json!({"alg": ["ES256"]})).await),
        Rejected::HeaderType {
            name: "alg",
            found: "a list"
        }
    );
    let unsigned = format!(
        "{}.{}.",
        encode(r#"{"alg":"none","kid":"one"}"#),
        encode(claims(json!({})).to_string())
    );
    assert_eq!(
        rejected(verify(&unsigned).await),
        Rejected::UnknownAlgorithm { found: "none".into() }
    );
    let edwards = Signer::new(Algorithm::EdDSA, "one");
    let why = rejected(verify_by(&edwards.token(&claims(json!({}))), &edwards).await);
    assert_eq!(
        why,
        Rejected::AlgorithmNotAllowed {
            found: Algorithm::EdDSA,
            allowed: NINE.to_vec()
        }
    );
    let header = with(edwards.header(), json!({"alg": "Ed25519"})).to_string();
    let why = rejected(
        verify_by(
            &edwards.token_of(&header, claims(json!({})).to_string()),
            &edwards,
        )
        .await,
    );
    assert_eq!(
        why,
        Rejected::AlgorithmNotAllowed {
            found: Algorithm::EdDSA,
            allowed: NINE.to_vec()
        },
        "by its newer name"
    );
}

/// `jsonwebtoken` checks that the tests' signer makes valid tokens. It does not support ES512.
#[tokio::test]
async fn j_03_each_of_the_nine_verifies() {
    for algorithm in NINE {
        let signer = Signer::new(algorithm, "key");
        let token = signer.token(&claims(json!({})));
        let verified = verify_by(&token, &signer)
            .await
            .unwrap_or_else(|why| panic!("{algorithm}: {why}"));
        let [header, payload, signature] = parts(&token);
        let tampered = format!(
            "{header}.{}.{signature}",
            encode(claims(json!({"sub": "spiffe://prod.example/root"})).to_string())
        );
        assert_eq!(
            rejected(verify_by(&tampered, &signer).await),
            Rejected::Signature,
            "{algorithm}"
        );
        let others = format!(
            "{header}.{payload}.{}",
            encode(Signer::new(algorithm, "key").sign(b"something else"))
        );
        assert_eq!(
            rejected(verify_by(&others, &signer).await),
            Rejected::Signature,
            "{algorithm}"
        );
        if let Ok(known) = algorithm.as_str().parse() {
            let key =
                jsonwebtoken::DecodingKey::from_jwk(&serde_json::from_value(signer.jwk()).unwrap()).unwrap();
            let mut validation = jsonwebtoken::Validation::new(known);
            validation.set_audience(&rules().audiences);
            validation.validate_exp = false;
            let theirs = jsonwebtoken::decode::<Map<String, Value>>(&token, &key, &validation).unwrap();
            assert_eq!(theirs.claims["sub"], verified["sub"]);
        } else {
            assert_eq!(algorithm, Algorithm::ES512);
        }
    }
}

#[tokio::test]
async fn j_04_the_algorithm_fits_the_key() {
    let rsa = Signer::new(Algorithm::RS256, "k");
    let p256 = Signer::new(Algorithm::ES256, "k");
    for (signer, lie) in [
        (&rsa, Algorithm::ES256),
        (&p256, Algorithm::RS256),
        (&p256, Algorithm::ES384),
        (&p256, Algorithm::ES512),
    ] {
        let header = with(signer.header(), json!({"alg": lie.as_str()}));
        let token = signer.token_of(header.to_string(), claims(json!({})).to_string());
        let why = Rejected::AlgorithmDoesNotFitKey {
            algorithm: lie,
            key_id: "k".into(),
        };
        assert_eq!(rejected(verify_by(&token, signer).await), why);
    }
    let pss = Signer::new(Algorithm::PS256, "k").token(&claims(json!({})));
    verify_by(&pss, &rsa).await.unwrap();
    let bound = keys(&[rsa.jwk_with("alg", "RS256")], UseRule::WorkloadApi);
    let why = Rejected::AlgorithmDoesNotFitKey {
        algorithm: Algorithm::PS256,
        key_id: "k".into(),
    };
    assert_eq!(
        rejected(judge(&pss, &rules(), bound).await),
        why,
        "the JWK's own alg binds"
    );
}

#[tokio::test]
async fn j_05_a_kid_may_be_absent_and_is_compared_exactly() {
    with_header(json!({"kid": null})).await.unwrap();
    let anonymous = signer().token_of(r#"{"alg":"ES256"}"#, claims(json!({})).to_string());
    let others: Vec<_> = (0..3)
        .map(|n| Signer::new(Algorithm::ES256, &n.to_string()).jwk())
        .collect();
    let with_ours = keys(&[&others[..], &[signer().jwk()]].concat(), UseRule::WorkloadApi);
    judge(&anonymous, &rules(), with_ours).await.unwrap();
    let without_ours = judge(&anonymous, &rules(), keys(&others, UseRule::WorkloadApi)).await;
    assert_eq!(
        rejected(without_ours),
        Rejected::Signature,
        "every key of the trust domain that fits is tried, and no other"
    );
    assert_eq!(
        rejected(with_header(json!({"kid": 1})).await),
        Rejected::HeaderType {
            name: "kid",
            found: "a number"
        }
    );
    for other in ["", "One", "one ", "on", "two"] {
        let why = Rejected::UnknownKey {
            key_id: other.into(),
            known: vec!["one".into()],
            nameless: 0,
        };
        assert_eq!(rejected(with_header(json!({"kid": other})).await), why);
    }
}

#[tokio::test]
async fn j_06_typ_is_absent_or_jwt_or_jose() {
    for good in [json!(null), json!("JWT"), json!("JOSE")] {
        with_header(json!({"typ": good})).await.unwrap();
    }
    for bad in ["jwt", "Jose", "at+jwt", "application/jwt", "", "JWT "] {
        assert_eq!(
            rejected(with_header(json!({"typ": bad})).await),
            Rejected::Type { found: bad.into() }
        );
    }
    assert_eq!(
        rejected(with_header(json!({"typ": 1})).await),
        Rejected::HeaderType {
            name: "typ",
            found: "a number"
        }
    );
    let null = signer().token_of(
        r#"{"alg":"ES256","kid":"one","typ":null}"#,
        claims(json!({})).to_string(),
    );
    assert_eq!(
        rejected(verify(&null).await),
        Rejected::HeaderType {
            name: "typ",
            found: "null"
        }
    );
}

/// WIT-SVID 7.1: it is valid only with a proof that its bearer has the key in it.
#[tokio::test]
async fn j_06_a_wit_svid_is_never_a_bearer_token_and_the_reason_says_so() {
    for typ in ["wit+jwt", "WIT+JWT", "application/wit+jwt"] {
        assert_eq!(
            rejected(with_header(json!({"typ": typ})).await),
            Rejected::WitSvid
        );
    }
    let header = with(signer().header(), json!({"typ": "wit+jwt"})).to_string();
    let wit = json!({"sub": "spiffe://elsewhere.example/a", "exp": EXP, "cnf": {"jwk": signer().jwk()}})
        .to_string();
    let why = Unverified::parse(&signer().token_of(&header, &wit)).unwrap_err();
    assert_eq!(why, Rejected::WitSvid, "before its issuer is looked up");
}

#[tokio::test]
async fn j_07_headers_that_change_the_rules_are_rejected_and_harmless_ones_ignored() {
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("b64", json!(true)),
    ] {
        assert_eq!(
            rejected(with_header(json!({name: value})).await),
            Rejected::ForbiddenHeader { name }
        );
    }
    with_header(json!({"cty": "JWT", "x5t": "AA", "foo": {"bar": 1}}))
        .await
        .unwrap();
    let impostor = Signer::new(Algorithm::ES256, "one");
    for (name, value) in [
        ("jku", json!("https://evil.example/keys")),
        ("jku", json!(7)),
        ("jwk", impostor.jwk()),
        ("x5u", json!("https://evil.example/chain")),
        ("x5c", json!(["AA=="])),
    ] {
        with_header(json!({name: value})).await.unwrap();
        let header = with(impostor.header(), json!({name: value})).to_string();
        let forged = impostor.token_of(&header, claims(json!({})).to_string());
        assert_eq!(
            rejected(verify(&forged).await),
            Rejected::Signature,
            "{name} brings no key"
        );
    }
}

#[test]
fn j_21_a_password_that_is_a_token_is_recognized() {
    let token = signer().token(&claims(json!({})));
    let [header, payload, _] = parts(&token);
    let spaced = signer().token_of("{ \"alg\": \"ES256\" }", "{}");
    for yes in [
        &token,
        &spaced,
        &format!("{header}.{payload}."),
        &signer().token_of("{\n}", "{}"),
    ] {
        assert!(looks_like_jwt(yes), "{yes}");
    }
    for no in [
        "",
        "secret",
        "a.b.c",
        "..",
        "e..",
        "ey..",
        &format!("{header}.{payload}"),
        &format!("{token}.x"),
        "secret.ey.ey",
        "eA.ey.ey",
    ] {
        assert!(!looks_like_jwt(no), "{no}");
    }
}

#[tokio::test]
async fn j_22_and_t_7_2_no_member_is_repeated() {
    let header = signer().header().to_string();
    let payload = claims(json!({})).to_string();
    let more = |object: &str, text: &str| format!("{},{text}}}", &object[..object.len() - 1]);
    let twice = |part, member: &str| Rejected::Json {
        part,
        why: InvalidJson::Duplicate {
            member: member.into(),
        },
    };
    for (header, payload, why) in [
        (
            more(&header, r#""x":1,"x":1"#),
            payload.clone(),
            twice(Part::Header, "x"),
        ),
        (
            more(&header, r#""alg":"ES256""#),
            payload.clone(),
            twice(Part::Header, "alg"),
        ),
        (
            header.clone(),
            more(&payload, r#""sub":"spiffe://prod.example/a""#),
            twice(Part::Claims, "sub"),
        ),
        (
            header.clone(),
            more(&payload, r#""role":1,"role":2"#),
            twice(Part::Claims, "role"),
        ),
        (
            header.clone(),
            more(&payload, r#""o":[{"a":1,"a":2}]"#),
            twice(Part::Claims, "a"),
        ),
    ] {
        assert_eq!(rejected(verify(&signer().token_of(&header, &payload)).await), why);
    }
    let not_an_object = signer().token_of(&header, "[]");
    assert_eq!(
        rejected(verify(&not_an_object).await),
        Rejected::Json {
            part: Part::Claims,
            why: InvalidJson::NotAnObject
        }
    );
}

#[tokio::test]
async fn j_23_and_t_7_1_and_2_size_and_depth_are_limited() {
    let filled = |bytes: usize| signer().token(&claims(json!({"fill": "x".repeat(bytes)})));
    verify(&filled(20 * 1024)).await.unwrap();
    let long = filled(TOKEN_BYTES);
    assert_eq!(
        rejected(verify(&long).await),
        Rejected::TooLong { bytes: long.len() }
    );
    verify(&signer().token(&claims(json!({"aud": vec!["registry.example.com"; 500]}))))
        .await
        .unwrap();
    let deep = (0..JSON_DEPTH).fold(json!(1), |inner, _| json!([inner]));
    let why = Rejected::Json {
        part: Part::Claims,
        why: InvalidJson::TooDeep,
    };
    assert_eq!(
        rejected(verify(&signer().token(&claims(json!({"deep": deep})))).await),
        why
    );
}

#[tokio::test]
async fn j_24_no_other_spelling_and_no_forged_signature() {
    let token = signer().token(&claims(json!({})));
    let [header, payload, signature] = parts(&token);
    // 64 bytes leave four unused bits in the last letter. Only one of the 16 encodings may be accepted.
    let last = signature.chars().last().unwrap();
    let spellings = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['-', '_'])
        .filter(|letter| *letter != last);
    for letter in spellings {
        let other = format!("{header}.{payload}.{}{letter}", &signature[..signature.len() - 1]);
        assert!(matches!(
            rejected(verify(&other).await),
            Rejected::Encoding {
                part: Part::Signature
            } | Rejected::Signature
        ));
    }
    for forged in [
        vec![0; 64],
        vec![],
        vec![0; 63],
        vec![0; 65],
        vec![0xff; 64],
        [&[0; 31][..], &[1], &[0; 31], &[1]].concat(),
    ] {
        let forged = format!("{header}.{payload}.{}", encode(forged));
        assert_eq!(rejected(verify(&forged).await), Rejected::Signature);
    }
    let other = Signer::new(Algorithm::ES256, "one").token(&claims(json!({})));
    assert_eq!(rejected(verify(&other).await), Rejected::Signature);
    let header_swapped = format!(
        "{}.{payload}.{signature}",
        encode(r#"{"alg":"ES256","kid":"one"}"#)
    );
    assert_eq!(rejected(verify(&header_swapped).await), Rejected::Signature);
}

#[tokio::test]
async fn j_25_nothing_prints_the_token() {
    let token = signer().token(&claims(json!({"password": "hunter2"})));
    let unverified = Unverified::parse(&token).unwrap();
    let all = authorities(keys(&[signer().jwk()], UseRule::WorkloadApi));
    let verified = verify_svid(&unverified, &rules(), &all, NOW).await.unwrap();
    let no_keys: Result<_, NoKeys> = Authorities::<KeySet>::new(vec![]).view(NOW);
    let failures = [
        Failure::from(rejected(verify(&token.replace('e', "f")).await)),
        no_keys.unwrap_err().into(),
    ];
    let text = format!(
        "{unverified:?} {verified:?} {failures:?} {} {}",
        failures[0], failures[1]
    );
    assert!(text.contains("spiffe://prod.example/ns/app/sa/ci"));
    for secret in parts(&token).into_iter().chain(["hunter2"]) {
        assert!(!text.contains(secret), "{text}");
    }
}

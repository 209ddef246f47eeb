//! JWT-SVID and ID tokens, one test a rule; the names carry the rule's number in the project's list of verifier rules. Tokens are
//! signed with aws-lc-rs by hand, so that a wrong one can be written down; `jsonwebtoken` reads the good ones as a second opinion.

use super::*;
use crate::clock::Timestamp;
use crate::trust::jwks::{self, KeySet, UseRule};
use crate::trust::{Authorities, Refetch, Slot};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature as sig;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const ISSUER: &str = "https://issuer.example.org";

struct Keys {
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    p521: EcdsaKeyPair,
    rsa: RsaKeyPair,
    ed: Ed25519KeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    p256: EcdsaKeyPair::generate(&sig::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    p384: EcdsaKeyPair::generate(&sig::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
    p521: EcdsaKeyPair::generate(&sig::ECDSA_P521_SHA512_FIXED_SIGNING).unwrap(),
    rsa: RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap(),
    ed: Ed25519KeyPair::generate().unwrap(),
});

fn jwk(kid: &str, used_for: Option<&str>) -> Value {
    let ec = |key: &EcdsaKeyPair, curve: &str| {
        let point = key.public_key().as_ref();
        let half = point.len().div_ceil(2);
        json!({"kty": "EC", "crv": curve, "x": B64.encode(&point[1..half]), "y": B64.encode(&point[half..])})
    };
    let mut key = match kid {
        "p256" => ec(&KEYS.p256, "P-256"),
        "p384" => ec(&KEYS.p384, "P-384"),
        "p521" => ec(&KEYS.p521, "P-521"),
        "ed" => json!({"kty": "OKP", "crv": "Ed25519", "x": B64.encode(KEYS.ed.public_key().as_ref())}),
        _ => json!({"kty": "RSA", "e": "AQAB", "n": B64.encode(KEYS.rsa.public_key().modulus().big_endian_without_leading_zero())}),
    };
    key["kid"] = json!(kid);
    if let Some(used_for) = used_for {
        key["use"] = json!(used_for);
    }
    key
}

fn sign(alg: &str, message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let rsa = |kind: &'static dyn sig::RsaEncoding| {
        let mut signature = vec![0; 256];
        KEYS.rsa.sign(kind, &random, message, &mut signature).unwrap();
        signature
    };
    match alg {
        "ES256" => KEYS.p256.sign(&random, message).unwrap().as_ref().to_vec(),
        "ES384" => KEYS.p384.sign(&random, message).unwrap().as_ref().to_vec(),
        "ES512" => KEYS.p521.sign(&random, message).unwrap().as_ref().to_vec(),
        "RS256" => rsa(&sig::RSA_PKCS1_SHA256),
        "RS384" => rsa(&sig::RSA_PKCS1_SHA384),
        "RS512" => rsa(&sig::RSA_PKCS1_SHA512),
        "PS256" => rsa(&sig::RSA_PSS_SHA256),
        "PS384" => rsa(&sig::RSA_PSS_SHA384),
        "PS512" => rsa(&sig::RSA_PSS_SHA512),
        _ => KEYS.ed.sign(message).as_ref().to_vec(),
    }
}

fn token_of(header: &str, claims: &str, alg: &str) -> String {
    let message = format!("{}.{}", B64.encode(header), B64.encode(claims));
    format!("{message}.{}", B64.encode(sign(alg, message.as_bytes())))
}

fn token(header: &Value, claims: &Value) -> String {
    token_of(&header.to_string(), &claims.to_string(), header["alg"].as_str().unwrap_or("ES256"))
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": "p256", "typ": "JWT"})
}

fn svid() -> Value {
    json!({"sub": "spiffe://td.example/ns/a", "aud": ["registry"], "exp": NOW.as_secs() + 300})
}

fn id_token() -> Value {
    json!({"iss": ISSUER, "sub": "repo:octo/app", "aud": "registry", "exp": NOW.as_secs() + 300, "iat": NOW.as_secs()})
}

fn changed(mut value: Value, changes: Value) -> Value {
    for (name, new) in changes.as_object().unwrap() {
        value[name] = new.clone();
    }
    value
}

fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name);
    value
}

fn authorities(keys: &[Value], rule: UseRule) -> Authorities<KeySet> {
    let parsed = jwks::parse(json!({"keys": keys}).to_string().as_bytes(), rule).unwrap();
    let slot = Slot::new("test");
    slot.publish(parsed.value, NOW, Timestamp::MAX);
    Authorities::new(vec![slot])
}

fn bundle() -> Authorities<KeySet> {
    let keys: Vec<_> = ["p256", "p384", "p521", "rsa"].iter().map(|kid| jwk(kid, Some("jwt-svid"))).collect();
    authorities(&keys, UseRule::SpiffeBundle)
}

fn svid_rules() -> SvidRules {
    let trust_domain = "td.example".parse().unwrap();
    SvidRules { trust_domain, audiences: vec!["registry".into()], clock_skew: Duration::from_secs(30), single_audience: false }
}

fn oidc_rules() -> OidcRules {
    OidcRules {
        issuer: ISSUER.into(),
        skip_issuer: false,
        audiences: vec!["registry".into()],
        algorithms: None,
        clock_skew: Duration::from_secs(30),
        max_lifetime: None,
        single_audience: false,
    }
}

fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(future).expect("nothing to wait for")
}

fn judge(text: &str) -> Result<VerifiedJwt, Rejected> {
    let token = Unverified::parse(text)?;
    now_or_never(verify_svid(&token, &svid_rules(), &bundle(), NOW)).map_err(rejected)
}

fn judge_oidc(text: &str, rules: &[OidcRules]) -> Result<VerifiedJwt, Rejected> {
    let token = Unverified::parse(text)?;
    let keys: Vec<_> = ["p256", "p384", "p521", "rsa", "ed"].iter().map(|kid| jwk(kid, None)).collect();
    let rules: Vec<_> = rules.iter().collect();
    now_or_never(verify_oidc(&token, &rules, &authorities(&keys, UseRule::Oidc), NOW)).map_err(rejected)
}

fn rejected(failure: Failure) -> Rejected {
    match failure {
        Failure::Rejected(why) => why,
        Failure::Undecidable(why) => panic!("undecidable: {why}"),
    }
}

#[test]
fn j_1_compact_serialization_only() {
    let good = token(&header(), &svid());
    assert_eq!(judge(&good).unwrap().spiffe_id().unwrap().as_str(), "spiffe://td.example/ns/a");
    let (two, _) = good.rsplit_once('.').unwrap();
    for bad in
        [two.to_owned(), format!("{good}.x"), format!("{good}="), format!(" {good}"), format!("{good}\n"), String::new(), "..".into()]
    {
        assert!(matches!(judge(&bad), Err(Rejected::NotCompact | Rejected::Json { .. })), "{bad}");
    }
    assert!(judge(&json!({"payload": "", "signatures": []}).to_string()).is_err());
}

#[test]
fn j_2_only_the_nine_algorithms() {
    for alg in [json!("none"), json!("HS256"), json!("es256"), json!(null), json!(5)] {
        assert!(matches!(judge(&token(&changed(header(), json!({"alg": alg})), &svid())), Err(Rejected::Algorithm { .. })), "{alg}");
    }
    assert!(matches!(judge(&token(&without(header(), "alg"), &svid())), Err(Rejected::Algorithm { .. })));
    assert!(matches!(judge(&token(&json!({"alg": "EdDSA", "kid": "ed"}), &svid())), Err(Rejected::Algorithm { .. })));
    let unsigned = format!("{}.{}.", B64.encode(r#"{"alg":"none"}"#), B64.encode(svid().to_string()));
    assert!(matches!(judge(&unsigned), Err(Rejected::Algorithm { .. })));
}

#[test]
fn j_3_each_of_the_nine_verifies() {
    for (alg, kid) in [("ES256", "p256"), ("ES384", "p384"), ("ES512", "p521")] {
        assert!(judge(&token(&json!({"alg": alg, "kid": kid}), &svid())).is_ok(), "{alg}");
    }
    for alg in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        assert!(judge(&token(&json!({"alg": alg, "kid": "rsa"}), &svid())).is_ok(), "{alg}");
    }
}

#[test]
fn j_4_alg_must_fit_the_key() {
    for (alg, kid) in [("ES256", "rsa"), ("RS256", "p256"), ("ES384", "p256")] {
        let rejected = judge(&token(&json!({"alg": alg, "kid": kid}), &svid())).unwrap_err();
        assert!(matches!(rejected, Rejected::KeyDoesNotFit { .. }), "{alg} {kid}");
    }
}

#[test]
fn j_5_kid_is_required_and_exact() {
    assert_eq!(judge(&token(&without(header(), "kid"), &svid())).unwrap_err(), Rejected::NoKeyId);
    for malformed in [json!(""), json!(7), json!(null)] {
        assert_eq!(judge(&token(&changed(header(), json!({"kid": malformed})), &svid())).unwrap_err(), Rejected::MalformedKeyId);
    }
    for unknown in ["P256", "other"] {
        let rejected = judge(&token(&changed(header(), json!({"kid": unknown})), &svid())).unwrap_err();
        assert!(matches!(rejected, Rejected::UnknownKey { .. }), "{unknown}");
    }
}

#[test]
fn j_6_typ_is_absent_or_jwt_or_jose() {
    assert!(judge(&token(&without(header(), "typ"), &svid())).is_ok());
    assert!(judge(&token(&changed(header(), json!({"typ": "JOSE"})), &svid())).is_ok());
    for bad in [json!("jwt"), json!("at+jwt"), json!("wit+jwt"), json!(""), json!(1), json!(null)] {
        assert!(matches!(judge(&token(&changed(header(), json!({"typ": bad})), &svid())), Err(Rejected::Type { .. })), "{bad}");
    }
    let upper = changed(header(), json!({"typ": "jWt"}));
    assert!(judge_oidc(&token(&upper, &id_token()), &[oidc_rules()]).is_ok(), "an ID token's typ may be in any case");
    let access = changed(header(), json!({"typ": "at+jwt"}));
    assert!(matches!(judge_oidc(&token(&access, &id_token()), &[oidc_rules()]), Err(Rejected::Type { .. })));
}

#[test]
fn j_7_headers_that_change_the_meaning_are_refused_and_others_ignored() {
    for name in ["crit", "jku", "jwk", "x5u", "x5c", "b64"] {
        assert_eq!(judge(&token(&changed(header(), json!({name: ["x"]})), &svid())).unwrap_err(), Rejected::Header(name));
    }
    assert!(judge(&token(&changed(header(), json!({"cty": "x", "foo": 1})), &svid())).is_ok());
}

#[test]
fn j_8_j_9_j_17_sub_is_a_workload_of_this_trust_domain() {
    for bad in [
        "",
        "system:serviceaccount:a:b",
        "spiffe://td.example/a/",
        "spiffe://td.example/%61",
        " spiffe://td.example/a",
        "spiffe://td.example",
        "spiffe://other.example/a",
        "spiffe://TD.example/a",
    ] {
        assert!(matches!(judge(&token(&header(), &changed(svid(), json!({"sub": bad})))), Err(Rejected::Subject { .. })), "{bad}");
    }
    assert_eq!(judge(&token(&header(), &without(svid(), "sub"))).unwrap_err(), Rejected::MissingClaim("sub"));
    assert_eq!(judge(&token(&header(), &changed(svid(), json!({"sub": ["x"]})))).unwrap_err(), Rejected::ClaimType("sub"));
}

#[test]
fn j_10_audience() {
    for good in [json!("registry"), json!(["registry"]), json!(["other", "registry"])] {
        let verified = judge(&token(&header(), &changed(svid(), json!({"aud": good})))).unwrap();
        assert!(verified.claims()["aud"].is_array());
    }
    for bad in [json!([]), json!(""), json!("Registry"), json!("regist"), json!(["other"])] {
        assert!(matches!(judge(&token(&header(), &changed(svid(), json!({"aud": bad})))), Err(Rejected::Audience { .. })), "{bad}");
    }
    for bad in [json!(5), json!(["registry", 1]), json!({"a": "registry"})] {
        assert_eq!(judge(&token(&header(), &changed(svid(), json!({"aud": bad})))).unwrap_err(), Rejected::ClaimType("aud"));
    }
    for missing in [without(svid(), "aud"), changed(svid(), json!({"aud": null}))] {
        assert_eq!(judge(&token(&header(), &missing)).unwrap_err(), Rejected::MissingClaim("aud"));
    }
}

#[test]
fn j_11_without_an_expected_audience_nothing_is_accepted() {
    let token = Unverified::parse(&token(&header(), &changed(svid(), json!({"aud": ""})))).unwrap();
    let nobody = SvidRules { audiences: vec![], ..svid_rules() };
    assert!(matches!(rejected(now_or_never(verify_svid(&token, &nobody, &bundle(), NOW)).unwrap_err()), Rejected::Audience { .. }));
}

#[test]
fn j_12_several_audiences_by_setting() {
    let token = Unverified::parse(&token(&header(), &changed(svid(), json!({"aud": ["registry", "other"]})))).unwrap();
    let single = SvidRules { single_audience: true, ..svid_rules() };
    assert_eq!(rejected(now_or_never(verify_svid(&token, &single, &bundle(), NOW)).unwrap_err()), Rejected::SeveralAudiences { found: 2 });
    assert!(now_or_never(verify_svid(&token, &svid_rules(), &bundle(), NOW)).is_ok());
}

#[test]
fn j_13_j_14_exp_is_a_number_ahead_within_the_skew() {
    let now = NOW.as_secs();
    for good in [json!(now + 1), json!(now - 29), json!(1_800_000_000.5), json!(1.8000001e9)] {
        assert!(judge(&token(&header(), &changed(svid(), json!({"exp": good})))).is_ok(), "{good}");
    }
    assert!(matches!(judge(&token(&header(), &changed(svid(), json!({"exp": now - 30})))), Err(Rejected::Expired { .. })));
    assert_eq!(judge(&token(&header(), &without(svid(), "exp"))).unwrap_err(), Rejected::MissingClaim("exp"));
    for bad in [json!("1900000000"), json!(null), json!(1e300)] {
        assert_eq!(judge(&token(&header(), &changed(svid(), json!({"exp": bad})))).unwrap_err(), Rejected::ClaimType("exp"));
    }
}

#[test]
fn j_15_j_16_nbf_and_iat_may_be_absent_and_not_ahead() {
    for claim in ["nbf", "iat"] {
        assert!(judge(&token(&header(), &changed(svid(), json!({claim: NOW.as_secs() + 30})))).is_ok());
        let rejected = judge(&token(&header(), &changed(svid(), json!({claim: NOW.as_secs() + 31})))).unwrap_err();
        assert!(matches!(rejected, Rejected::NotYetValid { claim: found, .. } if found == claim));
        assert_eq!(judge(&token(&header(), &changed(svid(), json!({claim: "x"})))).unwrap_err(), Rejected::ClaimType(claim));
    }
}

#[test]
fn j_20_iss_of_an_svid_is_ignored_unless_the_key_demands_it() {
    let with_issuer = changed(svid(), json!({"iss": "https://whoever"}));
    assert!(judge(&token(&header(), &with_issuer)).is_ok());
    let keys = jwks::parse(json!({"keys": [jwk("p256", None)]}).to_string().as_bytes(), UseRule::Oidc).unwrap().value;
    let slot = Slot::new("discovery");
    slot.publish(keys.demanding_issuer(ISSUER), NOW, Timestamp::MAX);
    let demanding = Authorities::new(vec![slot]);
    let verdict =
        |claims: &Value| now_or_never(verify_svid(&Unverified::parse(&token(&header(), claims)).unwrap(), &svid_rules(), &demanding, NOW));
    assert!(verdict(&changed(svid(), json!({"iss": ISSUER}))).is_ok());
    assert!(matches!(rejected(verdict(&with_issuer).unwrap_err()), Rejected::Issuer { .. }));
    assert!(matches!(rejected(verdict(&svid()).unwrap_err()), Rejected::Issuer { .. }));
}

#[test]
fn j_22_duplicate_members_are_refused() {
    let claims = r#"{"sub":"spiffe://td.example/a","aud":"registry","exp":1900000000,"x":1,"x":2}"#;
    assert!(matches!(judge(&token_of(&header().to_string(), claims, "ES256")), Err(Rejected::Json { part: "claims", .. })));
    let twice = r#"{"alg":"ES256","kid":"p256","foo":1,"foo":1}"#;
    assert!(matches!(judge(&token_of(twice, &svid().to_string(), "ES256")), Err(Rejected::Json { part: "header", .. })));
}

#[test]
fn j_23_size() {
    let long = token(&header(), &changed(svid(), json!({"x": "y".repeat(32 * 1024)})));
    assert!(matches!(judge(&long), Err(Rejected::TooLong { .. })));
}

#[test]
fn j_24_a_changed_token_does_not_pass() {
    let good = token(&header(), &svid());
    let (message, signature) = good.rsplit_once('.').unwrap();
    assert_eq!(judge(&format!("{message}.{}", B64.encode([0; 64]))).unwrap_err(), Rejected::Signature);
    let other = token(&header(), &changed(svid(), json!({"sub": "spiffe://td.example/admin"})));
    let (other_message, _) = other.rsplit_once('.').unwrap();
    assert_eq!(judge(&format!("{other_message}.{signature}")).unwrap_err(), Rejected::Signature);
    // 64 bytes leave 4 tail bits in the last character; setting one of them must not be overlooked.
    let last = signature.chars().last().unwrap();
    let tail = char::from(last as u8 + 1);
    let changed_tail = format!("{message}.{}{tail}", &signature[..signature.len() - 1]);
    assert!(judge(&changed_tail).is_err());
}

#[test]
fn j_25_nothing_prints_the_token() {
    let text = token(&header(), &svid());
    let (_, signature) = text.rsplit_once('.').unwrap();
    let unverified = Unverified::parse(&text).unwrap();
    assert!(!format!("{unverified:?}").contains(signature));
    assert!(!judge(&text.replace(signature, &B64.encode([0; 64]))).unwrap_err().to_string().contains("eyJ"));
}

#[test]
fn an_id_token_needs_iss_sub_aud_and_exp() {
    let rules = [oidc_rules()];
    let verified = judge_oidc(&token(&header(), &id_token()), &rules).unwrap();
    assert_eq!((verified.issuer(), verified.subject(), verified.accepted_by()), (Some(ISSUER), "repo:octo/app", &[0][..]));
    for claim in ["iss", "sub", "aud", "exp"] {
        assert_eq!(judge_oidc(&token(&header(), &without(id_token(), claim)), &rules).unwrap_err(), Rejected::MissingClaim(claim));
    }
    assert_eq!(judge_oidc(&token(&header(), &changed(id_token(), json!({"sub": ""}))), &rules).unwrap_err(), Rejected::MissingClaim("sub"));
    assert_eq!(
        judge_oidc(&token(&header(), &changed(id_token(), json!({"iss": [ISSUER]}))), &rules).unwrap_err(),
        Rejected::ClaimType("iss")
    );
    let other = changed(id_token(), json!({"iss": "https://issuer.example.org/"}));
    assert!(matches!(judge_oidc(&token(&header(), &other), &rules), Err(Rejected::Issuer { .. })));
    assert!(judge_oidc(&token(&header(), &other), &[OidcRules { skip_issuer: true, ..oidc_rules() }]).is_ok());
    assert!(judge_oidc(&token(&header(), &without(id_token(), "iat")), &rules).is_ok());
}

#[test]
fn an_id_token_may_be_signed_by_eddsa_and_without_kid_but_only_as_the_entry_allows() {
    assert!(judge_oidc(&token(&json!({"alg": "EdDSA", "kid": "ed"}), &id_token()), &[oidc_rules()]).is_ok());
    assert!(judge_oidc(&token(&json!({"alg": "ES384"}), &id_token()), &[oidc_rules()]).is_ok());
    let only_rsa = OidcRules { algorithms: Some(vec![Algorithm::RS256]), ..oidc_rules() };
    assert!(matches!(judge_oidc(&token(&header(), &id_token()), &[only_rsa]), Err(Rejected::Algorithm { .. })));
}

#[test]
fn entries_of_one_issuer_accept_each_for_itself() {
    let other_audience = OidcRules { audiences: vec!["other".into()], ..oidc_rules() };
    let short = OidcRules { max_lifetime: Some(Duration::from_secs(60)), ..oidc_rules() };
    let rules = [other_audience.clone(), short.clone(), oidc_rules(), oidc_rules()];
    assert_eq!(judge_oidc(&token(&header(), &id_token()), &rules).unwrap().accepted_by(), [2, 3]);
    let rejected = judge_oidc(&token(&header(), &id_token()), &[short, other_audience]).unwrap_err();
    assert_eq!(rejected, Rejected::LivesTooLong { found: 300, most: 60 });
}

#[test]
fn reserved_claims_of_a_token_are_dropped() {
    let claims = changed(id_token(), json!({"spiffe": {"id": "spiffe://td/admin"}, "x509": {}}));
    let verified = judge_oidc(&token(&header(), &claims), &[oidc_rules()]).unwrap();
    assert!(!verified.claims().contains_key("spiffe") && !verified.claims().contains_key("x509"));
    let claims = changed(svid(), json!({"spiffe": {"id": "spiffe://td/admin"}}));
    let verified = judge(&token(&header(), &claims)).unwrap();
    assert_eq!(verified.claims()["spiffe"]["segments"], json!(["ns", "a"]));
}

/// Publishes a key when it is asked to, and counts.
struct Late {
    slot: Arc<Slot<KeySet>>,
    asked: AtomicUsize,
}

impl Refetch for Late {
    fn refetch(&self) -> BoxFuture<'_, ()> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let keys = jwks::parse(json!({"keys": [jwk("p256", None)]}).to_string().as_bytes(), UseRule::Oidc).unwrap().value;
        self.slot.publish(keys, NOW, Timestamp::MAX);
        Box::pin(std::future::ready(()))
    }
}

#[test]
fn an_unknown_key_is_asked_for_once_and_a_bad_signature_never() {
    let slot = Slot::new("late");
    let late = Arc::new(Late { slot: slot.clone(), asked: AtomicUsize::new(0) });
    let keys = Authorities::with_refetch(vec![slot], late.clone());
    let verdict = |text: &str| now_or_never(verify_oidc(&Unverified::parse(text).unwrap(), &[&oidc_rules()], &keys, NOW)).map(drop);
    let good = token(&header(), &id_token());
    assert_eq!(verdict(&good), Ok(()), "fetched at first use");
    assert_eq!((verdict(&good), late.asked.load(Ordering::SeqCst)), (Ok(()), 1));
    let (message, _) = good.rsplit_once('.').unwrap();
    assert_eq!(verdict(&format!("{message}.{}", B64.encode([1; 64]))), Err(Rejected::Signature.into()));
    assert_eq!(late.asked.load(Ordering::SeqCst), 1);
    let unknown = token(&changed(header(), json!({"kid": "other"})), &id_token());
    assert!(matches!(verdict(&unknown), Err(Failure::Rejected(Rejected::UnknownKey { .. }))));
    assert_eq!(late.asked.load(Ordering::SeqCst), 2);
}

#[test]
fn without_keys_it_is_undecidable_and_with_none_it_is_refused() {
    let good = Unverified::parse(&token(&header(), &svid())).unwrap();
    let silent = Authorities::new(vec![Slot::new("silent")]);
    assert!(matches!(now_or_never(verify_svid(&good, &svid_rules(), &silent, NOW)), Err(Failure::Undecidable(_))));
    let emptied = authorities(&[], UseRule::SpiffeBundle);
    assert!(matches!(now_or_never(verify_svid(&good, &svid_rules(), &emptied, NOW)), Err(Failure::Rejected(Rejected::UnknownKey { .. }))));
}

#[test]
fn a_second_opinion_reads_the_same_claims() {
    let text = token(&header(), &id_token());
    let key = serde_json::from_value(jwk("p256", None)).unwrap();
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    rules.set_audience(&["registry"]);
    rules.validate_exp = false;
    let theirs = jsonwebtoken::decode::<Value>(&text, &jsonwebtoken::DecodingKey::from_jwk(&key).unwrap(), &rules).unwrap().claims;
    let ours = judge_oidc(&text, &[oidc_rules()]).unwrap();
    assert_eq!(ours.claims()["sub"], theirs["sub"]);
}

#[test]
fn what_a_real_spire_issued_verifies_in_its_own_domain_and_in_no_other() {
    let domains = ["cluster-a.example", "cluster-b.example", "cluster-c.example"];
    let read = |domain: &str, file: &str| std::fs::read_to_string(format!("testdata/spire/{domain}/{file}")).unwrap();
    let now = Timestamp::from_secs(1_795_500_000);
    for own in domains {
        for file in ["jwt-svid.txt", "jwt-svid-two-audiences.txt"] {
            let token = Unverified::parse(read(own, file).trim()).unwrap();
            for (other, bundle_of) in domains.iter().flat_map(|a| domains.iter().map(move |b| (*a, *b))) {
                let parsed = jwks::parse(read(bundle_of, "bundle.json").as_bytes(), UseRule::SpiffeBundle).unwrap();
                assert_eq!((parsed.value.is_empty(), parsed.skipped), (false, vec![]));
                let slot = Slot::new(bundle_of);
                slot.publish(parsed.value, now, Timestamp::MAX);
                let audiences = vec!["registry.example.com".to_owned()];
                let rules =
                    SvidRules { trust_domain: other.parse().unwrap(), audiences, clock_skew: Duration::ZERO, single_audience: false };
                let verdict = now_or_never(verify_svid(&token, &rules, &Authorities::new(vec![slot.clone()]), now));
                assert_eq!(verdict.is_ok(), other == own && bundle_of == own, "{own} judged as {other} by {bundle_of}");
                let after = Timestamp::from_secs(2_000_000_000);
                assert!(now_or_never(verify_svid(&token, &rules, &Authorities::new(vec![slot]), after)).is_err());
            }
        }
    }
}

//! Tests of the messages about unusable keys and the server's certificate.

use super::*;

#[tokio::test]
async fn an_unusable_key_says_why_even_if_it_is_the_only_one() {
    let issuer = TestIssuer::start().await;
    let base: serde_json::Value = serde_json::from_slice(&jwk_set(&["k"])).unwrap();
    let small = serde_json::json!({"kty": "RSA", "kid": "k", "e": "AQAB", "n": crate::trust::jwt::testing::encode([0xff; 128])});
    let padded = serde_json::json!({"kty": "RSA", "kid": "k", "e": "AQAB", "n": "AAAA=="});
    let with = |member: &str, value: serde_json::Value| {
        let mut key = base["keys"][0].clone();
        key[member] = value;
        key
    };
    for (key, why) in [
        (padded, "`n` is not base64url without padding"),
        (small, "expected an RSA modulus of 2048 to 8192 bits, found 1024"),
        (
            with("kid", 7.into()),
            "expected a non-empty string as `kid`, found a number",
        ),
        (with("alg", ().into()), "expected a string as `alg`, found null"),
        (with("d", ().into()), "found `d: null`"),
        (
            with("use", "enc".into()),
            r#"expected `use` to be absent or `sig`, found "enc""#,
        ),
    ] {
        issuer.answer(
            KEYS,
            200,
            serde_json::json!({"keys": [key]}).to_string().into_bytes(),
        );
        let client = Client::of(settings(&issuer.base));
        let message = client.fetched().await.unwrap_err();
        assert!(
            message.contains("none of its 1 keys can be used (keys[0]") && message.contains(why),
            "{why}: {message}"
        );
        assert!(
            client.keys.status()[0].last_error.as_ref().unwrap().contains(why),
            "and `trust` says it"
        );
    }
}

/// `openssl req -x509` makes a certificate that is marked as an authority's.
#[tokio::test]
async fn a_self_signed_certificate_that_is_configured_as_its_own_authority_is_accepted() {
    let certify = |name: &str| {
        Ca::root_with("issuer", |params| {
            params.key_usages.clear();
            params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        })
    };
    let itself = certify("site.test");
    let issuer = TestIssuer::start_tls(&Ca::root("any")).await;
    issuer.present(&itself.itself());
    let over = |pem: &str| OidcSettings {
        ca: Some(CaSource::Inline(pem.into())),
        resolve: vec![("site.test".into(), issuer.address)],
        ..settings(&issuer.base)
    };
    assert_eq!(Client::of(over(&itself.pem)).fetched().await, Ok("k1".to_owned()));
    let why = Client::of(over(&Ca::root("other").pem))
        .fetched()
        .await
        .unwrap_err();
    assert!(
        why.contains(
            "CN=issuer of site.test is self-signed, is marked as an authority's (cA true), and is not among"
        ),
        "{why}"
    );
    let elsewhere = certify("elsewhere.test");
    issuer.present(&elsewhere.itself());
    let why = Client::of(over(&elsewhere.pem)).fetched().await.unwrap_err();
    assert!(
        why.contains(
            "CN=issuer of site.test is for elsewhere.test; use one of these names, or issue it for site.test"
        ),
        "{why}"
    );
}

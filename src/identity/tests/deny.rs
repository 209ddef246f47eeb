//! Tests of the deny list with every kind of credential. What each kind of rule matches is tested beside the
//! rules.

use super::*;
use crate::secret::Secret;
use crate::trust::jwt::testing;
use aws_lc_rs::digest::{SHA256, digest};

fn denying(rule: DenyRule) -> DenyList {
    [("http.auth.deny[0]".to_owned(), rule)].into_iter().collect()
}

fn subject(issuer: &str, subject: &str) -> DenyRule {
    DenyRule::Issuer {
        issuer: issuer.into(),
        name: None,
        subject: Some(subject.into()),
        id: None,
        issued_before: None,
    }
}

fn is_revoked(why: &Refused) -> bool {
    matches!(why, Refused::Revoked { rule } if rule.starts_with("http.auth.deny[0] ("))
}

#[tokio::test]
async fn a_rule_applies_before_the_mapping_whatever_it_yields() {
    for mapping in [
        naming("'somebody else'"),
        naming("claims.missing"),
        validating("false", "never"),
    ] {
        let entry = Issuer {
            mapping,
            ..issuer("https://a.example", &oidc_keys(&A))
        };
        let authenticator = Authenticator::new(vec![entry], vec![], vec![])
            .with_deny(denying(subject("https://a.example", "alice")))
            .with_token_cache();
        for _ in 0..2 {
            let why = refuse(&authenticator, &id_token(&A, "https://a.example", "alice")).await;
            assert!(is_revoked(&why), "{why}");
        }
    }
}

#[tokio::test]
async fn a_rule_is_compared_only_with_verified_facts() {
    let authenticator = Authenticator::new(vec![issuer("https://a.example", &oidc_keys(&A))], vec![], vec![])
        .with_deny(denying(subject("https://a.example", "alice")));
    let forged = id_token(&ANY, "https://a.example", "alice");
    let why = refuse(&authenticator, &forged).await;
    assert!(
        !is_revoked(&why),
        "a forged token does not reveal whether its subject is revoked: {why}"
    );
    identify(&authenticator, &id_token(&A, "https://a.example", "bob")).await;
}

#[tokio::test]
async fn the_key_that_signed_is_revoked_by_its_thumbprint() {
    let key = A.jwk();
    let members = json!({"crv": key["crv"], "kty": key["kty"], "x": key["x"], "y": key["y"]}).to_string();
    let thumbprint = testing::encode(digest(&SHA256, members.as_bytes()).as_ref());
    let keys = held(
        jwks::parse(&key_set(&[A.jwk(), ANY.jwk()]), UseRule::Oidc)
            .unwrap()
            .value,
    );
    let authenticator = Authenticator::new(vec![issuer("https://a.example", &keys)], vec![], vec![])
        .with_deny(denying(DenyRule::Key(thumbprint.parse().unwrap())));
    assert!(is_revoked(
        &refuse(&authenticator, &id_token(&A, "https://a.example", "alice")).await
    ));
    identify(&authenticator, &id_token(&ANY, "https://a.example", "alice")).await;
}

#[tokio::test]
async fn a_token_servers_subject_is_revoked_too() {
    let authenticator = Authenticator::new(vec![], vec![], vec![])
        .with_token_server(token_server(&A))
        .with_deny(denying(subject("auth", "ann")));
    let token = |subject: &str| {
        A.token(&json!({"iss": "auth", "sub": subject, "aud": "zot", "exp": EXPIRES, "access": []}))
    };
    assert!(is_revoked(&refuse(&authenticator, &token("ann")).await));
    identify(&authenticator, &token("bob")).await;
}

#[tokio::test]
async fn a_revoked_name_is_revealed_only_with_its_password() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("ann:{}\n", bcrypt::hash("one", 4).unwrap())).unwrap();
    let passwords = Arc::new(Htpasswd::open(file.path()).unwrap());
    let authenticator = |deny| {
        Authenticator::new(vec![], vec![], vec![])
            .with_passwords(passwords.clone(), Duration::ZERO)
            .with_deny(deny)
    };
    let ask = async |deny: DenyList, password: &str| {
        let asking = authenticator(deny);
        asking
            .authenticate_password("ann", &Secret::new(password), None, NOW)
            .await
    };
    let ann = || denying(DenyRule::Htpasswd { user: "ann".into() });
    assert!(ask(DenyList::default(), "one").await.is_ok());
    assert!(
        is_revoked(&reason(ask(ann(), "one").await)),
        "although the password is known"
    );
    assert_eq!(reason(ask(ann(), "two").await), Refused::Password);
    assert!(
        ask(denying(DenyRule::Htpasswd { user: "bob".into() }), "one")
            .await
            .is_ok()
    );
}

//! Tests that no credential gets a username that begins like those of another configured issuer.

use super::certificates::{OTHER_CA, authorities, client};
use super::*;

const A_CI: &str = "https://a.example/ci";

fn other() -> Refused {
    Refused::UsernameIsAnIssuers {
        issuer: "https://a.example".into(),
    }
}

/// Returns a mapping that may yield such usernames.
fn allowed(username: &str) -> Mapping {
    mapping(&MappingSettings {
        username: Some(username.into()),
        may_name_others: true,
        ..MappingSettings::default()
    })
}

/// Returns the issuer that owns the names, and another one with this mapping.
fn beside(mapping: Mapping) -> Vec<Issuer> {
    let b = Issuer {
        mapping,
        ..issuer("https://b.example", &oidc_keys(&ANY))
    };
    vec![issuer("https://a.example", &oidc_keys(&A)), b]
}

#[tokio::test]
async fn a_mapping_must_not_yield_another_issuers_usernames() {
    let claims = |name: &str| json!({"iss": "https://b.example", "sub": "s", "aud": "zot", "exp": EXPIRES, "preferred_username": name});
    let mapped = Authenticator::new(beside(naming("claims.preferred_username")), vec![], vec![]);
    for (name, expected) in [
        (A_CI, Err(other())),
        ("https://a.example/", Err(other())),
        ("https://a.example//ci", Err(other())),
        ("https://a.example", Ok(())),
        ("https://a.example.org/ci", Ok(())),
        ("https://b.example/ci", Ok(())),
        ("ci", Ok(())),
    ] {
        let outcome = ask(&mapped, &[&bearer(&ANY.token(&claims(name)))]).await;
        match expected {
            Ok(()) => assert_eq!(outcome.unwrap().username(), name),
            Err(why) => assert_eq!(reason(outcome), why, "{name}"),
        }
    }
    let allowed = Authenticator::new(beside(allowed("claims.preferred_username")), vec![], vec![]);
    assert_eq!(
        identify(&allowed, &ANY.token(&claims(A_CI))).await.username(),
        A_CI
    );
    assert_eq!(
        identify(&mapped, &id_token(&A, "https://a.example", "ci"))
            .await
            .username(),
        A_CI,
        "its own subject is not concerned"
    );
}

#[tokio::test]
async fn an_issuer_below_anothers_path_has_its_own_usernames() {
    let team = Issuer {
        mapping: naming("claims.iss + '/' + claims.sub"),
        ..issuer("https://a.example/team", &oidc_keys(&ANY))
    };
    let authenticator = Authenticator::new(
        vec![issuer("https://a.example", &oidc_keys(&A)), team],
        vec![],
        vec![],
    );
    let of_team = identify(&authenticator, &id_token(&ANY, "https://a.example/team", "x")).await;
    assert_eq!(of_team.username(), "https://a.example/team/x");
    let team = Refused::UsernameIsAnIssuers {
        issuer: "https://a.example/team".into(),
    };
    assert_eq!(
        refuse(&authenticator, &id_token(&A, "https://a.example", "team/x")).await,
        team
    );
    assert_eq!(
        identify(&authenticator, &id_token(&A, "https://a.example", "x"))
            .await
            .username(),
        "https://a.example/x"
    );
}

#[tokio::test]
async fn svids_do_not_get_an_issuers_usernames() {
    let of = |mapping| {
        let domain = Domain {
            mapping,
            ..domain_with_keys("prod.example", &PROD)
        };
        Authenticator::new(beside(Mapping::default()), vec![domain], vec![])
    };
    let token = jwt_svid(&PROD, "spiffe://prod.example/ci");
    let expression = "'https://a.example' + claims.spiffe.path";
    assert_eq!(refuse(&of(naming(expression)), &token).await, other());
    assert_eq!(identify(&of(allowed(expression)), &token).await.username(), A_CI);
}

#[tokio::test]
async fn certificates_do_not_get_an_issuers_usernames() {
    let peer = client(&OTHER_CA, &[], Some(A_CI));
    for (mapping, expected) in [
        (Mapping::default(), Err(other())),
        (
            Mapping::by_attributes(Attributes::common_name(), false),
            Err(other()),
        ),
        (validating("true", ""), Err(other())),
        (naming("claims.x509.subject.cn"), Err(other())),
        (allowed("claims.x509.subject.cn"), Ok(A_CI)),
        (Mapping::by_attributes(Attributes::common_name(), true), Ok(A_CI)),
    ] {
        let entry = CertificateEntry {
            name: "lab".into(),
            authorities: held(authorities(&OTHER_CA)),
            mapping,
        };
        let authenticator = Authenticator::new(beside(Mapping::default()), vec![], vec![entry]);
        let outcome = authenticator
            .authenticate(
                &Presented {
                    authorization: vec![],
                    peer: Some(&peer),
                    ambient: true,
                    address: None,
                },
                NOW,
            )
            .await;
        match expected {
            Ok(name) => assert_eq!(outcome.unwrap().username(), name),
            Err(why) => assert_eq!(reason(outcome), why),
        }
    }
}

#[tokio::test]
async fn names_of_the_password_file_and_of_a_token_server_do_not_get_an_issuers_usernames() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let authenticator =
        Authenticator::new(beside(Mapping::default()), vec![], vec![]).with_token_server(token_server(&PROD));
    let token = |subject: &str| {
        PROD.token(&json!({"iss": "auth", "sub": subject, "aud": "zot", "exp": EXPIRES, "access": []}))
    };
    assert_eq!(refuse(&authenticator, &token(A_CI)).await, other());
    assert_eq!(identify(&authenticator, &token("ci")).await.username(), "ci");

    // A name in the file ends at the first colon, so only an issuer without a colon is affected.
    std::fs::write(
        &path,
        format!("a/ci:{0}\nci:{0}\n", bcrypt::hash("x", 4).unwrap()),
    )
    .unwrap();
    let issuers = vec![issuer("a", &oidc_keys(&A))];
    let authenticator = Authenticator::new(issuers, vec![], vec![])
        .with_passwords(Arc::new(Htpasswd::open(&path).unwrap()), Duration::ZERO);
    assert_eq!(
        reason(ask(&authenticator, &[&basic("a/ci:x")]).await),
        Refused::UsernameIsAnIssuers { issuer: "a".into() }
    );
    assert_eq!(
        ask(&authenticator, &[&basic("ci:x")]).await.unwrap().username(),
        "ci"
    );
}

#[tokio::test]
async fn a_named_entry_owns_its_usernames() {
    const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
    let named = |name: &str, signer| Issuer {
        name: Some(name.into()),
        ..issuer(CLUSTER, &oidc_keys(signer))
    };
    let b = Issuer {
        mapping: naming("claims.name"),
        ..issuer("https://b.example", &oidc_keys(&ANY))
    };
    let authenticator = Authenticator::new(vec![named("edge", &A), b], vec![], vec![]);
    let identity = identify(
        &authenticator,
        &id_token(&A, CLUSTER, "system:serviceaccount:a:b"),
    )
    .await;
    assert_eq!(
        identity.username(),
        format!("{CLUSTER}/edge/system:serviceaccount:a:b")
    );
    for (name, issuer) in [
        ("edge/x", format!("{CLUSTER}/edge")),
        ("edges/x", CLUSTER.to_owned()),
    ] {
        let claims = json!({"iss": "https://b.example", "sub": "s", "aud": "zot", "exp": EXPIRES, "name": format!("{CLUSTER}/{name}")});
        assert_eq!(
            refuse(&authenticator, &ANY.token(&claims)).await,
            Refused::UsernameIsAnIssuers { issuer }
        );
    }
}

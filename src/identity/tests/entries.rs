//! Tests of entries that share an issuer: the signature is checked once, and the first entry that accepts the
//! token maps it.

use super::*;

#[tokio::test]
async fn the_first_entry_of_an_issuer_whose_audience_fits_maps_the_token() {
    let keys = oidc_keys(&A);
    let mut first = issuer("https://a.example", &keys);
    first.rules.audiences = vec!["elsewhere".into()];
    first.mapping = naming("'first'");
    let second = Issuer {
        mapping: naming("'second'"),
        ..issuer("https://a.example", &keys)
    };
    let third = Issuer {
        mapping: naming("'third'"),
        ..issuer("https://a.example", &keys)
    };
    let authenticator = Authenticator::new(vec![first, second, third], vec![], vec![]);
    assert_eq!(
        identify(&authenticator, &id_token(&A, "https://a.example", "alice"))
            .await
            .username(),
        "second"
    );
}

#[tokio::test]
async fn id_12_a_claim_is_mapped_only_by_its_own_trust_domain() {
    let other = Signer::new(Algorithm::ES256, "other");
    let groups = MappingSettings {
        groups: Some("[string(claims.role)]".into()),
        ..MappingSettings::default()
    };
    let mapped = Domain {
        mapping: mapping(&groups),
        ..domain_with_keys("prod.example", &PROD)
    };
    let authenticator = Authenticator::new(
        vec![],
        vec![mapped, domain_with_keys("other.example", &other)],
        vec![],
    );
    let token = |signer: &Signer, sub: &str| {
        signer.token(&json!({"sub": sub, "aud": "zot", "exp": EXPIRES, "role": "admin"}))
    };
    assert_eq!(
        identify(&authenticator, &token(&PROD, "spiffe://prod.example/ci"))
            .await
            .groups(),
        ["admin"]
    );
    assert_eq!(
        identify(&authenticator, &token(&other, "spiffe://other.example/ci"))
            .await
            .groups(),
        [] as [&str; 0]
    );
}

#[tokio::test]
async fn only_a_failed_validation_continues_with_the_issuers_next_entry() {
    let keys = oidc_keys(&A);
    let entries = |first: Mapping| {
        let first = Issuer {
            mapping: first,
            ..issuer("https://a.example", &keys)
        };
        let second = Issuer {
            mapping: validating("claims.sub == 'alice'", "only alice"),
            ..issuer("https://a.example", &keys)
        };
        Authenticator::new(vec![first, second], vec![], vec![])
    };
    let alice = id_token(&A, "https://a.example", "alice");
    let bob = id_token(&A, "https://a.example", "bob");
    let never = entries(validating("false", "nobody"));
    assert_eq!(
        identify(&never, &alice).await.username(),
        "https://a.example/alice"
    );
    assert_eq!(
        refuse(&never, &bob).await,
        Refused::Validation {
            message: "nobody".into()
        }
    );
    let broken = entries(validating("claims.absent == 'x'", "no matter"));
    assert!(
        matches!(refuse(&broken, &alice).await, Refused::Mapping { part, .. } if part == "validations[0]")
    );
}

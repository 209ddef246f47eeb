//! Tests of several clusters with the default issuer and keys with the same `kid`: the key that verifies a
//! token decides which entry it belongs to.

use super::*;
use crate::identity::grounds::Grounds;
use crate::trust::Sender;
use crate::trust::jwt::{Bearer, Rejected};
use crate::trust::minted::Source;

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const SUBJECT: &str = "system:serviceaccount:team-a:builder";

static EDGE: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::ES256, "same"));
static PROD_CLUSTER: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::ES256, "same"));
static STRANGER: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::ES256, "same"));

fn cluster(name: &str, keys: &Arc<Authorities<KeySet>>) -> Issuer {
    Issuer {
        name: Some(name.into()),
        ..issuer(CLUSTER, keys)
    }
}

fn keys_of(signers: &[&Signer]) -> Arc<Authorities<KeySet>> {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    held(jwks::parse(&key_set(&keys), UseRule::Oidc).unwrap().value)
}

fn clusters() -> Vec<Issuer> {
    vec![
        cluster("edge", &oidc_keys(&EDGE)),
        cluster("prod", &oidc_keys(&PROD_CLUSTER)),
    ]
}

fn token(signer: &Signer) -> String {
    id_token(signer, CLUSTER, SUBJECT)
}

fn entry_of(identity: &Identity) -> Option<&str> {
    match identity.principal() {
        Principal::Oidc {
            issuer,
            entry,
            subject,
        } => {
            assert_eq!((issuer.as_str(), subject.as_str()), (CLUSTER, SUBJECT));
            entry.as_deref()
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_key_decides_and_namesakes_share_neither_principal_nor_username_nor_cache() {
    let authenticator = Authenticator::new(clusters(), vec![], vec![]).with_token_cache();
    for _ in 0..2 {
        for (signer, name) in [(&*EDGE, "edge"), (&*PROD_CLUSTER, "prod")] {
            let identity = identify(&authenticator, &token(signer)).await;
            assert_eq!(
                (entry_of(&identity), identity.username()),
                (Some(name), format!("{CLUSTER}/{name}/{SUBJECT}").as_str())
            );
        }
        assert_eq!(
            refuse(&authenticator, &token(&STRANGER)).await,
            Refused::Jwt(Rejected::Signature)
        );
    }
    let edge = identify(&authenticator, &token(&EDGE)).await;
    let prod = identify(&authenticator, &token(&PROD_CLUSTER)).await;
    assert_ne!(edge.principal().to_string(), prod.principal().to_string());
}

#[tokio::test]
async fn a_token_is_verified_only_by_the_rules_of_its_own_entry() {
    let mut entries = clusters();
    entries[0].rules.audiences = vec!["edge".into()];
    entries[1].mapping = validating("false", "nobody of prod");
    let authenticator = Authenticator::new(entries, vec![], vec![]);
    let for_edge = |signer: &Signer| {
        signer.token(&json!({"iss": CLUSTER, "sub": SUBJECT, "aud": "edge", "exp": EXPIRES}))
    };
    assert_eq!(
        entry_of(&identify(&authenticator, &for_edge(&EDGE)).await),
        Some("edge")
    );
    let audience = Rejected::Audience {
        expected: vec!["zot".into()],
        found: vec!["edge".into()],
    };
    assert_eq!(
        refuse(&authenticator, &for_edge(&PROD_CLUSTER)).await,
        Refused::Jwt(audience)
    );
    let rejected = Refused::Validation {
        message: "nobody of prod".into(),
    };
    assert_eq!(refuse(&authenticator, &token(&PROD_CLUSTER)).await, rejected);
}

#[tokio::test]
async fn entries_of_one_name_share_keys_and_are_tried_in_order() {
    let mut entries = clusters();
    let second = Issuer {
        mapping: naming("'second'"),
        ..cluster("edge", &entries[0].keys)
    };
    entries[0].mapping = validating("claims.sub == 'nobody'", "m");
    entries.push(second);
    let authenticator = Authenticator::new(entries, vec![], vec![]);
    let identity = identify(&authenticator, &token(&EDGE)).await;
    assert_eq!(
        (identity.username(), entry_of(&identity)),
        ("second", Some("edge"))
    );
    assert_eq!(authenticator.shared_keys(NOW), []);
}

#[tokio::test]
async fn a_key_in_two_entries_belongs_to_the_first_and_is_reported() {
    let both = || keys_of(&[&EDGE, &PROD_CLUSTER]);
    for (entries, of_edge) in [
        (
            vec![cluster("edge", &oidc_keys(&EDGE)), cluster("prod", &both())],
            "edge",
        ),
        (
            vec![cluster("prod", &both()), cluster("edge", &oidc_keys(&EDGE))],
            "prod",
        ),
    ] {
        let first = entries[0].name.clone().unwrap();
        let second = entries[1].name.clone().unwrap();
        let authenticator = Authenticator::new(entries, vec![], vec![]);
        assert_eq!(
            entry_of(&identify(&authenticator, &token(&EDGE)).await),
            Some(of_edge)
        );
        assert_eq!(
            entry_of(&identify(&authenticator, &token(&PROD_CLUSTER)).await),
            Some("prod")
        );
        let shared = authenticator.shared_keys(NOW);
        assert_eq!(
            (shared.len(), &shared[0].first, &shared[0].second),
            (1, &first, &second),
            "{shared:?}"
        );
        assert!(
            shared[0].to_string().contains("have the same key"),
            "{}",
            shared[0]
        );
    }
    assert_eq!(
        Authenticator::new(clusters(), vec![], vec![]).shared_keys(NOW),
        []
    );
}

#[tokio::test]
async fn a_cluster_without_keys_does_not_lock_the_other_out() {
    let authenticator = Authenticator::new(
        vec![
            cluster("edge", &silent()),
            cluster("prod", &oidc_keys(&PROD_CLUSTER)),
        ],
        vec![],
        vec![],
    );
    assert_eq!(
        entry_of(&identify(&authenticator, &token(&PROD_CLUSTER)).await),
        Some("prod")
    );
    let undecided = ask(&authenticator, &[&bearer(&token(&EDGE))]).await;
    assert!(
        matches!(undecided, Err(Failure::Undecidable { .. })),
        "it may belong to the cluster whose keys are missing: {undecided:?}"
    );
}

#[tokio::test]
async fn a_minted_token_belongs_to_its_entry_only() {
    let authenticator = Authenticator::new(clusters(), vec![], vec![]);
    let identity = identify(&authenticator, &token(&EDGE)).await;
    let Some(Source::Oidc {
        entry,
        token: remembered,
    }) = identity.source()
    else {
        panic!("{identity:?}")
    };
    assert_eq!(entry.as_deref(), Some("edge"));
    let kept = serde_json::to_value(Source::Oidc {
        entry: entry.clone(),
        token: remembered.clone(),
    })
    .unwrap();
    assert_eq!(
        serde_json::from_value::<Source>(kept).unwrap(),
        identity.source().unwrap()
    );
    let again = async |authenticator: &Authenticator, name: Option<&str>| {
        let bearer = Bearer {
            sender: Sender::default(),
            expires: Timestamp::MAX,
        };
        authenticator
            .oidc_again(name, &remembered, bearer, &mut Grounds::default(), NOW)
            .await
            .ok()
            .map(|identity| identity.principal().clone())
    };
    assert_eq!(
        again(&authenticator, Some("edge")).await.as_ref(),
        Some(identity.principal())
    );
    for other in [Some("prod"), Some("nobody"), None] {
        assert_eq!(again(&authenticator, other).await, None, "{other:?}");
    }
    // From now on an earlier entry has the key too.
    let taken = vec![
        cluster("first", &keys_of(&[&EDGE])),
        cluster("edge", &oidc_keys(&EDGE)),
    ];
    assert_eq!(
        again(&Authenticator::new(taken, vec![], vec![]), Some("edge")).await,
        None
    );
}

//! Tests of a token that is presented again, with the cache and without it.

use super::*;
use crate::identity::grounds::{Grounds, Known};
use crate::identity::token_cache::TokenCache;
use crate::secret::Secret;
use crate::trust::jwt;

/// Keys that a test may rotate.
struct Rotating {
    slot: Arc<Slot<KeySet>>,
    keys: Arc<Authorities<KeySet>>,
}

impl Rotating {
    fn new(signers: &[&Signer]) -> Self {
        let slot = Slot::new("test");
        let rotating = Self {
            slot: slot.clone(),
            keys: Arc::new(Authorities::new(vec![slot])),
        };
        rotating.rotate(signers);
        rotating
    }

    fn rotate(&self, signers: &[&Signer]) {
        let all: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
        self.slot.publish(
            jwks::parse(&key_set(&all), UseRule::Oidc).unwrap().value,
            NOW,
            Timestamp::MAX,
        );
    }
}

fn cached(keys: &Rotating) -> Authenticator {
    Authenticator::new(vec![issuer("https://a.example", &keys.keys)], vec![], vec![]).with_token_cache()
}

async fn at(authenticator: &Authenticator, token: &str, now: Timestamp) -> Result<Identity, Failure> {
    let header = bearer(token);
    authenticator
        .authenticate(
            &Presented {
                authorization: vec![header.as_bytes()],
                peer: None,
                ambient: true,
                address: None,
            },
            now,
        )
        .await
}

/// Whether both come from one verification.
fn same(a: &Identity, b: &Identity) -> bool {
    Arc::ptr_eq(&a.claims, &b.claims)
}

#[tokio::test]
async fn a_token_is_verified_once_with_the_cache_and_each_time_without_it() {
    let keys = Rotating::new(&[&A]);
    let with = cached(&keys);
    let token = id_token(&A, "https://a.example", "alice");
    let first = identify(&with, &token).await;
    let second = identify(&with, &token).await;
    assert!(same(&first, &second));
    assert_eq!(
        (second.username(), second.valid_until()),
        (first.username(), first.valid_until())
    );
    let basic = ask(&with, &[&basic(&format!("any:{token}"))]).await.unwrap();
    assert!(same(&first, &basic), "however it is presented");
    let other = identify(&with, &id_token(&A, "https://a.example", "bob")).await;
    assert_eq!(other.username(), "https://a.example/bob");

    let without = Authenticator::new(vec![issuer("https://a.example", &keys.keys)], vec![], vec![]);
    assert!(!same(
        &identify(&without, &token).await,
        &identify(&without, &token).await
    ));
}

#[tokio::test]
async fn after_a_rotation_a_token_is_verified_again_and_a_withdrawn_key_rejected() {
    let keys = Rotating::new(&[&A]);
    let authenticator = cached(&keys);
    let token = id_token(&A, "https://a.example", "alice");
    let first = identify(&authenticator, &token).await;
    keys.rotate(&[&A, &ANY]);
    let again = identify(&authenticator, &token).await;
    assert!(!same(&first, &again), "other keys are in use now");
    assert!(same(&again, &identify(&authenticator, &token).await));
    keys.rotate(&[&ANY]);
    assert!(matches!(
        refuse(&authenticator, &token).await,
        Refused::Jwt(jwt::Rejected::UnknownKey { .. })
    ));
    keys.rotate(&[]);
    refuse(&authenticator, &token).await;
    keys.slot.confirm(NOW, NOW);
    assert!(
        matches!(
            ask(&authenticator, &[&bearer(&token)]).await,
            Err(Failure::Undecidable { .. })
        ),
        "no key is usable any more"
    );
}

#[tokio::test]
async fn a_rotation_during_verification_prevents_caching() {
    let keys = Rotating::new(&[&A]);
    let token = id_token(&A, "https://a.example", "alice");
    let plain = Authenticator::new(vec![issuer("https://a.example", &keys.keys)], vec![], vec![]);
    let cache = TokenCache::new().unwrap();
    let hash = cache.hash(&Secret::new(&*token));
    let found = async |rotate: &dyn Fn()| {
        let mut grounds = Grounds::default();
        grounds.rest_on(&keys.keys, NOW);
        let identity = identify(&plain, &token).await;
        rotate();
        Known::new(identity, grounds, NOW)
    };
    cache.put(hash, found(&|| keys.rotate(&[&ANY])).await);
    assert!(cache.get(hash, NOW).is_none());
    keys.rotate(&[&A]);
    assert!(
        cache.get(hash, NOW).is_none(),
        "the same keys in a later generation are another answer"
    );
    cache.put(hash, found(&|| ()).await);
    assert!(cache.get(hash, NOW).is_some());
}

#[tokio::test]
async fn the_wall_clock_decides_at_each_use() {
    let keys = Rotating::new(&[&A]);
    let authenticator = cached(&keys);
    let token = id_token(&A, "https://a.example", "alice");
    let first = identify(&authenticator, &token).await;
    let late = Timestamp::from_secs(EXPIRES).minus(Duration::from_millis(1));
    assert!(same(&first, &at(&authenticator, &token, late).await.unwrap()));
    let within_the_skew = at(&authenticator, &token, Timestamp::from_secs(EXPIRES))
        .await
        .unwrap();
    assert!(
        !same(&first, &within_the_skew),
        "an expired token must be verified again"
    );
    let expired = at(&authenticator, &token, Timestamp::from_secs(EXPIRES + 31)).await;
    assert!(matches!(
        reason(expired),
        Refused::Jwt(jwt::Rejected::Expired { .. })
    ));
    let not_yet = A.token(
        &json!({"iss": "https://a.example", "sub": "a", "aud": "zot", "nbf": EXPIRES - 10, "exp": EXPIRES}),
    );
    at(&authenticator, &not_yet, Timestamp::from_secs(EXPIRES - 5))
        .await
        .unwrap();
    let set_back = at(&authenticator, &not_yet, NOW).await;
    assert!(
        matches!(reason(set_back), Refused::Jwt(jwt::Rejected::NotYetValid { .. })),
        "the clock was set back"
    );
}

#[tokio::test]
async fn rejections_are_not_cached_and_another_signature_is_rejected() {
    let keys = Rotating::new(&[&ANY]);
    let authenticator = cached(&keys);
    let token = id_token(&A, "https://a.example", "alice");
    refuse(&authenticator, &token).await;
    keys.rotate(&[&A]);
    identify(&authenticator, &token).await;
    let (signed, _) = token.rsplit_once('.').unwrap();
    let (_, other) = id_token(&A, "https://a.example", "alice2")
        .rsplit_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert_eq!(
        refuse(&authenticator, &format!("{signed}.{other}")).await,
        Refused::Jwt(jwt::Rejected::Signature)
    );
    let unknown = ask(&authenticator, &[&bearer(&format!("{token}x"))]).await;
    assert!(unknown.is_err());
}

#[tokio::test]
async fn one_issuers_rotation_keeps_the_others_tokens_cached() {
    let a = Rotating::new(&[&A]);
    let any = Rotating::new(&[&ANY]);
    let issuers = vec![
        issuer("https://a.example", &a.keys),
        issuer("https://any.example", &any.keys),
    ];
    let authenticator =
        Authenticator::new(issuers, vec![domain_with_keys("prod.example", &PROD)], vec![]).with_token_cache();
    let tokens = [
        id_token(&ANY, "https://any.example", "b"),
        jwt_svid(&PROD, "spiffe://prod.example/ci"),
    ];
    let mut first = Vec::new();
    for token in &tokens {
        first.push(identify(&authenticator, token).await);
    }
    a.rotate(&[&A, &PROD]);
    for (token, first) in tokens.iter().zip(&first) {
        assert!(same(first, &identify(&authenticator, token).await));
    }
}

#[tokio::test]
async fn a_token_servers_token_is_cached_until_its_first_access_entry_expires() {
    let authenticator = Authenticator::new(vec![], vec![], vec![])
        .with_token_server(token_server(&A))
        .with_token_cache();
    let now = NOW.as_secs();
    let entry =
        |name: &str, exp: Value| json!({"type": "repository", "name": name, "actions": ["push"], "exp": exp});
    let access = json!([
        entry("long", (now + 200).into()),
        entry("short", (now + 60).into()),
        entry("never", "soon".into())
    ]);
    let token =
        A.token(&json!({"iss": "auth", "sub": "ann", "aud": "zot", "exp": EXPIRES, "access": access}));
    let may = async |after: u64| {
        let identity = at(&authenticator, &token, NOW.plus(Duration::from_secs(after)))
            .await
            .unwrap();
        let scope = identity.scope().unwrap().clone();
        ["long", "short", "never"].map(|name| scope.rights(&name.parse().unwrap()).push)
    };
    assert_eq!(may(0).await, [true, true, false]);
    assert_eq!(may(59).await, [true, true, false]);
    assert_eq!(may(60).await, [true, false, false]);
    assert_eq!(may(200).await, [false, false, false]);
}

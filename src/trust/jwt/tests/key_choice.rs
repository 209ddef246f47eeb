//! Tests of which keys are tried, and when newer keys are fetched.

use super::*;
use crate::trust::jwt::signature::CHECKS;
use crate::trust::{Next, Origin, Refetch};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A source that publishes given keys when it is fetched, and counts the fetches.
struct Source {
    slot: Arc<Slot<KeySet>>,
    next: Option<KeySet>,
    asked: AtomicUsize,
}

impl Refetch for Source {
    fn refetch(&self) -> BoxFuture<'_, ()> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(keys) = &self.next {
            self.slot.publish(keys.clone(), NOW, Timestamp::MAX);
        }
        async {}.boxed()
    }

    fn next(&self, _: Timestamp, _: Timestamp) -> BoxFuture<'_, Next> {
        unreachable!("this source has no waiting room, so no request waits")
    }
}

/// Verifies a token while the source holds `held` and would answer `next`. Also returns the number of
/// fetches.
async fn judge(token: &str, held: Option<KeySet>, next: Option<KeySet>) -> (Result<(), Failure>, usize) {
    let slot = Slot::new("issuer");
    if let Some(keys) = held {
        slot.publish(keys, NOW, Timestamp::MAX);
    }
    let source = Arc::new(Source {
        slot: slot.clone(),
        next,
        asked: AtomicUsize::new(0),
    });
    let all: Authorities<_> = [Origin {
        slot,
        refetch: Some(source.clone()),
    }]
    .into_iter()
    .collect();
    let rules = OidcRules {
        hosts: Vec::new(),
        issuer: "https://issuer.example".into(),
        skip_issuer: false,
        audiences: vec!["zot".into()],
        algorithms: None,
        clock_skew: Duration::from_secs(30),
        max_lifetime: None,
        single_audience: false,
    };
    let outcome = verify_oidc(&Unverified::parse(token).unwrap(), &[&rules], &all, NOW).await;
    if let Ok(verified) = &outcome {
        assert_eq!(
            Some(verified.generation()),
            all.generation(NOW),
            "the newest keys verified the token"
        );
    }
    (outcome.map(drop), source.asked.load(Ordering::SeqCst))
}

fn claims() -> Value {
    json!({"iss": "https://issuer.example", "sub": "a", "aud": "zot", "exp": EXP})
}

fn without_kid(signer: &Signer) -> String {
    signer.token_of(
        with(signer.header(), json!({"kid": null})).to_string(),
        claims().to_string(),
    )
}

fn oidc(signers: &[&Signer]) -> KeySet {
    keys(
        &signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>(),
        UseRule::Oidc,
    )
}

#[tokio::test]
async fn a_known_key_causes_no_fetch_even_for_a_bad_signature() {
    let impostor = Signer::new(Algorithm::ES256, "one");
    assert_eq!(
        judge(&signer().token(&claims()), Some(oidc(&[signer()])), None).await,
        (Ok(()), 0)
    );
    let forged = judge(&impostor.token(&claims()), Some(oidc(&[signer()])), None).await;
    assert_eq!(
        forged,
        (Err(Rejected::Signature.into()), 0),
        "made-up tokens must not cause fetches"
    );
    let expired = signer().token(&with(claims(), json!({"exp": 1})));
    assert!(
        matches!(
            judge(&expired, None, None).await,
            (Err(Failure::Rejected(Rejected::Expired { .. })), 0)
        ),
        "claims come first"
    );
}

#[tokio::test]
async fn an_unknown_key_causes_one_fetch() {
    let old = Signer::new(Algorithm::ES256, "old");
    let new = signer();
    let token = new.token(&claims());
    assert_eq!(
        judge(&token, Some(oidc(&[&old])), Some(oidc(&[&old, new]))).await,
        (Ok(()), 1)
    );
    let unknown = |known: &[&str]| {
        Err(Rejected::UnknownKey {
            key_id: "one".into(),
            known: known.iter().map(|id| (*id).into()).collect(),
            nameless: 0,
        }
        .into())
    };
    assert_eq!(
        judge(&token, Some(oidc(&[&old])), Some(oidc(&[&old]))).await,
        (unknown(&["old"]), 1)
    );
    assert_eq!(
        judge(&token, Some(oidc(&[&old])), None).await,
        (unknown(&["old"]), 1),
        "the source did not answer"
    );
    assert_eq!(
        judge(&token, Some(oidc(&[&old])), Some(KeySet::default())).await,
        (unknown(&[]), 1)
    );
}

#[tokio::test]
async fn without_keys_the_source_is_fetched_once_and_the_token_is_undecided() {
    let token = signer().token(&claims());
    assert_eq!(judge(&token, None, Some(oidc(&[signer()]))).await, (Ok(()), 1));
    let other = Signer::new(Algorithm::ES256, "other");
    let (outcome, asked) = judge(&token, None, Some(oidc(&[&other]))).await;
    assert!(matches!(
        outcome,
        Err(Failure::Rejected(Rejected::UnknownKey { .. }))
    ));
    assert_eq!(asked, 1, "the keys are as fresh as can be");
    let (outcome, asked) = judge(&token, None, None).await;
    assert!(matches!(outcome, Err(Failure::Undecidable(_))), "{outcome:?}");
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn t_7_4_without_a_kid_every_key_that_fits_is_tried_up_to_four() {
    let signers: Vec<_> = (0..5)
        .map(|n| Signer::new(Algorithm::ES256, &n.to_string()))
        .collect();
    let all: Vec<_> = signers.iter().collect();
    let fourth = without_kid(&signers[3]);
    let fifth = without_kid(&signers[4]);
    assert_eq!(judge(&fourth, Some(oidc(&all)), None).await, (Ok(()), 0));
    let why = Rejected::KeyIdNeeded { fitting: 5, tried: 4 };
    assert_eq!(judge(&fifth, Some(oidc(&all)), None).await, (Err(why.into()), 0));
    let others: Vec<_> = (0..9)
        .map(|n| Signer::new(Algorithm::ES384, &n.to_string()))
        .collect();
    let mixed: Vec<_> = others.iter().chain([&signers[0]]).collect();
    assert_eq!(
        judge(&without_kid(&signers[0]), Some(oidc(&mixed)), None).await,
        (Ok(()), 0),
        "keys that do not fit are not tried"
    );
}

#[tokio::test]
async fn no_token_costs_more_than_eight_signatures_and_no_key_is_tried_twice() {
    let signers: Vec<_> = (0..13)
        .map(|n| Signer::new(Algorithm::ES256, &n.to_string()))
        .collect();
    let set = |of: std::ops::Range<usize>| oidc(&signers[of].iter().collect::<Vec<_>>());
    let forged = without_kid(&signers[12]);
    let cost = async |held: KeySet, next: KeySet| {
        let before = CHECKS.get();
        let (outcome, asked) = judge(&forged, Some(held), Some(next)).await;
        assert_eq!(asked, 1);
        (CHECKS.get() - before, outcome.unwrap_err())
    };
    let beside = |held: KeySet, former: KeySet| held.beside_former(&former, NOW, Duration::from_secs(600));
    assert_eq!(
        cost(set(0..3), set(0..3)).await,
        (3, Rejected::Signature.into()),
        "the same keys again"
    );
    assert_eq!(
        cost(set(0..3), beside(set(2..5), set(0..3))).await,
        (5, Rejected::Signature.into()),
        "the new ones alone"
    );
    let held = beside(set(0..4), set(4..8));
    let next = beside(set(8..12), set(0..4));
    assert_eq!(
        cost(held, next).await,
        (8, Rejected::KeyIdNeeded { fitting: 4, tried: 8 }.into())
    );
    assert_eq!(
        judge(&forged, Some(set(0..4)), Some(beside(set(9..13), set(0..4)))).await,
        (Ok(()), 1),
        "a rotation of four keys at once"
    );
}

#[tokio::test]
async fn a_token_without_a_kid_is_rejected_with_the_faults_of_published_keys() {
    let rsa = |changes| with(Signer::new(Algorithm::RS256, "r").jwk(), changes);
    let padded = format!("{}=", rsa(json!({}))["n"].as_str().unwrap());
    let elements = [
        rsa(json!({"kid": null, "n": padded})),
        rsa(json!({"use": "enc"})),
        signer().jwk(),
    ];
    let set = jwks::parse(&key_set(&elements), UseRule::Oidc).unwrap().value;
    let rs256 = without_kid(&Signer::new(Algorithm::RS256, "r"));
    let why = judge(&rs256, Some(set), None).await.0.unwrap_err().to_string();
    assert_eq!(
        why,
        "no key fits the token, which has no `kid` and alg RS256: published keys cannot be used, a key without `kid`: `n` is not base64url \
         without padding"
    );
}

#[tokio::test]
async fn a_token_whose_key_has_a_number_as_kid_is_rejected_with_that_reason() {
    let elements = [
        with(signer().jwk(), json!({"kid": 5})),
        Signer::new(Algorithm::ES256, "good").jwk(),
    ];
    let set = jwks::parse(&key_set(&elements), UseRule::Oidc).unwrap().value;
    let token = signer().token_of(
        with(signer().header(), json!({"kid": "5"})).to_string(),
        claims().to_string(),
    );
    let why = judge(&token, Some(set), None).await.0.unwrap_err().to_string();
    assert_eq!(
        why,
        "the token's key \"5\" is published but cannot be used: expected a non-empty string as `kid`, found a number"
    );
}

#[tokio::test]
async fn without_a_kid_newer_keys_may_help() {
    let old = Signer::new(Algorithm::ES256, "old");
    let new = signer();
    let token = without_kid(new);
    assert_eq!(
        judge(&token, Some(oidc(&[&old])), Some(oidc(&[new]))).await,
        (Ok(()), 1)
    );
    assert_eq!(
        judge(&token, Some(oidc(&[&old])), None).await,
        (Err(Rejected::Signature.into()), 1)
    );
    let why = Rejected::NoFittingKey {
        algorithm: Algorithm::ES256,
        faults: Vec::new(),
    };
    assert_eq!(
        judge(&token, Some(KeySet::default()), None).await,
        (Err(why.into()), 1)
    );
}

#[tokio::test]
async fn t_7_4_a_key_without_kid_verifies_only_tokens_without_kid() {
    let anonymous = keys(&[with(signer().jwk(), json!({"kid": null}))], UseRule::Oidc);
    assert_eq!(
        judge(&without_kid(signer()), Some(anonymous.clone()), None).await,
        (Ok(()), 0)
    );
    let (outcome, _) = judge(&signer().token(&claims()), Some(anonymous), None).await;
    let unknown = |known: &[&str], nameless| Rejected::UnknownKey {
        key_id: "one".into(),
        known: known.iter().map(|id| (*id).into()).collect(),
        nameless,
    };
    assert_eq!(
        outcome,
        Err(unknown(&[], 1).into()),
        "the reason says that the key exists without a kid"
    );
    let both = keys(
        &[
            with(signer().jwk(), json!({"kid": null})),
            Signer::new(Algorithm::ES256, "other").jwk(),
        ],
        UseRule::Oidc,
    );
    assert_eq!(
        judge(&signer().token(&claims()), Some(both), None).await.0,
        Err(unknown(&["other"], 1).into())
    );
}

#[tokio::test]
async fn a_token_of_an_unusable_published_key_is_rejected_with_the_reason() {
    let bad = with(signer().jwk(), json!({"use": "enc"}));
    let set = jwks::parse(
        &key_set(&[bad, Signer::new(Algorithm::ES256, "other").jwk()]),
        UseRule::Oidc,
    )
    .unwrap()
    .value;
    let why = r#"the token's key "one" is published but cannot be used: expected `use` to be absent or `sig`, found "enc""#;
    let (outcome, asked) = judge(&signer().token(&claims()), Some(set.clone()), None).await;
    assert_eq!((outcome.unwrap_err().to_string().as_str(), asked), (why, 1));
    assert_eq!(
        judge(&signer().token(&claims()), Some(set), Some(oidc(&[signer()]))).await,
        (Ok(()), 1),
        "until the issuer fixes it"
    );
}

#[tokio::test]
async fn t_7_4_two_keys_with_one_kid_are_distinguished_by_their_algorithms() {
    let ec = Signer::new(Algorithm::ES256, "same");
    let rsa = Signer::new(Algorithm::RS256, "same");
    for signer in [&ec, &rsa] {
        assert_eq!(
            judge(&signer.token(&claims()), Some(oidc(&[&ec, &rsa])), None).await,
            (Ok(()), 0)
        );
    }
}

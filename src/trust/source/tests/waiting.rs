//! Tests of requests that wait for a key: for which source, how long, and at what time they are verified.

use super::strangers::{START, STRANGER, VICTIM, Waiters, issuer, rules, token};
use crate::clock::{Clock, Timestamp};
use crate::trust::jwks::{self, KeySet, UseRule};
use crate::trust::jwt::testing::Signer;
use crate::trust::jwt::{self, Algorithm, Bearer, Failure, Rejected, Unverified};
use crate::trust::refresh::Pace;
use crate::trust::source::oidc_discovery::paced;
use crate::trust::source::oidc_of_trust_domain;
use crate::trust::source::testing::{eventually, jwk_set};
use crate::trust::{Authorities, Next, NoKeys, Origin, Refetch, Sender, Slot, SourceKind, WaitingRoom};
use futures_util::future::{BoxFuture, join_all, pending};
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A file that never existed or cannot be read.
fn broken_file() -> Origin<KeySet> {
    let slot = Slot::of(SourceKind::File, "file optional.json");
    slot.fail("cannot be read");
    Origin { slot, refetch: None }
}

#[tokio::test]
async fn a_preferred_source_that_always_fails_leaves_the_decision_to_the_source_in_use() {
    let (unpublished, unpublished_settings) = issuer().await;
    unpublished.answer("/.well-known/openid-configuration", 404, "");
    let (site, settings) = issuer().await;
    let (clock, hand) = Clock::manual(START);
    let open = |settings| paced(settings, clock.clone(), None, Pace::OIDC, Duration::from_secs(10));
    let preferred = open(unpublished_settings);
    let used = open(settings);
    let room = WaitingRoom::new(clock.clone());
    let used_origin = || used.jwt().unwrap();
    let of = |origins: Vec<Origin<KeySet>>| {
        origins
            .into_iter()
            .collect::<Authorities<_>>()
            .waiting_in(Some(&room))
    };
    let stranger = Signer::new(Algorithm::ES256, "stranger");
    for keys in [
        of(vec![broken_file(), used_origin()]),
        of(vec![preferred.jwt().unwrap(), used_origin()]),
    ] {
        keys.refetch(clock.now()).await;
        hand.advance(Duration::from_secs(100));
        let outcome = jwt::verify_oidc(
            &token(&stranger, "made-up", &site.base),
            &[&rules(&site.base)],
            &keys,
            clock.now(),
        )
        .await;
        assert!(
            matches!(outcome, Err(Failure::Rejected(Rejected::UnknownKey { .. }))),
            "{outcome:?}"
        );
        site.answer("/keys", 503, "");
        hand.advance(Duration::from_secs(100));
        let outcome = jwt::verify_oidc(
            &token(&stranger, "made-up", &site.base),
            &[&rules(&site.base)],
            &keys,
            clock.now(),
        )
        .await;
        assert!(
            matches!(outcome, Err(Failure::Undecidable(NoKeys::NotFetched { .. }))),
            "{outcome:?}"
        );
        site.answer("/keys", 200, jwk_set(&["k1"]));
    }
    assert!(unpublished.seen() >= 2, "a preferred source is still fetched");
}

#[tokio::test]
async fn a_token_that_expires_while_it_waits_is_rejected() {
    let world = Waiters::new().await;
    let fresh = Signer::new(Algorithm::ES256, "fresh");
    world.publish(&fresh);
    let claims = |exp: i64| {
        json!({"iss": world.site.base, "sub": "s", "aud": "registry", "exp": START.as_secs() + exp})
            .to_string()
    };
    let until = |exp| Unverified::parse(&fresh.token_of(fresh.header().to_string(), claims(exp))).unwrap();
    let short = world.present_token(until(5), VICTIM);
    let long = world.present_token(until(50), VICTIM);
    world.wait_for(2).await;
    world.hand.advance(Duration::from_secs(9));
    let expired = Rejected::Expired {
        at: START.plus(Duration::from_secs(5)),
        now: START.plus(Duration::from_secs(10)),
    };
    assert_eq!(
        (short.await.unwrap(), long.await.unwrap()),
        (Err(expired.into()), Ok(()))
    );
}

/// A source that never ends a fetch.
struct Silent;

impl Refetch for Silent {
    fn refetch(&self) -> BoxFuture<'_, ()> {
        Box::pin(pending())
    }

    fn next(&self, _: Timestamp, _: Timestamp) -> BoxFuture<'_, Next> {
        Box::pin(pending())
    }
}

#[tokio::test]
async fn no_request_waits_longer_than_for_a_fetch_to_begin_and_to_end() {
    let slot = Slot::of(SourceKind::Oidc, "https://issuer.example");
    slot.publish(KeySet::default(), START, Timestamp::MAX);
    let (clock, hand) = Clock::manual(START);
    let room = WaitingRoom::new(clock);
    let origin = Origin {
        slot,
        refetch: Some(Arc::new(Silent) as Arc<dyn Refetch>),
    };
    let keys: Authorities<_> = [origin]
        .into_iter()
        .collect::<Authorities<_>>()
        .waiting_in(Some(&room));
    let token = token(
        &Signer::new(Algorithm::ES256, "new"),
        "new",
        "https://issuer.example",
    );
    let waiting = tokio::spawn(async move {
        jwt::verify_oidc(&token, &[&rules("https://issuer.example")], &keys, START)
            .await
            .map(drop)
    });
    eventually("it waits", || room.taken() == 1).await;
    hand.advance(Duration::from_secs(15));
    let why = waiting.await.unwrap().unwrap_err();
    assert!(
        matches!(why, Failure::Undecidable(NoKeys::NotFetched { .. })) && why.to_string().contains("15s"),
        "{why}"
    );
    assert_eq!(room.taken(), 0);
}

#[tokio::test]
async fn a_waiting_request_does_not_wait_for_the_back_off_of_a_failed_source() {
    let world = Waiters::new().await;
    let fresh = Signer::new(Algorithm::ES256, "fresh");
    world.site.answer("/keys", 503, "");
    let failures = || world.keys.status()[0].failures;
    world.hand.advance(Duration::from_secs(1000));
    eventually("a failure", || failures() == 1).await;
    for count in 2..10 {
        world.hand.advance(Duration::from_secs(100));
        eventually("another failure", || failures() == count).await;
    }
    world.publish(&fresh);
    world.hand.advance(Duration::from_secs(1));
    let waiting = world.present(&fresh, "fresh", VICTIM);
    world.wait_for(1).await;
    world.hand.advance(Duration::from_secs(9));
    assert_eq!(
        waiting.await.unwrap(),
        Ok(()),
        "the back-off is at least 30 s by now"
    );
}

#[tokio::test]
async fn sessions_with_a_withdrawn_key_share_places_by_address_like_tokens() {
    let world = Waiters::new().await;
    let gone = Signer::new(Algorithm::ES256, "gone");
    let fresh = Signer::new(Algorithm::ES256, "fresh");
    let remembered = async |signer: &Signer| {
        let slot = Slot::new("before");
        let set = jwt::testing::key_set(&[signer.jwk()]);
        slot.publish(
            jwks::parse(&set, UseRule::Oidc).unwrap().value,
            START,
            Timestamp::MAX,
        );
        let token = token(signer, signer.jwk()["kid"].as_str().unwrap(), &world.site.base);
        jwt::verify_oidc(
            &token,
            &[&rules(&world.site.base)],
            &Authorities::new(vec![slot]),
            START,
        )
        .await
        .unwrap()
        .remembered()
    };
    let gone = remembered(&gone).await;
    let fresh_one = remembered(&fresh).await;
    let present = |remembered: &jwt::Remembered, from: [u8; 4], expires| {
        let bearer = Bearer {
            sender: Sender::at(IpAddr::from(from)),
            expires,
        };
        let remembered = remembered.clone();
        let rules = rules(&world.site.base);
        let keys = world.keys.clone();
        let now = world.clock.now();
        tokio::spawn(async move {
            jwt::reverify_oidc(&remembered, bearer, &[&rules], &keys, now)
                .await
                .map(drop)
        })
    };
    world.publish(&fresh);
    let flood: Vec<_> = (0..1_000)
        .map(|_| present(&gone, STRANGER, Timestamp::MAX))
        .collect();
    world.wait_for(1_000).await;
    let victim = present(&fresh_one, VICTIM, Timestamp::MAX);
    let over = present(&fresh_one, VICTIM, START.plus(Duration::from_secs(5)));
    let turned_away = || flood.iter().filter(|request| request.is_finished()).count();
    eventually("the other client loses two places", || turned_away() == 2).await;
    world.hand.advance(Duration::from_secs(9));
    assert_eq!(victim.await.unwrap(), Ok(()));
    let expired = Rejected::Expired {
        at: START.plus(Duration::from_secs(5)),
        now: START.plus(Duration::from_secs(10)),
    };
    assert_eq!(
        over.await.unwrap(),
        Err(expired.into()),
        "the registry's own token expired while it waited"
    );
    let no_place = |outcome: &Result<(), Failure>| *outcome == Err(Failure::Undecidable(NoKeys::NoPlace));
    assert_eq!(
        join_all(flood)
            .await
            .into_iter()
            .filter(|outcome| no_place(outcome.as_ref().unwrap()))
            .count(),
        2
    );
}

#[tokio::test]
async fn an_issuer_of_a_trust_domain_withdraws_missing_keys_at_once() {
    let (site, settings) = issuer().await;
    let (clock, hand) = Clock::manual(START);
    let source = oidc_of_trust_domain(settings, clock.clone(), None);
    let keys: Authorities<_> = source.jwt().into_iter().collect();
    for (published, expected) in [(&["k1", "k2"][..], "k1 k2"), (&["k2"], "k2")] {
        site.answer("/keys", 200, jwk_set(published));
        hand.advance(Duration::from_secs(10));
        keys.refetch(clock.now()).await;
        let left: Vec<_> = keys.status()[0]
            .keys
            .iter()
            .filter_map(|key| key.id.clone())
            .collect();
        assert_eq!(left.join(" "), expected);
    }
}

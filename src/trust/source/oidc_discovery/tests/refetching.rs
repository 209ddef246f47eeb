//! When keys are fetched again: on request, in the background, after failures, and not too often.

use super::*;
use futures_util::future::join_all;
use http::header::{CACHE_CONTROL, ETAG};

#[tokio::test]
async fn a_thousand_concurrent_requests_share_one_fetch() {
    let issuer = TestIssuer::start().await;
    let client = Client::of(settings(&issuer.base));
    let hold = issuer.hold();
    let keys = client.keys.clone();
    let clock = client.clock.clone();
    let everyone = tokio::spawn(async move {
        join_all((0..1_000).map(|_| keys.refetch(clock.now()))).await;
        keys.view(clock.now()).is_ok()
    });
    eventually("the fetch began", || issuer.seen() == 1).await;
    drop(hold);
    assert!(everyone.await.unwrap(), "all waited for it");
    assert_eq!((issuer.count(DOCUMENT), issuer.count(KEYS)), (1, 1));
}

#[tokio::test]
async fn a_request_that_is_cancelled_does_not_cancel_the_fetch() {
    let issuer = TestIssuer::start().await;
    let client = Client::of(settings(&issuer.base));
    let hold = issuer.hold();
    let keys = client.keys.clone();
    let request = tokio::spawn(async move { keys.refetch(START).await });
    eventually("the fetch began", || issuer.seen() == 1).await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    drop(hold);
    eventually("it ended well", || client.keys.view(client.clock.now()).is_ok()).await;
}

#[tokio::test]
async fn an_unknown_key_causes_at_most_one_fetch_in_10_s() {
    let issuer = TestIssuer::start().await;
    let client = Client::of(settings(&issuer.base));
    client.keys.refetch(client.clock.now()).await;
    issuer.answer(KEYS, 200, jwk_set(&["k1", "k2"]));
    for (seconds, expected) in [(0, "k1"), (9, "k1"), (10, "k1 k2")] {
        client.hand.set(START.plus(Duration::from_secs(seconds)));
        assert_eq!(
            client.fetched().await.as_deref(),
            Ok(expected),
            "after {seconds} s"
        );
    }
    assert_eq!(
        (issuer.count(DOCUMENT), issuer.count(KEYS)),
        (1, 2),
        "a valid document is used for an hour"
    );
    client.hand.set(START);
    client.keys.refetch(client.clock.now()).await;
    assert_eq!(
        issuer.count(KEYS),
        3,
        "a clock that was set back does not forbid fetching"
    );
}

#[tokio::test]
async fn failures_at_first_use_cool_down_longer_and_longer() {
    let issuer = TestIssuer::start().await;
    issuer.answer(DOCUMENT, 500, vec![]);
    let client = Client::of(settings(&issuer.base));
    let mut count = 0;
    for least in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        client.keys.refetch(client.clock.now()).await;
        count += 1;
        assert_eq!(issuer.seen(), count);
        client.hand.advance(Duration::from_millis(least - 1));
        client.keys.refetch(client.clock.now()).await;
        assert_eq!(issuer.seen(), count, "not before {least} ms");
        client.hand.advance(Duration::from_millis(2 * least + 1)); // jitter: three times the least at the most
    }
    issuer.reset();
    assert_eq!(client.fetched().await, Ok("k1".to_owned()));
}

#[tokio::test]
async fn a_failure_keeps_the_keys_until_the_staleness_bound() {
    let issuer = TestIssuer::start().await;
    let client = Client::of(settings(&issuer.base));
    client.keys.refetch(client.clock.now()).await;
    for (path, status, body) in [
        (KEYS, 500, vec![]),
        (KEYS, 200, UNUSABLE.to_vec()),
        (KEYS, 200, b"{".to_vec()),
        (KEYS, 404, vec![]),
    ] {
        issuer.reset();
        issuer.answer(path, status, body);
        client.hand.advance(Duration::from_secs(90));
        assert_eq!(client.fetched().await, Ok("k1".to_owned()));
    }
    client.hand.set(START.plus(DAY));
    issuer.reset();
    issuer.answer(KEYS, 500, vec![]);
    let why = client.fetched().await.unwrap_err();
    assert!(why.contains("stale since"), "{why}");
}

#[tokio::test]
async fn an_empty_key_set_replaces_and_the_same_one_is_the_same_generation() {
    let issuer = TestIssuer::start().await;
    let client = Client::of(settings(&issuer.base));
    client.keys.refetch(client.clock.now()).await;
    let before = client.keys.generation(client.clock.now());
    client.hand.advance(Duration::from_secs(10));
    client.keys.refetch(client.clock.now()).await;
    assert_eq!(issuer.count(KEYS), 2);
    assert_eq!(client.keys.generation(client.clock.now()), before);
    issuer.answer(KEYS, 200, jwk_set(&[]));
    client.hand.advance(Duration::from_secs(10));
    assert_eq!(client.fetched().await, Ok(String::new()));
    assert_ne!(client.keys.generation(client.clock.now()), before);
}

#[tokio::test]
async fn keys_that_moved_are_found_by_discovery_again() {
    let issuer = TestIssuer::start().await;
    let client = Client::of(settings(&issuer.base));
    client.keys.refetch(client.clock.now()).await;
    issuer.answer(KEYS, 410, vec![]);
    issuer.answer("/moved", 200, jwk_set(&["k2"]));
    issuer.answer(DOCUMENT, 200, document(&issuer.base, &issuer.url("/moved")));
    client.hand.advance(Duration::from_secs(10));
    assert_eq!(client.fetched().await, Ok("k2".to_owned()));
}

#[tokio::test]
async fn from_the_first_success_on_keys_are_refreshed_in_the_background() {
    let issuer = TestIssuer::start().await;
    let client = Client::of(settings(&issuer.base));
    client.keys.refetch(client.clock.now()).await;
    issuer.answer(KEYS, 200, jwk_set(&["k2"]));
    let passing = || client.hand.advance(Duration::from_secs(5));
    eventually_after("the new key", passing, || client.key_ids() == Ok("k2".to_owned())).await;
    issuer.answer(KEYS, 500, vec![]);
    let before = issuer.count(KEYS);
    eventually_after("attempts that fail", passing, || issuer.count(KEYS) > before + 1).await;
    issuer.answer(KEYS, 200, jwk_set(&["k3"]));
    eventually_after("the key after the outage", passing, || {
        client.key_ids() == Ok("k3".to_owned())
    })
    .await;
}

#[tokio::test]
async fn a_failed_fetch_of_a_request_is_repeated_in_the_background() {
    let issuer = TestIssuer::start().await;
    let client = Client::of(settings(&issuer.base));
    client.keys.refetch(client.clock.now()).await;
    issuer.answer(KEYS, 500, vec![]);
    client.hand.advance(Duration::from_secs(20));
    client.keys.refetch(client.clock.now()).await;
    let before = issuer.count(KEYS);
    issuer.answer(KEYS, 200, jwk_set(&["k2"]));
    client.hand.advance(Duration::from_secs(2)); // long before the keys of the first fetch would have been refreshed
    eventually("the new key", || client.key_ids() == Ok("k2".to_owned())).await;
    assert_eq!(issuer.count(KEYS), before + 1);
}

#[tokio::test]
async fn max_age_is_held_between_a_minute_and_an_hour() {
    let issuer = TestIssuer::start().await;
    for (header, seconds) in [
        ("", 300),
        ("public, max-age=600", 600),
        ("max-age=1", 60),
        ("no-store", 60),
        ("Max-Age=86400", 3600),
    ] {
        issuer.header(KEYS, CACHE_CONTROL, header);
        // Without a staleness bound keys are used exactly as long as they are fresh.
        let client = Client::of(OidcSettings {
            max_stale: Duration::ZERO,
            ..settings(&issuer.base)
        });
        client.keys.refetch(client.clock.now()).await;
        let held = client.keys.view(client.clock.now()).unwrap();
        assert_eq!(held.usable_until.since(START).as_secs(), seconds, "{header}");
    }
}

#[tokio::test]
async fn an_unchanged_key_set_is_not_sent_again() {
    let issuer = TestIssuer::start().await;
    issuer.header(KEYS, ETAG, "\"v1\"");
    let client = Client::of(settings(&issuer.base));
    client.keys.refetch(client.clock.now()).await;
    let first = client.keys.view(client.clock.now()).unwrap();
    client.hand.advance(Duration::from_secs(10));
    client.keys.refetch(client.clock.now()).await;
    let second = client.keys.view(client.clock.now()).unwrap();
    assert_eq!(
        issuer.heard(http::header::IF_NONE_MATCH).as_deref(),
        Some("\"v1\"")
    );
    assert_eq!(
        (second.generation, second.as_of),
        (first.generation, client.clock.now())
    );
    issuer.answer(KEYS, 200, jwk_set(&["k2"]));
    issuer.header(KEYS, ETAG, "\"v2\"");
    client.hand.advance(Duration::from_secs(10));
    assert_eq!(client.fetched().await, Ok("k2".to_owned()));
}

#[tokio::test]
async fn discovery_is_done_again_after_an_hour_or_where_keys_have_moved_and_not_for_any_failure() {
    let issuer = TestIssuer::start().await;
    let client = Client::of(settings(&issuer.base));
    client.keys.refetch(client.clock.now()).await;
    for (status, documents) in [(500, 1), (404, 2), (410, 3)] {
        issuer.answer(KEYS, status, vec![]);
        client.hand.advance(Duration::from_secs(90));
        client.keys.refetch(client.clock.now()).await;
        assert_eq!(issuer.count(DOCUMENT), documents, "{status}");
    }
    issuer.reset();
    client.hand.advance(Duration::from_secs(90));
    client.keys.refetch(client.clock.now()).await;
    assert_eq!(issuer.count(DOCUMENT), 3);
    client.hand.advance(Duration::from_secs(3600));
    client.keys.refetch(client.clock.now()).await;
    assert_eq!(issuer.count(DOCUMENT), 4);
}

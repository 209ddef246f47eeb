//! Tests with issuers over real sockets: discovery, faults and the number of fetches.

mod words;

use super::*;
use crate::clock::ManualClock;
use crate::trust::Authorities;
use crate::trust::jwks::KeySet;
use crate::trust::source::testing::site::{Site, server};
use crate::trust::source::testing::{Ca, UNUSABLE, ca, eventually, eventually_after, jwk_set};
use futures_util::future::join_all;
use http::header::{AUTHORIZATION, CACHE_CONTROL, ETAG};
use std::ops::Deref;
use tokio::net::TcpListener;

#[tokio::test]
async fn a_source_that_was_not_started_fetches_on_request() {
    let issuer = TestIssuer::start().await;
    let client = Client::of(settings(&issuer.base));
    assert!(client.keys.view(client.clock.now()).is_err());
    assert_eq!(issuer.seen(), 0);
    assert_eq!(client.fetched().await, Ok("k1".to_owned()));
    assert_eq!((issuer.count(DOCUMENT), issuer.count(KEYS)), (1, 1));
    let held = client.keys.view(client.clock.now()).unwrap();
    assert_eq!(
        (&*held.source, held.usable_until),
        (&*issuer.base, client.clock.now().plus(DAY))
    );
}

#[tokio::test]
async fn keys_are_fetched_in_the_background_from_the_start() {
    let issuer = TestIssuer::start().await;
    let (clock, hand) = Clock::manual(START);
    let source = paced(settings(&issuer.base), clock.clone(), None, Pace::OIDC, TIMEOUT);
    let status = || source.jwt().unwrap().slot.status();
    let hold = issuer.hold();
    source.start();
    eventually("it was asked", || issuer.seen() == 1).await;
    assert_eq!(
        (status().attempts, status().as_of),
        (0, None),
        "the start does not wait"
    );
    drop(hold);
    eventually("it answered", || status().as_of == Some(START)).await;
    assert_eq!(
        (issuer.count(DOCUMENT), issuer.count(KEYS)),
        (1, 1),
        "without a request"
    );

    issuer.answer(DOCUMENT, 500, vec![]);
    let source = paced(settings(&issuer.base), clock.clone(), None, Pace::OIDC, TIMEOUT);
    source.start();
    eventually("it failed", || source.jwt().unwrap().slot.status().failures > 0).await;
    issuer.reset();
    let passing = || hand.advance(Duration::from_secs(1));
    eventually_after("it is fetched again in the background", passing, || {
        source.jwt().unwrap().slot.held().is_some()
    })
    .await;
}

#[tokio::test]
async fn an_issuers_final_slash_does_not_change_its_discovery_url() {
    let issuer = TestIssuer::start().await;
    let name = format!("{}/", issuer.base);
    issuer.answer(DOCUMENT, 200, document(&name, &issuer.url(KEYS)));
    assert_eq!(Client::of(settings(&name)).fetched().await, Ok("k1".to_owned()));
}

#[tokio::test]
async fn the_documents_issuer_must_be_the_configured_one_byte_for_byte() {
    let issuer = TestIssuer::start().await;
    let slashed = format!("{}/", issuer.base);
    issuer.answer(DOCUMENT, 200, document(&slashed, &issuer.url(KEYS)));
    let refused = Client::of(settings(&issuer.base)).fetched().await.unwrap_err();
    assert!(
        refused.contains(&format!(
            "expected the issuer `{}` as configured, found `{slashed}`",
            issuer.base
        )),
        "{refused}"
    );
    assert_eq!(issuer.count(KEYS), 0);
    let lenient = Client::of(OidcSettings {
        skip_issuer: true,
        ..settings(&issuer.base)
    });
    assert_eq!(lenient.fetched().await, Ok("k1".to_owned()));
}

#[tokio::test]
async fn configured_urls_replace_discovered_ones() {
    let issuer = TestIssuer::start().await;
    let name = "https://issuer.example";
    issuer.answer("/elsewhere", 200, document(name, &issuer.url(KEYS)));
    let discovery_url = Some(issuer.url("/elsewhere"));
    assert_eq!(
        Client::of(OidcSettings {
            discovery_url,
            ..settings(name)
        })
        .fetched()
        .await,
        Ok("k1".to_owned())
    );
    let jwks_url = Some(issuer.url(KEYS));
    assert_eq!(
        Client::of(OidcSettings {
            jwks_url,
            ..settings(name)
        })
        .fetched()
        .await,
        Ok("k1".to_owned())
    );
    assert_eq!((issuer.count("/elsewhere"), issuer.count(DOCUMENT)), (1, 0));
}

#[tokio::test]
async fn an_invalid_answer_is_reported_and_gives_no_keys() {
    let issuer = TestIssuer::start().await;
    let large = vec![b' '; 1024 * 1024 + 1];
    let redirect = "redirects are not followed";
    for (path, status, body, expected) in [
        (DOCUMENT, 500, b"oops".to_vec(), "expected status 200, found 500"),
        (DOCUMENT, 302, vec![], redirect),
        (
            DOCUMENT,
            200,
            b"<html>".to_vec(),
            "expected an OIDC discovery document",
        ),
        (
            DOCUMENT,
            200,
            format!(r#"["{0}","{0}{KEYS}"]"#, issuer.base).into_bytes(),
            "a JSON object with `issuer` and `jwks_uri`: expected an object, found a list",
        ),
        (
            DOCUMENT,
            200,
            br#"{"issuer":["a"],"jwks_uri":"b"}"#.to_vec(),
            "expected a string, found a list",
        ),
        (
            DOCUMENT,
            200,
            document(&issuer.base, "file:///etc/passwd"),
            "found `file:///etc/passwd`",
        ),
        (DOCUMENT, 200, large.clone(), "larger than 1048576 bytes"),
        (KEYS, 404, vec![], "expected status 200, found 404"),
        (KEYS, 200, b"{}".to_vec(), "not a JWK Set"),
        (KEYS, 200, UNUSABLE.to_vec(), "none of its 1 keys can be used"),
    ] {
        issuer.reset();
        issuer.answer(path, status, body);
        let why = Client::of(settings(&issuer.base)).fetched().await.unwrap_err();
        assert!(why.contains(expected), "{path} {status}: {why}");
    }
}

#[tokio::test]
async fn an_unreachable_issuer_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let why = Client::of(settings(&base)).fetched().await.unwrap_err();
    assert!(
        why.contains("never answered") && why.contains("no connection"),
        "{why}"
    );
}

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

#[tokio::test]
async fn the_bearer_token_goes_to_further_origins_that_are_configured() {
    let issuer = TestIssuer::start().await;
    let other = TestIssuer::start().await;
    issuer.answer(DOCUMENT, 200, document(&issuer.base, &other.url(KEYS)));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "token").unwrap();
    let bearer_token_origins = vec![other.base.clone()];
    let client = Client::of(OidcSettings {
        bearer_token_file: Some(file.path().into()),
        bearer_token_origins,
        ..settings(&issuer.base)
    });
    assert_eq!(client.fetched().await, Ok("k1".to_owned()));
    assert_eq!(other.heard(AUTHORIZATION), Some("Bearer token".to_owned()));
}

#[tokio::test]
async fn a_proxy_is_used_and_its_password_is_not_printed() {
    let proxy = TestIssuer::start().await;
    let name = "http://issuer.example";
    proxy.answer(DOCUMENT, 200, document(name, "http://issuer.example/keys"));
    let url = proxy.base.replace("http://", "http://user:hunter2@");
    let over = OidcSettings {
        proxy: Some(Secret::new(url)),
        ..settings(name)
    };
    assert!(!format!("{over:?}").contains("hunter2"));
    assert_eq!(Client::of(over.clone()).fetched().await, Ok("k1".to_owned()));
    assert!(proxy.heard(http::header::PROXY_AUTHORIZATION).is_some());
    drop(proxy);
    let why = Client::of(over).fetched().await.unwrap_err();
    assert!(!why.contains("hunter2"), "{why}");
}

#[tokio::test]
async fn the_bearer_token_is_read_anew_and_goes_only_to_configured_origins() {
    let issuer = TestIssuer::start().await;
    let other = TestIssuer::start().await;
    issuer.answer(DOCUMENT, 200, document(&issuer.base, &other.url(KEYS)));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first\n").unwrap();
    let client = Client::of(OidcSettings {
        bearer_token_file: Some(file.path().into()),
        ..settings(&issuer.base)
    });
    assert_eq!(client.fetched().await, Ok("k1".to_owned()));
    assert_eq!(
        (issuer.heard(AUTHORIZATION), other.heard(AUTHORIZATION)),
        (Some("Bearer first".to_owned()), None)
    );

    std::fs::write(file.path(), "second").unwrap();
    let client = Client::of(OidcSettings {
        bearer_token_file: Some(file.path().into()),
        jwks_url: Some(other.url(KEYS)),
        ..settings(&issuer.base)
    });
    assert_eq!(client.fetched().await, Ok("k1".to_owned()));
    assert_eq!(other.heard(AUTHORIZATION), Some("Bearer second".to_owned()));

    std::fs::write(file.path(), "\n").unwrap();
    let client = Client::of(OidcSettings {
        bearer_token_file: Some(file.path().into()),
        ..settings(&issuer.base)
    });
    assert!(
        client
            .fetched()
            .await
            .unwrap_err()
            .contains("the bearer token file holds no token")
    );
}

#[tokio::test]
async fn a_rejected_fetch_says_whether_the_bearer_token_was_sent_and_which_setting_would_send_it() {
    // Like a Kubernetes API server: discovery by one name, and the key set at the advertise address, which is
    // another origin.
    let issuer = TestIssuer::start().await;
    let advertised = TestIssuer::start().await;
    issuer.answer(DOCUMENT, 200, document(&issuer.base, &advertised.url(KEYS)));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "token").unwrap();
    let with_token = OidcSettings {
        bearer_token_file: Some(file.path().into()),
        ..settings(&issuer.base)
    };
    for status in [401, 403] {
        advertised.answer(KEYS, status, vec![]);
        let why = Client::of(settings(&issuer.base)).fetched().await.unwrap_err();
        assert!(
            why.contains(&format!("found {status}"))
                && why.contains("no bearer token was sent")
                && why.contains("`bearerTokenFile`"),
            "{why}"
        );
        let why = Client::of(with_token.clone()).fetched().await.unwrap_err();
        assert!(
            why.contains(&format!("was not sent to {0}", advertised.base))
                && why.contains(&format!("add {} to `bearerTokenOrigins`", advertised.base)),
            "{why}"
        );
        let origins = vec![advertised.base.clone()];
        let why = Client::of(OidcSettings {
            bearer_token_origins: origins,
            ..with_token.clone()
        })
        .fetched()
        .await
        .unwrap_err();
        let sent = format!(
            "{} (`bearerTokenFile`) was sent to {}",
            file.path().display(),
            advertised.base
        );
        assert!(why.contains(&sent) && !why.contains("Origins"), "{why}");
    }
}

#[tokio::test]
async fn a_private_authority_replaces_the_systems_and_can_change() {
    let good = ca("good");
    let other = ca("other");
    let issuer = TestIssuer::start_tls(&good).await;
    let over = |ca| OidcSettings {
        ca: Some(ca),
        resolve: vec![("site.test".into(), issuer.address)],
        ..settings(&issuer.base)
    };
    assert_eq!(
        Client::of(over(CaSource::Inline(good.pem.clone().into())))
            .fetched()
            .await,
        Ok("k1".to_owned())
    );

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &other.pem).unwrap();
    let client = Client::of(over(CaSource::File(file.path().into())));
    let why = client.fetched().await.unwrap_err();
    let sentence = format!(
        "no connection: the certificate CN=rcgen self signed cert of site.test was issued by CN=good, and no chain leads from there \
         to the authorities in {}; name its authority in certificateAuthorityFile, or have the server send its intermediate certificates",
        file.path().display()
    );
    assert!(why.contains(&sentence), "{why}");
    std::fs::write(file.path(), &good.pem).unwrap();
    client.hand.advance(Duration::from_secs(60));
    assert_eq!(client.fetched().await, Ok("k1".to_owned()));

    let unusable = Client::of(over(CaSource::Inline(b"no PEM".to_vec())));
    assert!(
        unusable
            .fetched()
            .await
            .unwrap_err()
            .contains("expected PEM with at least one certificate, found none")
    );
}

#[tokio::test]
async fn a_copy_on_disk_of_other_settings_is_not_used() {
    let issuer = TestIssuer::start().await;
    let home = tempfile::tempdir().unwrap();
    let client = |settings: OidcSettings| {
        let last_good = LastGood::new(home.path());
        let (clock, hand) = Clock::manual(START);
        let keys = authorities(&paced(
            settings,
            clock.clone(),
            Some(&last_good),
            Pace::OIDC,
            TIMEOUT,
        ));
        (Client { keys, clock, hand }, last_good)
    };
    let (first, last_good) = client(settings(&issuer.base));
    assert_eq!(first.fetched().await, Ok("k1".to_owned()));
    last_good.flush();
    issuer.set_unreachable(true);
    let good = settings(&issuer.base);
    for corrected in [
        OidcSettings {
            ca: Some(CaSource::Inline(ca("other").pem.clone().into())),
            ..good.clone()
        },
        OidcSettings {
            ca: Some(CaSource::File(home.path().join("ca.pem"))),
            ..good.clone()
        },
        OidcSettings {
            proxy: Some(Secret::new("http://user:pa55@127.0.0.1:1")),
            ..good.clone()
        },
        OidcSettings {
            skip_issuer: true,
            ..good.clone()
        },
    ] {
        assert!(
            client(corrected.clone()).0.fetched().await.is_err(),
            "{corrected:?}"
        );
    }
    assert_eq!(client(good).0.fetched().await, Ok("k1".to_owned()));
}

#[tokio::test]
async fn an_https_document_must_not_name_an_http_key_set() {
    let authority = ca("authority");
    let issuer = TestIssuer::start_tls(&authority).await;
    issuer.answer(DOCUMENT, 200, document(&issuer.base, "http://site.test/keys"));
    let client = Client::of(OidcSettings {
        ca: Some(CaSource::Inline(authority.pem.into())),
        resolve: vec![("site.test".into(), issuer.address)],
        ..settings(&issuer.base)
    });
    assert!(
        client
            .fetched()
            .await
            .unwrap_err()
            .contains("expected an https `jwks_uri`")
    );
}

#[tokio::test]
async fn a_url_with_a_password_is_rejected_and_not_printed() {
    let discovery_url = Some("https://user:hunter2@issuer.example/document".to_owned());
    let why = Client::of(OidcSettings {
        discovery_url,
        ..settings("https://issuer.example")
    })
    .fetched()
    .await
    .unwrap_err();
    assert!(
        why.contains("without a user or password") && !why.contains("hunter2"),
        "{why}"
    );
}

const DOCUMENT: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";

/// An issuer on a real socket.
struct TestIssuer(Site);

impl TestIssuer {
    async fn start() -> Self {
        Self::good(Site::plain().await)
    }

    async fn start_tls(authority: &Ca) -> Self {
        Self::good(Site::tls(&server(authority)).await)
    }

    fn good(site: Site) -> Self {
        let issuer = Self(site);
        issuer.reset();
        issuer
    }

    /// Makes the issuer valid again.
    fn reset(&self) {
        self.answer(DOCUMENT, 200, document(&self.base, &self.url(KEYS)));
        self.answer(KEYS, 200, jwk_set(&["k1"]));
    }
}

impl Deref for TestIssuer {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.0
    }
}

fn document(issuer: &str, jwks_uri: &str) -> Vec<u8> {
    serde_json::json!({ "issuer": issuer, "jwks_uri": jwks_uri, "response_types_supported": ["id_token"] })
        .to_string()
        .into_bytes()
}

const START: Timestamp = Timestamp::from_secs(1_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn settings(issuer: &str) -> OidcSettings {
    OidcSettings {
        name: None,
        issuer: issuer.to_owned(),
        discovery_url: None,
        jwks_url: None,
        ca: None,
        bearer_token_file: None,
        bearer_token_origins: Vec::new(),
        proxy: None,
        skip_issuer: false,
        max_stale: DAY,
        resolve: Vec::new(),
    }
}

fn authorities(source: &Source) -> Arc<Authorities<KeySet>> {
    Arc::new(source.jwt().into_iter().collect())
}

/// A client that verifies tokens, with its own clock.
struct Client {
    keys: Arc<Authorities<KeySet>>,
    clock: Clock,
    hand: ManualClock,
}

impl Client {
    fn of(settings: OidcSettings) -> Self {
        Self::paced(settings, Pace::OIDC)
    }

    fn paced(settings: OidcSettings, pace: Pace) -> Self {
        let (clock, hand) = Clock::manual(START);
        Self {
            keys: authorities(&paced(settings, clock.clone(), None, pace, TIMEOUT)),
            clock,
            hand,
        }
    }

    /// Returns the key IDs after a fetch, or why there are none.
    async fn fetched(&self) -> Result<String, String> {
        self.keys.refetch(self.clock.now()).await;
        self.key_ids()
    }

    fn key_ids(&self) -> Result<String, String> {
        let held = self.keys.view(self.clock.now()).map_err(|e| e.to_string())?;
        Ok(held.keys.key_ids().collect::<Vec<_>>().join(" "))
    }
}

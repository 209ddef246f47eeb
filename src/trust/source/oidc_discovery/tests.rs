//! Tests with issuers over real sockets: discovery, faults and the number of fetches.

mod bearer_token;
mod refetching;
mod words;

use super::*;
use crate::clock::ManualClock;
use crate::trust::Authorities;
use crate::trust::jwks::KeySet;
use crate::trust::source::testing::site::server;
use crate::trust::source::testing::{UNUSABLE, eventually, eventually_after, jwk_set};
use std::ops::Deref;
use tokio::net::TcpListener;
use wharfinger_testkit::{Ca, Site};

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
async fn a_private_authority_replaces_the_systems_and_can_change() {
    let good = Ca::root("good");
    let other = Ca::root("other");
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
            ca: Some(CaSource::Inline(Ca::root("other").pem.clone().into())),
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
    let authority = Ca::root("authority");
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

//! Tests with endpoints over real sockets.

mod copy_on_disk;
mod servers;

use super::*;
use crate::clock::ManualClock;
use crate::trust::Generation;
use crate::trust::source::testing::site::{server, svid};
use crate::trust::source::testing::{bundle, eventually, jwk_set};
use http::header::{AUTHORIZATION, COOKIE, ETAG};
use rcgen::ExtendedKeyUsagePurpose::ServerAuth;
use serde_json::Value;
use tempfile::TempDir;
use wharfinger_testkit::{Ca, Site};

const TRUST_DOMAIN: &str = "prod.example";
const ENDPOINT: &str = "spiffe://prod.example/spire/server";
const PATH: &str = "/bundle";
const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);
const HINT: Duration = Duration::from_secs(300);

#[tokio::test]
async fn f_6_self_serving_rotation_uses_the_bundle_that_was_fetched_last() {
    let old = Ca::root("old");
    let new = Ca::root("new");
    let stranger = Ca::root("stranger");
    let site = Site::tls(&svid(&old, ENDPOINT, &[ServerAuth])).await;
    site.answer(PATH, 200, bundle(1, &[old.element(), new.element()]));
    let home = Home::with(&old);
    let client = Client::of(home.settings(&site));
    client.fetched().await;
    // The endpoint has a new certificate of an authority that is not in the bootstrap bundle.
    site.present(&svid(&new, ENDPOINT, &[ServerAuth]));
    site.answer(PATH, 200, bundle(2, &[new.element()]));
    client.again().await;
    assert_eq!((client.roots(), client.status().sequence), (Some(1), Some(2)));
    // The withdrawn authority no longer verifies the endpoint, although it is in the bootstrap bundle.
    site.present(&svid(&old, ENDPOINT, &[ServerAuth]));
    site.answer(PATH, 200, bundle(3, &[stranger.element()]));
    client.again().await;
    let status = client.status();
    assert!(
        status
            .last_error
            .unwrap()
            .contains("to an authority from the bundle")
    );
    assert_eq!(status.sequence, Some(2));
    // The operator can change that.
    std::fs::write(home.path(), bundle(9, &[old.element()])).unwrap();
    site.answer(PATH, 200, bundle(10, &[old.element()]));
    client.again().await;
    assert_eq!(
        (client.status().last_error, client.status().sequence),
        (None, Some(10))
    );
}

#[tokio::test]
async fn f_7_a_lower_sequence_is_rejected_while_the_higher_one_is_in_use() {
    let web = Ca::root("web");
    let first = Ca::root("first");
    let second = Ca::root("second");
    let site = Site::tls(&server(&web)).await;
    site.answer(PATH, 200, bundle(7, &[second.element()]));
    let home = Home::with(&web);
    let client = Client::kept(web_settings(&site, &web), &home);
    client.fetched().await;
    let generation = client.generation();
    site.answer(PATH, 200, bundle(6, &[first.element()]));
    client.again().await;
    assert!(
        client
            .status()
            .last_error
            .unwrap()
            .contains("expected a spiffe_sequence of 7 or more, found 6")
    );
    assert_eq!(client.generation(), generation);
    drop(client);

    let client = Client::kept(web_settings(&site, &web), &home);
    client.start().await;
    assert!(
        client.status().last_error.unwrap().contains("spiffe_sequence"),
        "nor after a restart"
    );
    assert!(client.status().from_disk);
    client.hand.advance(DAY);
    client.again().await;
    assert_eq!(
        client.status().sequence,
        Some(6),
        "a stale bundle does not prevent a rollback"
    );
    site.answer(PATH, 200, bundle(6, &[second.element()]));
    client.again().await;
    assert_eq!(
        client.status().last_error,
        None,
        "with equal sequences the newest bundle is used"
    );
    let without = serde_json::json!({"keys": [first.element()]}).to_string();
    site.answer(PATH, 200, without);
    client.again().await;
    assert_eq!(
        (client.status().last_error, client.status().sequence),
        (None, None),
        "and of none"
    );
}

#[tokio::test]
async fn f_8_the_endpoint_is_polled_at_its_hint_and_not_aggressively_when_it_fails() {
    let web = Ca::root("web");
    let site = Site::tls(&server(&web)).await;
    for (hint, expected) in [
        (Some(600), 600),
        (Some(1), 60),
        (Some(-5), 60),
        (None, 300),
        (Some(30 * 24 * 3600), 12 * 3600),
    ] {
        let mut document: Value = serde_json::from_slice(&bundle(1, &[web.element()])).unwrap();
        match hint {
            Some(hint) => document["spiffe_refresh_hint"] = hint.into(),
            None => drop(document.as_object_mut().unwrap().remove("spiffe_refresh_hint")),
        }
        site.answer(PATH, 200, document.to_string());
        let client = Client::of(web_settings(&site, &web));
        client.fetched().await;
        assert_eq!(
            client.status().next_refresh.unwrap().since(START).as_secs(),
            expected,
            "{hint:?}"
        );
    }
    site.answer(PATH, 500, "");
    let client = Client::of(web_settings(&site, &web));
    client.start().await;
    let mut pauses = Vec::new();
    for _ in 0..12 {
        pauses.push(
            client
                .status()
                .next_refresh
                .unwrap()
                .since(client.clock.now())
                .as_secs(),
        );
        client.again().await;
    }
    assert!(
        pauses[0] <= 1 && pauses.iter().all(|pause| *pause <= 450) && pauses[11] >= 150,
        "{pauses:?}"
    );
}

#[tokio::test]
async fn f_10_the_endpoint_learns_nothing_of_the_client() {
    let root = Ca::root("root");
    let site = Site::tls(&svid(&root, ENDPOINT, &[ServerAuth])).await;
    site.answer(PATH, 200, bundle(1, &[root.element()]));
    Client::of(Home::with(&root).settings(&site)).fetched().await;
    assert_eq!((site.heard(AUTHORIZATION), site.heard(COOKIE)), (None, None));
}

#[tokio::test]
async fn f_11_a_bundle_that_is_emptied_revokes_at_the_next_fetch() {
    let web = Ca::root("web");
    let site = Site::tls(&server(&web)).await;
    site.answer(PATH, 200, bundle(1, &[web.element()]));
    let client = Client::of(web_settings(&site, &web));
    client.fetched().await;
    site.answer(PATH, 200, bundle(2, &[]));
    client.again().await;
    assert_eq!(client.roots(), Some(0));
}

#[tokio::test]
async fn f_12_only_a_whole_well_formed_answer_in_time_replaces() {
    let web = Ca::root("web");
    let site = Site::tls(&server(&web)).await;
    let good = bundle(1, &[web.element()]);
    site.answer(PATH, 200, good.clone());
    let client = Client::of(web_settings(&site, &web));
    client.fetched().await;
    let generation = client.generation();
    for (status, body, expected) in [
        (404, good.clone(), "expected status 200, found 404"),
        (203, good.clone(), "expected status 200, found 203"),
        (304, vec![], "expected status 200, found 304"),
        (200, b"<html>".to_vec(), "not a SPIFFE bundle"),
        (200, good[..good.len() - 1].to_vec(), "not a SPIFFE bundle"),
        (200, jwk_set(&["k1"])[1..].to_vec(), "not a SPIFFE bundle"),
        (
            200,
            [&good[..good.len() - 1], b"\xff}"].concat(),
            "not a SPIFFE bundle",
        ),
        (200, vec![b' '; 100 * 1024 * 1024], "larger than 4194304 bytes"),
    ] {
        site.answer(PATH, status, body);
        client.again().await;
        let why = client.status().last_error.unwrap();
        assert!(why.contains(expected), "{expected}: {why}");
        assert_eq!(client.generation(), generation);
    }
    let hold = site.hold();
    client.again().await;
    assert!(
        client
            .status()
            .last_error
            .unwrap()
            .contains("no complete answer within")
    );
    drop(hold);
    site.answer(PATH, 200, good);
    client.again().await;
    assert_eq!(
        (client.status().last_error, client.generation()),
        (None, generation)
    );
}

#[tokio::test]
async fn the_valid_keys_of_a_bundle_of_a_thousand_are_used() {
    let web = Ca::root("web");
    let site = Site::tls(&server(&web)).await;
    let mut elements: Vec<_> = (0..1_000).map(|index| jwt_key(&format!("k{index}"))).collect();
    elements.insert(
        500,
        serde_json::json!({"kty": "AKP", "use": "jwt-svid", "kid": "future"}),
    );
    elements.push(serde_json::json!({"kty": "EC", "use": "jwt-svid"}));
    elements.push(web.element());
    site.answer(PATH, 200, bundle(1, &elements));
    let client = Client::of(web_settings(&site, &web));
    client.fetched().await;
    let slot = client.source.slots.jwt.as_ref().unwrap();
    assert_eq!(
        (
            slot.held().unwrap().keys.len(),
            client.roots(),
            slot.status().skipped.len()
        ),
        (1_000, Some(1), 2)
    );
}

#[tokio::test]
async fn an_unchanged_bundle_is_not_sent_again() {
    let web = Ca::root("web");
    let site = Site::tls(&server(&web)).await;
    site.answer(PATH, 200, bundle(1, &[web.element()]));
    site.header(PATH, ETAG, "\"v1\"");
    let client = Client::of(web_settings(&site, &web));
    client.fetched().await;
    let generation = client.generation();
    client.again().await;
    assert_eq!(site.heard(http::header::IF_NONE_MATCH).as_deref(), Some("\"v1\""));
    assert_eq!(
        (client.status().as_of, client.generation()),
        (client.status().as_of, generation)
    );
    assert_eq!(client.status().last_error, None);
}

fn jwt_key(kid: &str) -> Value {
    let mut set: Value = serde_json::from_slice(&jwk_set(&[kid])).unwrap();
    set["keys"][0]["use"] = "jwt-svid".into();
    set["keys"][0].take()
}

fn web_settings(site: &Site, authority: &Ca) -> FederationSettings {
    FederationSettings {
        trust_domain: TRUST_DOMAIN.parse().unwrap(),
        url: site.url(PATH),
        profile: EndpointProfile::Web {
            ca: Some(CaSource::Inline(authority.pem.clone().into_bytes())),
        },
        proxy: None,
        max_stale: DAY,
        resolve: site.resolve(),
    }
}

/// A folder with a bootstrap bundle and the state.
struct Home(TempDir);

impl Home {
    fn with(authority: &Ca) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::write(home.path(), bundle(1, &[authority.element()])).unwrap();
        home
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("bootstrap.json")
    }

    fn settings(&self, site: &Site) -> FederationSettings {
        let profile = EndpointProfile::Spiffe {
            endpoint: ENDPOINT.parse().unwrap(),
            bootstrap: self.path(),
        };
        FederationSettings {
            profile,
            ..web_settings(site, &Ca::root("nobody"))
        }
    }
}

/// A client that trusts the trust domain, with its own clock.
struct Client {
    source: Source,
    clock: Clock,
    hand: ManualClock,
    last_good: Option<Arc<LastGood>>,
}

impl Client {
    fn of(settings: FederationSettings) -> Self {
        Self::at(START, settings, None)
    }

    fn kept(settings: FederationSettings, home: &Home) -> Self {
        Self::at(START, settings, Some(home))
    }

    fn at(now: Timestamp, settings: FederationSettings, home: Option<&Home>) -> Self {
        Self::built(now, settings, home, Duration::from_secs(1))
    }

    fn built(now: Timestamp, settings: FederationSettings, home: Option<&Home>, timeout: Duration) -> Self {
        let (clock, hand) = Clock::manual(now);
        let last_good = home.map(|home| LastGood::new(home.0.path()));
        let pace = Pace {
            patience: Duration::from_millis(200),
            ..Pace::FEDERATION
        };
        let source = paced(settings, clock.clone(), last_good.as_ref(), pace, timeout);
        Self {
            source,
            clock,
            hand,
            last_good,
        }
    }

    fn status(&self) -> crate::trust::Status {
        self.source.slots.x509.as_ref().unwrap().status()
    }

    fn attempts(&self) -> u64 {
        self.status().attempts
    }

    /// Starts it and waits for the first outcome.
    async fn start(&self) {
        self.source.start();
        eventually("the first attempt", || {
            self.attempts() > 0 && self.status().next_refresh.is_some()
        })
        .await;
    }

    async fn fetched(&self) {
        self.start().await;
        assert_eq!(self.status().last_error, None);
        self.last_good.iter().for_each(|all| all.flush());
    }

    async fn refused(&self) -> String {
        self.start().await;
        assert!(self.roots().is_none());
        self.status().last_error.unwrap()
    }

    /// Advances the clock to the next fetch and waits for its outcome. Returns the number of fetches.
    async fn again(&self) -> u64 {
        let before = self.attempts();
        let next = self.status().next_refresh.unwrap();
        if next <= self.clock.now() {
            self.hand.advance(HINT);
        } else {
            self.hand.set(next);
        }
        let done = || self.attempts() > before && self.status().next_refresh.unwrap() > next;
        eventually("the next attempt", done).await;
        self.attempts()
    }

    fn roots(&self) -> Option<usize> {
        self.source
            .slots
            .x509
            .as_ref()
            .unwrap()
            .held()
            .map(|held| held.keys.len())
    }

    fn key_ids(&self) -> Option<String> {
        let held = self.source.slots.jwt.as_ref().unwrap().held()?;
        Some(held.keys.key_ids().collect::<Vec<_>>().join(" "))
    }

    fn generation(&self) -> Generation {
        self.source
            .slots
            .x509
            .as_ref()
            .unwrap()
            .held()
            .unwrap()
            .generation
    }
}

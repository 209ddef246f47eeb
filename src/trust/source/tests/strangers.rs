//! What strangers can make us do: nothing much.

use crate::clock::{Clock, Timestamp};
use crate::trust::jwks::KeySet;
use crate::trust::jwt::testing::Signer;
use crate::trust::jwt::{self, Algorithm, Failure, OidcRules, Rejected, Unverified};
use crate::trust::source::oidc_discovery::paced;
use crate::trust::source::testing::site::Site;
use crate::trust::source::testing::{eventually, jwk_set};
use crate::trust::source::{OidcSettings, Source};
use crate::trust::{Authorities, refresh::Pace};
use futures_util::future::join_all;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const DOCUMENT: &str = "/.well-known/openid-configuration";

async fn issuer() -> (Site, OidcSettings) {
    let site = Site::plain().await;
    site.answer(DOCUMENT, 200, json!({"issuer": site.base, "jwks_uri": site.url("/keys")}).to_string());
    site.answer("/keys", 200, jwk_set(&["k1"]));
    let settings = OidcSettings {
        issuer: site.base.clone(),
        discovery_url: None,
        jwks_url: None,
        ca: None,
        bearer_token_file: None,
        bearer_token_origins: Vec::new(),
        proxy: None,
        skip_issuer: false,
        max_stale: Duration::from_secs(24 * 3600),
        resolve: Vec::new(),
    };
    (site, settings)
}

fn rules(issuer: &str) -> OidcRules {
    OidcRules {
        hosts: Vec::new(),
        issuer: issuer.to_owned(),
        skip_issuer: false,
        audiences: vec!["registry".to_owned()],
        algorithms: None,
        clock_skew: Duration::ZERO,
        max_lifetime: None,
        single_audience: false,
    }
}

fn open(settings: OidcSettings, clock: &Clock) -> (Source, Arc<Authorities<KeySet>>) {
    let source = paced(settings, clock.clone(), None, Pace::OIDC, Duration::from_secs(10));
    let keys = Arc::new(source.jwt().into_iter().collect());
    (source, keys)
}

fn token(signer: &Signer, kid: &str, issuer: &str) -> Unverified {
    let header = json!({"alg": "ES256", "kid": kid}).to_string();
    let claims = json!({"iss": issuer, "sub": "s", "aud": "registry", "exp": START.as_secs() + 10_000}).to_string();
    Unverified::parse(&signer.token_of(&header, &claims)).unwrap()
}

#[tokio::test]
async fn ten_thousand_random_kids_cause_at_most_one_fetch_in_10_s() {
    let (site, settings) = issuer().await;
    let (clock, hand) = Clock::manual(START);
    let (_source, keys) = open(settings, &clock);
    let (rules, signer) = (rules(&site.base), Signer::new(Algorithm::ES256, "stranger"));
    keys.refetch(clock.now()).await;
    let mut random = fastrand::Rng::with_seed(7);
    for second in 0..100 {
        let before = site.count("/keys");
        let strangers: Vec<_> = (0..100).map(|_| token(&signer, &random.u64(..).to_string(), &site.base)).collect();
        let judged = strangers.iter().map(async |token| jwt::verify_oidc(token, &[&rules], &keys, clock.now()).await.is_ok());
        assert!(!join_all(judged).await.contains(&true));
        let fetches = site.count("/keys") - before;
        assert!(fetches <= 1, "{fetches} in second {second}");
        hand.advance(Duration::from_secs(1));
    }
    assert!((9..=11).contains(&site.count("/keys")), "{} fetches in 100 s", site.count("/keys"));
    assert_eq!(site.count(DOCUMENT), 1);
}

#[tokio::test]
async fn a_bad_signature_under_a_known_kid_causes_none() {
    let (site, settings) = issuer().await;
    let (clock, hand) = Clock::manual(START);
    let (_source, keys) = open(settings, &clock);
    keys.refetch(clock.now()).await;
    hand.advance(Duration::from_secs(60));
    let before = site.count("/keys");
    let forged = token(&Signer::new(Algorithm::ES256, "stranger"), "k1", &site.base);
    for _ in 0..1_000 {
        let refused = jwt::verify_oidc(&forged, &[&rules(&site.base)], &keys, clock.now()).await;
        assert!(matches!(refused, Err(Failure::Rejected(Rejected::Signature))));
    }
    assert_eq!(site.count("/keys"), before);
}

#[tokio::test]
async fn a_thousand_concurrent_first_requests_cause_one() {
    let (site, settings) = issuer().await;
    let signer = Signer::new(Algorithm::ES256, "k1");
    site.answer("/keys", 200, json!({"keys": [signer.jwk()]}).to_string());
    let (clock, _) = Clock::manual(START);
    let (_source, keys) = open(settings, &clock);
    let hold = site.hold();
    let (base, asking) = (site.base.clone(), keys.clone());
    let everyone = tokio::spawn(async move {
        let (token, rules) = (token(&signer, "k1", &base), rules(&base));
        let request = async |_| jwt::verify_oidc(&token, &[&rules], &asking, START).await.is_ok();
        join_all((0..1_000).map(request)).await
    });
    eventually("the fetch began", || site.seen() == 1).await;
    drop(hold);
    assert!(!everyone.await.unwrap().contains(&false), "all are let in");
    assert_eq!((site.count(DOCUMENT), site.count("/keys")), (1, 1));
}

#[tokio::test]
async fn large_and_odd_key_sets_have_the_outcome_that_was_decided() {
    let (site, settings) = issuer().await;
    let signer = Signer::new(Algorithm::ES256, "k1");
    let many: Vec<_> = (0..1_000).map(|index| Signer::new(Algorithm::ES256, &index.to_string()).jwk()).collect();
    let present = async |body: Vec<u8>| {
        site.answer("/keys", 200, body);
        let (clock, _) = Clock::manual(START);
        let (source, keys) = open(settings.clone(), &clock);
        let judged = jwt::verify_oidc(&token(&signer, "k1", &site.base), &[&rules(&site.base)], &keys, START).await;
        (judged.is_ok(), source.jwt().unwrap().slot.status())
    };
    let (good, status) = present(json!({"keys": [{"kty": "AKP", "kid": "future"}, signer.jwk()]}).to_string().into_bytes()).await;
    assert!(good, "an unknown key type is skipped and the rest counts");
    assert_eq!(status.skipped.len(), 1);
    let thousand = many.iter().chain([&signer.jwk()]).cloned().collect::<Vec<_>>();
    let (good, status) = present(json!({ "keys": thousand }).to_string().into_bytes()).await;
    assert!(good);
    assert_eq!(status.keys.len(), 1_001);
    let (good, status) = present(vec![b' '; 100 * 1024 * 1024]).await;
    assert!(!good && status.last_error.unwrap().contains("larger than 1048576 bytes"));
    site.answer(DOCUMENT, 200, json!({"issuer": "https://another.example", "jwks_uri": site.url("/keys")}).to_string());
    let (good, status) = present(json!({"keys": [signer.jwk()]}).to_string().into_bytes()).await;
    assert!(!good && status.last_error.unwrap().contains("found `https://another.example`"));
}

//! Tests of the work that unauthenticated clients can cause.

use crate::clock::{Clock, Timestamp};
use crate::trust::jwks::KeySet;
use crate::trust::jwt::testing::Signer;
use crate::trust::jwt::{self, Algorithm, Failure, OidcRules, Rejected, Unverified};
use crate::trust::source::oidc_discovery::paced;
use crate::trust::source::testing::{eventually, eventually_after, jwk_set};
use crate::trust::source::{OidcSettings, Source};
use crate::trust::{Authorities, NoKeys, Slot, SourceKind, WaitingRoom, refresh::Pace};
use futures_util::future::join_all;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use wharfinger_testkit::Site;

pub(super) const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const DOCUMENT: &str = "/.well-known/openid-configuration";

pub(super) async fn issuer() -> (Site, OidcSettings) {
    let site = Site::plain().await;
    site.answer(
        DOCUMENT,
        200,
        json!({"issuer": site.base, "jwks_uri": site.url("/keys")}).to_string(),
    );
    site.answer("/keys", 200, jwk_set(&["k1"]));
    let settings = OidcSettings {
        name: None,
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

pub(super) fn rules(issuer: &str) -> OidcRules {
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

pub(super) fn token(signer: &Signer, kid: &str, issuer: &str) -> Unverified {
    let header = json!({"alg": "ES256", "kid": kid}).to_string();
    let claims =
        json!({"iss": issuer, "sub": "s", "aud": "registry", "exp": START.as_secs() + 10_000}).to_string();
    Unverified::parse(&signer.token_of(&header, &claims)).unwrap()
}

#[tokio::test]
async fn ten_thousand_random_kids_cause_at_most_one_fetch_in_10_s() {
    let world = Waiters::new().await;
    let signer = Signer::new(Algorithm::ES256, "stranger");
    let mut random = fastrand::Rng::with_seed(7);
    let mut requests = Vec::new();
    let mut fetches = 1;
    let mut last_fetch = START;
    for second in 0..100 {
        let from = |index: u8| [192, 0, 2, index % 20];
        requests
            .extend((0..100).map(|index| world.present(&signer, &random.u64(..).to_string(), from(index))));
        let answered = || requests.iter().filter(|request| request.is_finished()).count();
        eventually("they wait or are answered", || {
            world.room.taken() + answered() >= requests.len()
        })
        .await;
        world.hand.advance(Duration::from_secs(1));
        let now = world.clock.now();
        if now.since(last_fetch) >= Duration::from_secs(10) {
            // The clock stands until this fetch has ended, so a slow machine cannot make it late.
            eventually("a fetch answers every waiting request", || {
                world.room.taken() == 0
            })
            .await;
            last_fetch = now;
            fetches += 1;
        }
        assert_eq!(world.site.count("/keys"), fetches, "after {second} s");
    }
    assert_eq!(fetches, 11, "one at the start, and one in each 10 s");
    eventually_after(
        "all are answered",
        || world.hand.advance(Duration::from_secs(1)),
        || world.room.taken() == 0,
    )
    .await;
    for outcome in join_all(requests).await {
        let why = outcome.unwrap().unwrap_err();
        let no_place = why == Failure::Undecidable(NoKeys::NoPlace);
        assert!(
            no_place || matches!(why, Failure::Rejected(Rejected::UnknownKey { .. })),
            "{why}"
        );
    }
    assert_eq!(world.site.count(DOCUMENT), 1);
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
    let base = site.base.clone();
    let asking = keys.clone();
    let everyone = tokio::spawn(async move {
        let token = token(&signer, "k1", &base);
        let rules = rules(&base);
        let request = async |_| jwt::verify_oidc(&token, &[&rules], &asking, START).await.is_ok();
        join_all((0..1_000).map(request)).await
    });
    eventually("the fetch began", || site.seen() == 1).await;
    drop(hold);
    assert!(
        !everyone.await.unwrap().contains(&false),
        "every request is accepted"
    );
    assert_eq!((site.count(DOCUMENT), site.count("/keys")), (1, 1));
}

#[tokio::test]
async fn large_and_odd_key_sets_have_the_specified_outcome() {
    let (site, settings) = issuer().await;
    let signer = Signer::new(Algorithm::ES256, "k1");
    let many: Vec<_> = (0..1_000)
        .map(|index| Signer::new(Algorithm::ES256, &index.to_string()).jwk())
        .collect();
    let present = async |body: Vec<u8>| {
        site.answer("/keys", 200, body);
        let (clock, _) = Clock::manual(START);
        let (source, keys) = open(settings.clone(), &clock);
        let judged = jwt::verify_oidc(
            &token(&signer, "k1", &site.base),
            &[&rules(&site.base)],
            &keys,
            START,
        )
        .await;
        (judged.is_ok(), source.jwt().unwrap().slot.status())
    };
    let (good, status) = present(
        json!({"keys": [{"kty": "AKP", "kid": "future"}, signer.jwk()]})
            .to_string()
            .into_bytes(),
    )
    .await;
    assert!(good, "an unknown key type is skipped and the other keys are used");
    assert_eq!(status.skipped.len(), 1);
    let thousand = many.iter().chain([&signer.jwk()]).cloned().collect::<Vec<_>>();
    let (good, status) = present(json!({ "keys": thousand }).to_string().into_bytes()).await;
    assert!(good);
    assert_eq!(status.keys.len(), 1_001);
    let (good, status) = present(vec![b' '; 100 * 1024 * 1024]).await;
    assert!(!good && status.last_error.unwrap().contains("larger than 1048576 bytes"));
    site.answer(
        DOCUMENT,
        200,
        json!({"issuer": "https://another.example", "jwks_uri": site.url("/keys")}).to_string(),
    );
    let (good, status) = present(json!({"keys": [signer.jwk()]}).to_string().into_bytes()).await;
    assert!(
        !good
            && status
                .last_error
                .unwrap()
                .contains("found `https://another.example`")
    );
}

/// An issuer that was fetched a second ago, and a client that verifies its tokens.
pub(super) struct Waiters {
    pub(super) site: Site,
    pub(super) hand: crate::clock::ManualClock,
    pub(super) clock: Clock,
    pub(super) keys: Arc<Authorities<KeySet>>,
    pub(super) room: WaitingRoom,
    _source: Source,
}

impl Waiters {
    pub(super) async fn new() -> Self {
        let (site, settings) = issuer().await;
        let (clock, hand) = Clock::manual(START);
        let source = paced(settings, clock.clone(), None, Pace::OIDC, Duration::from_secs(10));
        let room = WaitingRoom::new(clock.clone());
        let keys = Arc::new(
            source
                .jwt()
                .into_iter()
                .collect::<Authorities<_>>()
                .waiting_in(Some(&room)),
        );
        keys.refetch(START).await;
        hand.advance(Duration::from_secs(1));
        Self {
            site,
            hand,
            clock,
            keys,
            room,
            _source: source,
        }
    }

    pub(super) fn publish(&self, signer: &Signer) {
        self.site
            .answer("/keys", 200, json!({"keys": [signer.jwk()]}).to_string());
    }

    /// Presents a token from an address, in a task.
    pub(super) fn present(
        &self,
        signer: &Signer,
        kid: &str,
        from: [u8; 4],
    ) -> tokio::task::JoinHandle<Result<(), Failure>> {
        self.present_token(token(signer, kid, &self.site.base), from)
    }

    pub(super) fn present_token(
        &self,
        token: Unverified,
        from: [u8; 4],
    ) -> tokio::task::JoinHandle<Result<(), Failure>> {
        let token = token.sent_from(Some(IpAddr::from(from)));
        let rules = rules(&self.site.base);
        let keys = self.keys.clone();
        let now = self.clock.now();
        tokio::spawn(async move { jwt::verify_oidc(&token, &[&rules], &keys, now).await.map(drop) })
    }

    pub(super) async fn wait_for(&self, many: usize) {
        eventually("they wait", || self.room.taken() == many).await;
    }
}

pub(super) const VICTIM: [u8; 4] = [192, 0, 2, 1];
pub(super) const STRANGER: [u8; 4] = [192, 0, 2, 99];

#[tokio::test]
async fn a_key_that_appears_within_the_cool_down_is_found_by_the_next_fetch() {
    let world = Waiters::new().await;
    let fresh = Signer::new(Algorithm::ES256, "fresh");
    let stranger = Signer::new(Algorithm::ES256, "stranger");
    world.publish(&fresh);
    let good = world.present(&fresh, "fresh", VICTIM);
    let unknown = world.present(&stranger, "made-up", STRANGER);
    world.wait_for(2).await;
    world.hand.advance(Duration::from_secs(8));
    assert_eq!(
        (world.site.count("/keys"), world.room.taken()),
        (1, 2),
        "the cool-down lasts 10 s from the first fetch on"
    );
    world.hand.advance(Duration::from_secs(1));
    assert_eq!(good.await.unwrap(), Ok(()));
    assert!(
        matches!(
            unknown.await.unwrap(),
            Err(Failure::Rejected(Rejected::UnknownKey { .. }))
        ),
        "the key does not exist"
    );
    assert_eq!(
        (world.site.count("/keys"), world.room.taken()),
        (2, 0),
        "one fetch for both"
    );
}

#[tokio::test]
async fn a_failed_fetch_leaves_the_key_undecided() {
    let world = Waiters::new().await;
    let fresh = Signer::new(Algorithm::ES256, "fresh");
    let old = Signer::new(Algorithm::ES256, "k1");
    world.site.answer("/keys", 503, "");
    let waiting = world.present(&fresh, "fresh", VICTIM);
    world.wait_for(1).await;
    world.hand.advance(Duration::from_secs(9));
    let why = waiting.await.unwrap().unwrap_err();
    assert!(
        matches!(why, Failure::Undecidable(NoKeys::NotFetched { .. })),
        "{why:?}"
    );
    assert!(
        why.to_string().contains("expected status 200, found 503")
            && why.to_string().contains(&world.site.base),
        "{why}"
    );
    let forged = world.present(&old, "k1", STRANGER).await.unwrap();
    assert_eq!(
        forged,
        Err(Rejected::Signature.into()),
        "a known key is still verified"
    );
}

#[tokio::test]
async fn a_flood_of_made_up_key_ids_does_not_fail_other_clients() {
    let world = Waiters::new().await;
    let fresh = Signer::new(Algorithm::ES256, "fresh");
    let stranger = Signer::new(Algorithm::ES256, "stranger");
    world.publish(&fresh);
    let address = |index: u32| [192, 0, 2, 100 + u8::try_from(index % 4).unwrap()];
    let flood: Vec<_> = (0..1_100)
        .map(|index| world.present(&stranger, &format!("made-up {index}"), address(index)))
        .collect();
    let turned_away = || flood.iter().filter(|request| request.is_finished()).count();
    eventually("all places are taken", || {
        world.room.taken() == 1_000 && turned_away() == 100
    })
    .await;
    let victim = world.present(&fresh, "fresh", VICTIM);
    eventually("another client loses a place", || turned_away() == 101).await;
    world.hand.advance(Duration::from_secs(9));
    assert_eq!(victim.await.unwrap(), Ok(()));
    let outcomes = join_all(flood)
        .await
        .into_iter()
        .map(|outcome| outcome.unwrap().unwrap_err());
    let (no_place, refused): (Vec<_>, Vec<_>) =
        outcomes.partition(|why| *why == Failure::Undecidable(NoKeys::NoPlace));
    assert_eq!((no_place.len(), refused.len()), (101, 999));
    assert_eq!(world.site.count("/keys"), 2, "and all of them cause one fetch");
}

#[tokio::test]
async fn asking_too_early_for_a_key_does_not_get_it_rejected_later() {
    let world = Waiters::new().await;
    let fresh = Signer::new(Algorithm::ES256, "fresh");
    let stranger = Signer::new(Algorithm::ES256, "stranger");
    world.hand.advance(Duration::from_secs(10));
    let early = world.present(&stranger, "fresh", STRANGER).await.unwrap();
    assert!(
        matches!(early, Err(Failure::Rejected(Rejected::UnknownKey { .. }))),
        "the source may be fetched at once"
    );
    world.publish(&fresh);
    world.hand.advance(Duration::from_secs(1));
    let good = world.present(&fresh, "fresh", VICTIM);
    world.wait_for(1).await;
    world.hand.advance(Duration::from_secs(9));
    assert_eq!(good.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_failing_source_that_updates_itself_leaves_an_unknown_key_undecided() {
    let slot = Slot::of(SourceKind::WorkloadApi, "Workload API unix:///agent");
    let keys =
        Authorities::new(vec![slot.clone()]).waiting_in(Some(&WaitingRoom::new(Clock::manual(START).0)));
    slot.publish(KeySet::default(), START, Timestamp::MAX);
    let token = token(
        &Signer::new(Algorithm::ES256, "new"),
        "new",
        "https://issuer.example",
    );
    let rules = rules("https://issuer.example");
    let judge = async || jwt::verify_oidc(&token, &[&rules], &keys, START).await.map(drop);
    assert!(matches!(
        judge().await,
        Err(Failure::Rejected(Rejected::UnknownKey { .. }))
    ));
    slot.fail("the agent ended the stream");
    let why = judge().await.unwrap_err();
    assert!(
        matches!(&why, Failure::Undecidable(_)) && why.to_string().contains("the agent ended the stream"),
        "{why}"
    );
}

#[tokio::test]
async fn keys_of_two_replicas_verify_side_by_side_for_ten_minutes_and_never_after_an_empty_set() {
    let (site, settings) = issuer().await;
    let (clock, hand) = Clock::manual(START);
    let (source, keys) = open(settings, &clock);
    let one = Signer::new(Algorithm::ES256, "one");
    let two = Signer::new(Algorithm::ES256, "two");
    let rules = rules(&site.base);
    let fetched = async |signers: &[&Signer]| {
        site.answer(
            "/keys",
            200,
            json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string(),
        );
        hand.advance(Duration::from_secs(10));
        keys.refetch(clock.now()).await;
        assert_eq!(source.jwt().unwrap().slot.held().unwrap().as_of, clock.now());
    };
    let until = async |signer: &Signer| {
        let token = signer.token_of(
            signer.header().to_string(),
            json!({"iss": site.base, "sub": "s", "aud": "registry", "exp": START.as_secs() + 10_000})
                .to_string(),
        );
        let verified =
            jwt::verify_oidc(&Unverified::parse(&token).unwrap(), &[&rules], &keys, clock.now()).await;
        verified
            .ok()
            .map(|verified| verified.valid_until().since(clock.now()).as_secs())
    };
    fetched(&[&one]).await;
    for _ in 0..3 {
        fetched(&[&two]).await;
        assert!(
            until(&one).await == Some(600) && until(&two).await > Some(600),
            "half of the tokens would fail"
        );
        fetched(&[&one]).await;
        assert!(until(&two).await == Some(600) && until(&one).await > Some(600));
    }
    let status = source.jwt().unwrap().slot.status();
    let withdrawn: Vec<_> = status
        .keys
        .iter()
        .map(|key| (key.id.as_deref(), key.withdrawn_until))
        .collect();
    assert_eq!(
        withdrawn,
        [
            (Some("one"), None),
            (Some("two"), Some(clock.now().plus(Duration::from_secs(600))))
        ]
    );
    // The same `kid` may name another key right away.
    let another = Signer::new(Algorithm::ES256, "one");
    fetched(&[&another]).await;
    assert!(until(&one).await == Some(600) && until(&another).await > Some(600));
    fetched(&[&one]).await;
    fetched(&[&two]).await;
    fetched(&[&one]).await;
    // The source stays unreachable.
    let since = clock.now();
    for _ in 0..59 {
        fetched(&[&one]).await;
    }
    assert_eq!(
        until(&two).await,
        Some(10),
        "ten minutes from when it was missed first"
    );
    hand.set(since.plus(Duration::from_secs(600)));
    assert_eq!(until(&two).await, None);

    fetched(&[&two]).await;
    assert!(until(&one).await.is_some());
    fetched(&[]).await;
    assert_eq!(
        (until(&one).await, until(&two).await),
        (None, None),
        "an empty set withdraws everything at once"
    );
    fetched(&[&two]).await;
    assert_eq!(until(&one).await, None, "and for good");
}

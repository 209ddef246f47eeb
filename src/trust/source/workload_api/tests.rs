//! Tests with an agent over real sockets: rotation, withdrawal, faults, loss and denial.

mod denial;
mod own_svid;

use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::trust::source::testing::{eventually, jwk_set};
use crate::trust::{Authorities, Generation, Slot};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use wharfinger_testkit::{Agent, Ca};

const A: &str = "a.example";
const B: &str = "b.example";

#[tokio::test]
async fn w_13_both_streams_fill_the_configured_trust_domains_and_follow_rotations() {
    let mut agent = Agent::new();
    let old = Ca::root("old").der.to_vec();
    let new = Ca::root("new").der.to_vec();
    agent.x509(&[(A, old.clone()), ("unconfigured.example", old.clone())]);
    agent.jwt(&[(A, jwk_set(&["k1"])), (B, jwk_set(&["k2"]))]);
    agent.start();
    let followed = Followed::new(&agent, PACE);
    eventually("the first messages", || {
        followed.roots(A) == Some(1) && followed.key_ids(B).as_deref() == Some("k2")
    })
    .await;
    assert_eq!(followed.key_ids(A).as_deref(), Some("k1"));
    assert_eq!(
        &**followed.jwt(A).source(),
        format!("Workload API {}", agent.address)
    );

    let others = followed.generation(B);
    let own = followed.generation(A);
    agent.x509(&[(A, [old, new].concat())]);
    agent.jwt(&[(A, jwk_set(&["k3"])), (B, jwk_set(&["k2"]))]);
    eventually("the rotation", || {
        followed.roots(A) == Some(2) && followed.key_ids(A).as_deref() == Some("k3")
    })
    .await;
    assert_eq!(followed.key_ids(B).as_deref(), Some("k2"));
    assert_ne!(followed.generation(A), own);
    assert_eq!(
        followed.generation(B),
        others,
        "a rotation in one trust domain does not change another's generation"
    );
}

#[tokio::test]
async fn w_1_every_call_carries_the_security_header() {
    let mut agent = Agent::new();
    agent.start();
    let followed = Followed::new(&agent, PACE);
    eventually("empty first messages", || {
        followed.roots(A) == Some(0) && followed.key_ids(A).is_some()
    })
    .await;
    assert_eq!(agent.without_header.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn w_2_w_3_over_tcp_without_tls() {
    let mut agent = Agent::new();
    agent.jwt(&[(A, jwk_set(&["k1"]))]);
    agent.start_tcp();
    let followed = Followed::new(&agent, PACE);
    eventually("the first message", || {
        followed.key_ids(A).as_deref() == Some("k1")
    })
    .await;
}

#[tokio::test]
async fn w_9_each_stream_has_only_its_own_kind_of_key() {
    let mut agent = Agent::new();
    agent.x509(&[(A, Ca::root("root").der.to_vec())]);
    agent.start();
    let followed = Followed::new(&agent, PACE);
    eventually("the first messages", || {
        followed.roots(A) == Some(1) && followed.key_ids(A).is_some()
    })
    .await;
    assert_eq!(
        followed.key_ids(A).as_deref(),
        Some(""),
        "an X.509 bundle gives no JWT keys"
    );
    agent.x509(&[]);
    agent.jwt(&[(A, jwk_set(&["k1"]))]);
    eventually("the next messages", || {
        followed.roots(A) == Some(0) && followed.key_ids(A).as_deref() == Some("k1")
    })
    .await;
}

#[tokio::test]
async fn w_11_w_15_nothing_but_the_two_streams_of_bundles_is_asked_for() {
    let mut agent = Agent::new();
    agent.start();
    let followed = Followed::new(&agent, PACE);
    eventually("the first messages", || {
        followed.roots(A).is_some() && followed.key_ids(A).is_some()
    })
    .await;
    assert_eq!(
        agent.unheard_of.load(Ordering::SeqCst),
        0,
        "neither ValidateJWTSVID nor reflection"
    );
}

#[tokio::test]
async fn w_6_a_trust_domain_that_a_message_leaves_out_or_empties_is_withdrawn() {
    let root = Ca::root("root").der.to_vec();
    for emptied in [
        vec![(A, Ca::root("root").der.to_vec())],
        vec![(A, Ca::root("root").der.to_vec()), (B, vec![])],
    ] {
        let mut agent = Agent::new();
        agent.x509(&[(A, root.clone()), (B, root.clone())]);
        agent.jwt(&[(A, jwk_set(&["k1"])), (B, jwk_set(&["k2"]))]);
        agent.start();
        let followed = Followed::new(&agent, PACE);
        eventually("the first messages", || {
            followed.roots(B) == Some(1) && followed.key_ids(B).as_deref() == Some("k2")
        })
        .await;
        agent.x509(&emptied);
        eventually("it is withdrawn", || followed.roots(B) == Some(0)).await;
        assert_eq!(followed.roots(A), Some(1));
        assert_eq!(
            followed.key_ids(B).as_deref(),
            Some("k2"),
            "W-9: the other stream is independent"
        );
        agent.jwt(&[(A, jwk_set(&["k1"])), (B, jwk_set(&[]))]);
        eventually("it is emptied", || followed.key_ids(B).as_deref() == Some("")).await;
    }
}

#[tokio::test]
async fn w_8_a_malformed_bundle_keeps_the_old_keys_and_does_not_affect_others() {
    let root = Ca::root("root").der.to_vec();
    let next = Ca::root("next").der.to_vec();
    let mut agent = Agent::new();
    agent.x509(&[(A, root.clone()), (B, root.clone())]);
    agent.jwt(&[(A, jwk_set(&["k1"])), (B, jwk_set(&["k2"]))]);
    agent.start();
    let followed = Followed::new(&agent, PACE);
    eventually("the first messages", || {
        followed.roots(B) == Some(1) && followed.key_ids(B).as_deref() == Some("k2")
    })
    .await;
    agent.x509(&[
        (A, [root, next].concat()),
        (B, b"no DER".to_vec()),
        ("NOT A DOMAIN", vec![1]),
    ]);
    agent.jwt(&[(A, jwk_set(&["k3"])), (B, b"{\"keys\":null}".to_vec())]);
    eventually("the other one rotates", || {
        followed.roots(A) == Some(2) && followed.key_ids(A).as_deref() == Some("k3")
    })
    .await;
    assert_eq!(
        (followed.roots(B), followed.key_ids(B).as_deref()),
        (Some(1), Some("k2"))
    );
}

#[tokio::test]
async fn an_unusable_key_is_skipped_and_the_rest_of_its_bundle_is_used() {
    let mut agent = Agent::new();
    let mut keys: serde_json::Value = serde_json::from_slice(&jwk_set(&["k1"])).unwrap();
    keys["keys"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::json!({ "kty": "EC" }));
    agent.jwt(&[(A, keys.to_string().into_bytes())]);
    agent.start();
    let followed = Followed::new(&agent, PACE);
    eventually("the first message", || {
        followed.key_ids(A).as_deref() == Some("k1")
    })
    .await;
}

#[tokio::test]
async fn w_5_an_agent_that_dies_changes_nothing_and_is_found_again() {
    let mut agent = Agent::new();
    agent.jwt(&[(A, jwk_set(&["k1"])), (B, jwk_set(&["k2"]))]);
    let followed = Followed::new(&agent, PACE); // before there is a socket
    agent.start();
    eventually("the first message", || {
        followed.key_ids(B).as_deref() == Some("k2")
    })
    .await;
    let before = followed.generation(B);
    agent.stop();
    eventually("the loss is noticed", || followed.failure(B).is_some()).await;
    assert_eq!(followed.key_ids(A).as_deref(), Some("k1"));
    agent.jwt(&[(A, jwk_set(&["k3"])), (B, jwk_set(&["k2"]))]);
    agent.start();
    eventually("the rotation during the outage", || {
        followed.key_ids(A).as_deref() == Some("k3")
    })
    .await;
    assert_eq!(
        followed.generation(B),
        before,
        "a repeated bundle keeps the generation"
    );
}

#[tokio::test]
async fn a_registry_restarts_and_serves_while_the_agent_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let root = Ca::root("root").der.to_vec();
    let mut agent = Agent::new();
    agent.x509(&[(A, root.clone()), (B, root.clone())]);
    agent.jwt(&[(A, jwk_set(&["k1"])), (B, jwk_set(&["k2"]))]);
    agent.start();
    {
        let last_good = LastGood::new(folder.path());
        let followed = Followed::kept(&agent, PACE, Some(&last_good));
        eventually("the first messages", || {
            followed.roots(B) == Some(1) && followed.key_ids(B).is_some()
        })
        .await;
        agent.jwt(&[(A, jwk_set(&["k1"]))]);
        eventually("one is withdrawn", || followed.key_ids(B).as_deref() == Some("")).await;
        last_good.flush();
    }
    agent.stop();
    let last_good = LastGood::new(folder.path());
    let followed = Followed::kept(&agent, PACE, Some(&last_good));
    eventually("the copy is used", || {
        followed.key_ids(A).is_some() && followed.roots(B).is_some() && followed.roots(A).is_some()
    })
    .await;
    assert_eq!(
        (
            followed.key_ids(A).as_deref(),
            followed.roots(A),
            followed.roots(B)
        ),
        (Some("k1"), Some(1), Some(1))
    );
    assert_ne!(
        followed.key_ids(B).as_deref(),
        Some("k2"),
        "a withdrawn bundle stays withdrawn"
    );
    let status = followed.jwt(A).status();
    assert!(status.from_disk && status.last_error.is_some());
    assert_eq!(
        status.usable_until,
        Some(Timestamp::from_secs(1_000).plus(MAX_STALE))
    );
    let generation = followed.generation(A);
    agent.start();
    eventually("the agent answers again", || !followed.jwt(A).status().from_disk).await;
    assert_eq!(
        followed.generation(A),
        generation,
        "a repeated message keeps the generation"
    );

    followed.hand.advance(MAX_STALE);
    agent.stop();
    drop(followed);
    let (clock, _) = Clock::manual(Timestamp::from_secs(2_000));
    let late = WorkloadApi::paced(&agent.address, &clock, Some(&last_good), PACE)
        .unwrap()
        .source(&following(A));
    late.start();
    let slot = late.slots.jwt.clone().unwrap();
    eventually("the agent does not answer", || slot.status().failures > 1).await;
    assert!(slot.held().is_none(), "stale keys are not used");
}

#[tokio::test]
async fn a_trust_domain_that_is_added_later_has_its_bundle_at_once() {
    let mut agent = Agent::new();
    agent.jwt(&[(A, jwk_set(&["k1"]))]);
    agent.start();
    let followed = Followed::new(&agent, PACE);
    eventually("the first message", || {
        followed.key_ids(A).as_deref() == Some("k1")
    })
    .await;
    let generation = followed.generation(A);
    let later = followed.api.source(&following(A));
    assert_eq!(
        later
            .slots
            .jwt
            .clone()
            .unwrap()
            .held()
            .unwrap()
            .keys
            .key_ids()
            .collect::<Vec<_>>(),
        ["k1"]
    );
    assert_eq!(
        followed.generation(A),
        generation,
        "and does not affect other trust domains"
    );
    drop(later);
    agent.jwt(&[(A, jwk_set(&["k2"]))]);
    eventually("the rotation", || followed.key_ids(A).as_deref() == Some("k2")).await;
}

#[tokio::test]
async fn nothing_is_fetched_before_a_source_starts() {
    let mut agent = Agent::new();
    agent.jwt(&[(A, jwk_set(&["k1"]))]);
    agent.start();
    let api = WorkloadApi::paced(&agent.address, &Clock::system(), None, PACE).unwrap();
    let source = api.source(&following(A));
    assert!(source.slots.jwt.clone().unwrap().held().is_none());
    source.start();
    eventually("the first message", || {
        source.slots.jwt.as_ref().unwrap().held().is_some()
    })
    .await;
}

#[tokio::test]
async fn an_open_stream_keeps_its_keys_fresh_and_a_lost_one_does_not() {
    let mut agent = Agent::new();
    agent.jwt(&[(A, jwk_set(&["k1"]))]);
    agent.start();
    let followed = Followed::new(&agent, PACE);
    eventually("the first message", || {
        followed.key_ids(A).as_deref() == Some("k1")
    })
    .await;
    let generation = followed.generation(A);
    let authorities = Authorities::new(vec![followed.jwt(A)]);
    for _ in 0..3 {
        followed.hand.advance(MAX_STALE);
        eventually("the bound moves on", || {
            authorities.view(followed.clock.now()).is_ok()
        })
        .await;
    }
    assert_eq!(followed.generation(A), generation);
    agent.stop();
    eventually("the loss is noticed", || followed.failure(A).is_some()).await;
    followed.hand.advance(MAX_STALE);
    assert!(authorities.view(followed.clock.now()).is_err());
}

#[tokio::test]
async fn a_malformed_bundle_on_an_open_stream_goes_stale() {
    let mut agent = Agent::new();
    agent.jwt(&[(A, jwk_set(&["k1"])), (B, jwk_set(&["k2"]))]);
    agent.start();
    let followed = Followed::new(&agent, PACE);
    eventually("the first message", || {
        followed.key_ids(A).as_deref() == Some("k1")
    })
    .await;
    agent.jwt(&[(A, b"{".to_vec()), (B, jwk_set(&["k3"]))]);
    eventually("the second message", || {
        followed.key_ids(B).as_deref() == Some("k3")
    })
    .await;
    followed.hand.advance(MAX_STALE);
    eventually("the good one stays fresh", || {
        Authorities::new(vec![followed.jwt(B)])
            .view(followed.clock.now())
            .is_ok()
    })
    .await;
    assert!(
        Authorities::new(vec![followed.jwt(A)])
            .view(followed.clock.now())
            .is_err()
    );
}

/// A pace with short pauses.
pub(in crate::trust::source) fn impatient(
    address: &str,
    clock: &Clock,
    last_good: Option<&Arc<LastGood>>,
) -> WorkloadApi {
    WorkloadApi::paced(
        address,
        clock,
        last_good,
        Pace {
            first_message: Duration::from_millis(500),
            ..PACE
        },
    )
    .unwrap()
}

const PACE: Pace = Pace {
    shortest: Duration::from_millis(5),
    longest: Duration::from_millis(20),
    hopeless: Duration::from_millis(20),
    first_message: Duration::from_secs(10),
    lasting: NEVER,
};
const NEVER: Duration = Duration::from_secs(3600);
/// Short, since a quarter of it passes between two confirmations.
const MAX_STALE: Duration = Duration::from_millis(40);

fn domain(name: &str) -> TrustDomain {
    name.parse().unwrap()
}

fn following(name: &str) -> Following {
    Following {
        trust_domain: domain(name),
        max_stale: MAX_STALE,
        on_denied: OnPermissionDenied::Withdraw,
    }
}

/// A client of the test's agent, with its own clock.
struct Followed {
    api: WorkloadApi,
    sources: BTreeMap<TrustDomain, Source>,
    clock: Clock,
    hand: ManualClock,
}

impl Followed {
    fn new(agent: &Agent, pace: Pace) -> Self {
        Self::kept(agent, pace, None)
    }

    fn kept(agent: &Agent, pace: Pace, last_good: Option<&Arc<LastGood>>) -> Self {
        let (clock, hand) = Clock::manual(Timestamp::from_secs(1_000));
        let api = WorkloadApi::paced(&agent.address, &clock, last_good, pace).unwrap();
        let sources: BTreeMap<_, _> = [A, B]
            .map(|name| (domain(name), api.source(&following(name))))
            .into();
        sources.values().for_each(Source::start);
        Self {
            api,
            sources,
            clock,
            hand,
        }
    }

    fn x509(&self, name: &str) -> Arc<Slot<X509Authorities>> {
        self.sources[&domain(name)].slots.x509.clone().unwrap()
    }

    fn jwt(&self, name: &str) -> Arc<Slot<KeySet>> {
        self.sources[&domain(name)].slots.jwt.clone().unwrap()
    }

    fn roots(&self, name: &str) -> Option<usize> {
        self.x509(name).held().map(|held| held.keys.len())
    }

    fn key_ids(&self, name: &str) -> Option<String> {
        self.jwt(name)
            .held()
            .map(|held| held.keys.key_ids().collect::<Vec<_>>().join(" "))
    }

    fn generation(&self, name: &str) -> Generation {
        self.jwt(name).held().unwrap().generation
    }

    /// Returns why the JWT stream is not open.
    fn failure(&self, name: &str) -> Option<String> {
        let why = Authorities::new(vec![self.jwt(name)])
            .view(Timestamp::MAX)
            .unwrap_err()
            .to_string();
        why.contains('(').then_some(why)
    }
}

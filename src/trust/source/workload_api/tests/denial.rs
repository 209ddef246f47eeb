//! An agent that denies a stream.

use super::*;

#[tokio::test]
async fn w_7_a_denial_on_an_open_stream_withdraws_at_once_and_only_what_it_carries() {
    let mut agent = Agent::new();
    agent.x509(&[(A, Ca::root("root").der.to_vec())]);
    agent.jwt(&[(A, jwk_set(&["k1"]))]);
    agent.start();
    let followed = Followed::new(
        &agent,
        Pace {
            lasting: NEVER,
            ..PACE
        },
    );
    eventually("the first messages", || {
        followed.roots(A) == Some(1) && followed.key_ids(A).as_deref() == Some("k1")
    })
    .await;
    agent.deny_jwt();
    eventually("it is withdrawn", || followed.key_ids(A).as_deref() == Some("")).await;
    assert_eq!(followed.roots(A), Some(1));
    agent.jwt(&[(A, jwk_set(&["k1"]))]);
    eventually("it is granted again", || {
        followed.key_ids(A).as_deref() == Some("k1")
    })
    .await;
}

#[tokio::test]
async fn w_7_a_denial_while_reopening_withdraws_only_if_it_lasts() {
    for (lasting, expected) in [(NEVER, "k1"), (Duration::ZERO, "")] {
        let mut agent = Agent::new();
        agent.jwt(&[(A, jwk_set(&["k1"]))]);
        agent.start();
        let followed = Followed::new(&agent, Pace { lasting, ..PACE });
        eventually("the first message", || {
            followed.key_ids(A).as_deref() == Some("k1")
        })
        .await;
        agent.stop();
        eventually("the loss is noticed", || followed.failure(A).is_some()).await;
        agent.deny_jwt();
        let before = agent.denied.load(Ordering::SeqCst);
        agent.start();
        eventually("three denials", || {
            agent.denied.load(Ordering::SeqCst) > before + 2
        })
        .await;
        eventually("the verdict", || followed.key_ids(A).as_deref() == Some(expected)).await;
    }
}

#[tokio::test]
async fn with_retain_a_denial_changes_nothing_and_is_reported() {
    let mut agent = Agent::new();
    agent.jwt(&[(A, jwk_set(&["k1"]))]);
    agent.start();
    let followed = Followed::new(
        &agent,
        Pace {
            lasting: Duration::ZERO,
            ..PACE
        },
    );
    let retaining = followed.api.source(&Following {
        on_denied: OnPermissionDenied::Retain,
        max_stale: NEVER,
        ..following(A)
    });
    let slot = retaining.slots.jwt.clone().unwrap();
    let key_ids = || {
        slot.held()
            .map(|held| held.keys.key_ids().collect::<Vec<_>>().join(" "))
    };
    eventually("the first message", || {
        key_ids().as_deref() == Some("k1") && followed.key_ids(A).as_deref() == Some("k1")
    })
    .await;
    agent.deny_jwt();
    eventually("the other is withdrawn", || {
        followed.key_ids(A).as_deref() == Some("")
    })
    .await;
    assert_eq!(key_ids().as_deref(), Some("k1"));
    assert!(slot.status().last_error.unwrap().contains("PermissionDenied"));
}

//! The registry's own certificate from the Workload API, with an agent that starts late, rotates, and stops.

use crate::harness::{Agent, Setup, TestApp, TestPki, TrustDomain, eventually};
use rcgen::SanType;
use reqwest::StatusCode;
use serde_json::json;

const REGISTRY: &str = "spiffe://prod.test/registry";

/// Has a DNS name, as SPIRE sets it with `-dns`, so that clients that verify names accept it too.
fn svid(domain: &TrustDomain) -> crate::harness::Pair {
    domain.ca.svid_with(REGISTRY, |params| {
        params
            .subject_alt_names
            .push(SanType::IpAddress([127, 0, 0, 1].into()))
    })
}

impl TestApp {
    async fn ready(&self) -> (StatusCode, String) {
        let answer = self
            .anonymous()
            .get(&format!("http://{}/readyz", self.health.unwrap()))
            .await;
        (answer.status, answer.text())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_an_agent_that_is_away_and_follows_rotations_without_dropping_a_connection() {
    let pki = TestPki::new();
    let next = TestPki::new();
    let mut agent = Agent::new();
    let mut setup = Setup::tls(&pki).allow("**", json!({"defaultPolicy": ["read"]}));
    setup.config["http"]["tls"] = json!({"workloadAPI": true});
    setup.config["http"]["auth"]["spiffe"]["workloadAPI"] = agent.address.clone().into();
    setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": 0});
    let app = setup.start().await;
    assert_eq!(
        app.ready().await,
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: starting or shutting down".into()
        )
    );
    assert!(
        app.trusting(&pki.domain.ca).get_or_none("/livez").await.is_none(),
        "there is nothing to show yet"
    );

    agent.give(REGISTRY, &svid(&pki.domain));
    agent.start();
    eventually("the registry is ready", async || {
        (app.ready().await.0 == StatusCode::OK).then_some(())
    })
    .await;
    let before = app.trusting(&pki.domain.ca);
    assert_eq!(before.get("/livez").await.status, StatusCode::OK);

    // The new certificate is of another authority. A client that trusts only the old one can only be served
    // on its old connection.
    agent.give(REGISTRY, &svid(&next.domain));
    eventually("the new certificate is shown", async || {
        app.trusting(&next.domain.ca).get_or_none("/livez").await
    })
    .await;
    assert!(
        app.trusting(&pki.domain.ca).get_or_none("/livez").await.is_none(),
        "the old one is gone"
    );
    assert_eq!(
        before.get("/livez").await.status,
        StatusCode::OK,
        "the open connection still works"
    );

    let mark = app.log.since(0).len();
    drop(agent);
    app.log
        .wait("the agent is missed", mark, |line| {
            line["stream"] == "FetchX509SVID" && line["level"] == "WARN"
        })
        .await;
    assert_eq!(
        app.trusting(&next.domain.ca).get("/livez").await.status,
        StatusCode::OK,
        "the last SVID is still presented"
    );
    assert_eq!(app.ready().await.0, StatusCode::OK);
}

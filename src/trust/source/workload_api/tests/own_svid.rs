//! The registry's own X.509-SVID, from an agent over a real socket.

use super::PACE;
use crate::limits::CERTIFICATE_NAMES;
use crate::trust::source::testing::eventually;
use crate::trust::source::testing::site::svid_with;
use crate::trust::source::workload_api::follow::{Follower as _, Pace};
use crate::trust::source::workload_api::own_svid::Presenter;
use crate::trust::source::workload_api::wire::{X509Svid, X509SvidResponse};
use crate::trust::source::{OwnSvid, OwnSvids};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wharfinger_testkit::{Agent, Ca};

const REGISTRY: &str = "spiffe://a.example/registry";

/// As an agent sends it.
fn sent(svid: &X509Svid) -> wharfinger_testkit::X509Svid {
    let X509Svid {
        spiffe_id,
        x509_svid,
        x509_svid_key,
    } = svid.clone();
    wharfinger_testkit::X509Svid {
        spiffe_id,
        x509_svid,
        x509_svid_key,
    }
}

/// Makes an SVID with a given name.
fn svid(ca: &Ca, id: &str, called: &str) -> X509Svid {
    // More names than a client's certificate may have.
    let dns: Vec<_> = (0..2 * CERTIFICATE_NAMES)
        .map(|number| format!("n{number}.test"))
        .collect();
    let leaf = svid_with(ca, id, &[], &dns);
    X509Svid {
        spiffe_id: called.to_owned(),
        x509_svid: [leaf.certificate.as_ref(), ca.der.as_ref()].concat(),
        x509_svid_key: leaf.key,
    }
}

/// What was presented: each chain's leaf, or `None` after a withdrawal.
type Presented = Arc<Mutex<Vec<Option<Vec<u8>>>>>;

fn follow(agent: &Agent, pace: Pace) -> (OwnSvids, Presented) {
    let presented = Presented::default();
    let log = presented.clone();
    let note = move |svid: Option<OwnSvid>| {
        log.lock().unwrap().push(svid.map(|svid| {
            assert_eq!((svid.id.as_str(), svid.chain.len()), (REGISTRY, 2));
            svid.chain.iter().flat_map(|der| der.to_vec()).collect()
        }));
    };
    (OwnSvids::paced(&agent.address, note, pace).unwrap(), presented)
}

trait Count {
    fn count(&self) -> usize;
    fn last(&self) -> Option<Vec<u8>>;
}

impl Count for Presented {
    fn count(&self) -> usize {
        self.lock().unwrap().len()
    }

    fn last(&self) -> Option<Vec<u8>> {
        self.lock().unwrap().last().cloned().flatten()
    }
}

#[tokio::test]
async fn w_12_the_first_svid_is_presented_whenever_the_agent_comes_and_each_rotation_once() {
    let mut agent = Agent::new();
    let ca = Ca::root("a");
    let first = svid(&ca, REGISTRY, REGISTRY);
    let other = svid(&ca, "spiffe://a.example/other", "spiffe://a.example/other");
    let second = svid(&ca, REGISTRY, REGISTRY);
    agent.svids(vec![sent(&first), sent(&other)]);
    let (_following, presented) = follow(&agent, PACE);
    agent.start();
    eventually("the first", || {
        presented.last().as_ref() == Some(&first.x509_svid)
    })
    .await;
    agent.svids(vec![sent(&first)]);
    agent.svids(vec![sent(&second)]);
    eventually("the rotation", || {
        presented.last().as_ref() == Some(&second.x509_svid)
    })
    .await;
    assert_eq!(presented.count(), 2, "an unchanged SVID is not presented again");
    agent.stop();
    agent.start();
    agent.svids(vec![sent(&first)]);
    eventually("after a restart", || {
        presented.last().as_ref() == Some(&first.x509_svid)
    })
    .await;
    assert_eq!(presented.count(), 3, "an unreachable agent withdraws nothing");
}

#[test]
fn w_8_an_unusable_message_leaves_the_svid_unchanged() {
    let ca = Ca::root("a");
    let good = svid(&ca, REGISTRY, REGISTRY);
    let broken = X509Svid {
        x509_svid: b"no DER".to_vec(),
        ..good.clone()
    };
    let empty = X509Svid {
        x509_svid: Vec::new(),
        ..good.clone()
    };
    let cut = X509Svid {
        x509_svid: good.x509_svid[..200].to_vec(),
        ..good.clone()
    };
    let mut presented = Vec::new();
    let mut presenter = Presenter::new(|svid: Option<OwnSvid>| presented.push(svid.is_some()));
    presenter.apply(X509SvidResponse { svids: vec![good] });
    for bad in [
        vec![broken],
        vec![empty],
        vec![cut],
        vec![svid(&ca, REGISTRY, "spiffe://a.example/else")],
        vec![svid(&ca, "spiffe://a.example", "spiffe://a.example")],
        vec![],
    ] {
        presenter.apply(X509SvidResponse { svids: bad });
    }
    presenter.apply(X509SvidResponse {
        svids: vec![svid(&ca, REGISTRY, REGISTRY)],
    });
    assert_eq!(presented, [true, true]);
}

#[tokio::test]
async fn w_7_a_denial_on_an_open_stream_withdraws_it() {
    let mut agent = Agent::new();
    let ca = Ca::root("a");
    let own = svid(&ca, REGISTRY, REGISTRY);
    agent.svids(vec![sent(&own)]);
    agent.start();
    let (_following, presented) = follow(
        &agent,
        Pace {
            lasting: Duration::ZERO,
            ..PACE
        },
    );
    eventually("the first", || presented.count() == 1).await;
    agent.deny_svids();
    eventually("it is withdrawn", || presented.count() == 2).await;
    assert_eq!(presented.last(), None);
    agent.svids(vec![sent(&own)]);
    eventually("it comes back", || {
        presented.last().as_ref() == Some(&own.x509_svid)
    })
    .await;
    assert_eq!(presented.count(), 3, "one denial, one withdrawal");
}

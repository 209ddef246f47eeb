//! A store that answers each request wrongly now and then, or does not answer. Clients push, pull and delete
//! meanwhile, and collections run.

use super::cluster::{Cluster, on, signing_keys};
use super::known::Known;
use super::{run, seconds};
use crate::crash::http::Http;
use crate::harness::output;
use serde_json::json;
use std::collections::BTreeMap;
use wharfinger_testkit::s3::{Chaos, Fake, Fault, Refusal, When};

/// How many of 1000 requests have a fault.
const WHILE_CLIENTS_WORK: u64 = 20;
const WHILE_COLLECTING: u64 = 50;
/// How many collections there are at most, and how many images are deleted before each of them.
const COLLECTIONS: usize = 20;
const DELETED: usize = 2;

/// The faults that any request may have. [`super::trouble`] adds answers that never come, and keys that expire.
fn faults() -> [Fault; 11] {
    [
        Fault::Refuse(When::Before, Refusal::CONFLICT),
        Fault::Refuse(When::After, Refusal::PRECONDITION),
        Fault::Refuse(When::Before, Refusal::INTERNAL),
        Fault::Refuse(When::After, Refusal::INTERNAL),
        Fault::Refuse(When::Before, Refusal::INTERNAL_AFTER_200),
        Fault::Refuse(When::Before, Refusal::SLOW_DOWN),
        Fault::Close(When::Before),
        Fault::Close(When::After),
        Fault::Late(20),
        Fault::Torn,
        Fault::OldPage,
    ]
}

fn at_random(store: &Fake, per_mille: u64, faults: &[Fault]) {
    let seed = fastrand::u64(..);
    store.inject_at_random(Chaos {
        seed,
        per_mille,
        faults: faults.to_vec(),
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_keep_what_they_acknowledged_whatever_the_store_answers() {
    let cluster = Cluster::in_the_process(3, |_| {}).await;
    let store = cluster.store_in_the_process().unwrap();
    // Several pages, so that one can be old.
    store.set_rules(|rules| rules.page = 20);
    at_random(store, WHILE_CLIENTS_WORK, &faults());
    run(&cluster, seconds(20)).await;
    let missed = missed(store, &Struck::new());
    assert!(missed.is_empty(), "no request had these faults: {missed:?}");
}

/// How many requests had each fault before.
type Struck = BTreeMap<String, usize>;

/// The faults that no request had since then.
fn missed(store: &Fake, before: &Struck) -> Vec<Fault> {
    let all = faults().into_iter();
    all.filter(|fault| {
        let name = format!("{fault:?}");
        store.struck(fault) == before.get(&name).copied().unwrap_or_default()
    })
    // Few uploads are large enough to have parts.
    .filter(|fault| !matches!(fault, Fault::Refuse(_, Refusal::INTERNAL_AFTER_200)))
    .collect()
}

/// Collects until the store has had all faults meanwhile. Each collection has something to remove.
pub(super) async fn collect(cluster: &Cluster, known: &Known) {
    let Some(store) = cluster.store_in_the_process() else {
        return;
    };
    let mut setup = on(store.place(), &store.place().endpoint, &signing_keys());
    setup.config["storage"]["gcDelay"] = json!("0");
    let file = setup.file();
    let http = Http::new(cluster.address());
    let mut dice = fastrand::Rng::new();
    let counts = faults().map(|fault| (format!("{fault:?}"), store.struck(&fault)));
    let before = Struck::from(counts);
    for _ in 0..COLLECTIONS {
        for _ in 0..DELETED {
            if let Some((repository, digest, image)) = known.take(&mut dice) {
                known.delete(&http, repository, &digest, &image.before).await;
            }
        }
        // Few requests can have some of the faults, so those that were had are left out.
        at_random(store, WHILE_COLLECTING, &missed(store, &before));
        // A killed replica may hold the lease of collectors.
        let arguments = ["gc", "--now", file.to_str().unwrap()];
        let (code, out, errors) = tokio::task::block_in_place(|| output(&arguments, setup.folder.path()));
        store.heal();
        store.apply_late();
        // A collection that cannot go on fails, and the next one goes on.
        assert!([0, 1].contains(&code), "{code} {out}{errors}");
        if missed(store, &before).is_empty() {
            return;
        }
    }
    panic!("no collection had these faults: {:?}", missed(store, &before));
}

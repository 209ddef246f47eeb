//! Several replicas on one bucket behind a round robin. Clients push, move, read and delete tags and images
//! while replicas, gateways and the store are killed, the network fails, and two replicas have wrong clocks. What
//! was acknowledged is there afterwards, what was seen of each tag has an order, and nothing is left over.
//!
//! `WHARFINGER_CHAOS_SECONDS` sets how long clients work. The default is some seconds. A seed is printed, so that
//! the dice fall as before with `WHARFINGER_CHAOS_SEED`.

mod client;
mod cluster;
mod contents;
mod docker;
mod faults;
mod inspector;
mod known;
mod left;
mod replica;
mod trouble;

pub(crate) use cluster::{Cluster, clock_off_by, on, signing_keys};

use crate::crash::http::Http;
use client::{Client, Done};
use known::Known;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const CLIENTS: usize = 10;

/// How long clients work.
fn seconds(by_default: u64) -> u64 {
    number("WHARFINGER_CHAOS_SECONDS").unwrap_or(by_default)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_on_a_folder_keeps_what_it_acknowledged() {
    let cluster = Cluster::on_a_folder().await;
    run(&cluster, seconds(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_on_a_bucket_keep_what_they_acknowledged_whatever_is_killed() {
    let Some(cluster) = Cluster::with_wrong_clocks().await else {
        return;
    };
    run(&cluster, seconds(20)).await;
}

async fn run(cluster: &Cluster, seconds: u64) {
    let seed = number("WHARFINGER_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("WHARFINGER_CHAOS_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let known = Arc::new(Known::default());
    let end = Instant::now() + Duration::from_secs(seconds);
    let calm = Arc::new(AtomicBool::new(false));
    let mut working = JoinSet::new();
    for _ in 0..CLIENTS {
        let http = Http::fickle(cluster.address(), client::PATIENCE);
        let mut client = Client::new(http, dice.fork(), known.clone());
        let calm = calm.clone();
        working.spawn(async move {
            client.work(&calm).await;
            client
        });
    }
    let (replicas, store) = tokio::join!(
        trouble::of_replicas(cluster, dice.fork(), end),
        trouble::of_the_store(cluster, dice.fork(), end)
    );
    if let Some(store) = cluster.store_in_the_process() {
        store.heal();
        store.apply_late();
    }
    calm.store(true, Ordering::Relaxed);
    let mut clients = working.join_all().await;
    for client in &mut clients {
        client.finish().await;
    }
    let done: Done = clients.iter().map(|client| client.done).sum();
    eprintln!("{done:?}, {replicas:?}, {store:?}");
    known.delete_unknown(cluster.address()).await;
    faults::collect(cluster, &known).await;
    for replica in 0..cluster.replicas.len() {
        known.compare(cluster.address_of(replica)).await;
    }
    eprintln!(
        "{} images are there; {} operations on tags have an order",
        known.count(),
        known.history.check()
    );
    left::is_exact(cluster, &known, done.unknown).await;
    assert!(done.pushes > 0 && done.moves > 0 && done.deletions > 0 && done.reads > 0);
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

//! What goes wrong while clients work. Replicas are killed at the same time as the store and the network fail.

use super::cluster::{Cluster, GATEWAYS};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What happened, by kind.
#[derive(Debug, Default)]
pub(super) struct Troubles(pub(super) BTreeMap<&'static str, u64>);

/// So much happens in any case, also on a slow machine.
const ENOUGH: u64 = 3;

impl Troubles {
    fn count(&self) -> u64 {
        self.0.values().sum()
    }

    fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}

/// Kills replicas, one at a time, until then. All of them serve at the end.
pub(super) async fn of_replicas(cluster: &Cluster, mut dice: fastrand::Rng, end: Instant) -> Troubles {
    let mut troubles = Troubles::default();
    loop {
        sleep(millis(&mut dice, 500..4000)).await;
        if Instant::now() > end && troubles.count() >= ENOUGH {
            return troubles;
        }
        let replica = dice.usize(0..cluster.replicas.len());
        troubles.note("a replica was killed");
        cluster.kill(replica).await;
        sleep(millis(&mut dice, 0..1500)).await;
        cluster.restart(replica).await;
    }
}

/// Kills gateways and the store, and breaks the network, until then. All of it works at the end.
pub(super) async fn of_the_store(cluster: &Cluster, mut dice: fastrand::Rng, end: Instant) -> Troubles {
    let mut troubles = Troubles::default();
    loop {
        sleep(millis(&mut dice, 500..3000)).await;
        if Instant::now() > end && troubles.count() >= ENOUGH {
            return troubles;
        }
        let replica = dice.usize(0..cluster.replicas.len());
        let to_clients = cluster.balance.line(replica);
        let pause = millis(&mut dice, 200..5000);
        let kinds = if cluster.has_a_store() { 0..10 } else { 7..10 };
        let to_store = cluster.to_the_store(replica);
        match (dice.u32(kinds), to_store) {
            (0 | 1, _) => {
                let gateway = dice.usize(0..GATEWAYS);
                troubles.note("a gateway was killed");
                cluster
                    .with_the_store(move |store| store.kill_gateway(gateway))
                    .await;
                sleep(pause / 4).await;
                cluster
                    .with_the_store(move |store| store.restart_gateway(gateway))
                    .await;
            }
            (2, _) => {
                troubles.note("the store was killed");
                cluster.with_the_store(|store| store.kill_engine()).await;
                sleep(pause / 4).await;
                cluster.with_the_store(|store| store.restart_engine()).await;
            }
            (3 | 4, Some(line)) => {
                troubles.note("a replica was cut off from the store");
                line.hold();
                sleep(pause).await;
                if dice.bool() {
                    line.reset();
                }
                line.release();
            }
            (5, Some(line)) => {
                troubles.note("connections to the store were reset");
                line.reset();
            }
            (6, Some(line)) => {
                troubles.note("the way to the store was slow");
                line.delay(Duration::from_millis(30));
                sleep(pause).await;
                line.delay(Duration::ZERO);
            }
            (7, _) => {
                troubles.note("connections of clients were reset");
                to_clients.reset();
            }
            _ => {
                troubles.note("a replica was cut off from its clients");
                to_clients.hold();
                sleep(pause / 2).await;
                to_clients.release();
            }
        }
    }
}

fn millis(dice: &mut fastrand::Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(dice.u64(range))
}

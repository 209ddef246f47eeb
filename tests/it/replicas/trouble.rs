//! What goes wrong while clients work. Replicas are killed at the same time as the store and the network fail.

use super::cluster::{Cluster, GATEWAYS};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use wharfinger_testkit::s3::{Fault, On, Operation, When};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// A replica was killed.
    Replica,
    Gateway,
    /// The store was killed, but not its gateways.
    Engine,
    /// All processes of the store were killed.
    Store,
    /// A replica was cut off from the store. Some requests arrive late.
    CutOff,
    /// The connections of a replica to the store were reset.
    Reset,
    /// The way to the store was slow.
    Slow,
    /// The store did not answer one of the requests.
    Silence,
    /// The keys of all replicas expired.
    Keys,
    ClientsReset,
    /// A replica was cut off from its clients.
    ClientsCutOff,
}

/// How often each happened.
pub(super) type Troubles = BTreeMap<Trouble, u64>;

/// So often replicas are killed in any case, also on a slow machine.
const ENOUGH: u64 = 3;

/// A replica whose new keys are rejected at once waits for 30 seconds.
const BETWEEN_KEYS: Duration = Duration::from_secs(40);

/// Kills replicas, one at a time, until then. All of them serve at the end.
pub(super) async fn of_replicas(cluster: &Cluster, mut dice: fastrand::Rng, end: Instant) -> Troubles {
    let mut killed = 0;
    loop {
        sleep(millis(&mut dice, 500..4000)).await;
        if Instant::now() > end && killed >= ENOUGH {
            return Troubles::from([(Trouble::Replica, killed)]);
        }
        let replica = dice.usize(0..cluster.replicas.len());
        killed += 1;
        cluster.kill(replica).await;
        sleep(millis(&mut dice, 0..1500)).await;
        cluster.restart(replica).await;
    }
}

/// Kills gateways and the store, and breaks the network, until then. Each trouble happens at least once, also on
/// a slow machine. All of it works at the end.
pub(super) async fn of_the_store(cluster: &Cluster, mut dice: fastrand::Rng, end: Instant) -> Troubles {
    let mut troubles = Troubles::new();
    let mut expired: Option<Instant> = None;
    loop {
        let mut all = cluster.troubles().to_vec();
        all.retain(|trouble| {
            *trouble != Trouble::Keys || expired.is_none_or(|expired| expired.elapsed() > BETWEEN_KEYS)
        });
        dice.shuffle(&mut all);
        for trouble in all {
            sleep(millis(&mut dice, 200..2000)).await;
            cause(cluster, trouble, &mut dice).await;
            if trouble == Trouble::Keys {
                expired = Some(Instant::now());
            }
            *troubles.entry(trouble).or_default() += 1;
            if Instant::now() > end && troubles.len() == cluster.troubles().len() {
                return troubles;
            }
        }
    }
}

/// Causes the trouble, and ends it.
async fn cause(cluster: &Cluster, trouble: Trouble, dice: &mut fastrand::Rng) {
    let replica = dice.usize(0..cluster.replicas.len());
    let to_clients = cluster.balance.line(replica);
    let to_store = || cluster.to_the_store(replica).expect("a way to the store");
    let pause = millis(dice, 200..4000);
    match trouble {
        Trouble::Replica => unreachable!("others kill replicas"),
        Trouble::Gateway => {
            let gateway = dice.usize(0..GATEWAYS);
            cluster
                .with_the_store(move |store| store.kill_gateway(gateway))
                .await;
            sleep(pause / 4).await;
            cluster
                .with_the_store(move |store| store.restart_gateway(gateway))
                .await;
        }
        Trouble::Engine => {
            cluster.with_the_store(|store| store.kill_engine()).await;
            sleep(pause / 4).await;
            cluster.with_the_store(|store| store.restart_engine()).await;
        }
        Trouble::Store => {
            cluster.with_the_store(|store| store.kill()).await;
            sleep(pause / 4).await;
            cluster.with_the_store(|store| store.restart()).await;
        }
        Trouble::CutOff => {
            to_store().hold();
            sleep(pause).await;
            if dice.bool() {
                to_store().reset();
            }
            to_store().release();
        }
        Trouble::Reset => to_store().reset(),
        Trouble::Slow => {
            to_store().delay(Duration::from_millis(30));
            sleep(pause).await;
            to_store().delay(Duration::ZERO);
        }
        Trouble::Silence => {
            let when = dice.choice([When::Before, When::After]).unwrap();
            let store = cluster.store_in_the_process().unwrap();
            store.inject(On::operation(Operation::Put), Fault::Silence(when));
        }
        Trouble::Keys => {
            let store = cluster.store_in_the_process().unwrap();
            let keys = store.exchanges().into_iter().filter_map(|one| one.access_key);
            keys.for_each(|key| store.expire(&key));
        }
        Trouble::ClientsReset => to_clients.reset(),
        Trouble::ClientsCutOff => {
            to_clients.hold();
            sleep(pause / 2).await;
            to_clients.release();
        }
    }
}

fn millis(dice: &mut fastrand::Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(dice.u64(range))
}

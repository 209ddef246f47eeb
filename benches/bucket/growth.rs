//! The throughput of one, two and three replicas behind a round robin. The clients, the registries and the store
//! share one machine, so the growth ends with its processors.

use super::operations::{images, pull};
use super::push::{in_parallel, push_images};
use super::registry::{Kind, Place, Registry};
use super::spent::median;
use tokio::runtime::Runtime;
use tokio::time::Instant;

const CLIENTS: usize = 12;
const MOST: usize = 3;
const ROUNDS: usize = 3;

/// Images in a second.
struct Rates {
    pushes: f64,
    pulls: f64,
}

/// `images` is how many images one client pushes in a few seconds.
pub(crate) fn measure(runtime: &Runtime, place: &Place, images: usize) {
    println!("\n### Small images in a second, with {CLIENTS} clients\n");
    println!("| | replicas | pushes | to one | pulls | to one |\n|---|---|---|---|---|---|");
    for kind in Kind::BOTH {
        let mut one = None;
        for replicas in 1..=MOST {
            let registry = Registry::start(runtime, kind, place, replicas);
            let Rates { pushes, pulls } = rates(&registry, images);
            let one = one.get_or_insert(Rates { pushes, pulls });
            println!(
                "| {} | {replicas} | {pushes:.1} | {:.2} | {pulls:.1} | {:.2} |",
                kind.name(),
                pushes / one.pushes,
                pulls / one.pulls
            );
        }
    }
}

fn rates(registry: &Registry, count: usize) -> Rates {
    let address = registry.address;
    let pushed = count * 3;
    let pulled = count / 2;
    let all = images(address, CLIENTS);
    let pushes = || push_images(address, pushed, CLIENTS);
    // Each connection stays at the replica that the round robin gave it.
    let pulls = || in_parallel(CLIENTS, CLIENTS, || || pull(address, &all, pulled));
    Rates {
        pushes: pushed as f64 / seconds(pushes),
        pulls: (pulled * CLIENTS) as f64 / seconds(pulls),
    }
}

/// The first round is a warm-up.
fn seconds(work: impl Fn()) -> f64 {
    let timed = |_| {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64()
    };
    timed(0);
    median((0..ROUNDS).map(timed))
}

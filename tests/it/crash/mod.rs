//! What was acknowledged survives crashes, failing disks and full disks. The real binary is killed at chosen
//! system calls and at random moments, and clients compare the registry with the answers they got.
//!
//! `WHARFINGER_CRASH_SECONDS` sets how long each loop runs. The default is some seconds.

mod backup;
mod client;
mod collecting;
mod convert;
mod crowd;
mod durability;
mod failing;
mod filling;
pub(crate) mod full;
pub(crate) mod http;
pub(crate) mod left;
mod passes;
mod rounds;
mod server;
mod shared;
mod upload;

use self::http::Http;
use rounds::Rounds;
use server::{Server, Shim};
use shared::Shared;

const CLIENTS: usize = 8;

/// How long a random loop runs.
fn seconds(by_default: u64) -> u64 {
    number("WHARFINGER_CRASH_SECONDS").unwrap_or(by_default)
}

/// Random numbers. The seed is printed, so that a failure can be repeated with `WHARFINGER_CRASH_SEED`.
fn dice() -> fastrand::Rng {
    let seed = number("WHARFINGER_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("WHARFINGER_CRASH_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_clients_and_kills_end_with_a_clean_store_and_every_acknowledged_object() {
    let Some(shim) = Shim::build() else { return };
    let seconds = seconds(30);
    let mut rounds = Rounds::new(Server::new(shim), dice(), Shared::default());
    rounds.run(seconds).await;
    rounds.finish().await;
    assert!(!rounds.server.stop().await, "the registry was not killed");
    rounds.server.check();
    let acknowledged = rounds.sum(|done| done.acknowledged);
    let resumed = rounds.sum(|done| done.resumed);
    let again = rounds.sum(|done| done.again);
    eprintln!(
        "{} rounds, {} kills, {acknowledged} acknowledged changes, none lost; {resumed} uploads found open at their offset, \
         {again} lost by a closing that was not answered",
        rounds.rounds, rounds.deaths
    );
    assert!(acknowledged > 0 && rounds.deaths > 0 && resumed > 0);
}

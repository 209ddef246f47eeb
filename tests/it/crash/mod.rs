//! What was acknowledged outlives the process, the disk's failures and a full disk: the real binary is killed at chosen system calls and
//! at random moments, and clients that remember what they were told compare.
//!
//! `WHARFINGER_CRASH_SECONDS` says how long the loop runs; by default about half a minute.

mod client;
mod durability;
mod full;
mod register;
mod server;

use client::Client;
use register::Register;
use server::{Kill, Server, Shim};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn eight_clients_and_kills_end_with_a_clean_store_and_every_acknowledged_object() {
    let Some(shim) = Shim::build() else { return };
    let seconds = std::env::var("WHARFINGER_CRASH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let seed = std::env::var("WHARFINGER_CRASH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    eprintln!("WHARFINGER_CRASH_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut server = Server::new(shim);
    let shared = Arc::new(Register::default());
    let mut clients: Vec<Client> = (0..CLIENTS).map(|number| Client::new(number, shared.clone(), dice.fork())).collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut rounds, mut deaths) = (0, 0);
    while Instant::now() < end || rounds < 2 {
        let kill = match dice.u32(0..4) {
            0 => Kill::AfterMillis(dice.u64(50..3000)),
            _ => Kill::AtCall(dice.u64(1..2500)),
        };
        if let Some(address) = server.start(kill).await {
            let stop =
                Instant::now() + Duration::from_secs(10).min(end.saturating_duration_since(Instant::now()).max(Duration::from_secs(2)));
            let mut working = tokio::task::JoinSet::new();
            for mut client in clients.drain(..) {
                working.spawn(async move {
                    client.work(address, stop).await;
                    client
                });
            }
            clients = working.join_all().await;
        }
        deaths += u32::from(server.stop().await);
        server.check();
        let address = server.start(Kill::Never).await.expect("the registry starts on what is left");
        for client in &mut clients {
            client.settle(address).await;
        }
        shared.settle(address).await;
        assert!(!server.stop().await, "nobody killed it");
        server.check();
        rounds += 1;
    }
    let acknowledged: u64 = clients.iter().map(|client| client.acknowledged).sum();
    eprintln!("{rounds} rounds, {deaths} kills, {acknowledged} acknowledged changes, none lost");
    assert!(acknowledged > 0 && deaths > 0);
}

//! What was acknowledged survives crashes, failing disks and full disks. The real binary is killed at chosen
//! system calls and at random moments, and clients compare the registry with the answers they got.
//!
//! `WHARFINGER_CRASH_SECONDS` sets how long the loop runs. The default is about half a minute.

mod backup;
mod client;
mod convert;
mod durability;
mod failing;
mod filling;
pub(crate) mod full;
mod http;
mod register;
mod server;
mod shared;
mod upload;

use self::http::Http;
use client::{Client, Done};
use server::{Kill, Server, Shim};
use shared::Shared;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

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
    let mut dice = dice();
    let mut server = Server::new(shim);
    let shared = Arc::new(Shared::default());
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|number| Client::new(number, shared.clone(), dice.fork()))
        .collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut rounds = 0;
    let mut deaths = 0;
    while Instant::now() < end || rounds < 2 {
        let kill = match dice.u32(0..4) {
            0 => Kill::AfterMillis(dice.u64(50..3000)),
            _ => Kill::AtCall(dice.u64(1..2500)),
        };
        let mut silent = false;
        if let Some(address) = server.start(kill).await {
            let stop = Instant::now()
                + Duration::from_secs(10).min(
                    end.saturating_duration_since(Instant::now())
                        .max(Duration::from_secs(2)),
                );
            let mut working = tokio::task::JoinSet::new();
            for mut client in clients.drain(..) {
                working.spawn(async move {
                    let answered = client.work(address, stop).await;
                    (client, answered)
                });
            }
            let worked = working.join_all().await;
            silent = worked.iter().any(|(_, answered)| !answered);
            clients.extend(worked.into_iter().map(|(client, _)| client));
        }
        let died = server.stop().await;
        assert!(
            died || !silent,
            "a request was not answered, and nobody had killed the registry"
        );
        deaths += u32::from(died);
        server.check();
        let address = server
            .start(Kill::Never)
            .await
            .expect("the registry starts on what is left");
        compare(&mut clients, &shared, &Http::new(address))
            .await
            .expect("nobody kills it now");
        assert!(!server.stop().await, "nobody killed it");
        server.nothing_is_half_done();
        server.check();
        rounds += 1;
    }
    let address = server.start(Kill::Never).await.unwrap();
    for client in &mut clients {
        client
            .finish(&Http::new(address))
            .await
            .expect("nobody kills it now");
    }
    assert!(!server.stop().await, "nobody killed it");
    server.check();
    let sum = |count: fn(&Done) -> u64| clients.iter().map(|client| count(&client.done)).sum::<u64>();
    let acknowledged = sum(|done| done.acknowledged);
    let resumed = sum(|done| done.resumed);
    let again = sum(|done| done.again);
    eprintln!(
        "{rounds} rounds, {deaths} kills, {acknowledged} acknowledged changes, none lost; {resumed} uploads found open at their offset, \
         {again} lost by a closing that was not answered"
    );
    assert!(acknowledged > 0 && deaths > 0 && resumed > 0);
}

async fn compare(clients: &mut [Client], shared: &Shared, http: &Http) -> Option<()> {
    let compared = clients.iter_mut().map(|client| client.settle(http));
    futures_util::future::join_all(compared)
        .await
        .into_iter()
        .collect::<Option<Vec<()>>>()?;
    shared.settle(http).await
}

//! Clients work, the registry is killed, and everything is compared. This is repeated. Where
//! collectors run, clients and the commands that collect are killed too.

use super::CLIENTS;
use super::client::{Client, Done};
use super::crowd::{self, Crowd};
use super::http::Http;
use super::passes::{Passes, Ran};
use super::server::{Kill, Server};
use super::shared::Shared;
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

pub(super) struct Rounds {
    pub(super) server: Server,
    pub(super) clients: Vec<Client>,
    pub(super) crowd: Vec<Crowd>,
    pub(super) shared: Arc<Shared>,
    pub(super) dice: fastrand::Rng,
    pub(super) rounds: u64,
    /// How often the registry was killed, and how often a client was.
    pub(super) deaths: u64,
    pub(super) abandoned: u64,
    pub(super) commands: Ran,
}

impl Rounds {
    pub(super) fn new(server: Server, mut dice: fastrand::Rng, shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let crowd = if shared.collects { crowd::CLIENTS } else { 0 };
        Self {
            server,
            clients: (0..CLIENTS)
                .map(|number| Client::new(number, shared.clone(), dice.fork()))
                .collect(),
            crowd: (0..crowd).map(|number| Crowd::new(number, dice.fork())).collect(),
            shared,
            dice,
            rounds: 0,
            deaths: 0,
            abandoned: 0,
            commands: Ran::default(),
        }
    }

    pub(super) async fn run(&mut self, seconds: u64) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end || self.rounds < 2 {
            self.one(end).await;
            self.rounds += 1;
        }
    }

    async fn one(&mut self, end: Instant) {
        let collects = self.shared.collects;
        if collects {
            let pace = self.dice.choice([20, 50, 100]);
            // Without syncs the clients do more. What a killed process has written is kept by the kernel.
            let commit = self.dice.bool();
            self.server.configure(|config| {
                config["storage"]["gcPace"] = json!(pace);
                config["storage"]["commit"] = json!(commit);
            });
        }
        let calls = if collects { 10_000 } else { 2500 };
        let kill = match self.dice.u32(0..4) {
            0 => Kill::AfterMillis(self.dice.u64(50..3000)),
            _ => Kill::AtCall(self.dice.u64(1..calls)),
        };
        let mut silent = false;
        if let Some(address) = self.server.start(kill).await {
            let left = end.saturating_duration_since(Instant::now());
            let stop = Instant::now() + left.clamp(Duration::from_secs(2), Duration::from_secs(10));
            let passes = collects.then(|| Passes::begin(self.server.command("gc"), self.dice.fork()));
            silent = !self.work(address, stop).await;
            if collects && self.dice.bool() {
                // The passes lose the registry that makes them, and continue on the store itself.
                self.server.end(Signal::KILL);
            }
            if let Some(passes) = passes {
                self.commands += passes.end().await;
            }
        }
        let died = self.server.stop().await;
        assert!(
            died || !silent,
            "a request was not answered, although the registry was not killed"
        );
        self.deaths += u64::from(died);
        self.server.check();
        self.compare().await;
        if !collects {
            self.server.nothing_is_half_done();
        }
        self.server.check();
    }

    /// Returns whether the registry answered all requests.
    async fn work(&mut self, address: SocketAddr, stop: Instant) -> bool {
        let mut clients = JoinSet::new();
        for mut client in self.clients.drain(..) {
            let dies = dies(self.shared.collects, &mut self.dice, stop);
            clients.spawn(async move {
                let answered = timeout_at(dies, client.work(address, stop)).await;
                (client, answered)
            });
        }
        let mut crowd = JoinSet::new();
        for mut client in self.crowd.drain(..) {
            let dies = dies(true, &mut self.dice, stop);
            crowd.spawn(async move {
                let answered = timeout_at(dies, client.work(address, stop)).await;
                (client, answered)
            });
        }
        let mut answered = Vec::new();
        for (client, result) in clients.join_all().await {
            self.clients.push(client);
            answered.push(result);
        }
        for (client, result) in crowd.join_all().await {
            self.crowd.push(client);
            answered.push(result);
        }
        self.abandoned += answered.iter().filter(|result| result.is_err()).count() as u64;
        answered.into_iter().all(|result| result.unwrap_or(true))
    }

    /// Starts the registry, compares everything, and stops it.
    pub(super) async fn compare(&mut self) {
        let address = self
            .server
            .start(Kill::Never)
            .await
            .expect("the registry starts on what is left");
        self.settle(&Http::new(address).patient(self.shared.collects))
            .await
            .expect("no test kills it now");
        assert!(!self.server.stop().await, "the registry was not killed");
    }

    pub(super) async fn settle(&mut self, http: &Http) -> Option<()> {
        let compared = self.clients.iter_mut().map(|client| client.settle(http));
        let of_the_crowd = self.crowd.iter_mut().map(|client| client.settle(http));
        let (compared, of_the_crowd) = tokio::join!(join_all(compared), join_all(of_the_crowd));
        compared
            .into_iter()
            .chain(of_the_crowd)
            .collect::<Option<Vec<()>>>()?;
        self.shared.settle(http).await
    }

    /// Starts the registry, closes all uploads, and leaves it running.
    pub(super) async fn finish(&mut self) -> Http {
        let address = self.server.start(Kill::Never).await.unwrap();
        let http = Http::new(address).patient(self.shared.collects);
        for client in &mut self.clients {
            client.finish(&http).await.expect("no test kills it now");
        }
        http
    }

    pub(super) fn sum(&self, count: fn(&Done) -> u64) -> u64 {
        self.clients.iter().map(|client| count(&client.done)).sum()
    }
}

/// When a client dies in the middle of what it does.
fn dies(may_die: bool, dice: &mut fastrand::Rng, stop: Instant) -> Instant {
    if may_die && dice.u32(0..3) == 0 {
        return Instant::now() + Duration::from_millis(dice.u64(0..5000));
    }
    stop + crate::harness::PATIENCE
}

//! Pulls and pushes with and without a collector beside them. One server serves one store, and is restarted
//! with another collector for each turn. The clients send at a steady rate, so that a slower server gets as
//! many requests.

use super::content::{IMAGE, blob, image};
use super::fill::{Spread, blobs_of, fill, name, tag};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use wharfinger_testkit::{ServerProcess, free};

const PULLERS: usize = 4;
const PUSHERS: usize = 2;
const BETWEEN_PULLS: Duration = Duration::from_millis(10);
const BETWEEN_PUSHES: Duration = Duration::from_millis(40);

/// The share of the time that the collector works, in percent. `None` means no collector.
const PACES: [Option<u8>; 3] = [None, Some(10), Some(100)];

#[derive(Default)]
struct Found {
    pulls: Vec<Duration>,
    pushes: Vec<Duration>,
    passes: u64,
}

pub(crate) async fn measure(manifests: usize, rounds: usize, seconds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let spread = Spread::of(manifests);
    fill(&folder.path().join("store"), spread).await;
    let mut found = PACES.map(|_| Found::default());
    for round in 0..=rounds {
        let mut turns = [0, 1, 2];
        turns.rotate_left(round % PACES.len());
        for turn in turns {
            let took = one_turn(folder.path(), spread, PACES[turn], seconds).await;
            // The first round is a warm-up.
            if round > 0 {
                found[turn].pulls.extend(took.pulls);
                found[turn].pushes.extend(took.pushes);
                found[turn].passes += took.passes;
            }
        }
    }
    println!(
        "\n### Pulls and pushes beside a collector\n\n{} manifests, {rounds} turns of {seconds} seconds each.\n",
        spread.manifests()
    );
    println!(
        "| collector | pulls | p50, ms | p99, ms | to none | pushes | p50, ms | p99, ms | to none | passes |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let [none, ..] = &found;
    let none = (at(&none.pulls, 99), at(&none.pushes, 99));
    for (pace, found) in PACES.iter().zip(&found) {
        let what = pace.map_or("none".to_owned(), |pace| format!("gcPace {pace}"));
        let columns = |times: &[Duration], none: f64| {
            format!(
                "{} | {:.2} | {:.2} | {:.2}",
                times.len(),
                at(times, 50),
                at(times, 99),
                at(times, 99) / none
            )
        };
        println!(
            "| {what} | {} | {} | {} |",
            columns(&found.pulls, none.0),
            columns(&found.pushes, none.1),
            found.passes
        );
    }
}

/// A percentile in milliseconds.
fn at(times: &[Duration], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times
        .get(index)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

async fn one_turn(folder: &Path, spread: Spread, pace: Option<u8>, seconds: usize) -> Found {
    let address = free();
    let health = free();
    let server = start(folder, address, health, pace);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let http = Http { client, address };
    let end = Instant::now() + Duration::from_secs(seconds as u64);
    let mut pulling = JoinSet::new();
    for _ in 0..PULLERS {
        pulling.spawn(pull(http.clone(), spread, end));
    }
    let mut pushing = JoinSet::new();
    for number in 0..PUSHERS {
        pushing.spawn(push(http.clone(), number, end));
    }
    let pulls = pulling.join_all().await.concat();
    let pushes = pushing.join_all().await.concat();
    let passes = passes(&http, health).await;
    assert!(pace.is_some() || passes == 0);
    drop(server);
    Found {
        pulls,
        pushes,
        passes,
    }
}

fn start(folder: &Path, address: SocketAddr, health: SocketAddr, pace: Option<u8>) -> ServerProcess {
    let config = json!({
        "storage": {
            "rootDirectory": "store",
            "gc": pace.is_some(), "gcDelay": "1s", "gcInterval": "1ms", "gcPace": pace.unwrap_or(1),
        },
        "http": {
            "address": "127.0.0.1", "port": address.port(),
            "health": {"address": "127.0.0.1", "port": health.port()},
        },
        "accessControl": {"repositories": {"**": {"anonymousPolicy": ["read", "create", "update", "delete"]}}},
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    command
        .args(["serve", "config.json"])
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .env_remove("SPIFFE_ENDPOINT_SOCKET");
    ServerProcess::start(command, Some(&folder.join("log")), address)
}

#[derive(Clone)]
struct Http {
    client: reqwest::Client,
    address: SocketAddr,
}

impl Http {
    async fn send(&self, method: &str, path: &str, body: impl Into<reqwest::Body>) -> u16 {
        let answer = self
            .client
            .request(
                method.parse().unwrap(),
                format!("http://{}/v2/{path}", self.address),
            )
            .header("content-type", IMAGE)
            .body(body)
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        answer.bytes().await.unwrap();
        status
    }
}

/// Pulls random images until the end: the manifest and one of its blobs.
async fn pull(http: Http, spread: Spread, end: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut ticks = steady(BETWEEN_PULLS);
    while Instant::now() < end {
        ticks.tick().await;
        let repository = name(fastrand::usize(..spread.repositories));
        let image = fastrand::usize(..spread.images);
        let blob = &blobs_of(image)[0].digest;
        let begun = Instant::now();
        for path in [format!("manifests/{}", tag(image)), format!("blobs/{blob}")] {
            assert_eq!(http.send("GET", &format!("{repository}/{path}"), "").await, 200);
        }
        times.push(begun.elapsed());
    }
    times
}

/// Pushes new images until the end, and deletes each after the next one, so that a collector finds work. Only
/// the pushes are measured.
async fn push(http: Http, number: usize, end: Instant) -> Vec<Duration> {
    let repository = format!("push/{number}");
    let mut times = Vec::new();
    let mut before = None;
    let mut ticks = steady(BETWEEN_PUSHES);
    while Instant::now() < end {
        ticks.tick().await;
        let blobs = [blob(&fastrand::u64(..).to_string(), 1000)];
        let image = image("pushed", &blobs);
        let [blob] = blobs;
        let begun = Instant::now();
        let path = format!("{repository}/blobs/uploads/?digest={}", blob.digest);
        assert_eq!(http.send("POST", &path, blob.bytes).await, 201);
        let path = format!("{repository}/manifests/latest");
        assert_eq!(http.send("PUT", &path, image.bytes).await, 201);
        times.push(begun.elapsed());
        if let Some(before) = before.replace(image.digest) {
            let path = format!("{repository}/manifests/{before}");
            assert_eq!(http.send("DELETE", &path, "").await, 202);
        }
    }
    times
}

fn steady(between: Duration) -> tokio::time::Interval {
    let mut ticks = interval(between);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// How many full passes the server has completed.
async fn passes(http: &Http, health: SocketAddr) -> u64 {
    let url = format!("http://{health}/metrics");
    let metrics = http.client.get(url).send().await.unwrap().text().await.unwrap();
    let line = "wharfinger_collections_total{kind=\"full\",result=\"done\"} ";
    let found = metrics.lines().find_map(|found| found.strip_prefix(line));
    found.map_or(0, |count| count.parse().unwrap())
}

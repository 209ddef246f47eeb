//! The same test on a disk that another program fills to the last byte and empties again, so that it is full
//! half of the time. What was acknowledged stays, deleted content stays deleted, and in the end everything
//! works again.

use super::client::Http;
use super::full::{Small, manifest};
use super::server::{Kill, Server, Shim};
use crate::harness::{Setup, sha256};
use reqwest::Method;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

const CLIENTS: usize = 4;

/// Writes to a repository of its own.
struct Client {
    repository: String,
    dice: fastrand::Rng,
    /// Paths of manifests and blobs.
    there: BTreeMap<String, Vec<u8>>,
    gone: BTreeSet<String>,
    /// Requests that were neither acknowledged nor finally rejected.
    perhaps: BTreeMap<String, Vec<u8>>,
    acknowledged: u64,
    refused: u64,
}

impl Client {
    fn new(number: usize, dice: fastrand::Rng) -> Self {
        let there = BTreeMap::new();
        let perhaps = BTreeMap::new();
        Self {
            repository: format!("client/{number}"),
            dice,
            there,
            gone: BTreeSet::new(),
            perhaps,
            acknowledged: 0,
            refused: 0,
        }
    }

    fn path(&self, what: &str) -> String {
        format!("/v2/{}/{what}", self.repository)
    }

    /// Works until time is up or the registry stops answering.
    async fn work(&mut self, address: SocketAddr, stop: Instant) {
        let http = Http::new(address);
        while Instant::now() < stop {
            let answered = match self.dice.u32(0..10) {
                0..4 => self.push_manifest(&http).await,
                4..6 => self.push_blob(&http).await,
                6..9 => self.delete(&http).await,
                _ => self.pull(&http).await,
            };
            if answered.is_none() {
                return;
            }
        }
    }

    async fn push_manifest(&mut self, http: &Http) -> Option<()> {
        let config = self.path(&format!("blobs/{}", sha256(b"{}")));
        if !self.there.contains_key(&config) {
            self.push(
                http,
                Method::POST,
                &self.path(&format!("blobs/uploads/?digest={}", sha256(b"{}"))),
                config,
                b"{}".to_vec(),
            )
            .await?;
            return Some(());
        }
        let number = self.dice.usize(..);
        let size = self.dice.usize(100..90_000);
        let bytes = manifest((&sha256(b"{}"), 2), number, size).into_bytes();
        let path = self.path(&format!("manifests/{}", sha256(&bytes)));
        let tag = format!("manifests/t{}", self.dice.u32(0..20));
        let reference = if self.dice.bool() {
            path.clone()
        } else {
            self.path(&tag)
        };
        self.push(http, Method::PUT, &reference, path, bytes).await
    }

    async fn push_blob(&mut self, http: &Http) -> Option<()> {
        let size = self.dice.usize(10..5000);
        let bytes: Vec<u8> = std::iter::repeat_with(|| self.dice.u8(..)).take(size).collect();
        let digest = sha256(&bytes);
        let path = self.path(&format!("blobs/{digest}"));
        self.push(
            http,
            Method::POST,
            &self.path(&format!("blobs/uploads/?digest={digest}")),
            path,
            bytes,
        )
        .await
    }

    async fn push(
        &mut self,
        http: &Http,
        method: Method,
        to: &str,
        path: String,
        bytes: Vec<u8>,
    ) -> Option<()> {
        self.perhaps.insert(path.clone(), bytes.clone());
        let answer = http.ask(method, to, bytes.clone()).await?;
        match answer.status.as_u16() {
            201 => {
                self.perhaps.remove(&path);
                self.there.insert(path, bytes);
                self.acknowledged += 1;
            }
            507 => self.refused += 1,
            _ => panic!("{answer}"),
        }
        Some(())
    }

    async fn delete(&mut self, http: &Http) -> Option<()> {
        let config = sha256(b"{}");
        let paths: Vec<_> = self
            .there
            .keys()
            .filter(|path| !path.ends_with(&config))
            .cloned()
            .collect();
        let Some(path) = self.dice.choice(paths) else {
            return Some(());
        };
        self.delete_one(http, &path).await
    }

    async fn delete_one(&mut self, http: &Http, path: &str) -> Option<()> {
        let bytes = self.there.remove(path).expect("it is there");
        self.perhaps.insert(path.to_owned(), bytes);
        let answer = http.ask(Method::DELETE, path, "").await?;
        match answer.status.as_u16() {
            202 => {
                self.perhaps.remove(path);
                self.gone.insert(path.to_owned());
                self.acknowledged += 1;
            }
            // The other program may have taken the reserve's blocks first.
            507 => self.refused += 1,
            _ => panic!("{answer}"),
        }
        Some(())
    }

    async fn pull(&mut self, http: &Http) -> Option<()> {
        let paths: Vec<_> = self.there.keys().cloned().collect();
        let Some(path) = self.dice.choice(paths) else {
            return Some(());
        };
        let answer = http.ask(Method::GET, &path, "").await?.must_be(200, "its push");
        assert!(answer.body == self.there[&path], "{path}");
        Some(())
    }

    /// Compares the registry with what was acknowledged.
    async fn compare(&mut self, http: &Http) {
        for (path, bytes) in &self.there {
            let answer = http
                .ask(Method::GET, path, "")
                .await
                .unwrap()
                .must_be(200, "its push");
            assert!(answer.body == bytes, "{path}");
        }
        for path in &self.gone {
            http.ask(Method::GET, path, "")
                .await
                .unwrap()
                .must_be(404, "its deletion");
        }
        for (path, bytes) in std::mem::take(&mut self.perhaps) {
            let answer = http.ask(Method::GET, &path, "").await.unwrap();
            match answer.status.as_u16() {
                200 => assert!(
                    answer.body == bytes && self.there.insert(path.clone(), bytes).is_none(),
                    "{path}"
                ),
                404 => {}
                _ => panic!("{answer}"),
            }
        }
    }
}

/// Fills the disk and empties it until `end`. While the lock is held, no other task changes the disk.
async fn fill_and_free(small: Arc<Mutex<Small>>, end: Arc<AtomicBool>, mut dice: fastrand::Rng) {
    while !end.load(Ordering::SeqCst) {
        {
            let small = small.lock().await;
            tokio::task::block_in_place(|| small.fill());
            tokio::time::sleep(Duration::from_millis(dice.u64(100..600))).await;
            small.free();
        }
        tokio::time::sleep(Duration::from_millis(dice.u64(100..600))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_on_a_disk_that_is_full_half_of_the_time_lose_nothing_and_block_nothing() {
    let Some(shim) = Shim::build() else { return };
    let seconds = super::seconds(20);
    let mut dice = super::dice();
    let setup = Setup::plain();
    let Some(small) = Small::mount(setup.path("store"), 48) else {
        return;
    };
    let small = Arc::new(Mutex::new(small));
    let over = Arc::new(AtomicBool::new(false));
    let mut server = Server::with(shim, setup);
    // The store is created while the disk has room.
    server.start(Kill::Never).await.unwrap();
    server.stop().await;
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|number| Client::new(number, dice.fork()))
        .collect();
    let filling = tokio::spawn(fill_and_free(small.clone(), over.clone(), dice.fork()));
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut deaths = 0;
    let mut rounds = 0;
    while Instant::now() < end || rounds < 2 {
        let kill = if dice.bool() {
            Kill::AfterMillis(dice.u64(300..2500))
        } else {
            Kill::AtCall(dice.u64(1..2500))
        };
        if let Some(address) = server.start(kill).await {
            let stop = Instant::now() + Duration::from_secs(3);
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
        // The other program is paused during the comparison.
        let _alone = small.lock().await;
        server.check();
        let http = Http::new(
            server
                .start(Kill::Never)
                .await
                .expect("the registry starts on what is left"),
        );
        for client in &mut clients {
            client.compare(&http).await;
        }
        assert!(!server.stop().await, "the registry was not killed");
        server.nothing_is_half_done();
        rounds += 1;
    }
    over.store(true, Ordering::SeqCst);
    filling.await.unwrap();
    let http = Http::new(server.start(Kill::Never).await.unwrap());
    for client in &mut clients {
        let refused = client.refused;
        client.push_blob(&http).await.unwrap();
        let (manifests, blobs): (Vec<_>, Vec<_>) = client
            .there
            .keys()
            .cloned()
            .partition(|path| path.contains("/manifests/"));
        for path in manifests.iter().chain(&blobs) {
            client.delete_one(&http, path).await.unwrap();
        }
        client.push_manifest(&http).await.unwrap();
        assert_eq!(
            (client.refused, client.there.len()),
            (refused, 1),
            "nothing is stuck"
        );
    }
    assert!(!server.stop().await, "the registry was not killed");
    server.check();
    let sum = |count: fn(&Client) -> u64| clients.iter().map(count).sum::<u64>();
    let acknowledged = sum(|client| client.acknowledged);
    let refused = sum(|client| client.refused);
    eprintln!(
        "{rounds} rounds, {deaths} kills, {acknowledged} acknowledged changes, none lost; {refused} refused on a full disk"
    );
    assert!(acknowledged > 0 && refused > 0 && deaths > 0);
}

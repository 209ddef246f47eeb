//! Replicas on one bucket behind a round robin. Each reaches the store through a proxy of its own.

use super::replica::Replica;
use crate::harness::{Setup, TestPki};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex as Blocking};
use tokio::sync::Mutex;
use tokio::task::block_in_place;
use wharfinger_testkit::s3::{Place, SeaweedFs};
use wharfinger_testkit::{Line, Link, RoundRobin};

pub(super) const GATEWAYS: usize = 2;

pub(crate) struct Cluster {
    pub(super) balance: RoundRobin,
    pub(super) replicas: Vec<Mutex<Replica>>,
    addresses: Blocking<Vec<SocketAddr>>,
    links: Vec<Link>,
    store: Option<Arc<Blocking<SeaweedFs>>>,
}

impl Cluster {
    /// One replica on a folder.
    pub(super) async fn on_a_folder() -> Self {
        Self::start(vec![Replica::new(Setup::plain(), &[])], Vec::new(), None).await
    }

    /// Replicas on SeaweedFS, whose configurations are the same but for `change`. Prints a message and returns
    /// `None` if SeaweedFS is not installed, or if nobody asked for such a test.
    pub(crate) async fn on_a_bucket(count: usize, change: impl Fn(&mut Value)) -> Option<Self> {
        Self::with_clocks(count, None, change).await
    }

    /// The same, where the clock of the last replica is ten minutes fast. A client without tokens does not
    /// notice.
    pub(super) async fn with_a_fast_clock(count: usize) -> Option<Self> {
        Self::with_clocks(count, fast_clock(), |_| {}).await
    }

    async fn with_clocks(
        count: usize,
        fast: Option<[(&'static str, &'static str); 3]>,
        change: impl Fn(&mut Value),
    ) -> Option<Self> {
        if std::env::var_os("WHARFINGER_CHAOS_SECONDS").is_none() {
            eprintln!("skipped: set WHARFINGER_CHAOS_SECONDS to run replicas on a bucket");
            return None;
        }
        let Some(store) = block_in_place(|| SeaweedFs::with_gateways(GATEWAYS)) else {
            let required = std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_some();
            assert!(!required, "weed is not installed");
            eprintln!("skipped: weed (SeaweedFS) is not installed");
            return None;
        };
        let keys = TestPki::new().servers.server().key;
        let mut links = Vec::new();
        let mut replicas = Vec::new();
        for number in 0..count {
            let place = store.place_at(number % GATEWAYS);
            let gateway = place.endpoint.trim_start_matches("http://").parse().unwrap();
            let link = Link::to(gateway).await;
            let mut setup = on(&place, link.address());
            setup.write("keys.pem", &keys);
            change(&mut setup.config);
            let variables = fast.as_ref().filter(|_| number + 1 == count);
            let variables: Vec<(&str, &str)> = variables.into_iter().flatten().copied().collect();
            links.push(link);
            replicas.push(Replica::new(setup, &variables));
        }
        Some(Self::start(replicas, links, Some(Arc::new(Blocking::new(store)))).await)
    }

    async fn start(
        replicas: Vec<Replica>,
        links: Vec<Link>,
        store: Option<Arc<Blocking<SeaweedFs>>>,
    ) -> Self {
        let cluster = Self {
            balance: RoundRobin::over(replicas.len()).await,
            addresses: Blocking::new(vec![([127, 0, 0, 1], 0).into(); replicas.len()]),
            replicas: replicas.into_iter().map(Mutex::new).collect(),
            links,
            store,
        };
        for number in 0..cluster.replicas.len() {
            cluster.restart(number).await;
        }
        cluster
    }

    /// The address of the round robin.
    pub(crate) fn address(&self) -> SocketAddr {
        self.balance.address()
    }

    /// Where this replica listens.
    pub(super) fn address_of(&self, replica: usize) -> SocketAddr {
        self.addresses.lock().unwrap()[replica]
    }

    pub(super) async fn kill(&self, replica: usize) {
        self.replicas[replica].lock().await.kill().await;
        // The port may soon be another program's.
        self.balance.place(replica, None);
    }

    pub(super) async fn restart(&self, replica: usize) {
        let mut process = self.replicas[replica].lock().await;
        process.kill().await;
        let address = process.start().await;
        self.addresses.lock().unwrap()[replica] = address;
        self.balance.place(replica, Some(address));
    }

    pub(super) async fn stop(&self) {
        for replica in &self.replicas {
            replica.lock().await.stop().await;
        }
    }

    /// The way of this replica to the store, if it has one.
    pub(super) fn to_the_store(&self, replica: usize) -> Option<&Line> {
        self.links.get(replica).map(Link::line)
    }

    pub(super) fn has_a_store(&self) -> bool {
        self.store.is_some()
    }

    pub(super) fn place(&self) -> Option<Place> {
        Some(self.store.as_ref()?.lock().unwrap().place())
    }

    /// Calls this with the store, in which it may wait.
    pub(super) async fn with_the_store(&self, work: impl FnOnce(&mut SeaweedFs) + Send + 'static) {
        if let Some(store) = self.store.clone() {
            let work = move || work(&mut store.lock().unwrap());
            tokio::task::spawn_blocking(work).await.unwrap();
        }
    }
}

pub(crate) fn on(place: &Place, endpoint: SocketAddr) -> Setup {
    let mut setup = Setup::plain();
    setup.config["storage"] = json!({"storageDriver": {
        "name": "s3",
        "bucket": place.bucket,
        "region": place.region,
        "regionendpoint": format!("http://{endpoint}"),
        "accesskey": place.access_key,
        "secretkey": place.secret_key,
    }});
    setup.config["stateDirectory"] = json!("state");
    setup.config["http"]["auth"]["token"] = json!({"signingKeyFile": "keys.pem"});
    setup
}

/// What makes a program's clock fast. Prints a message and returns `None` if libfaketime is not installed.
fn fast_clock() -> Option<[(&'static str, &'static str); 3]> {
    let libraries = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    ];
    let Some(library) = libraries.into_iter().find(|library| Path::new(library).is_file()) else {
        let required = std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_some();
        assert!(!required, "libfaketime is not installed");
        eprintln!("skipped: a replica with a wrong clock, since libfaketime is not installed");
        return None;
    };
    Some([
        ("LD_PRELOAD", library),
        ("FAKETIME", "+600"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ])
}

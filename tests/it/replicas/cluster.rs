//! Replicas on one bucket behind a round robin. Each reaches the store through a proxy of its own.

use super::inspector::Inspector;
use super::replica::Replica;
use super::trouble::Trouble;
use crate::harness::{Setup, TestPki};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex as Blocking};
use tokio::sync::Mutex;
use tokio::task::block_in_place;
use wharfinger_testkit::s3::{Fake, Place, SeaweedFs};
use wharfinger_testkit::{Line, Link, RoundRobin};

pub(super) const GATEWAYS: usize = 2;

pub(crate) struct Cluster {
    pub(super) balance: RoundRobin,
    pub(super) replicas: Vec<Mutex<Replica>>,
    addresses: Blocking<Vec<SocketAddr>>,
    links: Vec<Link>,
    store: Store,
}

/// What all replicas share.
enum Store {
    Folder,
    Engine(Arc<Blocking<SeaweedFs>>),
    InTheProcess(Fake),
}

impl Cluster {
    /// One replica on a folder.
    pub(super) async fn on_a_folder() -> Self {
        Self::start(vec![Replica::new(Setup::plain(), &[])], Vec::new(), Store::Folder).await
    }

    /// Replicas on an empty bucket in the test's process, with `change` in their configurations. Their keys are
    /// from its STS.
    pub(crate) async fn in_the_process(count: usize, change: impl Fn(&mut Value)) -> Self {
        let store = Fake::start().await;
        let address = store.place().endpoint.trim_start_matches("http://");
        let address = address.parse().unwrap();
        let keys = signing_keys();
        let mut links = Vec::new();
        let mut replicas = Vec::new();
        for _ in 0..count {
            let link = Link::to(address).await;
            let endpoint = format!("http://{}", link.address());
            let mut setup = on(store.place(), &endpoint, &keys);
            let driver = setup.config["storage"]["storageDriver"].as_object_mut().unwrap();
            driver.remove("accesskey");
            driver.remove("secretkey");
            change(&mut setup.config);
            setup.write("token", "a-token");
            let token = setup.path("token");
            let variables = [
                ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
                ("AWS_ROLE_ARN", "arn:aws:iam::0:role/registry"),
                ("AWS_ENDPOINT_URL_STS", &endpoint),
            ];
            replicas.push(Replica::new(setup, &variables));
            links.push(link);
        }
        Self::start(replicas, links, Store::InTheProcess(store)).await
    }

    /// Replicas on SeaweedFS, with `change` in their configurations. Prints a message and returns `None` if
    /// SeaweedFS is not installed.
    pub(crate) async fn on_a_bucket(count: usize, change: impl Fn(&mut Value)) -> Option<Self> {
        Self::with_clocks(&vec![None; count], change).await
    }

    /// Three replicas on SeaweedFS: the clock of the first is ten minutes slow, and that of the last is ten
    /// minutes fast. A client without tokens does not notice.
    pub(super) async fn with_wrong_clocks() -> Option<Self> {
        Self::with_clocks(&[Some("-600"), None, Some("+600")], |_| {}).await
    }

    /// Each replica's clock is off by so many seconds.
    async fn with_clocks(off_by: &[Option<&'static str>], change: impl Fn(&mut Value)) -> Option<Self> {
        let Some(store) = block_in_place(|| SeaweedFs::with_gateways(GATEWAYS)) else {
            let required = std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_some();
            assert!(!required, "weed is not installed");
            eprintln!("skipped: weed (SeaweedFS) is not installed");
            return None;
        };
        let inspector = Inspector::new(store.place());
        // The tests of the probe try this store. Its races take a minute there.
        inspector.put("probe/passed", r#"{"version":1}"#).await;
        let keys = signing_keys();
        let mut links = Vec::new();
        let mut replicas = Vec::new();
        for (number, off_by) in off_by.iter().enumerate() {
            let place = store.place_at(number % GATEWAYS);
            let gateway = place.endpoint.trim_start_matches("http://").parse().unwrap();
            let link = Link::to(gateway).await;
            let mut setup = on(&place, &format!("http://{}", link.address()), &keys);
            change(&mut setup.config);
            let variables = off_by.and_then(clock_off_by).into_iter().flatten();
            let variables: Vec<(&str, &str)> = variables.collect();
            links.push(link);
            replicas.push(Replica::new(setup, &variables));
        }
        let store = Store::Engine(Arc::new(Blocking::new(store)));
        Some(Self::start(replicas, links, store).await)
    }

    async fn start(replicas: Vec<Replica>, links: Vec<Link>, store: Store) -> Self {
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

    pub(crate) async fn stop(&self) {
        for replica in &self.replicas {
            replica.lock().await.stop().await;
        }
    }

    /// The way of this replica to the store, if it has one.
    pub(super) fn to_the_store(&self, replica: usize) -> Option<&Line> {
        self.links.get(replica).map(Link::line)
    }

    /// What may happen to this store and the network.
    pub(super) fn troubles(&self) -> &'static [Trouble] {
        match self.store {
            Store::Folder => &[Trouble::ClientsReset, Trouble::ClientsCutOff],
            Store::InTheProcess(_) => &[
                Trouble::Silence,
                Trouble::Keys,
                Trouble::CutOff,
                Trouble::Reset,
                Trouble::Slow,
                Trouble::ClientsReset,
                Trouble::ClientsCutOff,
            ],
            Store::Engine(_) => &[
                Trouble::Gateway,
                Trouble::Engine,
                Trouble::Store,
                Trouble::CutOff,
                Trouble::Reset,
                Trouble::Slow,
                Trouble::ClientsReset,
                Trouble::ClientsCutOff,
            ],
        }
    }

    pub(crate) fn place(&self) -> Option<Place> {
        match &self.store {
            Store::Folder => None,
            Store::Engine(store) => Some(store.lock().unwrap().place()),
            Store::InTheProcess(store) => Some(store.place().clone()),
        }
    }

    pub(super) fn store_in_the_process(&self) -> Option<&Fake> {
        match &self.store {
            Store::InTheProcess(store) => Some(store),
            Store::Folder | Store::Engine(_) => None,
        }
    }

    /// Calls this with the store, in which it may wait.
    pub(super) async fn with_the_store(&self, work: impl FnOnce(&mut SeaweedFs) + Send + 'static) {
        if let Store::Engine(store) = &self.store {
            let store = store.clone();
            let work = move || work(&mut store.lock().unwrap());
            tokio::task::spawn_blocking(work).await.unwrap();
        }
    }
}

/// A configuration for this bucket.
pub(crate) fn on(place: &Place, endpoint: &str, keys: &str) -> Setup {
    let mut setup = Setup::plain();
    setup.config["storage"] = json!({"storageDriver": {
        "name": "s3",
        "bucket": place.bucket,
        "region": place.region,
        "regionendpoint": endpoint,
        "accesskey": place.access_key,
        "secretkey": place.secret_key,
    }});
    setup.config["stateDirectory"] = json!("state");
    setup.config["http"]["auth"]["token"] = json!({"signingKeyFile": "keys.pem"});
    setup.write("keys.pem", keys);
    setup
}

pub(crate) fn signing_keys() -> String {
    TestPki::new().servers.server().key
}

/// What makes a program's clock wrong by so many seconds. Prints a message and returns `None` if libfaketime is
/// not installed.
pub(crate) fn clock_off_by(seconds: &'static str) -> Option<[(&'static str, &'static str); 3]> {
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
        ("FAKETIME", seconds),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ])
}

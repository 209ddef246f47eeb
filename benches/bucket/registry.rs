//! The compared registries. Each has a bucket of its own on the same store, and its own way to it.

use super::counting::Counting;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use wharfinger_testkit::s3::{self, SeaweedFs};
use wharfinger_testkit::{RoundRobin, ServerProcess, free};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Wharfinger,
    DockerRegistry,
}

impl Kind {
    pub(crate) const BOTH: [Self; 2] = [Self::Wharfinger, Self::DockerRegistry];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Wharfinger => "Wharfinger",
            Self::DockerRegistry => "docker-registry",
        }
    }

    const fn bucket(self) -> &'static str {
        match self {
            Self::Wharfinger => s3::Place::BUCKET,
            Self::DockerRegistry => "docker",
        }
    }
}

/// The store, with a bucket for each kind.
pub(crate) struct Place {
    store: s3::Place,
    gateway: SocketAddr,
}

impl Place {
    pub(crate) fn of(seaweedfs: &SeaweedFs) -> Self {
        seaweedfs.make_bucket(Kind::DockerRegistry.bucket());
        let store = seaweedfs.place();
        let gateway = store.endpoint.trim_start_matches("http://").parse().unwrap();
        Self { store, gateway }
    }
}

/// Some processes on one bucket.
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    pub(crate) counting: Counting,
    programs: Vec<ServerProcess>,
    _balance: Option<RoundRobin>,
    _folder: TempDir,
}

impl Registry {
    /// Starts this many replicas. Several are behind a round robin.
    pub(crate) fn start(runtime: &Runtime, kind: Kind, place: &Place, replicas: usize) -> Self {
        let counting = Counting::before(runtime, place.gateway);
        let folder = tempfile::tempdir().unwrap();
        let started: Vec<_> = (0..replicas)
            .map(|number| {
                let folder = folder.path().join(number.to_string());
                fs::create_dir(&folder).unwrap();
                start(kind, place, &counting, &folder)
            })
            .collect();
        let addresses: Vec<SocketAddr> = started.iter().map(|(_, address)| *address).collect();
        let balance = (replicas > 1).then(|| runtime.block_on(balance(&addresses)));
        Self {
            address: balance.as_ref().map_or(addresses[0], RoundRobin::address),
            counting,
            programs: started.into_iter().map(|(program, _)| program).collect(),
            _balance: balance,
            _folder: folder,
        }
    }

    /// CPU seconds so far.
    pub(crate) fn cpu(&self) -> f64 {
        self.programs.iter().map(ServerProcess::cpu).sum()
    }

    /// The most memory that a process had, in MiB.
    pub(crate) fn peak(&self) -> f64 {
        let of = |program: &ServerProcess| {
            let text = fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
        };
        self.programs.iter().map(of).fold(0.0, f64::max)
    }
}

async fn balance(addresses: &[SocketAddr]) -> RoundRobin {
    let balance = RoundRobin::over(addresses.len()).await;
    for (number, address) in addresses.iter().enumerate() {
        balance.place(number, Some(*address));
    }
    balance
}

fn start(kind: Kind, place: &Place, counting: &Counting, folder: &Path) -> (ServerProcess, SocketAddr) {
    let address = free();
    let s3 = json!({
        "bucket": kind.bucket(),
        "region": place.store.region,
        "regionendpoint": format!("http://{}", counting.address),
        "accesskey": place.store.access_key,
        "secretkey": place.store.secret_key,
        "rootdirectory": "registry",
    });
    let (mut command, ready) = match kind {
        Kind::Wharfinger => (wharfinger(s3, address, folder), "/readyz"),
        Kind::DockerRegistry => (docker_registry(s3, address, folder), "/"),
    };
    // Variables such as AWS_CA_BUNDLE would change what they do.
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    let program = ServerProcess::start(command, Some(&folder.join("log")), address);
    program.first_answer(address, ready);
    (program, address)
}

/// Without a way to log in, everyone may do everything.
fn wharfinger(mut s3: Value, address: SocketAddr, folder: &Path) -> Command {
    s3["name"] = "s3".into();
    let config = json!({
        "storage": {"storageDriver": s3, "gc": false},
        "stateDirectory": "state",
        "http": {"address": "127.0.0.1", "port": address.port()},
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    command.args(["serve", "config.json"]).current_dir(folder);
    command
}

/// It would redirect downloads to the store. Here it sends them, as ours does.
fn docker_registry(mut s3: Value, address: SocketAddr, folder: &Path) -> Command {
    s3["secure"] = false.into();
    let config = json!({
        "version": 0.1,
        "log": {"level": "info", "formatter": "json"},
        "storage": {
            "s3": s3,
            "cache": {"blobdescriptor": "inmemory"},
            "redirect": {"disable": true},
            "maintenance": {"uploadpurging": {"enabled": false}},
        },
        "http": {"addr": address, "secret": "the same for all replicas"},
    });
    fs::write(folder.join("config.yml"), config.to_string()).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(folder.join("config.yml"));
    command
}

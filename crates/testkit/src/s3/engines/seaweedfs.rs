//! SeaweedFS, a distributed store: one engine and any number of gateways that speak S3.

use super::super::Place;
use super::program::{Program, ask, free, send};
use super::sts::Sts;
use crate::programs::is_installed;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// It serves until it is dropped. What it wrote stays when its processes are killed and started again.
pub struct SeaweedFs {
    gateways: Vec<Gateway>,
    engine: Option<Program>,
    volumes: usize,
    ports: Ports,
    /// Absent if no token is exchanged.
    sts: Option<Sts>,
    folder: TempDir,
}

struct Gateway {
    program: Option<Program>,
    address: SocketAddr,
    grpc: SocketAddr,
}

struct Ports {
    master: [SocketAddr; 2],
    volume: [SocketAddr; 2],
    filer: [SocketAddr; 2],
}

/// How many volumes of 64 MiB a store has room for, unless it is told.
const VOLUMES: usize = 20;

const LIMITED_KEY: &str = "AKIALIMITED";
/// The file with the roles.
const IAM: &str = "iam.json";
/// Where the engine has the keys of the tokens.
const KEYS: &str = "/keys.json";

impl SeaweedFs {
    /// Starts an engine with one gateway and an empty bucket. `None` if it is not installed.
    pub fn start() -> Option<Self> {
        Self::with_gateways(1)
    }

    pub fn with_gateways(count: usize) -> Option<Self> {
        Self::launch(count, VOLUMES, None)
    }

    /// One gateway, and room for this many volumes of 64 MiB.
    pub fn with_volumes(volumes: usize) -> Option<Self> {
        Self::launch(1, volumes, None)
    }

    /// Starts with an STS at the gateway. A token of [`SeaweedFs::token`] may be exchanged there for any of these
    /// roles. Each has a name and a policy.
    pub fn with_roles(roles: &[(&str, Value)]) -> Option<Self> {
        Self::launch(1, VOLUMES, Some(Sts::new(roles)))
    }

    fn launch(count: usize, volumes: usize, sts: Option<Sts>) -> Option<Self> {
        if !is_installed("weed") {
            return None;
        }
        let [m, mg, v, vg, f, fg] = free();
        let gateways = (0..count).map(|_| {
            let [address, grpc] = free();
            Gateway {
                program: None,
                address,
                grpc,
            }
        });
        let mut store = Self {
            gateways: gateways.collect(),
            engine: None,
            volumes,
            ports: Ports {
                master: [m, mg],
                volume: [v, vg],
                filer: [f, fg],
            },
            sts,
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(store.path("data")).unwrap();
        std::fs::write(store.path("s3.json"), identities().to_string()).unwrap();
        if let Some(sts) = &store.sts {
            std::fs::write(store.path(IAM), sts.settings(&store.keys_url()).to_string()).unwrap();
        }
        store.launch_engine();
        for number in 0..count {
            store.launch_gateway(number);
        }
        store.await_engine();
        if let Some(sts) = &store.sts {
            let keys = sts.keys().to_string();
            assert_eq!(send(store.ports.filer[0], "PUT", KEYS, &keys), Some(201));
        }
        store.make_bucket(Place::BUCKET);
        for number in 0..count {
            store.await_gateway(number);
        }
        Some(store)
    }

    /// Makes another bucket.
    pub fn make_bucket(&self, name: &str) {
        // To the engine, a bucket is a folder.
        let made = ask(self.ports.filer[0], "POST", &format!("/buckets/{name}/"));
        assert_eq!(made, Some(201));
    }

    /// The bucket through the first gateway.
    pub fn place(&self) -> Place {
        self.place_at(0)
    }

    /// The bucket through this gateway, from 0.
    pub fn place_at(&self, gateway: usize) -> Place {
        Place::first(format!("http://{}", self.gateways[gateway].address))
    }

    /// The bucket for a key that may read, write and list in it, and nothing else.
    pub fn limited_place(&self) -> Place {
        Place {
            access_key: LIMITED_KEY.to_owned(),
            ..self.place()
        }
    }

    /// A token for a day that the STS accepts.
    pub fn token(&self) -> String {
        self.sts.as_ref().expect("a store with an STS").token()
    }

    /// The gateway fetches the keys of the tokens from the engine itself.
    fn keys_url(&self) -> String {
        format!("http://{}{KEYS}", self.ports.filer[0])
    }

    /// Ends the engine as a power failure would. The gateways stay.
    pub fn kill_engine(&mut self) {
        self.engine = None;
    }

    /// Returns when the engine serves again.
    pub fn restart_engine(&mut self) {
        self.engine = None;
        self.launch_engine();
        self.await_engine();
    }

    /// Ends all processes of the store as a power failure would.
    pub fn kill(&mut self) {
        for number in 0..self.gateways.len() {
            self.kill_gateway(number);
        }
        self.kill_engine();
    }

    /// Returns when the whole store serves again, with what it wrote before.
    pub fn restart(&mut self) {
        self.restart_engine();
        for number in 0..self.gateways.len() {
            self.restart_gateway(number);
        }
    }

    pub fn kill_gateway(&mut self, number: usize) {
        self.gateways[number].program = None;
    }

    /// Returns when the gateway serves again, at the same address.
    pub fn restart_gateway(&mut self, number: usize) {
        self.kill_gateway(number);
        self.launch_gateway(number);
        self.await_gateway(number);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn launch_engine(&mut self) {
        let mut command = Command::new("weed");
        command
            .args(["-logtostderr", "server", "-filer"])
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
            .args(["-master.volumeSizeLimitMB=64", "-master.telemetry=false"])
            // A master that starts again waits for this long before it serves.
            .args(["-master.electionTimeout=1s", "-master.heartbeatInterval=100ms"])
            .arg(format!("-volume.max={}", self.volumes))
            .arg(format!("-dir={}", self.path("data").display()));
        let Ports {
            master,
            volume,
            filer,
        } = &self.ports;
        for (name, [http, grpc]) in [("master", master), ("volume", volume), ("filer", filer)] {
            command
                .arg(format!("-{name}.port={}", http.port()))
                .arg(format!("-{name}.port.grpc={}", grpc.port()));
        }
        self.engine = Some(Program::start(command, &self.path("engine.log")));
    }

    fn await_engine(&mut self) {
        let log = self.path("engine.log");
        let filer = self.ports.filer[0];
        let master = self.ports.master[0];
        let engine = self.engine.as_mut().unwrap();
        engine.wait(filer, "/", &log);
        // The master knows its volumes only after they were reported to it.
        engine.wait(master, &format!("/dir/assign?collection={}", Place::BUCKET), &log);
    }

    fn launch_gateway(&mut self, number: usize) {
        let [filer, filer_grpc] = self.ports.filer;
        let Gateway { address, grpc, .. } = &self.gateways[number];
        let mut command = Command::new("weed");
        command
            .args([
                "-logtostderr",
                "s3",
                "-ip.bind=127.0.0.1",
                "-port.iceberg=0",
                "-port.lance=0",
            ])
            .arg(format!("-filer={filer}.{}", filer_grpc.port()))
            .arg(format!("-port={}", address.port()))
            .arg(format!("-port.grpc={}", grpc.port()))
            .arg(format!("-config={}", self.path("s3.json").display()));
        if self.sts.is_some() {
            command.arg(format!("-iam.config={}", self.path(IAM).display()));
        }
        let program = Program::start(command, &self.gateway_log(number));
        self.gateways[number].program = Some(program);
    }

    fn await_gateway(&mut self, number: usize) {
        let log = self.gateway_log(number);
        let gateway = &mut self.gateways[number];
        let address = gateway.address;
        gateway.program.as_mut().unwrap().wait(address, "/healthz", &log);
    }

    fn gateway_log(&self, number: usize) -> PathBuf {
        self.path(&format!("gateway-{number}.log"))
    }
}

/// The keys that a gateway knows and what they may do.
fn identities() -> Value {
    let identity = |key: &str, actions: &[String]| {
        let credential = json!({"accessKey": key, "secretKey": Place::SECRET_KEY});
        json!({"name": key, "credentials": [credential], "actions": actions})
    };
    let all = ["Admin", "Read", "Write", "List"].map(str::to_owned);
    let own = ["Read", "Write", "List"].map(|action| format!("{action}:{}", Place::BUCKET));
    json!({"identities": [identity(Place::ACCESS_KEY, &all), identity(LIMITED_KEY, &own)]})
}

//! The server under attack. It has TLS with optional client certificates and HTTP/2, a trust domain,
//! passwords, and one public repository. Its log goes to a file.

use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::sleep;
use wharfinger_testkit::AUDIENCE;
use wharfinger_testkit::{Pair, TestPki};
use wharfinger_testkit::{ServerProcess, free};

pub(crate) struct Site {
    pub(crate) pki: TestPki,
    pub(crate) address: SocketAddr,
    program: ServerProcess,
    folder: TempDir,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let pki = TestPki::new();
        let Pair { certificate, key } = pki.servers.server();
        fs::write(at("server.crt"), certificate).unwrap();
        fs::write(at("server.key"), key).unwrap();
        fs::write(at("bundle.json"), pki.domain.bundle().to_string()).unwrap();
        // A hash of cost 10, as `htpasswd -B` makes them at a common setting.
        fs::write(
            at("passwords"),
            format!("alice:{}\n", bcrypt::hash("the right one", 10).unwrap()),
        )
        .unwrap();
        let address = free();
        let config = json!({
            "storage": {"rootDirectory": "store"},
            "http": {
                "address": "127.0.0.1",
                "port": address.port(),
                "tls": {"cert": "server.crt", "key": "server.key", "http2": true},
                "auth": {
                    "htpasswd": {"path": "passwords"},
                    "spiffe": {"trustDomains": [{"name": "prod.test", "audiences": [AUDIENCE], "bundle": [{"file": "bundle.json"}]}]},
                },
            },
            "accessControl": {"repositories": {
                "public/**": {"anonymousPolicy": ["read"], "defaultPolicy": ["read", "create"]},
                "**": {"defaultPolicy": ["read", "create"]},
            }},
        });
        fs::write(at("config.json"), config.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        command
            .args(["serve", "config.json"])
            .current_dir(folder.path())
            .env_remove("RUST_LOG")
            .env_remove("SPIFFE_ENDPOINT_SOCKET");
        let program = ServerProcess::start(command, Some(&at("log")), address);
        Self {
            pki,
            address,
            program,
            folder,
        }
    }

    /// CPU seconds so far (`proc_pid_stat(5)`, 14 and 15).
    pub(crate) fn cpu(&self) -> f64 {
        let stat = self.proc("stat");
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        let ticks: u64 = fields
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().unwrap())
            .sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    pub(crate) fn resident_kib(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// The highest memory so far.
    pub(crate) fn peak_mib(&self) -> f64 {
        self.status("VmHWM:") / 1024.0
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        fs::metadata(self.path("log")).unwrap().len()
    }

    /// Waits until the effects of an attack have gone, at most one minute.
    pub(crate) async fn settle(&self) {
        for _ in 0..20 {
            sleep(Duration::from_millis(500)).await;
            if fs::read_dir(format!("/proc/{}/fd", self.program.pid()))
                .unwrap()
                .count()
                < 60
            {
                return;
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn status(&self, field: &str) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.program.pid())).unwrap()
    }
}

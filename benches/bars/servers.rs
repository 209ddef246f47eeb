//! The compared servers: ours, nginx with the same bytes as static files, and docker-registry 2.8. Each
//! listens on loopback and writes its access log to a file.

use super::content::{MIB, files, read_through};
use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use wharfinger_testkit::AUDIENCE;
use wharfinger_testkit::io;
use wharfinger_testkit::{Pair, TestPki};
use wharfinger_testkit::{ServerProcess, free};

/// A running server.
pub(crate) struct Server {
    pub(crate) program: ServerProcess,
    /// The seconds from its start to its first answer. Ours answers 503 before its store is open.
    pub(crate) ready: f64,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: Option<SocketAddr>,
    /// The folder of its blobs.
    store: PathBuf,
}

impl Server {
    /// Our server: a listener without TLS that accepts anonymous callers and JWT-SVIDs, or one with TLS. Only
    /// one process at a time may serve a store.
    pub(crate) fn wharfinger(folder: &Path, pki: &TestPki, with_tls: bool) -> Self {
        Self::wharfinger_with(folder, pki, with_tls, Some(&folder.join("log")))
    }

    /// Our server, without counting its log as written bytes.
    pub(crate) fn silent_wharfinger(folder: &Path, pki: &TestPki) -> Self {
        Self::wharfinger_with(folder, pki, false, None)
    }

    fn wharfinger_with(folder: &Path, pki: &TestPki, with_tls: bool, log: Option<&Path>) -> Self {
        write_pair(folder, pki);
        fs::write(folder.join("bundle.json"), pki.domain.bundle().to_string()).unwrap();
        let address = free();
        let domain =
            json!({"name": "prod.test", "audiences": [AUDIENCE], "bundle": [{"file": "bundle.json"}]});
        let everything = json!(["read", "create", "update", "delete"]);
        let mut config = json!({
            "storage": {"rootDirectory": "store"},
            "http": {"address": "127.0.0.1", "port": address.port(), "auth": {"spiffe": {"trustDomains": [domain]}}},
            "accessControl": {"repositories": {"**": {"anonymousPolicy": everything, "defaultPolicy": everything}}},
        });
        let health = free();
        if with_tls {
            config["http"]["tls"] = json!({"cert": "server.crt", "key": "server.key"});
            config["http"]["health"] = json!({"address": "127.0.0.1", "port": health.port()});
        }
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        command
            .args(["serve", "config.json"])
            .current_dir(folder)
            .env_remove("RUST_LOG")
            .env_remove("SPIFFE_ENDPOINT_SOCKET");
        let program = ServerProcess::start(command, log, address);
        let ready = program.first_answer(if with_tls { health } else { address }, "/readyz");
        Self {
            program,
            ready,
            plain: address,
            tls: with_tls.then_some(address),
            store: folder.join("store/d"),
        }
    }

    /// nginx with `root` as its files.
    pub(crate) fn nginx(folder: &Path, root: &Path, pki: &TestPki) -> Self {
        write_pair(folder, pki);
        let plain = free();
        let tls = free();
        let folder_text = folder.display();
        let root_text = root.display();
        let config = format!(
            "daemon off; worker_processes auto; pid {folder_text}/nginx.pid; error_log {folder_text}/error.log;
             user root;
             events {{ worker_connections 4096; }}
             http {{
               access_log {folder_text}/access.log combined buffer=64k flush=1s;
               sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_timeout 600; keepalive_requests 100000000;
               client_body_temp_path {folder_text}/t1; proxy_temp_path {folder_text}/t2; fastcgi_temp_path {folder_text}/t3;
               uwsgi_temp_path {folder_text}/t4; scgi_temp_path {folder_text}/t5;
               ssl_protocols TLSv1.3; ssl_session_cache off; ssl_session_tickets off;
               server {{
                 listen {plain} backlog=4096; listen {tls} ssl backlog=4096;
                 ssl_certificate {folder_text}/server.crt; ssl_certificate_key {folder_text}/server.key;
                 root {root_text};
               }}
             }}"
        );
        fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-c").arg(folder.join("nginx.conf"));
        let program = ServerProcess::start(command, Some(&folder.join("log")), plain);
        Self {
            program,
            ready: f64::NAN,
            plain,
            tls: Some(tls),
            store: root.to_owned(),
        }
    }

    /// Debian's docker-registry on its own folder, with or without TLS.
    pub(crate) fn docker_registry(folder: &Path, pki: &TestPki, with_tls: bool) -> Self {
        write_pair(folder, pki);
        let address = free();
        let store = folder.join("store");
        let mut config = json!({
            "version": 0.1,
            "log": {"level": "info", "formatter": "json"},
            "storage": {"filesystem": {"rootdirectory": store}, "cache": {"blobdescriptor": "inmemory"}},
            "http": {"addr": address},
        });
        if with_tls {
            config["http"]["tls"] =
                json!({"certificate": folder.join("server.crt"), "key": folder.join("server.key")});
        }
        fs::write(folder.join("config.yml"), config.to_string()).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(folder.join("config.yml"));
        let program = ServerProcess::start(command, Some(&folder.join("log")), address);
        Self {
            ready: if with_tls {
                f64::NAN
            } else {
                program.first_answer(address, "/")
            },
            program,
            plain: address,
            tls: with_tls.then_some(address),
            store,
        }
    }

    /// Any other program without files. Its last argument is the address to listen on.
    pub(crate) fn other(mut command: Command, folder: &Path) -> Self {
        let address = free();
        command.arg(address.to_string());
        let program = ServerProcess::start(command, Some(&folder.join("log")), address);
        Self {
            program,
            ready: f64::NAN,
            plain: address,
            tls: Some(address),
            store: folder.to_owned(),
        }
    }

    /// CPU seconds so far.
    pub(crate) fn cpu(&self) -> f64 {
        self.program.cpu()
    }

    /// Its own memory and its share of shared memory, in KiB.
    pub(crate) fn resident(&self) -> f64 {
        let of = |pid: u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap()
        };
        self.program.pids().into_iter().map(of).sum()
    }

    /// Does `work` with the server's blobs of `size` bytes in the page cache. Prints a message if the server
    /// still had to read from a disk.
    pub(crate) fn with_cached<T>(&self, size: usize, work: impl FnOnce() -> T) -> T {
        let blobs = files(&self.store, |found| found == size);
        assert!(
            !blobs.is_empty(),
            "no file of {size} bytes below {}",
            self.store.display()
        );
        blobs.iter().for_each(|file| read_through(file));
        let read = || {
            self.program
                .pids()
                .into_iter()
                .map(|pid| io(pid, "read_bytes"))
                .sum::<u64>()
        };
        let before = read();
        let done = work();
        let mib = (read() - before) / MIB as u64;
        if mib > 0 {
            eprintln!(
                "{mib} MiB came from the disk in a sample of what is in memory: {}",
                self.store.display()
            );
        }
        done
    }

    /// Drops the server's files of at least `size` bytes from the page cache.
    pub(crate) fn forget(&self, size: usize) {
        for path in files(&self.store, |found| found >= size) {
            let file = fs::File::open(&path).unwrap();
            file.sync_all().unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}

/// Creates the folder and writes a server's certificate and key into it.
fn write_pair(folder: &Path, pki: &TestPki) {
    fs::create_dir_all(folder).unwrap();
    let Pair { certificate, key } = pki.servers.server();
    fs::write(folder.join("server.crt"), certificate).unwrap();
    fs::write(folder.join("server.key"), key).unwrap();
}

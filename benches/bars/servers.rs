//! The servers that are compared: ours, nginx with the same bytes as static files, and docker-registry 2.8. Each listens on loopback,
//! writes its access log to a file, and is ended by its own process id.

use super::pki::{Pair, TestPki};
use super::{AUDIENCE, sha256};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// When its process was started, with all that it needs in place.
    begun: Instant,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: Option<SocketAddr>,
}

impl Server {
    /// Ours: a plain listener that serves the anonymous and whoever brings a JWT-SVID, and, on the same store only one at a time, so in
    /// a process of its own, one with TLS.
    pub(crate) fn wharfinger(folder: &Path, pki: &TestPki, with_tls: bool) -> Self {
        fs::create_dir_all(folder).unwrap();
        let address = free();
        let Pair { certificate, key } = pki.servers.server();
        for (name, text) in [("server.crt", certificate), ("server.key", key), ("bundle.json", pki.domain.bundle().to_string())] {
            fs::write(folder.join(name), text).unwrap();
        }
        let domain = json!({"name": "prod.test", "audiences": [AUDIENCE], "bundle": [{"file": "bundle.json"}]});
        let everything = json!(["read", "create", "update", "delete"]);
        let mut config = json!({
            "storage": {"rootDirectory": "store"},
            "http": {"address": "127.0.0.1", "port": address.port(), "auth": {"spiffe": {"trustDomains": [domain]}}},
            "accessControl": {"repositories": {"**": {"anonymousPolicy": everything, "defaultPolicy": everything}}},
        });
        if with_tls {
            config["http"]["tls"] = json!({"cert": "server.crt", "key": "server.key"});
        }
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        command.args(["serve", "config.json"]).current_dir(folder).env_remove("RUST_LOG").env_remove("SPIFFE_ENDPOINT_SOCKET");
        let (child, begun) = spawn(command, folder);
        Self { child, begun, plain: address, tls: with_tls.then_some(address) }.ready()
    }

    /// nginx with `root` as its files.
    pub(crate) fn nginx(folder: &Path, root: &Path, pki: &TestPki) -> Self {
        fs::create_dir_all(folder).unwrap();
        let Pair { certificate, key } = pki.servers.server();
        fs::write(folder.join("server.crt"), certificate).unwrap();
        fs::write(folder.join("server.key"), key).unwrap();
        let (plain, tls) = (free(), free());
        let (folder_text, root) = (folder.display(), root.display());
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
                 root {root};
               }}
             }}"
        );
        fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-c").arg(folder.join("nginx.conf"));
        let (child, begun) = spawn(command, folder);
        Self { child, begun, plain, tls: Some(tls) }.ready()
    }

    /// Debian's docker-registry on a folder of its own.
    pub(crate) fn docker_registry(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let address = free();
        let store = folder.join("store");
        let config = format!(
            "version: 0.1\nlog:\n  level: info\n  formatter: json\nstorage:\n  filesystem:\n    rootdirectory: {}\n  cache:\n    blobdescriptor: inmemory\nhttp:\n  addr: {address}\n",
            store.display()
        );
        fs::write(folder.join("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(folder.join("config.yml"));
        let (child, begun) = spawn(command, folder);
        Self { child, begun, plain: address, tls: None }.ready()
    }

    /// Any other program, which is told where to listen as its last argument.
    pub(crate) fn other(mut command: Command, folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let address = free();
        command.arg(address.to_string());
        let (child, begun) = spawn(command, folder);
        Self { child, begun, plain: address, tls: Some(address) }.ready()
    }

    fn ready(mut self) -> Self {
        // Not a measurement: the next thing that is done with it must not fail.
        while TcpStream::connect(self.plain).is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("a server ended before it served, with {status}: its log is in its folder");
            }
            pause();
        }
        self
    }

    /// The process and its children, which do the work of nginx.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let mut pids = vec![own];
        pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        pids
    }

    /// CPU seconds so far, of user and system (`proc_pid_stat(5)`, 14 and 15).
    pub(crate) fn cpu(&self) -> f64 {
        let ticks = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
            fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum::<u64>()
        };
        let ticks: u64 = self.pids().into_iter().map(ticks).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// KiB of its own and its share of what it shares.
    pub(crate) fn resident(&self) -> f64 {
        let of = |pid: u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap()
        };
        self.pids().into_iter().map(of).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // nginx's workers end with their master only if it is asked.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        drop(self.child.wait());
    }
}

/// What all servers serve, as files for nginx under the paths that registries use.
pub(crate) struct Content {
    pub(crate) root: PathBuf,
    pub(crate) blobs: Vec<(String, Vec<u8>)>,
    pub(crate) manifest: String,
}

pub(crate) const REPOSITORY: &str = "bench/image";

impl Content {
    /// Blobs of these sizes, and a manifest that names them.
    pub(crate) fn new(root: &Path, sizes: &[usize]) -> Self {
        let blobs: Vec<(String, Vec<u8>)> = sizes.iter().map(|size| random(*size)).map(|bytes| (sha256(&bytes), bytes)).collect();
        let layers: Vec<Value> = blobs.iter().map(|(digest, bytes)| layer(digest, bytes.len())).collect();
        let manifest = image(&blobs[0].0, blobs[0].1.len(), &layers);
        let base = root.join("v2").join(REPOSITORY);
        fs::create_dir_all(base.join("blobs")).unwrap();
        fs::create_dir_all(base.join("manifests")).unwrap();
        for (digest, bytes) in &blobs {
            fs::write(base.join("blobs").join(digest), bytes).unwrap();
        }
        fs::write(base.join("manifests/latest"), &manifest).unwrap();
        Self { root: root.to_owned(), blobs, manifest }
    }

    pub(crate) fn push_to(&self, address: SocketAddr) {
        for (digest, bytes) in &self.blobs {
            super::load::push_blob(address, REPOSITORY, digest, bytes);
        }
        super::load::push_manifest(address, REPOSITORY, "latest", &self.manifest);
    }
}

pub(crate) fn image(config: &str, size: usize, layers: &[Value]) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": size},
        "layers": layers,
    })
    .to_string()
}

fn layer(digest: &str, size: usize) -> Value {
    json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": size})
}

pub(crate) fn random(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::fill(&mut bytes);
    bytes
}

/// How many seconds after its start `server` answers `path`. To be called at once.
pub(crate) fn start_up(server: &Server, path: &str) -> f64 {
    loop {
        if let Ok(mut stream) = TcpStream::connect(server.plain) {
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let mut answer = Vec::new();
            if stream.write_all(request.as_bytes()).is_ok()
                && stream.read_to_end(&mut answer).is_ok()
                && answer.starts_with(b"HTTP/1.1 200")
            {
                return server.begun.elapsed().as_secs_f64();
            }
        }
        pause();
    }
}

pub(crate) fn pause() {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(Duration::from_micros(500));
}

/// An address that nobody uses at the moment.
fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn spawn(mut command: Command, folder: &Path) -> (Child, Instant) {
    let log = fs::File::create(folder.join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let name = command.get_program().to_string_lossy().into_owned();
    let begun = Instant::now();
    let child = command.spawn();
    (child.unwrap_or_else(|why| panic!("{name} cannot be started: {why}; apt-get install nginx docker-registry")), begun)
}

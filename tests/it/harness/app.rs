//! A registry: the real binary, its configuration, its log.

use super::{AUDIENCE, Ca, Client, PATIENCE, Pair, TestIssuer, TestPki};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;
use tokio::sync::watch;

/// A folder with everything that a registry needs, and its configuration. Tests may change `config` before
/// the start.
pub(crate) struct Setup {
    pub(crate) folder: TempDir,
    pub(crate) config: Value,
    authority: Option<String>,
}

impl Setup {
    /// Plain HTTP without credentials. Policies allow every caller everything.
    pub(crate) fn plain() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "storage": {"rootDirectory": "store"},
            "http": {"address": "127.0.0.1", "port": 0},
            "accessControl": {"repositories": {"**": {"anonymousPolicy": ["read", "create", "update", "delete"]}}},
        });
        Self {
            folder,
            config,
            authority: None,
        }
    }

    /// TLS and the trust domain. Policies allow nothing yet.
    pub(crate) fn tls(pki: &TestPki) -> Self {
        let mut setup = Self::plain();
        let Pair { certificate, key } = pki.servers.server();
        setup.write("server.crt", &certificate);
        setup.write("server.key", &key);
        setup.write("bundle.json", &pki.domain.bundle().to_string());
        setup.authority = Some(pki.servers.pem.clone());
        setup.config["http"]["tls"] = json!({"cert": "server.crt", "key": "server.key"});
        let domain =
            json!({"name": "prod.test", "audiences": [AUDIENCE], "bundle": [{"file": "bundle.json"}]});
        setup.config["http"]["auth"] = json!({"spiffe": {"trustDomains": [domain]}});
        setup.config["accessControl"] = json!({"repositories": {}, "adminPolicy": {"users": []}});
        setup
    }

    pub(crate) fn issuer(mut self, issuer: &TestIssuer, pki: &TestPki) -> Self {
        self.config["http"]["auth"]["bearer"] = json!({"oidc": [issuer.entry(&pki.servers)]});
        self
    }

    /// The rules of one repository pattern.
    pub(crate) fn allow(mut self, pattern: &str, rules: Value) -> Self {
        self.config["accessControl"]["repositories"][pattern] = rules;
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Writes the configuration and returns its path.
    pub(crate) fn file(&self) -> PathBuf {
        self.write("config.json", &self.config.to_string());
        self.path("config.json")
    }

    pub(crate) async fn start(self) -> TestApp {
        self.start_by(wharfinger()).await
    }

    /// Starts with these options of `serve`.
    pub(crate) async fn start_with(self, options: &[&str]) -> TestApp {
        let mut program = wharfinger();
        program.arg("serve").args(options);
        self.follow(program).await
    }

    /// Starts with these environment variables.
    pub(crate) async fn start_in(self, variables: &[(&str, &str)]) -> TestApp {
        let mut program = wharfinger();
        program.envs(variables.iter().copied());
        self.start_by(program).await
    }

    /// Starts by a command that executes the binary.
    pub(crate) async fn start_by(self, mut program: Command) -> TestApp {
        program.arg("serve");
        self.follow(program).await
    }

    async fn follow(self, mut program: Command) -> TestApp {
        let mut child = program
            .arg(self.file())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let log = Log::follow(BufReader::new(child.stderr.take().unwrap()));
        let mut app = TestApp {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            health: None,
            setup: self,
            log,
        };
        let serving = app
            .log
            .wait("it serves", 0, |line| line["message"] == "serving")
            .await;
        app.address = serving["server.address"].as_str().unwrap().parse().unwrap();
        if !app.setup.config["http"]["health"].is_null() {
            let probes = app
                .log
                .wait("it serves probes", 0, |line| line["message"] == "serving probes")
                .await;
            app.health = Some(probes["health.address"].as_str().unwrap().parse().unwrap());
        }
        app
    }
}

/// A registry that runs until this is dropped.
pub(crate) struct TestApp {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) health: Option<SocketAddr>,
    pub(crate) setup: Setup,
    pub(crate) log: Log,
}

impl TestApp {
    /// A registry that has fetched the issuer's keys. Every caller with a token of the issuer may read.
    pub(crate) async fn with_keys_of(issuer: &TestIssuer, pki: &TestPki) -> Self {
        let app = Setup::tls(pki)
            .issuer(issuer, pki)
            .allow("**", json!({"defaultPolicy": ["read"]}))
            .start()
            .await;
        let answer = app.bearer(&issuer.token("builder")).get("/v2/").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        app
    }

    /// The host and port, as in an image's name.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.setup.authority.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}{path}", self.address)
    }

    /// The authority that a client of this registry must trust, in PEM.
    pub(crate) fn authority(&self) -> Option<&str> {
        self.setup.authority.as_deref()
    }

    /// A client without any credential.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(self, None)
    }

    pub(crate) fn bearer(&self, token: &str) -> Client {
        Client::new(self, None).header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn certificate(&self, pair: &Pair) -> Client {
        Client::new(self, Some(pair))
    }

    /// A position in the log after the lines of all answered requests.
    pub(crate) async fn mark(&self) -> usize {
        let answer = self.anonymous().get("/v2/").await;
        let is_it = |line: &Value| line["request.id"] == answer.header("x-request-id");
        self.log.wait("it was asked", 0, is_it).await;
        self.log.since(0).iter().position(is_it).unwrap() + 1
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut end = self.log.lines.subscribe();
        // The log ends when the process does.
        let waiting = end.wait_for(|lines| lines.ended);
        drop(
            tokio::time::timeout(PATIENCE, waiting)
                .await
                .expect("the process does not end"),
        );
        self.child.wait().unwrap()
    }

    /// A client that trusts another authority.
    pub(crate) fn trusting(&self, authority: &Ca) -> Client {
        Client::trusting(self, Some(&authority.pem), None)
    }

    /// Kills the process, like a power cut, and starts it again in the same folder.
    pub(crate) async fn restart(mut self) -> Self {
        drop(self.child.kill());
        drop(self.child.wait());
        let setup = std::mem::replace(&mut self.setup, Setup::plain());
        setup.start().await
    }

    /// The folder of the store.
    pub(crate) fn store(&self) -> PathBuf {
        self.setup.path("store")
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            for line in self.log.since(0) {
                eprintln!("{line}");
            }
        }
    }
}

/// A process's log, read line by line.
pub(crate) struct Log {
    lines: watch::Sender<Lines>,
}

#[derive(Default)]
struct Lines {
    all: Vec<Value>,
    ended: bool,
}

impl Log {
    fn follow(from: impl BufRead + Send + 'static) -> Self {
        let (lines, _) = watch::channel(Lines::default());
        let writing = lines.clone();
        std::thread::spawn(move || {
            for line in from.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                writing.send_modify(|lines| lines.all.push(line));
            }
            writing.send_modify(|lines| lines.ended = true);
        });
        Self { lines }
    }

    pub(crate) fn since(&self, mark: usize) -> Vec<Value> {
        self.lines.borrow().all.iter().skip(mark).cloned().collect()
    }

    /// Waits for a message that begins with these words.
    pub(crate) async fn says(&self, words: &str) -> Value {
        let begins = |line: &Value| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.starts_with(words))
        };
        self.wait(words, 0, begins).await
    }

    /// Waits for a line after `mark` that is `wanted`, and returns it.
    pub(crate) async fn wait(&self, what: &str, mark: usize, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut following = self.lines.subscribe();
        let find = |lines: &Lines| lines.all.iter().skip(mark).find(|line| wanted(line)).cloned();
        let waiting = following.wait_for(|lines| lines.ended || find(lines).is_some());
        drop(tokio::time::timeout(PATIENCE, waiting).await);
        let found = find(&self.lines.borrow());
        found.unwrap_or_else(|| panic!("the log does not say that {what}: {:#?}", self.since(mark)))
    }
}

/// The binary, with an environment that does not affect it.
fn wharfinger() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    command
        .env_remove("RUST_LOG")
        .env_remove("SPIFFE_ENDPOINT_SOCKET")
        .env_remove("WHARFINGER_OPEN")
        .stdin(Stdio::null());
    command
}

/// Runs the binary until it ends. Returns its exit code, standard output and standard error.
pub(crate) fn output(arguments: &[&str], folder: &Path) -> (i32, String, String) {
    let output = wharfinger().args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Copies a folder with its files. A socket is left out.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let path = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &path);
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), path).unwrap();
        }
    }
}

//! The registry as a process that may end at any moment.

use super::left::lenient;
use crate::harness::{PATIENCE, Setup, output};
use rustix::io::Errno;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// `shim.c`, compiled.
pub(super) struct Shim {
    folder: TempDir,
}

impl Shim {
    /// Prints a message and returns `None` if there is no C compiler.
    pub(super) fn build() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/crash/shim.c");
        let built = std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .arg(folder.path().join("shim.so"))
            .arg(source)
            .arg("-ldl")
            .status();
        match built {
            Ok(status) if status.success() => Some(Self { folder }),
            Ok(status) => panic!("cc: {status}"),
            Err(why) => {
                assert!(
                    std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_none(),
                    "cc is needed: {why}"
                );
                eprintln!("skipped: cc: {why}");
                None
            }
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// From now on, these calls fail for these files. Both are patterns of `shim.c`.
    pub(super) fn fail(&self, calls: &str, error: Errno, files: &str) {
        self.say(calls, error.raw_os_error(), files);
    }

    /// Makes the calls wait.
    pub(super) fn hold(&self, calls: &str, files: &str) {
        self.say(calls, 0, files);
    }

    fn say(&self, calls: &str, error: i32, files: &str) {
        std::fs::write(self.path("fail"), format!("{calls} {error} {files}")).unwrap();
    }

    /// Ends all failures and waits.
    pub(super) fn heal(&self) {
        std::fs::remove_file(self.path("fail")).unwrap();
    }

    /// The registry with the shim between it and the C library.
    pub(super) fn program(&self) -> std::process::Command {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        program
            .env_remove("SPIFFE_ENDPOINT_SOCKET")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        program
            .env("LD_PRELOAD", self.path("shim.so"))
            .env("SHIM_FAIL_IF", self.path("fail"));
        program
    }
}

/// How the process is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kill {
    Never,
    AfterMillis(u64),
    /// At the nth call that changes the disk.
    AtCall(u64),
}

pub(super) struct Server {
    pub(super) shim: Shim,
    setup: Setup,
    file: PathBuf,
    child: Option<Child>,
    collected: Arc<Mutex<Collected>>,
}

/// What the log said about collections.
#[derive(Clone, Debug, Default)]
pub(super) struct Collected {
    /// How many passes removed something.
    pub(super) passes: u64,
    pub(super) items: u64,
    pub(super) bytes: u64,
    /// Tags that the policies deleted.
    pub(super) tags: u64,
    /// Log lines that should not appear.
    pub(super) wrong: Vec<String>,
}

impl Collected {
    fn hear(&mut self, line: &Value) {
        let message = line["message"].as_str().unwrap_or_default();
        if let Some(items) = line["collection.items"].as_u64().filter(|items| *items > 0) {
            self.passes += 1;
            self.items += items;
            self.bytes += line["collection.bytes"].as_u64().unwrap_or_default();
        }
        self.tags += u64::from(message.starts_with("retention deleted a tag"));
        let stops = [
            "no garbage is collected in a repository",
            "retention leaves a repository alone",
        ];
        if stops.iter().any(|stop| message.starts_with(stop)) {
            self.wrong.push(line.to_string());
        }
    }
}

impl Server {
    pub(super) fn new(shim: Shim) -> Self {
        Self::with(shim, lenient())
    }

    pub(super) fn with(shim: Shim, setup: Setup) -> Self {
        let file = setup.file();
        Self {
            shim,
            setup,
            file,
            child: None,
            collected: Arc::default(),
        }
    }

    /// Changes the configuration for the next start.
    pub(super) fn configure(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.setup.config);
        self.setup.file();
    }

    pub(super) fn store(&self) -> PathBuf {
        self.setup.path("store")
    }

    /// A command for this configuration that prints JSON.
    pub(super) fn command(&self, name: &'static str) -> impl Fn() -> Command + Send + 'static {
        let file = self.file.clone();
        move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
            command
                .args([name, "--output", "json"])
                .arg(&file)
                .env_remove("SPIFFE_ENDPOINT_SOCKET")
                .env_remove("RUST_LOG")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true);
            command
        }
    }

    /// Makes one pass of the collector on the closed store.
    pub(super) fn collect(&self, options: &[&str]) -> Value {
        let arguments = [&["gc", self.file.to_str().unwrap(), "--output", "json"], options].concat();
        let (code, out, errors) = output(&arguments, self.setup.folder.path());
        assert_eq!(code, 0, "{out}{errors}");
        serde_json::from_str(&out).unwrap()
    }

    /// Makes all records of the closed store a day older, so that its uploads expire.
    pub(super) fn let_a_day_pass(&self) {
        let records = rusqlite::Connection::open(self.store().join("records.sqlite3")).unwrap();
        let day = 25 * 60 * 60 * 1000;
        records
            .execute("UPDATE records SET written = written - ?1", [day])
            .unwrap();
    }

    pub(super) fn collected(&self) -> Collected {
        self.collected.lock().unwrap().clone()
    }

    /// The address where it listens. `None` if the process ended before.
    pub(super) async fn start(&mut self, kill: Kill) -> Option<SocketAddr> {
        let at = match kill {
            Kill::AtCall(call) => call.to_string(),
            _ => "0".to_owned(),
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_wharfinger"))
            .arg("serve")
            .arg(&self.file)
            .env_remove("SPIFFE_ENDPOINT_SOCKET")
            .env("RUST_LOG", "wharfinger=info,wharfinger::http=error")
            .env("LD_PRELOAD", self.shim.path("shim.so"))
            .env("SHIM_KILL_AT", at)
            .env("SHIM_LOG", self.shim.path("log"))
            .env("SHIM_FAIL_IF", self.shim.path("fail"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        self.child = Some(child);
        loop {
            let line = tokio::time::timeout(PATIENCE, lines.next_line())
                .await
                .expect("the registry neither serves nor ends")
                .unwrap()?;
            let line: Value = serde_json::from_str(&line).unwrap_or(json!(line));
            if line["message"] == "serving" {
                let address = line["server.address"].as_str().unwrap().parse().unwrap();
                // Keeps the pipe from filling up.
                let collected = self.collected.clone();
                tokio::spawn(async move {
                    while let Ok(Some(line)) = lines.next_line().await {
                        if let Ok(line) = serde_json::from_str(&line) {
                            collected.lock().unwrap().hear(&line);
                        }
                    }
                });
                if let Kill::AfterMillis(millis) = kill {
                    let pid = self.pid();
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(millis)).await;
                        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
                    });
                }
                return Some(address);
            }
        }
    }

    fn pid(&self) -> rustix::process::Pid {
        let pid = self.child.as_ref().and_then(Child::id).expect("it runs");
        rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    }

    /// Sends a signal, unless the process has ended.
    pub(super) fn end(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).ok();
    }

    /// Ends the process with SIGTERM if it still runs. Returns whether it had been killed.
    pub(super) async fn stop(&mut self) -> bool {
        let Some(mut child) = self.child.take() else {
            return false;
        };
        if child.try_wait().unwrap().is_none() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        let status = tokio::time::timeout(PATIENCE, child.wait())
            .await
            .expect("the registry does not end")
            .unwrap();
        status.signal() == Some(9)
    }

    /// Kills the process, like a power cut.
    pub(super) async fn kill(&mut self) {
        self.end(rustix::process::Signal::KILL);
        assert!(self.stop().await);
    }

    /// Checks that the last start finished everything: no manifest is hidden, and no mark of a deletion is
    /// left.
    pub(super) fn nothing_is_half_done(&self) {
        let file = self.setup.path("store").join("records.sqlite3");
        let records =
            rusqlite::Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let left = "SELECT key FROM records WHERE key GLOB 'x/*' OR hidden AND key GLOB 'r/*!/m/*'";
        let left: Vec<String> = records
            .prepare(left)
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(left, [""; 0]);
    }

    /// Checks that `fsck` finds no damage.
    pub(super) fn check(&self) {
        self.fsck();
    }

    /// What `fsck` says about a store without damage.
    pub(super) fn fsck(&self) -> String {
        let (code, out, errors) = output(&["fsck", self.file.to_str().unwrap()], self.setup.folder.path());
        assert_eq!(code, 0, "{out}{errors}");
        out
    }
}

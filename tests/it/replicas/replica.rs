//! One replica: a process that is started again whenever it ends, as a supervisor does.

use crate::harness::{PATIENCE, Setup, output};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

pub(super) struct Replica {
    pub(super) setup: Setup,
    variables: Vec<(String, String)>,
    child: Option<Child>,
    log: Arc<Mutex<VecDeque<String>>>,
}

/// The store may be down, and starts slowly on a busy machine.
const WITH_THE_STORE: Duration = Duration::from_secs(300);
/// How many lines of the log are printed when a test fails.
const LINES: usize = 300;

impl Replica {
    pub(super) fn new(setup: Setup, variables: &[(&str, &str)]) -> Self {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            setup,
            variables: variables.collect(),
            child: None,
            log: Arc::default(),
        }
    }

    /// Starts it until it serves. A start may fail, for example because the store cannot be reached.
    pub(super) async fn start(&mut self) -> SocketAddr {
        let serves = async {
            loop {
                if let Some(address) = self.try_start().await {
                    return address;
                }
            }
        };
        let served = tokio::time::timeout(WITH_THE_STORE, serves).await;
        served.expect("the replica does not serve")
    }

    async fn try_start(&mut self) -> Option<SocketAddr> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wharfinger"))
            .arg("serve")
            .arg(self.setup.file())
            .env_remove("SPIFFE_ENDPOINT_SOCKET")
            .env("RUST_LOG", "wharfinger=info")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        self.child = Some(child);
        let (serves, serving) = tokio::sync::oneshot::channel();
        let log = self.log.clone();
        tokio::spawn(async move {
            let mut serves = Some(serves);
            while let Ok(Some(line)) = lines.next_line().await {
                let said: Value = serde_json::from_str(&line).unwrap_or(json!(line));
                let mut log = log.lock().unwrap();
                log.push_back(line);
                if log.len() > LINES {
                    log.pop_front();
                }
                if said["message"] == "serving" {
                    let address = said["server.address"].as_str().unwrap().parse().unwrap();
                    serves.take().map(|serves| serves.send(address));
                }
            }
        });
        serving.await.ok()
    }

    /// Ends it as a power failure would.
    pub(super) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.unwrap();
        }
    }

    /// Asks it to end.
    pub(super) async fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = tokio::time::timeout(PATIENCE, child.wait())
            .await
            .expect("the replica does not end")
            .unwrap();
        assert!(status.success(), "{status}");
    }

    /// Runs a command for its configuration. Returns what it printed.
    pub(super) fn run(&self, command: &str, options: &[&str]) -> String {
        let file = self.setup.file();
        let arguments = [&[command, file.to_str().unwrap()], options].concat();
        let (code, out, errors) = output(&arguments, self.setup.folder.path());
        assert_eq!(code, 0, "{command}: {out}{errors}");
        out
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of a replica ends:");
            for line in self.log.lock().unwrap().iter() {
                eprintln!("{line}");
            }
        }
    }
}

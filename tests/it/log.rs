//! The log of a registry whose reader stops reading.

use crate::harness::{PATIENCE, Setup, raw};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

/// Requests whose lines are more than the queue and the pipe hold.
const REQUESTS: usize = 2_500;

struct Registry {
    child: Option<Child>,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
    health: SocketAddr,
    _setup: Setup,
}

impl Registry {
    /// Reads no more of its log than its addresses.
    fn start() -> Self {
        let mut setup = Setup::plain();
        setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": 0});
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        command.env_remove("RUST_LOG").arg("serve").arg(setup.file()).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::with_capacity(1, child.stderr.take().unwrap());
        let mut address = |message: &str, field: &str| {
            let line = std::iter::repeat_with(|| line(&mut log)).find(|line| line["message"] == message).unwrap();
            line[field].as_str().unwrap().parse().unwrap()
        };
        let (address, health) = (address("serving", "server.address"), address("serving probes", "health.address"));
        Self { child: Some(child), log, address, health, _setup: setup }
    }

    /// Asks one thing after the other on one connection; every request must be answered.
    async fn ask(&self) {
        let path = format!("/v2/{}", "x".repeat(4_000));
        let requests: Vec<_> = (1..=REQUESTS)
            .map(|n| {
                format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n", if n == REQUESTS { "close" } else { "keep-alive" })
            })
            .collect();
        let answers = raw(self.address, requests.concat().as_bytes()).await;
        assert_eq!(answers.matches("HTTP/1.1 404").count(), REQUESTS);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn line(log: &mut impl BufRead) -> Value {
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_read_holds_up_no_request_and_says_what_it_lacks() {
    let mut registry = Registry::start();
    registry.ask().await;
    let metrics = raw(registry.health, b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("wharfinger_log_lines_dropped_total ")).unwrap();
    let dropped: usize = dropped.trim().parse().unwrap();
    let mut written = 0;
    let notice = loop {
        let line = line(&mut registry.log);
        if !line["log.dropped"].is_null() {
            break line;
        }
        let path = line["http.path"].as_str().unwrap_or_default();
        assert!(path.len() < 3_000, "{path}");
        written += usize::from(!path.is_empty());
    };
    assert_eq!(notice["log.dropped"], dropped, "{notice}");
    assert_eq!((written + dropped, dropped > 0), (REQUESTS, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_read_does_not_keep_the_process() {
    let mut registry = Registry::start();
    registry.ask().await;
    let mut child = registry.child.take().unwrap();
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::TERM).unwrap();
    let ended = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(move || child.wait())).await;
    if ended.is_err() {
        kill_process(pid, Signal::KILL).unwrap();
    }
    assert!(ended.expect("the process does not end").unwrap().unwrap().success());
}

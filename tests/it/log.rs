//! The log: its formats, what it has at every level, and what happens if its reader stops reading.

use crate::harness::{PATIENCE, Setup, TestPki, output, raw};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

/// More requests than the queue and the pipe can hold lines for.
const REQUESTS: usize = 2_500;

struct Registry {
    child: Option<Child>,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
    health: SocketAddr,
    _setup: Setup,
}

impl Registry {
    /// Reads only the addresses from its log.
    fn start() -> Self {
        let mut setup = Setup::plain();
        setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": 0});
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        command
            .env_remove("RUST_LOG")
            .arg("serve")
            .arg(setup.file())
            .stderr(Stdio::piped())
            .stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::with_capacity(1, child.stderr.take().unwrap());
        let mut address_in = |message: &str, field: &str| {
            let line = std::iter::repeat_with(|| line(&mut log))
                .find(|line| line["message"] == message)
                .unwrap();
            line[field].as_str().unwrap().parse().unwrap()
        };
        let address = address_in("serving", "server.address");
        let health = address_in("serving probes", "health.address");
        Self {
            child: Some(child),
            log,
            address,
            health,
            _setup: setup,
        }
    }

    /// Sends requests one after the other on one connection. Every one must be answered.
    async fn ask(&self) {
        let path = format!("/v2/{}", "x".repeat(4_000));
        let requests: Vec<_> = (1..=REQUESTS)
            .map(|n| {
                format!(
                    "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n",
                    if n == REQUESTS { "close" } else { "keep-alive" }
                )
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
async fn an_unread_log_delays_no_request_and_reports_what_it_lost() {
    let mut registry = Registry::start();
    registry.ask().await;
    let metrics = raw(
        registry.health,
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    let dropped = metrics
        .lines()
        .find_map(|line| line.strip_prefix("wharfinger_log_lines_dropped_total "))
        .unwrap();
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
async fn an_unread_log_does_not_keep_the_process_from_ending() {
    let mut registry = Registry::start();
    registry.ask().await;
    let mut child = registry.child.take().unwrap();
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::TERM).unwrap();
    let ended = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(move || child.wait())).await;
    if ended.is_err() {
        kill_process(pid, Signal::KILL).unwrap();
    }
    assert!(
        ended
            .expect("the process does not end")
            .unwrap()
            .unwrap()
            .success()
    );
}

/// Ends `serve` once it has logged its address, and returns the log.
fn said_until_it_serves(setup: &Setup) -> String {
    said_with(setup, None)
}

/// The same with this as `RUST_LOG`.
fn said_with(setup: &Setup, asked: Option<&str>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    command
        .env_remove("RUST_LOG")
        .envs(asked.map(|asked| ("RUST_LOG", asked)))
        .arg("serve")
        .arg(setup.file())
        .stderr(Stdio::piped())
        .stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("serving") {
        assert!(log.read_line(&mut said).unwrap() > 0, "it ended: {said}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    said
}

#[test]
fn the_address_is_logged_at_every_level() {
    for level in ["error", "warn", "info"] {
        let mut setup = Setup::plain();
        setup.config["log"] = json!({"level": level});
        let said = said_until_it_serves(&setup);
        let line: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        let address: SocketAddr = line["server.address"].as_str().unwrap().parse().unwrap();
        assert!(line["message"] == "serving" && address.port() > 0, "{line}");
        assert_eq!(said.lines().count() > 1, level == "info", "{said}");
    }
}

#[test]
fn an_open_registry_is_logged_at_every_level() {
    let mut setup = Setup::plain();
    setup.config.as_object_mut().unwrap().remove("accessControl");
    setup.config["http"]["address"] = json!("127.0.0.1");
    for (level, asked) in [
        ("error", None),
        ("panic", None),
        ("info", Some("error")),
        ("info", Some("off")),
    ] {
        setup.config["log"] = json!({"level": level});
        let said = said_with(&setup, asked);
        assert!(
            said.contains("THIS REGISTRY IS OPEN"),
            "{level} {asked:?}: {said}"
        );
    }
    let mut setup = Setup::plain();
    setup.config["log"] = json!({"level": "info"});
    assert!(
        said_with(&setup, Some("")).lines().count() > 1,
        "an empty RUST_LOG is none"
    );
}

#[test]
fn text_is_for_people_and_names_sources_without_rust() {
    let mut setup = Setup::tls(&TestPki::new());
    setup.config["log"] = json!({"format": "text"});
    let said = said_until_it_serves(&setup);
    assert!(
        said.contains(" INFO serving server.address=127.0.0.1:") && !said.contains('{'),
        "{said}"
    );
    setup.config["log"] = json!({"format": "json"});
    let json = said_until_it_serves(&setup);
    for said in [said, json] {
        let line = said
            .lines()
            .find(|line| line.contains("accepting SVIDs"))
            .unwrap();
        assert!(
            !line.contains("Some(") && !line.contains("[\\\"") && line.contains("bundle.json"),
            "{line}"
        );
    }
}

/// `script` runs a program in a terminal.
#[test]
fn a_terminal_gets_text_unless_the_file_says_otherwise() {
    for (format, is_text) in [(None, true), (Some("auto"), true), (Some("json"), false)] {
        let mut setup = Setup::plain();
        setup.config["log"] = format.map_or_else(|| json!({}), |format| json!({"format": format}));
        // The registry ends by itself, because the port is in use.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        setup.config["http"]["port"] = taken.local_addr().unwrap().port().into();
        setup.write("users", "");
        setup.config["http"]["auth"] = json!({"htpasswd": {"path": setup.path("users")}});
        let serve = format!(
            "RUST_LOG=wharfinger=info exec '{}' serve '{}'",
            env!("CARGO_BIN_EXE_wharfinger"),
            setup.file().display()
        );
        let output = Command::new("script")
            .args(["-qec", &serve, "/dev/null"])
            .stdin(Stdio::null())
            .output()
            .expect("script is installed");
        let said = String::from_utf8(output.stdout).unwrap();
        let line = said
            .lines()
            .find(|line| line.contains("accepting names and passwords"))
            .unwrap_or_else(|| panic!("{said}"));
        assert_eq!(
            line.contains(" INFO accepting names and passwords file="),
            is_text,
            "{line}"
        );
        assert_eq!(line.starts_with('{'), !is_text, "{line}");
    }
}

#[test]
fn an_unknown_log_format_is_a_mistake() {
    let mut setup = Setup::plain();
    setup.config["log"] = json!({"format": "xml"});
    let (code, _, err) = output(&["verify", setup.file().to_str().unwrap()], setup.folder.path());
    assert!(
        code == 2 && err.contains("log.format: must be") && err.contains("auto"),
        "{err}"
    );
}

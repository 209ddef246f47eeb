//! The tutorial is followed to its end. Every command runs as written, except for the build, the port, and
//! commands in the background.

use crate::harness::is_installed;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The code blocks of one language, in order.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let parts: Vec<_> = page.split("```").collect();
    let inside = parts.iter().skip(1).step_by(2);
    inside
        .filter_map(|block| block.strip_prefix(&format!("{language}\n")))
        .map(ToString::to_string)
        .collect()
}

/// Runs until this is dropped.
struct Running(Child);

impl Running {
    /// Returns once the program has printed such a line.
    fn start(command: &str, folder: &Path, until: &str) -> Self {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("exec {command} 2>&1")])
            .current_dir(folder)
            .env_remove("RUST_LOG");
        let mut child = shell.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut printed = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains(until) {
            assert!(
                printed.read_line(&mut said).unwrap() > 0,
                "{command} ended: {said}"
            );
        }
        std::thread::spawn(move || printed.read_to_end(&mut Vec::new()));
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The output of these lines.
fn typed(lines: &str, folder: &Path) -> String {
    let output = Command::new("sh")
        .args(["-ec", lines])
        .current_dir(folder)
        .stdin(Stdio::null())
        .env("no_proxy", "*")
        .output()
        .unwrap();
    assert!(output.status.success(), "{lines}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The page, with commands that run this binary and with this port.
fn page(name: &str, port: u16) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/tutorial")
        .join(name);
    let binary = format!("'{}'", env!("CARGO_BIN_EXE_wharfinger"));
    fs::read_to_string(page)
        .unwrap()
        .replace("cargo run --release --manifest-path ../Cargo.toml --", &binary)
        .replace("cargo run --release --", &binary)
        .replace("8443", &port.to_string())
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn the_tutorial_works_from_start_to_end() {
    if !is_installed("curl") {
        return;
    }
    let port = free_port();
    let page = page("first-push.md", port);
    let [
        dev,
        as_reader,
        as_builder,
        rule,
        check_and_serve,
        new_right,
        elsewhere,
        _container,
    ] = &blocks(&page, "sh")[..]
    else {
        panic!("the tutorial has other steps now")
    };
    let shown = blocks(&page, "json");
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("wharfinger-dev");

    let running = Running::start(&format!("{} --port {port}", dev.trim()), home.path(), "Ctrl-C");
    assert_eq!(typed(as_reader, home.path()).trim(), shown[0].trim());
    assert_eq!(typed(as_builder, &folder).trim(), shown[1].trim());
    drop(running);

    typed(rule, &folder);
    let (verify, serve) = check_and_serve.trim().split_once('\n').unwrap();
    assert_eq!(typed(verify, &folder).trim(), "mine.yaml: good");
    let _running = Running::start(serve, &folder, "serving");
    let said = typed(&format!("{new_right}{elsewhere}"), &folder);
    let (said, refused) = said.split_at(
        said.find(r#"{"errors""#)
            .unwrap_or_else(|| panic!("nothing was refused: {said}")),
    );
    assert_eq!(said.trim(), blocks(&page, "text")[0].trim());
    assert!(refused.contains("DENIED"), "{refused}");
}

/// Each line of the text that a page shows is among these lines, in this order.
fn assert_shows(shown: &str, printed: &str) {
    let mut lines = printed.lines().map(str::trim_end);
    for line in shown.lines() {
        assert!(
            lines.any(|printed| printed == line.trim_end()),
            "no line {line:?} where the page shows it: {printed}"
        );
    }
}

#[test]
fn the_tutorial_of_access_control_works_from_start_to_end() {
    if !is_installed("curl") || !is_installed("openssl") {
        return;
    }
    let port = free_port();
    let page = page("access-control.md", port);
    let [dev, certificate, explain, rules, patterns, serve, push, missing] = &blocks(&page, "sh")[..] else {
        panic!("the tutorial has other steps now")
    };
    let shown = blocks(&page, "text");
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("wharfinger-dev");
    let dev = dev.lines().next().unwrap();
    drop(Running::start(
        &format!("{dev} --port {port}"),
        home.path(),
        "Ctrl-C",
    ));

    assert_shows(&shown[0], &typed(certificate, &folder));
    assert_shows(&shown[1], &typed(explain, &folder));
    typed(rules, &folder);
    assert_eq!(typed(patterns, &folder).trim(), shown[2].trim());

    let _running = Running::start(serve.trim(), &folder, "serving");
    let said = typed(push, &folder);
    assert!(said.starts_with("201\n201\n"), "{said}");
    assert!(said.trim().ends_with("403"), "{said}");
    assert!(said.contains(shown[3].trim()), "{said}");
    let missing = typed(&format!("{} || echo exit $?", missing.trim()), &folder);
    assert!(missing.trim().ends_with("exit 1"), "{missing}");
}

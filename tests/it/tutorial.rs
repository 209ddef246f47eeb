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

#[test]
fn the_tutorial_works_from_start_to_end() {
    if !is_installed("curl") {
        return;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tutorial/first-push.md"))
        .unwrap();
    let binary = format!("'{}'", env!("CARGO_BIN_EXE_wharfinger"));
    let page = page
        .replace("cargo run --release --manifest-path ../Cargo.toml --", &binary)
        .replace("cargo run --release --", &binary);
    let page = page.replace("8443", &port.to_string());
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

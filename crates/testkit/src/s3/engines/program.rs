//! A store's process. It ends with the value, and with the test's process even if that is killed.

use crate::server_process::pause;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

pub(super) struct Program {
    child: Child,
    /// A shell that ends `child` and removes the store's folder when the test's process is gone. Its input ends
    /// then.
    guard: Child,
}

/// If all is well, nothing takes that long.
const PATIENCE: Duration = Duration::from_secs(120);

impl Program {
    /// Appends what it prints to `log`, which is in the store's folder.
    pub(super) fn start(mut command: Command, log: &Path) -> Self {
        let output = || Stdio::from(File::options().create(true).append(true).open(log).unwrap());
        let child = command
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output())
            .spawn()
            .unwrap();
        let guard = Command::new("sh")
            .args(["-c", "read _; kill -9 \"$1\"; rm -rf -- \"$2\"", "guard"])
            .arg(child.id().to_string())
            .arg(log.parent().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, guard }
    }

    /// Returns when `path` answers 200 at `address`.
    pub(super) fn wait(&mut self, address: SocketAddr, path: &str, log: &Path) {
        self.until(address, "GET", path, log);
    }

    /// The same for another method, whose request may be repeated.
    pub(super) fn until(&mut self, address: SocketAddr, method: &str, path: &str, log: &Path) {
        let begun = Instant::now();
        while ask(address, method, path) != Some(200) {
            let printed = || std::fs::read_to_string(log).unwrap_or_default();
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the store ended before it served, with {status}:\n{}", printed());
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the store does not serve:\n{}",
                printed()
            );
            pause();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The guard first, so that it never ends a process that got the same number.
        for process in [&mut self.guard, &mut self.child] {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

/// Sends a request without a body. Returns the answer's status, or `None` if there is no answer.
pub(super) fn ask(address: SocketAddr, method: &str, path: &str) -> Option<u16> {
    send(address, method, path, "")
}

/// The same with a body.
pub(super) fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // The status is worth having even if the connection breaks after it.
    let _ = stream.read_to_end(&mut answer);
    let line = String::from_utf8_lossy(&answer);
    line.split(' ').nth(1)?.parse().ok()
}

/// Different unused addresses.
pub(super) fn free<const N: usize>() -> [SocketAddr; N] {
    let held = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap())
}

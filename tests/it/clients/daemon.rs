//! A program that serves on a unix socket until it is dropped.

use super::bench::Bench;
use crate::harness::answer;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, Command};

pub(super) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Returns once `ready` says that the daemon answers.
    pub(super) async fn start(bench: &Bench, mut command: Command, ready: impl AsyncFn() -> bool) -> Self {
        let log = bench.path("daemon.log");
        let file = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut daemon = Self { child };
        let answers = answer(async || {
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "the daemon ended: {}", text(&log));
            ready().await.then_some(())
        });
        assert!(
            answers.await.is_some(),
            "the daemon does not answer: {}",
            text(&log)
        );
        daemon
    }
}

fn text(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

/// Asks the daemon to end and waits, so that it ends its own children first.
impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = self
            .child
            .id()
            .and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
        if pid.is_some_and(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok()) {
            while matches!(self.child.try_wait(), Ok(None)) {
                std::thread::yield_now();
            }
        }
    }
}

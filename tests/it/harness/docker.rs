//! A docker daemon: the running one, or one that the test starts.

use super::answer;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

pub(crate) struct Docker {
    /// The daemon of the test, if it started one.
    own: Option<Own>,
}

struct Own {
    daemon: Child,
    folder: TempDir,
}

impl Docker {
    /// Prints a message and returns `None` if no daemon runs and none can be started.
    pub(crate) async fn find() -> Option<Self> {
        let running = Self { own: None };
        if running.is_there() {
            return Some(running);
        }
        let own = Own::start();
        let own = Self { own: Some(own?) };
        if answer(async || own.is_there().then_some(())).await.is_none() {
            drop(writeln!(
                std::io::stderr(),
                "skipped: no docker daemon runs, and none could be started"
            ));
            return None;
        }
        Some(own)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        if let Some(own) = &self.own {
            command.env("DOCKER_HOST", format!("unix://{}", own.socket().display()));
        }
        command
            .env("DOCKER_BUILDKIT", "0")
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command that must succeed. Returns standard output and standard error.
    pub(crate) fn run(&self, arguments: &[&str]) -> (String, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        let stdout = text(stdout);
        let stderr = text(stderr);
        assert!(status.success(), "docker {arguments:?}: {stdout}{stderr}");
        (stdout, stderr)
    }

    fn is_there(&self) -> bool {
        self.command(&["version"])
            .output()
            .is_ok_and(|output| output.status.success())
    }
}

impl Own {
    /// Has no network of its own: containers share the machine's.
    fn start() -> Option<Self> {
        let installed = |program: &str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path)
                .map(|folder| folder.join(program))
                .find(|file| file.is_file())
        };
        let (Some(dockerd), Some(_)) = (installed("dockerd"), installed("docker")) else {
            drop(writeln!(
                std::io::stderr(),
                "skipped: no docker daemon runs, and docker is not installed"
            ));
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut command = Command::new(dockerd);
        command.args([
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--storage-driver=vfs",
        ]);
        command.args([
            "--data-root",
            &path("data"),
            "--exec-root",
            &path("exec"),
            "--pidfile",
            &path("pid"),
        ]);
        command.args(["--host", &format!("unix://{}", path("docker.sock"))]);
        let daemon = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self { daemon, folder })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }
}

impl Drop for Own {
    /// Ends with SIGTERM, so that it ends its own children.
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.daemon),
            rustix::process::Signal::TERM,
        );
        drop(self.daemon.wait());
    }
}

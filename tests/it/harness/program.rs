//! One of the binaries in a home of its own, with the environment variables of the test only.

use super::PATIENCE;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

#[derive(Clone)]
pub(crate) struct Program {
    name: &'static str,
    home: Arc<TempDir>,
    variables: Vec<(String, String)>,
}

impl Program {
    pub(crate) fn named(name: &'static str) -> Self {
        let binary = match name {
            "wharfinger" => env!("CARGO_BIN_EXE_wharfinger"),
            "docker-credential-wharfinger" => env!("CARGO_BIN_EXE_docker-credential-wharfinger"),
            "wharfinger-credential-provider" => env!("CARGO_BIN_EXE_wharfinger-credential-provider"),
            other => panic!("there is no binary {other}"),
        };
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(binary, home.path().join(name)).unwrap();
        Self {
            name,
            home: Arc::new(home),
            variables: Vec::new(),
        }
    }

    /// The same in the same home, with another variable.
    pub(crate) fn env(&self, name: &str, value: &str) -> Self {
        let mut other = self.clone();
        other.variables.push((name.to_owned(), value.to_owned()));
        other
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = PathBuf::from(self.path(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs it. Returns the exit code, standard output and standard error.
    pub(crate) async fn run(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        let mut command = Command::new(self.path(self.name));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .current_dir(self.home.path())
            .kill_on_drop(true);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // The program may end without reading its input.
        drop(stdin.write_all(input.as_bytes()).await);
        drop(stdin);
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
            .await
            .expect("the program does not end")
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// Checks that the home has only the program.
    pub(crate) fn left_nothing(&self) {
        let left: Vec<_> = fs::read_dir(self.home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, [self.name]);
    }
}

//! A Pod on this machine: the rendered configuration with the files that its volumes would have.

use super::objects::{Objects, list};
use super::{repository, run};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use wharfinger_testkit::{ServerProcess, TestPki, free};

pub(crate) struct Configured<'a> {
    objects: &'a Objects,
    folder: TempDir,
}

impl<'a> Configured<'a> {
    /// Creates the files of every volume with secrets.
    pub(crate) fn new(objects: &'a Objects) -> Self {
        let configured = Self {
            objects,
            folder: tempfile::tempdir().unwrap(),
        };
        let pki = TestPki::new();
        let server = pki.servers.server();
        let bundle = pki.domain.bundle().to_string();
        for mount in list(&objects.container()["volumeMounts"]) {
            let path = mount["mountPath"].as_str().unwrap();
            let files: &[(&str, &str)] = match path.strip_prefix("/run/wharfinger/") {
                Some("tls") => &[("tls.crt", &server.certificate), ("tls.key", &server.key)],
                Some(name) if name.starts_with("secrets/") => {
                    &[("signing-keys.pem", &server.key), ("bundle.json", &bundle)]
                }
                _ => continue,
            };
            mounted(&configured.path(path), files);
        }
        configured
    }

    /// A path of the Pod, in this folder.
    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    /// Writes the configuration with paths of this machine, and with replacements of single lines' text.
    fn write(&self, replacements: &[(&str, &str)]) -> PathBuf {
        let folder = self.folder.path().display().to_string();
        let (text, _) = self.objects.config();
        let mut text = ["/run/wharfinger", "/var/lib/wharfinger"]
            .iter()
            .fold(text.to_owned(), |text, path| {
                text.replace(path, &format!("{folder}{path}"))
            });
        for (from, to) in replacements {
            assert!(text.contains(from), "{from}: {text}");
            text = text.replace(from, to);
        }
        let file = self.folder.path().join("config.yaml");
        fs::write(&file, text).unwrap();
        file
    }

    /// The registry with the environment of the Pod.
    fn program(&self, command: &str, file: &Path) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        program.arg(command).arg(file);
        for variable in list(&self.objects.container()["env"]) {
            program.env(
                variable["name"].as_str().unwrap(),
                variable["value"].as_str().unwrap(),
            );
        }
        program.current_dir(repository("."));
        program
    }

    /// `wharfinger verify`
    pub(crate) fn verify(&self) -> (bool, String) {
        run(&mut self.program("verify", &self.write(&[])))
    }

    /// Starts the registry on loopback and asks these paths of its listener for probes. Returns the status lines.
    pub(crate) fn probe(&self, paths: &[String]) -> Vec<String> {
        let registry = free();
        let health = free();
        let file = self.write(&[
            ("address: 0.0.0.0", "address: 127.0.0.1"),
            ("port: 5000", &format!("port: {}", registry.port())),
            ("port: 8081", &format!("port: {}", health.port())),
        ]);
        let log = self.folder.path().join("log");
        let _running = ServerProcess::start(self.program("serve", &file), Some(&log), health);
        paths.iter().map(|path| status(health, path)).collect()
    }
}

/// Writes files as the kubelet mounts them: as links to a folder that it replaces at once.
fn mounted(folder: &Path, files: &[(&str, &str)]) {
    fs::create_dir_all(folder.join("..now")).unwrap();
    std::os::unix::fs::symlink("..now", folder.join("..data")).unwrap();
    for (name, text) in files {
        fs::write(folder.join("..now").join(name), text).unwrap();
        std::os::unix::fs::symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
    }
}

fn status(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap().to_owned()
}

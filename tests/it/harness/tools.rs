//! Real clients, each with its own home, so that the machine's configuration has no effect.

use super::{Layout, PATIENCE, Pair, TestApp, is_installed};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::Command;

/// A client, and how it presents a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `registrytoken` in docker's configuration.
    CraneToken,
    /// Username and password in docker's configuration.
    CranePassword,
    /// `--registry-token`
    SkopeoToken,
    /// `--creds`
    SkopeoPassword,
    /// `--cert-dir`
    SkopeoCertificate,
    /// Username and password in `REGISTRY_AUTH_FILE`.
    PodmanPassword,
    /// The files in `certs.d`.
    PodmanCertificate,
}

/// The credential of a client.
#[derive(Clone)]
pub(crate) enum Credential {
    Token(String),
    Certificate(Pair),
}

pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Tool {
    fn program(self) -> &'static str {
        match self {
            Self::CraneToken | Self::CranePassword => "crane",
            Self::SkopeoToken | Self::SkopeoPassword | Self::SkopeoCertificate => "skopeo",
            Self::PodmanPassword | Self::PodmanCertificate => "podman",
        }
    }

    /// See [`is_installed`].
    pub(crate) fn is_installed(self) -> bool {
        is_installed(self.program())
    }
}

/// A client that presents one credential, or none, to one registry.
pub(crate) struct Login<'a> {
    tool: Tool,
    app: &'a TestApp,
    credential: Option<&'a Credential>,
    home: TempDir,
    layout: Layout,
}

impl<'a> Login<'a> {
    pub(crate) fn new(tool: Tool, app: &'a TestApp, credential: Option<&'a Credential>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::write(&home.path().join("layout"));
        let login = Self {
            tool,
            app,
            credential,
            home,
            layout,
        };
        fs::write(login.path("ca.pem"), app.authority().unwrap()).unwrap();
        let certificates = login.certificates();
        fs::create_dir_all(&certificates).unwrap();
        fs::write(certificates.join("ca.crt"), app.authority().unwrap()).unwrap();
        if let Some(Credential::Certificate(pair)) = credential {
            fs::write(certificates.join("client.cert"), &pair.certificate).unwrap();
            fs::write(certificates.join("client.key"), &pair.key).unwrap();
        }
        let auths = match (login.token(), tool) {
            (Some(token), Tool::CraneToken) => json!({app.host(): {"registrytoken": token}}),
            (Some(token), Tool::CranePassword | Tool::PodmanPassword) => {
                json!({app.host(): {"auth": STANDARD.encode(format!("{USER}:{token}"))}})
            }
            _ => json!({}),
        };
        fs::write(login.path("config.json"), json!({"auths": auths}).to_string()).unwrap();
        login
    }

    /// The digest of the image that the client pushes.
    pub(crate) fn digest(&self) -> &str {
        &self.layout.digest
    }

    /// Pushes the image as `v1`.
    pub(crate) async fn copy_in(&self, repository: &str) -> Outcome {
        // The path must be relative, since podman makes a name of it and rejects a temporary folder's.
        let source = "oci:layout:v1";
        let target = self.image(repository);
        match self.tool {
            Tool::CraneToken | Tool::CranePassword => {
                self.run(&["push", "layout", &format!("{}/{repository}:v1", self.app.host())])
                    .await
            }
            Tool::PodmanPassword | Tool::PodmanCertificate => {
                let pulled = self.podman("pull", &["--quiet", source]).await;
                assert!(pulled.success, "podman cannot read the image: {}", pulled.stderr);
                self.podman("push", &["--remove-signatures", pulled.stdout.trim(), &target])
                    .await
            }
            _ => {
                self.skopeo("copy", "dest-", &["--preserve-digests", source, &target])
                    .await
            }
        }
    }

    pub(crate) async fn list_tags(&self, repository: &str) -> Outcome {
        let name = format!("{}/{repository}", self.app.host());
        match self.tool {
            Tool::CraneToken | Tool::CranePassword => self.run(&["ls", &name]).await,
            Tool::PodmanPassword | Tool::PodmanCertificate => {
                self.podman("search", &["--list-tags", "--format", "{{.Tag}}", &name])
                    .await
            }
            _ => self.skopeo("list-tags", "", &[&format!("docker://{name}")]).await,
        }
    }

    /// Reads the manifest of `v1`. podman can only pull the whole image.
    pub(crate) async fn manifest(&self, repository: &str) -> Outcome {
        let image = self.image(repository);
        match self.tool {
            Tool::CraneToken | Tool::CranePassword => {
                self.run(&["manifest", &format!("{}/{repository}:v1", self.app.host())])
                    .await
            }
            Tool::PodmanPassword | Tool::PodmanCertificate => self.podman("pull", &[&image]).await,
            _ => self.skopeo("inspect", "", &["--raw", &image]).await,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The default path of podman's credentials.
    fn certificates(&self) -> PathBuf {
        self.path(".config/containers/certs.d").join(self.app.host())
    }

    fn image(&self, repository: &str) -> String {
        format!("docker://{}/{repository}:v1", self.app.host())
    }

    fn token(&self) -> Option<&str> {
        match self.credential {
            Some(Credential::Token(token)) => Some(token),
            _ => None,
        }
    }

    async fn skopeo(&self, command: &str, side: &str, rest: &[&str]) -> Outcome {
        let mut arguments = vec![
            "--insecure-policy".to_owned(),
            command.to_owned(),
            format!("--{side}cert-dir"),
        ];
        arguments.push(self.certificates().display().to_string());
        arguments.extend(match (self.token(), self.tool) {
            (Some(token), Tool::SkopeoToken) => vec![format!("--{side}registry-token"), token.to_owned()],
            (Some(token), _) => vec![format!("--{side}creds"), format!("{USER}:{token}")],
            (None, _) => vec![format!("--{side}no-creds")],
        });
        arguments.extend(rest.iter().map(|&text| text.to_owned()));
        self.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
            .await
    }

    async fn podman(&self, command: &str, rest: &[&str]) -> Outcome {
        let root = self.path("storage").display().to_string();
        let run = self.path("run").display().to_string();
        let options = [
            "--root",
            &root,
            "--runroot",
            &run,
            "--storage-driver",
            "vfs",
            command,
        ];
        self.run(&[&options, rest].concat()).await
    }

    async fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(self.tool.program());
        command
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .current_dir(self.home.path());
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home.path());
        command
            .env("XDG_RUNTIME_DIR", self.home.path())
            .env("TMPDIR", self.home.path());
        command
            .env("DOCKER_CONFIG", self.home.path())
            .env("REGISTRY_AUTH_FILE", self.path("config.json"));
        command.env("SSL_CERT_FILE", self.path("ca.pem"));
        let output = tokio::time::timeout(PATIENCE, command.output())
            .await
            .expect("the client does not end")
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Outcome {
            success: output.status.success(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// The registry accepts any username beside a token.
const USER: &str = "workload";

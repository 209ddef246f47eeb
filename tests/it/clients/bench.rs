//! The place for a client's test: a registry, and a home for each way to log in, so that the machine's own
//! configuration has no effect.

use super::{Outcome, Way};
use crate::harness::{AUDIENCE, Agent, Layout, PATIENCE, Pair, Setup, TestApp, TestPki};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::process::Command;

/// The registry accepts any username beside a token.
pub(super) const USER: &str = "workload";
/// A name and its password in the registry's password file.
pub(super) const HUMAN: (&str, &str) = ("ann", "one");
const WITH_A_TOKEN: &str = "/ns/ci/sa/with-a-token";
const WITH_A_CERTIFICATE: &str = "/ns/ci/sa/with-a-certificate";

/// A registry, a workload with a token and one with a certificate. Both may do everything in `team/**`. Every
/// caller may read `public/**`.
pub(super) struct Site {
    /// As in an image's name.
    host: String,
    pub(super) app: TestApp,
    token: String,
    token_name: String,
    pair: Pair,
    pair_name: String,
    agent: Agent,
}

impl Site {
    /// With `by_name`, the registry listens on IPv6's loopback under the name `registry.test`, which clients
    /// must be able to resolve. docker neither verifies nor presents a certificate if a name resolves to
    /// 127.0.0.0/8.
    pub(super) async fn start(by_name: bool) -> Self {
        let TestPki {
            servers,
            domain,
            foreign,
        } = TestPki::new();
        let token_name = domain.id(WITH_A_TOKEN);
        let pair_name = domain.id(WITH_A_CERTIFICATE);
        let all = json!([{"users": [token_name, pair_name, HUMAN.0], "actions": ["read", "create", "update", "delete"]}]);
        let pki = TestPki {
            servers,
            domain,
            foreign,
        };
        let mut setup = Setup::tls(&pki);
        setup.config["http"]["address"] = if by_name { "::1" } else { "127.0.0.1" }.into();
        setup.config["http"]["auth"]["htpasswd"] = json!({"path": "users"});
        setup.write(
            "users",
            &format!("{}:{}\n", HUMAN.0, bcrypt::hash(HUMAN.1, 4).unwrap()),
        );
        let setup = setup.allow("team/**", json!({"policies": all}));
        let app = setup
            .allow("public/**", json!({"policies": all, "anonymousPolicy": ["read"]}))
            .start()
            .await;
        let token = pki.domain.jwt_svid(WITH_A_TOKEN, AUDIENCE);
        let pair = pki.domain.x509_svid(WITH_A_CERTIFICATE);
        let host = if by_name {
            format!("{AUDIENCE}:{}", app.address.port())
        } else {
            app.host()
        };
        Self {
            host,
            app,
            token,
            token_name,
            pair,
            pair_name,
            agent: Agent::of_workload(Arc::new(pki.domain), WITH_A_TOKEN),
        }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The image of every home's layout, pushed by the workload with the certificate.
    pub(super) async fn push_image(&self, repository: &str) {
        let folder = tempfile::tempdir().unwrap();
        let digest = Layout::write(folder.path()).digest;
        let client = self.app.certificate(&self.pair);
        let read = |name: &str| fs::read(folder.path().join("blobs/sha256").join(name)).unwrap();
        let manifest = read(&digest["sha256:".len()..]);
        for blob in fs::read_dir(folder.path().join("blobs/sha256")).unwrap() {
            let bytes = read(blob.unwrap().file_name().to_str().unwrap());
            if bytes != manifest {
                client.push_blob(repository, &bytes).await;
            }
        }
        let typed = client.header("content-type", "application/vnd.oci.image.manifest.v1+json");
        let answer = typed
            .put(&format!("/v2/{repository}/manifests/v1"), manifest)
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    /// The registry served such a request to the caller of this way.
    pub(super) async fn was(&self, mark: usize, method: &str, path: &str, way: Way) {
        let name = match way {
            Way::Anonymous => "",
            Way::Certificate => &self.pair_name,
            Way::Password | Way::Bearer | Way::IdentityToken | Way::Helper => &self.token_name,
        };
        let is_it = |line: &Value| {
            let there = line["http.path"]
                .as_str()
                .is_some_and(|found| found.starts_with(path));
            let success = line["http.status"]
                .as_u64()
                .is_some_and(|status| (200..300).contains(&status));
            there && success && line["http.method"] == method && line["identity"] == name
        };
        self.app
            .log
            .wait(&format!("{way:?} is {name:?}, with {method} {path}"), mark, is_it)
            .await;
    }
}

/// One client's home for one way.
pub(super) struct Bench {
    pub(super) site: Arc<Site>,
    pub(super) way: Way,
    home: TempDir,
    layout: Layout,
    /// The helper is the store for every registry. No setting names this registry, but a Workload API exists.
    store: bool,
}

impl Bench {
    /// The home has the registry's authority in `ca.pem`, an image in `layout`, and the helper on the PATH.
    pub(super) fn new(site: &Arc<Site>, way: Way) -> Self {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::write(&home.path().join("layout"));
        let bench = Self {
            site: site.clone(),
            way,
            home,
            layout,
            store: false,
        };
        bench.write("ca.pem", bench.authority());
        bench.write("client.pem", &site.pair.certificate);
        bench.write("client.key", &site.pair.key);
        fs::create_dir(bench.path("bin")).unwrap();
        std::os::unix::fs::symlink(
            env!("CARGO_BIN_EXE_docker-credential-wharfinger"),
            bench.path("bin/docker-credential-wharfinger"),
        )
        .unwrap();
        let source = json!({"audience": AUDIENCE, "from": {"workloadAPI": {"address": site.agent.address}}});
        bench.write(
            ".config/wharfinger/credentials.yaml",
            &json!({"registries": {bench.host(): source}}).to_string(),
        );
        bench
    }

    /// The home of an anonymous client, whose helper is asked about every registry but knows none.
    pub(super) fn of_a_store(site: &Arc<Site>) -> Self {
        let bench = Self {
            store: true,
            ..Self::new(site, Way::Anonymous)
        };
        fs::remove_file(bench.path(".config/wharfinger/credentials.yaml")).unwrap();
        bench
    }

    pub(super) fn host(&self) -> String {
        self.site.host.clone()
    }

    /// The digest of the layout's image.
    pub(super) fn digest(&self) -> &str {
        &self.layout.digest
    }

    pub(super) fn authority(&self) -> &str {
        self.site.app.authority().unwrap()
    }

    pub(super) fn token(&self) -> &str {
        &self.site.token
    }

    /// `host/repository:v1`
    pub(super) fn image(&self, repository: &str) -> String {
        format!("{}/{repository}:v1", self.host())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(super) fn text_path(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn is(&self, way: Way) -> bool {
        self.way == way
    }

    /// Docker's configuration for this way, which most clients read. `password` is included if the client has
    /// no login command.
    pub(super) fn docker_config(&self, password: bool) -> String {
        let host = self.host();
        let config = match self.way {
            Way::Password if password => {
                json!({"auths": {host: {"auth": STANDARD.encode(format!("{USER}:{}", self.token()))}}})
            }
            Way::Bearer => json!({"auths": {host: {"registrytoken": self.token()}}}),
            // The name beside it has no meaning, but containers/image and docker require `auth` too.
            Way::IdentityToken => {
                json!({"auths": {host: {"auth": STANDARD.encode("<token>:"), "identitytoken": self.token()}}})
            }
            Way::Helper => json!({"credHelpers": {host: "wharfinger"}}),
            Way::Anonymous if self.store => json!({"credsStore": "wharfinger"}),
            Way::Password | Way::Certificate | Way::Anonymous => json!({"auths": {}}),
        };
        config.to_string()
    }

    /// A folder as containers/image and docker read it: the registry's authority, and the client's
    /// certificate if this way has one.
    pub(super) fn certificates(&self, folder: &str) {
        self.write(&format!("{folder}/ca.crt"), self.authority());
        if self.is(Way::Certificate) {
            self.write(&format!("{folder}/client.cert"), &self.site.pair.certificate);
            self.write(&format!("{folder}/client.key"), &self.site.pair.key);
        }
    }

    pub(super) fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .current_dir(self.home.path())
            .env_clear();
        command
            .env("PATH", format!("{}:{path}", self.text_path("bin")))
            .env("HOME", self.home.path());
        command
            .env("XDG_RUNTIME_DIR", self.home.path())
            .env("TMPDIR", self.home.path());
        command
            .env("DOCKER_CONFIG", self.path(".docker"))
            .env("REGISTRY_AUTH_FILE", self.path(".docker/config.json"));
        command.env("SSL_CERT_FILE", self.path("ca.pem"));
        if self.store {
            command.env("SPIFFE_ENDPOINT_SOCKET", &self.site.agent.address);
        }
        command
    }

    /// Logs in with a client whose command is `registry login`.
    pub(super) async fn registry_login(&self, program: &str) {
        let host = self.host();
        let arguments = ["registry", "login", &host, "-u", USER, "-p", self.token()];
        let outcome = self.run(program, &arguments).await;
        assert!(outcome.success, "{program} registry login: {}", outcome.text);
    }

    pub(super) async fn run(&self, program: &str, arguments: &[&str]) -> Outcome {
        finished(self.command(program).args(arguments)).await
    }
}

pub(super) async fn finished(command: &mut Command) -> Outcome {
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .expect("the client does not end")
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Outcome {
        success: output.status.success(),
        text,
    }
}

//! The examples for a bucket run as they are written, against a SeaweedFS that the how-to starts. The commands and
//! nginx's configuration are those of the page. They run in a network of their own, so the ports are the page's too.

use crate::harness::{Layout, TestPki, is_installed};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::CertificateParams;
use serde_json::json;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

const REGISTRY: &str = "registry.example.org";
const ISSUER: &str = "issuer.example.org";
const CLIENTS: [&str; 4] = ["weed", "crane", "curl", "ip"];
/// If all is well, no script takes that long.
const SECONDS: &str = "240";

#[test]
fn one_registry_runs_as_the_page_says() {
    let Some(machine) = Machine::new(&[]) else { return };
    let page = Page::read();
    let output = machine.run(&format!(
        "{}
         {}
         {} &
         {READY} http://127.0.0.1:8080/readyz
         crane push layout localhost:8080/team/app:v1 >&2
         crane pull localhost:8080/team/app:v1 pulled.tar >&2
         crane digest localhost:8080/team/app:v1",
        page.three_lines(),
        page.with("wharfinger probe"),
        page.with("wharfinger serve examples/bucket.yaml").trim(),
    ));
    assert!(
        output.contains("any number of replicas may use this store"),
        "{output}"
    );
    assert!(output.contains(&machine.image.digest), "{output}");
}

#[test]
fn three_registries_behind_nginx_run_as_the_page_says() {
    let Some(machine) = Machine::new(&["nginx", "openssl"]) else {
        return;
    };
    let page = Page::read();
    let pki = TestPki::new();
    let names = [REGISTRY, ISSUER].map(str::to_owned);
    let server = pki.servers.pair(&CertificateParams::new(names).unwrap());
    machine.write("registry.crt", &server.certificate);
    machine.write("registry.key", &server.key);
    machine.write("roots.pem", &pki.servers.pem);
    // The page's nginx also plays the issuer.
    let keys = json!({"keys": [pki.domain.signer.jwk()]});
    let about = json!({"issuer": format!("https://{ISSUER}"), "jwks_uri": format!("https://{ISSUER}/keys")});
    let issuer = format!(
        "server {{
           listen 443 ssl; server_name {ISSUER}; ssl_certificate registry.crt; ssl_certificate_key registry.key;
           location = /keys {{ return 200 '{keys}'; }}
           location = /.well-known/openid-configuration {{ return 200 '{about}'; }}
         }}"
    );
    let proxy = page.block("nginx", "upstream");
    let (in_http, end) = proxy.trim_end().rsplit_once('}').unwrap();
    // In the test's network there is no other user.
    machine.write("nginx.conf", &format!("user root;{in_http}{issuer}{end}}}"));
    let claims = json!({"iss": format!("https://{ISSUER}"), "sub": "builder", "aud": REGISTRY});
    let token = pki.domain.signer.token(&claims);
    let auth = STANDARD.encode(format!("builder:{token}"));
    machine.write(
        "login/config.json",
        &json!({"auths": {REGISTRY: {"auth": auth}}}).to_string(),
    );

    let output = machine.run(&format!(
        "export SSL_CERT_FILE=$PWD/roots.pem
         {}
         {}
         {}
         {}
         for number in 1 2 3; do {READY} http://127.0.0.1:810$number/readyz; done
         DOCKER_CONFIG=$PWD/login crane push layout {REGISTRY}/public/app:v1 >&2
         for number in 1 2 3; do
           crane pull {REGISTRY}/public/app:v1 pulled-$number.tar >&2
           curl --silent --fail --head http://127.0.0.1:810$number/v2/public/app/manifests/v1
         done
         kill $(cat nginx.pid)",
        page.three_lines(),
        page.with("openssl genpkey"),
        page.with("for number in 1 2 3"),
        page.with("nginx -p"),
    ));
    let found = format!("docker-content-digest: {}", machine.image.digest);
    assert_eq!(output.matches(&found).count(), 3, "{output}");
}

const READY: &str = "curl --silent --fail --output /dev/null --retry 60 --retry-connrefused --retry-delay 1";

/// `docs/how-to/buckets.md`
struct Page(String);

impl Page {
    fn read() -> Self {
        Self(fs::read_to_string(root().join("docs/how-to/buckets.md")).unwrap())
    }

    /// The only block in this language that has these words.
    fn block(&self, language: &str, words: &str) -> &str {
        let inside = self.0.split("```").skip(1).step_by(2);
        let blocks = inside.filter_map(|block| block.strip_prefix(&format!("{language}\n")));
        let found: Vec<_> = blocks.filter(|block| block.contains(words)).collect();
        let [found] = found[..] else {
            panic!("{} blocks with {words:?}", found.len());
        };
        found
    }

    fn with(&self, words: &str) -> &str {
        self.block("sh", words)
    }

    /// What starts SeaweedFS, after its installation.
    fn three_lines(&self) -> &str {
        let lines = self.with("weed server");
        assert_eq!(lines.lines().count(), 3, "{lines}");
        let (install, start) = lines.split_once('\n').unwrap();
        let version = install.strip_prefix("pip install ").unwrap();
        let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
        assert!(ci.contains(version), ".ci/run does not install {version}");
        start
    }
}

/// A folder with the examples, an image to push, and a network in which only the test's programs are.
struct Machine {
    folder: TempDir,
    image: Layout,
    /// SeaweedFS has a socket in `/tmp`, whose name depends on its port only.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Machine {
    /// Prints a message and returns `None` if a program is missing or if the test may not have a network of its own.
    fn new(programs: &[&str]) -> Option<Self> {
        if !CLIENTS
            .iter()
            .chain(programs)
            .all(|program| is_installed(program))
        {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("examples")).unwrap();
        for name in ["bucket.yaml", "bucket-replicas.yaml"] {
            fs::copy(
                root().join("examples").join(name),
                folder.path().join("examples").join(name),
            )
            .unwrap();
        }
        let image = Layout::write(&folder.path().join("layout"));
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let machine = Self {
            folder,
            image,
            _turn: turn,
        };
        machine.write(
            "hosts",
            &format!("127.0.0.1 localhost\n127.0.0.1 {REGISTRY} {ISSUER}\n"),
        );
        let alone = machine.alone("true").status().unwrap().success();
        let required = std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_some();
        assert!(alone || !required, "unshare cannot make a network");
        if !alone {
            eprintln!("skipped: unshare cannot make a network");
        }
        alone.then_some(machine)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs it to its end, and ends everything that it started. Returns what it printed.
    fn run(&self, script: &str) -> String {
        let output = self.alone(script).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let log = || String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {printed}{}", output.status, log());
        printed
    }

    fn alone(&self, script: &str) -> Command {
        let binaries = Path::new(env!("CARGO_BIN_EXE_wharfinger")).parent().unwrap();
        let mut path = OsString::from(binaries);
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", SECONDS, "unshare", "--map-root-user"])
            .args([
                "--net",
                "--mount",
                "--pid",
                "--mount-proc",
                "--fork",
                "--kill-child",
            ])
            .args(["sh", "-c"])
            .arg(format!(
                "set -e\nip link set lo up\nmount --bind hosts /etc/hosts\n{script}"
            ))
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path())
            .stdin(Stdio::null());
        command
    }
}

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

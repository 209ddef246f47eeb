//! `wharfinger dev`: the files that it makes and the commands that it prints, and real clients that use both.

use crate::harness::{Docker, is_installed, output};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A running `dev`, in a folder whose name has a space.
struct Dev {
    child: Child,
    home: tempfile::TempDir,
    printed: String,
}

impl Dev {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("my files")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        command
            .args(["dev", "--port", "0"])
            .current_dir(home.path().join("my files"))
            .env_remove("RUST_LOG");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = String::new();
        while !printed.contains("Ctrl-C") {
            printed += &lines
                .next()
                .unwrap_or_else(|| panic!("it ended: {printed}"))
                .unwrap();
            printed += "\n";
        }
        Self { child, home, printed }
    }

    fn host(&self) -> &str {
        self.printed
            .split("https://")
            .nth(1)
            .unwrap()
            .split(',')
            .next()
            .unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The printed command with this beginning.
    fn command(&self, beginning: &str) -> &str {
        self.printed
            .lines()
            .map(str::trim)
            .find(|line| line.starts_with(beginning))
            .unwrap_or_else(|| panic!("{}", self.printed))
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The words of a pasted line, as a shell splits it.
fn paste(line: &str) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("sh")
        .arg("-c")
        .arg(line)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    assert!(status.success(), "{line}: {text}");
    text
}

/// The file of this name, at any depth below a folder.
fn found(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path());
    entries
        .into_iter()
        .find_map(|path| match path.symlink_metadata() {
            Ok(about) if about.is_dir() => found(&path, name),
            _ => path.ends_with(name).then_some(path),
        })
}

/// The README's first command. `serve` and `verify` accept its configuration, and a second start finds
/// everything it needs.
#[test]
fn dev_pushes_and_pulls_and_reuses_its_folder() {
    let temporary = tempfile::tempdir().unwrap();
    let dev = || output(&["dev", "--once", "--port", "0"], temporary.path());
    let read = |name: &str| fs::read_to_string(temporary.path().join("wharfinger-dev").join(name)).unwrap();
    let (code, out, err) = dev();
    assert_eq!((code, err.as_str()), (0, ""));
    for said in [
        "spiffe://dev.wharfinger.test/ci/builder",
        "spiffe://dev.wharfinger.test/ns/default/sa/reader",
        "201 Created",
        "200 OK",
        "403 Forbidden",
    ] {
        assert!(out.contains(said), "expected {said} in {out}");
    }
    for vain in ["Try it", "curl", "crane", "Ctrl-C"] {
        assert!(!out.contains(vain), "nothing serves any more: {out}");
    }
    let first = (
        read("certs/ca.crt"),
        read("certs/client.cert"),
        read("bundle.json"),
    );
    let (code, out, err) = dev();
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(
        (
            read("certs/ca.crt"),
            read("certs/client.cert"),
            read("bundle.json")
        ),
        first
    );
    let (code, out, err) = output(&["verify", "wharfinger-dev/config.yaml"], temporary.path());
    assert!(code == 0 && out.contains("good"), "{out}{err}");
}

#[test]
fn files_that_dev_did_not_make_are_named_and_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    for name in ["config.yaml", "server.key"] {
        fs::write(temporary.path().join(name), "mine").unwrap();
    }
    let (code, out, err) = output(
        &["dev", "--once", "--port", "0", "--folder", "."],
        temporary.path(),
    );
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    for said in ["config.yaml", "server.key", "--folder", "did not make"] {
        assert!(err.contains(said), "expected {said} in {err}");
    }
    let names = fs::read_dir(temporary.path()).unwrap().count();
    assert_eq!(
        (
            names,
            fs::read_to_string(temporary.path().join("server.key"))
                .unwrap()
                .as_str()
        ),
        (2, "mine")
    );
}

#[test]
fn if_dev_cannot_listen_it_names_the_option() {
    let temporary = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, said) in [
        (
            ["--port", port.as_str()],
            "; choose another port with --port, or a free one with --port 0",
        ),
        (
            ["--address", "192.0.2.1"],
            "; choose another address with --address",
        ),
    ] {
        let (code, out, err) = output(&["dev", "--once", arguments[0], arguments[1]], temporary.path());
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(
            err.starts_with("error: cannot listen on ")
                && err.trim_end().ends_with(said)
                && !err.contains("os error"),
            "{err}"
        );
    }
}

#[test]
fn dev_listens_where_a_container_publishes_its_port_and_says_what_that_means() {
    let temporary = tempfile::tempdir().unwrap();
    let (code, out, err) = output(
        &["dev", "--once", "--port", "0", "--address", "0.0.0.0"],
        temporary.path(),
    );
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("Wharfinger serves https://127.0.0.1:"), "{out}");
    let config = fs::read_to_string(temporary.path().join("wharfinger-dev/config.yaml")).unwrap();
    assert!(config.contains("address: '0.0.0.0'"), "{config}");
    assert!(
        !config.contains("anonymousPolicy") && !config.contains("defaultPolicy"),
        "no caller has rights without a credential: {config}"
    );
}

#[test]
fn printed_commands_can_be_pasted_even_if_the_folder_has_a_space() {
    let dev = Dev::start();
    assert!(!dev.printed.contains("other machines"), "{}", dev.printed);
    if is_installed("curl") {
        assert!(
            paste(&format!("exec {} --silent --noproxy '*'", dev.command("curl ")))
                .contains(r#""tags":["v1"]"#)
        );
    }
    if is_installed("skopeo") {
        paste(dev.command("skopeo copy"));
    }
    if is_installed("crane") {
        let export = dev.command("export SSL_CERT_FILE=");
        let (login, manifest) = dev.command("crane auth login").split_once(" && ").unwrap();
        let home = dev.path("home").display().to_string();
        let said = paste(&format!(
            "export HOME='{home}' DOCKER_CONFIG='{home}'; mkdir -p '{home}'; {export}; {login} >/dev/null 2>&1; {manifest}"
        ));
        assert!(said.contains("application/vnd.oci.image.layer.v1.tar"), "{said}");
    }
}

#[test]
fn podman_pulls_and_unpacks_the_image_of_dev() {
    if !is_installed("podman") {
        return;
    }
    let dev = Dev::start();
    let root = dev.path("root");
    let run = dev.path("run");
    let own = format!(
        "podman --root '{}' --runroot '{}' --storage-driver vfs",
        root.display(),
        run.display()
    );
    paste(&dev.command("podman pull").replacen("podman", &own, 1));
    let hello = found(&root, "hello.txt").expect("the layer was not unpacked");
    assert_eq!(fs::read_to_string(hello).unwrap(), "Hello from Wharfinger.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_pulls_and_unpacks_the_image_of_dev() {
    let Some(docker) = Docker::find().await else {
        return;
    };
    let dev = Dev::start();
    // For this name the daemon verifies no authority. It accepts a token as a password.
    let image = format!("{}/hello/world:v1", dev.host());
    let token = fs::read_to_string(dev.path("my files/wharfinger-dev/jwt-svid.txt")).unwrap();
    docker.run(&[
        "--config",
        dev.home.path().to_str().unwrap(),
        "login",
        "-u",
        "jwt",
        "-p",
        &token,
        dev.host(),
    ]);
    docker.run(&["--config", dev.home.path().to_str().unwrap(), "pull", &image]);
    let (container, _) = docker.run(&["create", &image, "nothing-to-run"]);
    docker.run(&[
        "cp",
        &format!("{container}:/hello.txt"),
        dev.home.path().to_str().unwrap(),
    ]);
    assert_eq!(
        fs::read_to_string(dev.path("hello.txt")).unwrap(),
        "Hello from Wharfinger.\n"
    );
    docker.run(&["rm", "--force", &container]);
    docker.run(&["rmi", "--force", &image]);
}

#[test]
fn a_signal_ends_dev_successfully() {
    let mut dev = Dev::start();
    kill_process(Pid::from_child(&dev.child), Signal::INT).unwrap();
    assert!(dev.child.wait().unwrap().success());
}

//! The container image: the Dockerfile's last stage around an existing binary (`WHARFINGER_IMAGE_BINARY`, or
//! else the tested one). The test needs a running docker daemon, or must be able to start one.

use crate::harness::{Docker, PATIENCE, Setup};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const IMAGE: &str = "wharfinger-test";

#[tokio::test(flavor = "multi_thread")]
async fn the_image_is_small_runs_as_nobody_and_serves() {
    let Some(docker) = Docker::find().await else {
        return;
    };
    build(&docker);

    let (said, _) = docker.run(&["inspect", "--format", "{{.Config.User}} {{.Size}}", IMAGE]);
    let (user, size) = said.split_once(' ').unwrap();
    assert_eq!(user, "65532:65532");
    let beside_the_binary = size.parse::<u64>().unwrap() - fs::metadata(binary()).unwrap().len();
    assert!(
        beside_the_binary < 8 << 20,
        "{beside_the_binary} bytes beside the binary"
    );
    let (version, _) = docker.run(&["run", "--rm", "--network=none", IMAGE, "--version"]);
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");

    // `dev` pushes and pulls, so this needs a place to write, TLS, and every linked library.
    let (output, _) = docker.run(&[
        "run",
        "--rm",
        "--network=host",
        "--read-only",
        IMAGE,
        "dev",
        "--once",
        "--port",
        "0",
        "--address",
        "0.0.0.0",
    ]);
    assert!(
        output.contains("201 Created") && output.contains("200 OK"),
        "{output}"
    );

    serves_what_is_mounted(&docker).await;
    docker.run(&["rmi", "--force", IMAGE]);
}

/// Builds as the Dockerfile does, but with files from elsewhere.
fn build(docker: &Docker) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(root.join("Dockerfile")).unwrap();
    let last = dockerfile.rfind("\nFROM ").unwrap();
    let stage = dockerfile[last..].replace("--from=build ", "");
    assert!(
        stage.contains("FROM scratch") && !stage.contains("RUN"),
        "{stage}"
    );
    let context = tempfile::tempdir().unwrap();
    fs::write(context.path().join("Dockerfile"), stage).unwrap();
    let layout = Command::new(root.join("image/layout.sh"))
        .arg(binary())
        .arg(context.path().join("image"))
        .output()
        .unwrap();
    assert!(
        layout.status.success(),
        "{}",
        String::from_utf8_lossy(&layout.stderr)
    );
    let runs: Vec<_> = fs::read_dir(context.path().join("image/root/usr/local/bin"))
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(runs, ["wharfinger"]);
    assert!(
        !context.path().join("image/root/bin").exists(),
        "there is no shell"
    );
    docker.run(&[
        "build",
        "--quiet",
        "--tag",
        IMAGE,
        &context.path().display().to_string(),
    ]);
}

fn binary() -> PathBuf {
    std::env::var_os("WHARFINGER_IMAGE_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_wharfinger").into(), PathBuf::from)
}

/// The image's defaults: the configuration in `/etc/wharfinger` and the store in its volume, until it is
/// stopped.
async fn serves_what_is_mounted(docker: &Docker) {
    let mut setup = Setup::plain();
    setup.config["storage"]["rootDirectory"] = "/var/lib/wharfinger/store".into();
    setup.write("config.yaml", &setup.config.to_string());
    fs::set_permissions(setup.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mounted = format!("{}:/etc/wharfinger:ro", setup.folder.path().display());
    let name = format!("wharfinger-test-{}", std::process::id());
    let mut command = docker.command(&[
        "run",
        "--rm",
        "--name",
        &name,
        "--network=host",
        "--read-only",
        "--volume",
        &mounted,
        IMAGE,
    ]);
    let mut running = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(running.stderr.take().unwrap()).lines();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let serving = async {
        let mut said = Vec::new();
        while let Some(line) = receiver.recv().await {
            let line: Value = serde_json::from_str(&line).unwrap_or(Value::String(line));
            if line["message"] == "serving" {
                return line["server.address"].as_str().unwrap().to_owned();
            }
            said.push(line);
        }
        panic!("it ended: {said:?}");
    };
    let address = tokio::time::timeout(PATIENCE, serving)
        .await
        .expect("it does not serve");
    let answer = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap();
    let answer = answer
        .post(format!("http://{address}/v2/in/volume/blobs/uploads/"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), reqwest::StatusCode::ACCEPTED);
    docker.run(&["stop", &name]);
    assert!(running.wait().unwrap().success(), "SIGTERM ends it with success");
}

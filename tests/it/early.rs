//! Answers to real clients that are still sending. No client misses its answer.

use crate::crash::full::Small;
use crate::harness::{Docker, Layout, PATIENCE, Setup, TestApp, TestPki, is_installed, sha256};
use serde_json::json;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

const TIMES: usize = 8;
const MANIFEST: &str = "content-type: application/vnd.oci.image.manifest.v1+json";

struct Site {
    plain: TestApp,
    tls: TestApp,
}

impl Site {
    /// Every caller may push to `open/**`. Each request has a body to send, in `body`.
    async fn start() -> Self {
        let rules = json!({"anonymousPolicy": ["read", "create", "update", "delete"]});
        let mut plain = Setup::plain();
        plain.config["accessControl"]["repositories"] = json!({"open/**": rules});
        let mut tls = Setup::tls(&TestPki::new()).allow("open/**", rules);
        tls.config["http"]["tls"]["http2"] = json!(true);
        for setup in [&plain, &tls] {
            std::fs::write(setup.path("body"), vec![b'x'; 50_000_000]).unwrap();
        }
        let site = Self {
            plain: plain.start().await,
            tls: tls.start().await,
        };
        site.tls.setup.write("ca.pem", site.tls.authority().unwrap());
        site
    }

    /// The rejected requests: method, path, a header, and the status.
    async fn refusals(app: &TestApp) -> Vec<(&'static str, String, String, &'static str)> {
        let location = app.anonymous().start_upload("open/a").await;
        let path = location.trim_start_matches(&app.url("")).to_owned();
        vec![
            (
                "POST",
                "/v2/closed/a/blobs/uploads".to_owned(),
                "x: y".to_owned(),
                "401",
            ),
            (
                "PATCH",
                "/v2/open/a/blobs/uploads/unknown".to_owned(),
                "x: y".to_owned(),
                "404",
            ),
            (
                "PUT",
                "/v2/open/a/manifests/v1".to_owned(),
                MANIFEST.to_owned(),
                "413",
            ),
            ("PATCH", path, "content-range: 5-50000004".to_owned(), "416"),
        ]
    }
}

async fn run(program: &str, arguments: &[&str], app: &TestApp) -> (bool, String) {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(app.setup.folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .expect("the client does not end")
        .unwrap();
    (
        output.status.success(),
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_every_early_answer() {
    if !is_installed("curl") {
        return;
    }
    let site = Site::start().await;
    for (app, version) in [
        (&site.plain, "--http1.1"),
        (&site.tls, "--http1.1"),
        (&site.tls, "--http2"),
    ] {
        for (method, path, header, status) in Site::refusals(app).await {
            let url = app.url(&path);
            let mut arguments = vec![
                "-sS",
                version,
                "-w",
                "%{http_code}\n",
                "-X",
                method,
                "-H",
                &header,
                "-H",
                "expect:",
            ];
            if app.authority().is_some() {
                arguments.extend(["--cacert", "ca.pem"]);
            }
            // All requests use one connection if possible.
            arguments.push("--parallel");
            for _ in 0..TIMES {
                arguments.extend(["-T", "body", "-o", "/dev/null", &url]);
            }
            let (success, said) = run("curl", &arguments, app).await;
            let statuses = said.lines().filter(|line| *line == status).count();
            assert!(
                success && statuses == TIMES,
                "{version} {} {status}: {statuses} of {TIMES}: {said}",
                app.url("")
            );
        }
    }
}

const GO: &str = r#"package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

type zeros struct{ left int }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.left)
	z.left -= n
	return n, nil
}

func main() {
	for i := 0; i < 10; i++ {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: os.Args[1] == "2"}
		if os.Args[1] != "2" {
			transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		}
		request, _ := http.NewRequest(os.Args[2], os.Args[3], &zeros{50000000})
		request.ContentLength = 50000000
		name, value, _ := strings.Cut(os.Args[4], ": ")
		request.Header.Set(name, value)
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			fmt.Println(err)
			continue
		}
		if _, err := io.ReadAll(response.Body); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(response.StatusCode, response.ProtoMajor)
	}
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn go_gets_every_early_answer() {
    if !is_installed("go") {
        return;
    }
    let site = Site::start().await;
    site.plain.setup.write("main.go", GO);
    site.plain.setup.write("go.mod", "module early\n\ngo 1.21\n");
    let (built, said) = run("go", &["build", "-o", "early", "."], &site.plain).await;
    assert!(built, "{said}");
    let program = site.plain.setup.path("early").display().to_string();
    for (app, version) in [(&site.plain, "1"), (&site.tls, "1"), (&site.tls, "2")] {
        for (method, path, header, status) in Site::refusals(app).await {
            let (_, said) = run(&program, &[version, method, &app.url(&path), &header], app).await;
            let expected = format!("{status} {version}");
            assert!(
                said.lines().count() == 10 && said.lines().all(|line| line == expected),
                "{} {expected}: {said}",
                app.url("")
            );
        }
    }
}

/// The disk is full in the middle of a layer.
#[tokio::test(flavor = "multi_thread")]
async fn crane_and_skopeo_say_that_the_disk_is_full() {
    let setup = Setup::plain();
    let Some(_small) = Small::mount(setup.path("store"), 16) else {
        return;
    };
    // Random bytes, which skopeo cannot compress.
    let mut content = vec![0; 40_000_000];
    fastrand::fill(&mut content);
    Layout::with(&setup.path("layout"), &content);
    let app = setup.start().await;
    let image = format!("{}/team/app:v1", app.host());
    let target = format!("docker://{image}");
    for (program, arguments) in [
        ("crane", vec!["push", "--insecure", "layout", &image]),
        (
            "skopeo",
            vec![
                "--insecure-policy",
                "copy",
                "--dest-tls-verify=false",
                "oci:layout:v1",
                &target,
            ],
        ),
    ] {
        if !is_installed(program) {
            continue;
        }
        for _ in 0..3 {
            let (success, said) = run(program, &arguments, &app).await;
            assert!(
                !success && (said.contains("507") || said.contains("storage is full")),
                "{program}: {said}"
            );
        }
    }
}

/// curl's uploads share one connection, and the disk becomes full in the middle of each.
#[tokio::test(flavor = "multi_thread")]
async fn curl_learns_over_http2_that_the_disk_is_full() {
    if !is_installed("curl") {
        return;
    }
    let rules = json!({"anonymousPolicy": ["read", "create"]});
    let mut setup = Setup::tls(&TestPki::new()).allow("open/**", rules);
    setup.config["http"]["tls"]["http2"] = json!(true);
    let Some(_small) = Small::mount(setup.path("store"), 16) else {
        return;
    };
    std::fs::write(setup.path("body"), vec![b'x'; 50_000_000]).unwrap();
    let app = setup.start().await;
    app.setup.write("ca.pem", app.authority().unwrap());
    let url = app.url(&format!("/v2/open/a/blobs/uploads?digest={}", sha256(b"")));
    let mut arguments = vec!["-sS", "--http2", "--cacert", "ca.pem", "-X", "POST", "--parallel"];
    arguments.extend(["-w", "\n%{http_version} %{http_code}\n", "-H", "expect:"]);
    for _ in 0..TIMES {
        arguments.extend(["-T", "body", &url]);
    }
    let (success, said) = run("curl", &arguments, &app).await;
    let count = |what: &str| said.matches(what).count();
    assert!(
        success && count("2 507") == TIMES && count("storage is full") == TIMES,
        "{said}"
    );
}

/// The caller loses the right to push before the layer comes. docker has its own message for a 401, and
/// retries if it gets no answer.
#[tokio::test(flavor = "multi_thread")]
async fn docker_says_that_it_may_not_send_a_layer() {
    let Some(docker) = Docker::find().await else {
        return;
    };
    let site = Site::start().await;
    let app = &site.plain;
    // Random bytes, which docker cannot compress.
    let mut content = vec![0; 40_000_000];
    fastrand::fill(&mut content);
    Layout::with(&app.setup.path("layout"), &content);
    let blobs = std::fs::read_dir(app.setup.path("layout/blobs/sha256")).unwrap();
    let layer = blobs
        .map(|blob| blob.unwrap().path())
        .max_by_key(|path| path.metadata().unwrap().len());
    let host = relay(app, |head: String| {
        Some(head.replacen("/v2/open/", "/v2/closed/", 1))
    })
    .await;
    let image = format!("{host}/open/a:v1");
    docker.run(&["import", layer.unwrap().to_str().unwrap(), &image]);
    let pushed = docker.command(&["push", &image]).output().unwrap();
    docker.run(&["rmi", "--force", &image]);
    let said = String::from_utf8_lossy(&[pushed.stdout, pushed.stderr].concat()).into_owned();
    let denied = said.contains("denied: requested access to the resource is denied");
    assert!(!pushed.status.success() && denied, "{said}");
    let refused = |line: &serde_json::Value| line["http.method"] == "PATCH" && line["http.status"] == 401;
    app.log.wait("the layer is refused", 0, refused).await;
}

/// Forwards requests, one for each connection. `patch` changes the head of a PATCH, or makes it fail without
/// a word about the upload.
async fn relay(app: &TestApp, patch: impl Fn(String) -> Option<String> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = app.address;
    let address = listener.local_addr().unwrap().to_string();
    let patch = Arc::new(patch);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let patch = patch.clone();
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                let mut head = String::new();
                let mut length = 0;
                while !head.ends_with("\r\n\r\n") {
                    let begun = head.len();
                    if client.read_line(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                    let line = head[begun..].to_lowercase();
                    length = line
                        .strip_prefix("content-length:")
                        .map_or(length, |value| value.trim().parse::<usize>().unwrap());
                }
                let head = if head.starts_with("PATCH ") {
                    patch(head)
                } else {
                    Some(head)
                };
                let Some(head) = head else {
                    client.read_exact(&mut vec![0; length]).await.unwrap();
                    client
                        .write_all(
                            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                        )
                        .await
                        .unwrap();
                    return;
                };
                let mut server = TcpStream::connect(upstream).await.unwrap();
                let head = format!(
                    "{}connection: close\r\n\r\n",
                    head.trim_end_matches("\r\n").to_owned() + "\r\n"
                );
                server.write_all(head.as_bytes()).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    address
}

/// regctl asks for the status of an upload whose first chunk failed, and starts again at the first byte.
#[tokio::test(flavor = "multi_thread")]
async fn regctl_continues_an_upload_that_has_no_bytes() {
    if !is_installed("regctl") {
        return;
    }
    let app = Setup::plain().start().await;
    let failed = AtomicBool::new(false);
    let first_fails = move |head: String| failed.swap(true, Ordering::SeqCst).then_some(head);
    let host = relay(&app, first_fails).await;
    let home = app.setup.folder.path();
    std::fs::write(home.join("blob"), vec![b'x'; 100_000]).unwrap();
    let config = json!({"hosts": {host.clone(): {"tls": "disabled", "blobChunk": 40_000, "blobMax": -1}}});
    std::fs::write(home.join("regctl.json"), config.to_string()).unwrap();
    let line = format!("REGCTL_CONFIG=regctl.json regctl blob put {host}/open/a < blob");
    let (success, said) = run("sh", &["-c", &line], &app).await;
    assert!(success, "{said}");
    let digest = sha256(&vec![b'x'; 100_000]);
    assert_eq!(
        app.anonymous()
            .get(&format!("/v2/open/a/blobs/{digest}"))
            .await
            .status,
        200
    );
    let asked = |line: &serde_json::Value| line["http.method"] == "GET" && line["http.status"] == 204;
    app.log.wait("it asked for the upload's status", 0, asked).await;
}

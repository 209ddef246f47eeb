//! What a request costs in what can be counted exactly, whatever the machine: system calls and bytes written, as `strace` sees them.
//! What it costs in time is for `benches/`.

use crate::harness::{Setup, TestApp, sha256};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Requests over which what happens in the background is spread.
const MANY: usize = 400;
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// `strace` of every thread of a registry.
struct Trace {
    strace: Child,
    log: PathBuf,
}

impl Trace {
    /// `None`, and a word about it, if it is not installed.
    async fn of(app: &TestApp, arguments: &[&str]) -> Option<Self> {
        let installed = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
        let required = std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_some();
        assert!(installed || !required, "strace is not installed, and WHARFINGER_REQUIRE_CLIENTS is set");
        if !installed {
            eprintln!("strace is not installed: what it counts is not tested");
            return None;
        }
        let log = app.setup.path("strace.log");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-p", &app.pid().to_string(), "-o"]).arg(&log).args(arguments);
        let mut strace = strace.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = tokio::process::ChildStderr::from_std(strace.stderr.take().unwrap()).unwrap();
        let first = BufReader::new(stderr).lines().next_line().await.unwrap().unwrap_or_default();
        assert!(first.contains("attached"), "{first}");
        Some(Self { strace, log })
    }

    /// Everything that it saw.
    fn end(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.strace);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.strace.wait().unwrap();
        std::fs::read_to_string(&self.log).unwrap()
    }
}

/// One connection that stays open.
struct Connection(TcpStream);

impl Connection {
    async fn get(&mut self, path: &str) {
        self.0.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        loop {
            let read = self.0.read_buf(&mut answer).await.unwrap();
            assert!(read > 0, "the registry closed the connection");
            let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 200"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if answer.len() == end + 4 + length.parse::<usize>().unwrap() {
                return;
            }
        }
    }
}

/// System calls for each request for `path`, of all threads.
async fn calls(app: &TestApp, path: &str) -> Option<f64> {
    let mut connection = Connection(TcpStream::connect(app.address).await.unwrap());
    // What is read once is in memory from now on, and threads that were needed are there.
    for _ in 0..10 {
        connection.get(path).await;
    }
    let trace = Trace::of(app, &["-c"]).await?;
    for _ in 0..MANY {
        connection.get(path).await;
    }
    let counts = trace.end();
    let total = counts.lines().find(|line| line.ends_with("total")).unwrap();
    // % time, seconds, microseconds a call, calls
    let calls: f64 = total.split_whitespace().nth(3).unwrap().parse().unwrap();
    Some(calls / MANY as f64)
}

#[tokio::test(flavor = "multi_thread")]
async fn p_7_a_manifest_takes_5_system_calls_and_a_blob_of_10_kib_9() {
    let app = Setup::plain().start().await;
    let client = app.anonymous();
    let digest = client.push_blob("a", &vec![7; 10 << 10]).await;
    let descriptor = serde_json::json!({"mediaType": "application/octet-stream", "digest": digest, "size": 10 << 10});
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor, "layers": []});
    let pushed = app.anonymous().header("content-type", IMAGE).put("/v2/a/manifests/v1", manifest.to_string()).await;
    assert_eq!(pushed.status.as_u16(), 201, "{}", pushed.text());
    for (path, most) in [("/v2/a/manifests/v1".to_owned(), 5.0), (format!("/v2/a/blobs/{digest}"), 9.0)] {
        let Some(calls) = calls(&app, &path).await else { return };
        assert!(calls <= most, "{path}: {calls} system calls a request, expected at most {most}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p_10_a_known_blob_that_is_pushed_again_is_not_written() {
    let app = Setup::plain().start().await;
    let client = app.anonymous();
    let bytes = vec![7; 3 << 20];
    client.push_blob("a", &bytes).await;
    let writing = "trace=write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate,copy_file_range";
    let Some(trace) = Trace::of(&app, &["-y", "-e", writing]).await else { return };
    client.push_blob("a", &bytes).await;
    let seen = trace.end();
    let store = app.store().canonicalize().unwrap().to_string_lossy().into_owned();
    let into_the_store: Vec<_> = seen.lines().filter(|line| line.contains(&store)).collect();
    assert!(into_the_store.is_empty(), "{into_the_store:#?}");

    // Pushed in two requests, its session is written down, and its bytes are not.
    let location = client.start_upload("a").await;
    let Some(trace) = Trace::of(&app, &["-y", "-e", writing]).await else { return };
    let sign = if location.contains('?') { '&' } else { '?' };
    let closed = client.put(&format!("{location}{sign}digest={}", sha256(&bytes)), bytes).await;
    assert_eq!(closed.status.as_u16(), 201, "{}", closed.text());
    let seen = trace.end();
    let among_the_bytes: Vec<_> = seen.lines().filter(|line| line.contains(&format!("{store}/d/"))).collect();
    assert!(among_the_bytes.is_empty(), "{among_the_bytes:#?}");
    assert!(seen.contains(&store), "the end of the session was seen");
}

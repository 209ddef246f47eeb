//! What a request costs in what can be counted exactly, whatever the machine: system calls, as `strace` sees them, and bytes written.
//! What it costs in time is for `benches/`.

use crate::harness::{Setup, TestApp, sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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
    async fn counting(app: &TestApp) -> Option<Self> {
        let installed = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
        let required = std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_some();
        assert!(installed || !required, "strace is not installed, and WHARFINGER_REQUIRE_CLIENTS is set");
        if !installed {
            eprintln!("strace is not installed: what it counts is not tested");
            return None;
        }
        // Not a pipe: it says something of each thread that comes, also when nobody listens any more.
        let (log, said) = (app.setup.path("strace.log"), app.setup.path("strace.err"));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-c", "-p", &app.pid().to_string(), "-o"]).arg(&log);
        let mut strace = strace.stdin(Stdio::null()).stderr(std::fs::File::create(&said).unwrap()).spawn().unwrap();
        // Threads that are there are attached one by one, those that come later with whoever makes them.
        let begun = tokio::time::Instant::now();
        while !is_traced(app.pid()) {
            assert!(strace.try_wait().unwrap().is_none(), "{}", std::fs::read_to_string(&said).unwrap());
            assert!(begun.elapsed().as_secs() < 60, "a thread came while strace looked for threads; try again");
            tokio::task::yield_now().await;
        }
        Some(Self { strace, log })
    }

    /// What it counted.
    fn end(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.strace);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.strace.wait().unwrap();
        std::fs::read_to_string(&self.log).unwrap()
    }
}

/// Whether each of its threads is (`proc_pid_status(5)`).
fn is_traced(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status = |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.unwrap().path().join("status"));
    // One that has ended meanwhile is none.
    tasks.filter_map(|task| status(task).ok()).all(|status| !status.contains("TracerPid:\t0\n"))
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

/// How often one of them was called, by what `strace` counted.
fn count(counts: &str, call: &str) -> usize {
    let line = counts.lines().find(|line| line.split_whitespace().next_back() == Some(call));
    line.map_or(0, |line| line.split_whitespace().nth(3).unwrap().parse().unwrap())
}

/// System calls for each request for `path`, of all threads.
async fn calls(app: &TestApp, path: &str) -> Option<f64> {
    let mut connection = Connection(TcpStream::connect(app.address).await.unwrap());
    // What is read once is in memory from now on, and threads that were needed are there.
    for _ in 0..10 {
        connection.get(path).await;
    }
    let trace = Trace::counting(app).await?;
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
async fn a_large_blob_is_on_its_way_to_the_disk_before_the_sync_at_its_end() {
    let app = Setup::plain().start().await;
    let client = app.anonymous();
    let large: Vec<u8> = (0..20_u32 << 18).flat_map(u32::to_le_bytes).collect();
    for (bytes, expected) in [(&large[..], 2), (&large[..7 << 20], 0)] {
        let Some(trace) = Trace::counting(&app).await else { return };
        client.push_blob("a", bytes).await;
        let counts = trace.end();
        assert_eq!(count(&counts, "sync_file_range"), expected, "once every 8 MiB: {counts}");
        assert!(count(&counts, "fdatasync") > 0, "{counts}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_of_several_pieces_is_sent_in_whole_segments_and_nothing_of_it_is_held_back() {
    let app = Setup::plain().start().await;
    let client = app.anonymous();
    let tiny = format!("/v2/a/blobs/{}", client.push_blob("a", b"tiny").await);
    for (size, corked_and_uncorked) in [(1 << 20, 2), (256 << 10, 0)] {
        let digest = client.push_blob("a", &vec![7; size]).await;
        let mut connection = Connection(TcpStream::connect(app.address).await.unwrap());
        connection.get(&tiny).await;
        let Some(trace) = Trace::counting(&app).await else { return };
        connection.get(&format!("/v2/a/blobs/{digest}")).await;
        // Its last bytes are here before the call that lets go of them may have returned.
        connection.get(&tiny).await;
        let counts = trace.end();
        assert_eq!(count(&counts, "setsockopt"), corked_and_uncorked, "{counts}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p_10_a_known_blob_that_is_pushed_again_is_not_written() {
    let app = Setup::plain().start().await;
    let client = app.anonymous();
    let bytes = vec![7; 3 << 20];
    let began = written(&app);
    client.push_blob("a", &bytes).await;
    assert!(written(&app) - began >= bytes.len() as u64, "a new one is written");

    let (began, before) = (written(&app), files(&app.store()));
    client.push_blob("a", &bytes).await;
    assert_eq!(files(&app.store()), before, "in one request, nothing at all is");
    let only_answers = 64 << 10;
    assert!(written(&app) - began < only_answers, "{} bytes", written(&app) - began);

    // In two requests, its session is written down, and its bytes are not.
    let (began, before) = (written(&app), files(&app.store().join("d")));
    let location = client.start_upload("a").await;
    let sign = if location.contains('?') { '&' } else { '?' };
    let closed = client.put(&format!("{location}{sign}digest={}", sha256(&bytes)), bytes).await;
    assert_eq!(closed.status.as_u16(), 201, "{}", closed.text());
    assert_eq!(files(&app.store().join("d")), before);
    assert!(written(&app) - began < 3 * only_answers, "{} bytes", written(&app) - began);
}

/// Bytes that the process has handed to the kernel so far, whether for files or for sockets (`proc_pid_io(5)`).
fn written(app: &TestApp) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{}/io", app.pid())).unwrap();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

/// Every file below `folder`, with its size and when it was written last.
fn files(folder: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            found.extend(files(&entry.path()));
        }
        found.insert(entry.path(), (meta.len(), meta.modified().unwrap()));
    }
    found
}

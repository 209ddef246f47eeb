//! The cost of a request in numbers that do not depend on the machine: system calls, as `strace` counts them,
//! and bytes written. `benches/` prints these beside its times.

use crate::harness::{Setup, TestApp, Trace, can_trace, io, sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Enough requests to make the share of background work small.
const MANY: usize = 400;
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

fn counting(app: &TestApp) -> Trace {
    Trace::begin(app.pid(), app.setup.folder.path())
}

/// One connection that stays open.
struct Connection(TcpStream);

impl Connection {
    async fn get(&mut self, path: &str) {
        self.0
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = Vec::new();
        loop {
            let read = self.0.read_buf(&mut answer).await.unwrap();
            assert!(read > 0, "the registry closed the connection");
            let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 200"), "{head}");
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap();
            if answer.len() == end + 4 + length.parse::<usize>().unwrap() {
                return;
            }
        }
    }
}

/// System calls for each request for `path`, in all threads.
async fn calls(app: &TestApp, path: &str) -> f64 {
    let mut connection = Connection(TcpStream::connect(app.address).await.unwrap());
    // The first requests fill caches and start threads.
    for _ in 0..10 {
        connection.get(path).await;
    }
    let trace = counting(app);
    for _ in 0..MANY {
        connection.get(path).await;
    }
    trace.end().total() as f64 / MANY as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn p_7_a_manifest_takes_5_system_calls_and_a_blob_of_10_kib_9() {
    if !can_trace() {
        return;
    }
    let app = Setup::plain().start().await;
    let client = app.anonymous();
    let digest = client.push_blob("a", &vec![7; 10 << 10]).await;
    let descriptor =
        serde_json::json!({"mediaType": "application/octet-stream", "digest": digest, "size": 10 << 10});
    let manifest =
        serde_json::json!({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor, "layers": []});
    let pushed = app
        .anonymous()
        .header("content-type", IMAGE)
        .put("/v2/a/manifests/v1", manifest.to_string())
        .await;
    assert_eq!(pushed.status.as_u16(), 201, "{}", pushed.text());
    for (path, most) in [
        ("/v2/a/manifests/v1".to_owned(), 5.0),
        (format!("/v2/a/blobs/{digest}"), 9.0),
    ] {
        let calls = calls(&app, &path).await;
        assert!(
            calls <= most,
            "{path}: {calls} system calls a request, expected at most {most}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_is_on_its_way_to_the_disk_before_the_sync_at_its_end() {
    if !can_trace() {
        return;
    }
    let app = Setup::plain().start().await;
    let client = app.anonymous();
    let large: Vec<u8> = (0..20_u32 << 18).flat_map(u32::to_le_bytes).collect();
    for (bytes, expected) in [(&large[..], 2), (&large[..7 << 20], 0)] {
        let trace = counting(&app);
        client.push_blob("a", bytes).await;
        let counts = trace.end();
        assert_eq!(
            counts.of("sync_file_range"),
            expected,
            "once every 8 MiB: {counts}"
        );
        assert!(counts.of("fdatasync") > 0, "{counts}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_of_several_pieces_is_sent_in_whole_segments_and_nothing_of_it_is_held_back() {
    if !can_trace() {
        return;
    }
    let app = Setup::plain().start().await;
    let client = app.anonymous();
    let tiny = format!("/v2/a/blobs/{}", client.push_blob("a", b"tiny").await);
    for (size, corked_and_uncorked) in [(1 << 20, 2), (256 << 10, 0)] {
        let digest = client.push_blob("a", &vec![7; size]).await;
        let mut connection = Connection(TcpStream::connect(app.address).await.unwrap());
        connection.get(&tiny).await;
        let trace = counting(&app);
        connection.get(&format!("/v2/a/blobs/{digest}")).await;
        // The client may have the last bytes before the call that releases them has returned.
        connection.get(&tiny).await;
        let counts = trace.end();
        assert_eq!(counts.of("setsockopt"), corked_and_uncorked, "{counts}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p_10_a_known_blob_that_is_pushed_again_is_not_written() {
    let app = Setup::plain().start().await;
    let client = app.anonymous();
    let bytes = vec![7; 3 << 20];
    let began = written(&app);
    client.push_blob("a", &bytes).await;
    assert!(
        written(&app) - began >= bytes.len() as u64,
        "a new one is written"
    );

    let began = written(&app);
    let before = files(&app.store());
    client.push_blob("a", &bytes).await;
    assert_eq!(
        files(&app.store()),
        before,
        "a known blob in one request writes nothing"
    );
    let only_answers = 64 << 10;
    assert!(
        written(&app) - began < only_answers,
        "{} bytes",
        written(&app) - began
    );

    // With two requests, the session is recorded, but the bytes are not written.
    let began = written(&app);
    let before = files(&app.store().join("d"));
    let location = client.start_upload("a").await;
    let sign = if location.contains('?') { '&' } else { '?' };
    let closed = client
        .put(&format!("{location}{sign}digest={}", sha256(&bytes)), bytes)
        .await;
    assert_eq!(closed.status.as_u16(), 201, "{}", closed.text());
    assert_eq!(files(&app.store().join("d")), before);
    assert!(
        written(&app) - began < 3 * only_answers,
        "{} bytes",
        written(&app) - began
    );
}

fn written(app: &TestApp) -> u64 {
    io(app.pid(), "wchar")
}

/// Every file below `folder`, with its size and its last modification.
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

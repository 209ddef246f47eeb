//! A disk that fails at a sync, a write or a read: for the bytes of a blob, for a value that is a separate
//! file, and for the records. The shim or `strace` makes a system call of the running binary fail.

use super::server::Shim;
use crate::harness::{Setup, TestApp, Trace, can_trace, output, sha256};
use reqwest::Method;
use rustix::io::Errno;
use serde_json::json;
use std::path::{Path, PathBuf};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const BYTES: &[u8] = b"what the disk cannot hold";
/// The file of a blob, its folder, and the folder above.
const OF_A_BLOB: [&str; 3] = ["*/store/d/??/*", "*/store/d/??", "*/store/d"];
/// The same for a value.
const OF_A_VALUE: [&str; 3] = ["*/store/v/??/*", "*/store/v/??", "*/store/v"];
const LOG: &str = "*/store/records.sqlite3-wal";

/// A registry behind the shim. It has an image that was pushed before any failure.
struct Registry {
    shim: Shim,
    app: TestApp,
}

impl Registry {
    async fn start() -> Option<Self> {
        let shim = Shim::build()?;
        let app = Setup::plain().start_by(shim.program()).await;
        app.anonymous().push_blob("a", b"older").await;
        let registry = Self { shim, app };
        assert_eq!(registry.push_manifest("older", 0).await, 201);
        // A process syncs a folder's own name only when it first sees the folder.
        Some(registry.restart().await)
    }

    /// Ends the process, checks the store, and starts the process again.
    async fn restart(mut self) -> Self {
        self.app.signal(rustix::process::Signal::TERM);
        self.app.ended().await;
        let setup = std::mem::replace(&mut self.app.setup, Setup::plain());
        let (code, out, errors) = output(&["fsck", setup.file().to_str().unwrap()], setup.folder.path());
        assert_eq!(code, 0, "{out}{errors}");
        let app = setup.start_by(self.shim.program()).await;
        let registry = Self { app, ..self };
        registry.reads_what_is_older().await;
        registry
    }

    /// Makes these calls fail until the returned value is dropped. If files are named, only calls for these
    /// files fail.
    fn fail(&self, calls: &str, error: &str, files: &[PathBuf]) -> Trace {
        let trace = format!("trace={calls}");
        let inject = format!("inject={calls}:error={error}");
        let mut arguments = vec!["-e", &trace, "-e", &inject];
        arguments.extend(files.iter().flat_map(|file| ["-P", file.to_str().unwrap()]));
        Trace::attach(&arguments, self.app.pid(), self.app.setup.folder.path())
    }

    async fn reads_what_is_older(&self) {
        assert_eq!(self.read_blob(b"older").await, Some(b"older".to_vec()));
        assert_eq!(self.read_manifest("older").await, Some(manifest(0).into_bytes()));
    }

    async fn send(&self, method: Method, path: &str, body: &[u8]) -> u16 {
        let client = self.app.anonymous().header("content-type", IMAGE);
        client.send(method, path, body.to_vec()).await.status.as_u16()
    }

    async fn push_manifest(&self, tag: &str, size: usize) -> u16 {
        self.send(
            Method::PUT,
            &format!("/v2/a/manifests/{tag}"),
            manifest(size).as_bytes(),
        )
        .await
    }

    async fn begin_upload(&self) -> String {
        self.app.anonymous().start_upload("a").await
    }

    async fn close_upload(&self, upload: &str, bytes: &[u8], rest: &[u8]) -> u16 {
        self.send(Method::PUT, &format!("{upload}?digest={}", sha256(bytes)), rest)
            .await
    }

    async fn read_blob(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.read(&format!("/v2/a/blobs/{}", sha256(bytes))).await
    }

    async fn read_manifest(&self, reference: &str) -> Option<Vec<u8>> {
        self.read(&format!("/v2/a/manifests/{reference}")).await
    }

    /// Checks that the image exists, or that nothing does.
    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        let answer = self.app.anonymous().get(path).await;
        assert!(
            matches!(answer.status.as_u16(), 200 | 404),
            "{path}: {}",
            answer.status
        );
        (answer.status == 200).then_some(answer.body)
    }

    /// The file with an upload's bytes.
    fn file(&self, upload: &str) -> PathBuf {
        let name = upload.rsplit('/').next().unwrap();
        self.app.store().join("d").join(&name[..2]).join(name)
    }

    /// The store rejects every change but can still be read.
    async fn has_stopped(&self) {
        assert_eq!(self.send(Method::POST, "/v2/a/blobs/uploads/", b"").await, 503);
        assert_eq!(self.push_manifest("small", 1).await, 503);
        assert_eq!(self.push_manifest("large", 100_000).await, 503);
        self.reads_what_is_older().await;
    }
}

fn manifest(padding: usize) -> String {
    let config = json!({"mediaType": "a/b", "digest": sha256(b"older"), "size": 5});
    let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [], "annotations": {"k": "x".repeat(padding)}});
    manifest.to_string()
}

/// The files below a folder of the store.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_blobs_sync_fails_nothing_is_published_until_a_restart() {
    for place in OF_A_BLOB {
        for method in [Method::PATCH, Method::PUT] {
            let Some(registry) = Registry::start().await else {
                return;
            };
            let upload = registry.begin_upload().await;
            registry.shim.fail("f*sync", Errno::IO, place);
            let path = if method == Method::PUT {
                format!("{upload}?digest={}", sha256(BYTES))
            } else {
                upload.clone()
            };
            assert_eq!(
                registry.send(method.clone(), &path, BYTES).await,
                500,
                "{method} when {place} fails"
            );
            registry.shim.heal();

            for rest in [BYTES, b""] {
                assert_eq!(
                    registry.close_upload(&upload, BYTES, rest).await,
                    503,
                    "the store does not trust the next sync"
                );
            }
            registry.has_stopped().await;
            assert_eq!(registry.read_blob(BYTES).await, None);

            let registry = registry.restart().await;
            assert_eq!(registry.read_blob(BYTES).await, None);
            let status = registry.app.anonymous().get(&upload).await;
            assert_eq!(
                (status.status.as_u16(), status.header("range")),
                (204, "0--1"),
                "not one byte was counted"
            );
            assert_eq!(
                registry.close_upload(&upload, BYTES, BYTES).await,
                201,
                "they come again"
            );
            assert_eq!(registry.read_blob(BYTES).await.as_deref(), Some(BYTES));
            registry.restart().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_sync_finds_the_disk_full_ends_and_others_continue() {
    for place in OF_A_BLOB {
        for before in [0, 4] {
            if before > 0 && place == OF_A_BLOB[2] {
                continue; // the part before has made it durable
            }
            let Some(registry) = Registry::start().await else {
                return;
            };
            let upload = registry.begin_upload().await;
            let (kept, rest) = BYTES.split_at(before);
            if before > 0 {
                assert_eq!(registry.send(Method::PATCH, &upload, kept).await, 202);
            }
            registry.shim.fail("f*sync", Errno::NOSPC, place);
            assert_eq!(
                registry.close_upload(&upload, BYTES, rest).await,
                507,
                "when {place} fails"
            );
            assert!(
                !registry.file(&upload).exists(),
                "nothing is left that another sync could call good"
            );
            let other = registry.begin_upload().await;
            assert_eq!(registry.send(Method::PATCH, &other, BYTES).await, 507);
            registry.shim.heal();

            for rest in [rest, BYTES, b""] {
                assert_eq!(registry.close_upload(&upload, BYTES, rest).await, 404);
                assert_eq!(registry.close_upload(&other, BYTES, rest).await, 404);
            }
            assert_eq!(registry.read_blob(BYTES).await, None);
            registry.reads_what_is_older().await;
            // This works without a restart.
            registry.app.anonymous().push_blob("a", BYTES).await;
            let registry = registry.restart().await;
            assert_eq!(registry.read_blob(BYTES).await.as_deref(), Some(BYTES));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_did_not_fit_are_removed_even_if_their_upload_cannot_be_ended() {
    let Some(registry) = Registry::start().await else {
        return;
    };
    let upload = registry.begin_upload().await;
    // The log is full too.
    registry.shim.fail("*", Errno::NOSPC, "*/store/[dr]*");
    assert_eq!(registry.close_upload(&upload, BYTES, BYTES).await, 507);
    registry.shim.heal();
    assert!(!registry.file(&upload).exists());
    assert_eq!(
        registry.app.anonymous().get(&upload).await.header("range"),
        "0--1"
    );
    assert_eq!(registry.read_blob(BYTES).await, None);
    assert_eq!(
        registry.close_upload(&upload, BYTES, BYTES).await,
        201,
        "all of them come again"
    );
    let registry = registry.restart().await;
    assert_eq!(registry.read_blob(BYTES).await.as_deref(), Some(BYTES));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_did_not_fit_and_cannot_be_removed_stop_the_store() {
    if !can_trace() {
        return;
    }
    let Some(registry) = Registry::start().await else {
        return;
    };
    let upload = registry.begin_upload().await;
    registry.shim.fail("f*sync", Errno::NOSPC, OF_A_BLOB[0]);
    let strace = registry.fail("unlinkat", "EIO", &[]);
    assert_eq!(registry.close_upload(&upload, BYTES, BYTES).await, 507);
    strace.end();
    registry.shim.heal();
    assert!(registry.file(&upload).exists());
    for rest in [BYTES, b""] {
        assert_eq!(registry.close_upload(&upload, BYTES, rest).await, 503);
    }
    registry.has_stopped().await;
    assert_eq!(registry.read_blob(BYTES).await, None);
    registry.restart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_large_values_sync_fails_nothing_is_recorded_until_a_restart() {
    for place in OF_A_VALUE {
        let Some(registry) = Registry::start().await else {
            return;
        };
        let digest = sha256(manifest(100_000).as_bytes());
        registry.shim.fail("f*sync", Errno::IO, place);
        assert_eq!(
            registry.push_manifest("large", 100_000).await,
            500,
            "when {place} fails"
        );
        registry.shim.heal();
        registry.has_stopped().await;
        for reference in ["large", &digest] {
            assert_eq!(registry.read_manifest(reference).await, None);
        }

        let registry = registry.restart().await;
        for reference in ["large", &digest] {
            assert_eq!(registry.read_manifest(reference).await, None);
        }
        assert_eq!(registry.push_manifest("large", 100_000).await, 201);
        let registry = registry.restart().await;
        assert_eq!(
            registry.read_manifest("large").await,
            Some(manifest(100_000).into_bytes())
        );
    }
}

/// Such a failure is certain when it happens, and nothing was acknowledged. So it does not stop the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_that_cannot_be_written_leaves_nothing_and_can_be_sent_again() {
    let syncs = OF_A_VALUE.map(|place| ("f*sync", Errno::NOSPC, place, 507));
    let writes = [(Errno::NOSPC, 507), (Errno::IO, 500)]
        .map(|(error, status)| ("write", error, OF_A_VALUE[0], status));
    for (call, error, place, status) in syncs.into_iter().chain(writes) {
        let Some(registry) = Registry::start().await else {
            return;
        };
        registry.shim.fail(call, error, place);
        for _ in 0..2 {
            assert_eq!(
                registry.push_manifest("large", 100_000).await,
                status,
                "{call} of {place}: {error}"
            );
        }
        registry.shim.heal();
        assert_eq!(registry.read_manifest("large").await, None);
        assert_eq!(files(&registry.app.store().join("v")), Vec::<PathBuf>::new());
        assert_eq!(registry.push_manifest("large", 100_000).await, 201);
        let registry = registry.restart().await;
        assert_eq!(
            registry.read_manifest("large").await,
            Some(manifest(100_000).into_bytes())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_log_stops_the_store_unless_a_write_reports_a_full_disk() {
    for (call, error, status, stops) in [
        ("pwrite64", Errno::NOSPC, 507, false),
        ("pwrite64", Errno::IO, 500, true),
        ("f*sync", Errno::IO, 500, true),
        ("f*sync", Errno::NOSPC, 500, true),
    ] {
        let Some(registry) = Registry::start().await else {
            return;
        };
        registry.shim.fail(call, error, LOG);
        assert_eq!(registry.push_manifest("new", 1).await, status, "{call}: {error}");
        registry.shim.heal();
        assert_eq!(registry.read_manifest("new").await, None);
        if stops {
            registry.has_stopped().await;
        } else {
            assert_eq!(registry.push_manifest("new", 1).await, 201);
        }
        let registry = registry.restart().await;
        assert_eq!(
            registry.read_manifest("new").await,
            (!stops).then(|| manifest(1).into_bytes())
        );
        assert_eq!(registry.push_manifest("new", 1).await, 201);
    }
}

/// The file does not have the bytes of this call. The next bytes are written in their place.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_cannot_be_written_are_not_counted_and_can_be_sent_again() {
    if !can_trace() {
        return;
    }
    for (call, error, status) in [
        ("pwritev", "EIO", 500),
        ("pwritev", "ENOSPC", 507),
        ("mkdirat", "EIO", 500),
        ("mkdirat", "ENOSPC", 507),
        ("openat", "EMFILE", 503),
    ] {
        let Some(registry) = Registry::start().await else {
            return;
        };
        let upload = loop {
            let upload = registry.begin_upload().await;
            if !registry.file(&upload).parent().unwrap().exists() {
                break upload;
            }
        };
        let strace = registry.fail(call, error, &[]);
        assert_eq!(
            registry.send(Method::PATCH, &upload, BYTES).await,
            status,
            "{call}: {error}"
        );
        assert_eq!(
            registry.close_upload(&upload, BYTES, BYTES).await,
            status,
            "{call}: {error}"
        );
        assert!(strace.end().to_string().contains("(INJECTED)"));
        assert_eq!(registry.read_blob(BYTES).await, None);
        assert_eq!(
            registry.app.anonymous().get(&upload).await.header("range"),
            "0--1"
        );
        assert_eq!(registry.close_upload(&upload, BYTES, BYTES).await, 201);
        let registry = registry.restart().await;
        assert_eq!(registry.read_blob(BYTES).await.as_deref(), Some(BYTES));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_whose_early_write_back_fails_is_rejected_and_without_one_it_is_synced_at_its_end() {
    if !can_trace() {
        return;
    }
    // The last byte completes the first piece, so the answer comes after the client has sent everything.
    let large: Vec<u8> = (0..8_u32 << 18).flat_map(u32::to_le_bytes).collect();
    for (error, status, stops) in [
        ("EIO", 500, true),
        ("EUCLEAN", 500, true),
        ("ENOSPC", 507, false),
        ("EDQUOT", 507, false),
        ("ENOSYS", 201, false),
        ("EINVAL", 201, false),
        ("EPERM", 201, false),
    ] {
        let Some(registry) = Registry::start().await else {
            return;
        };
        let upload = registry.begin_upload().await;
        let (kept, rest) = large.split_at(1 << 20);
        assert_eq!(registry.send(Method::PATCH, &upload, kept).await, 202);
        let strace = registry.fail("sync_file_range", error, &[]);
        assert_eq!(
            registry.close_upload(&upload, &large, rest).await,
            status,
            "{error}"
        );
        assert!(strace.end().to_string().contains("(INJECTED)"));
        if status != 201 {
            assert!(registry.read_blob(&large).await.is_none(), "{error}");
            assert_eq!(
                registry.app.anonymous().get(&upload).await.header("range"),
                "0-1048575",
                "only the bytes sealed before are received"
            );
            let (rest, status) = if stops { (&rest[..1], 503) } else { (rest, 201) };
            assert_eq!(registry.close_upload(&upload, &large, rest).await, status);
        }
        if stops {
            registry.has_stopped().await;
        }
        let registry = registry.restart().await;
        assert!(if stops {
            registry.read_blob(&large).await.is_none()
        } else {
            registry.read_blob(&large).await == Some(large.clone())
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_object_is_an_error_until_the_disk_works_again() {
    if !can_trace() {
        return;
    }
    let Some(registry) = Registry::start().await else {
        return;
    };
    let blob = registry.app.anonymous().push_blob("a", BYTES).await;
    assert_eq!(registry.push_manifest("large", 100_000).await, 201);
    // The caches are empty.
    let registry = registry.restart().await;
    let blobs = files(&registry.app.store().join("d"));
    let values = files(&registry.app.store().join("v"));
    for (calls, files, path) in [
        ("preadv2,pread64", blobs, format!("/v2/a/blobs/{blob}")),
        ("read", values, "/v2/a/manifests/large".to_owned()),
    ] {
        let strace = registry.fail(calls, "EIO", &files);
        let whole = async {
            registry
                .app
                .anonymous()
                .begin(Method::GET, &path, "")
                .await?
                .error_for_status()?
                .bytes()
                .await
        };
        let read = whole.await;
        assert!(read.is_err(), "{path}: {read:?}");
        assert!(strace.end().to_string().contains("(INJECTED)"), "{path}");
    }
    assert_eq!(registry.read_blob(BYTES).await.as_deref(), Some(BYTES));
    assert_eq!(
        registry.read_manifest("large").await,
        Some(manifest(100_000).into_bytes())
    );
    registry.restart().await;
}

//! A disk that is full.

use super::client::{Http, Outcome};
use super::server::{Kill, Server, Shim};
use crate::harness::{Setup, eventually, output, sha256};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system, until this is dropped.
pub(crate) struct Small(PathBuf);

impl Small {
    /// Prints why and returns `None` if mounting is not allowed.
    pub(crate) fn mount(at: PathBuf, mib: u32) -> Option<Self> {
        Self::mounted(
            at,
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]),
        )
    }

    /// A file system with blocks on a disk, which is a file here. The blocks are smaller than pages of
    /// memory.
    fn mount_ext4(at: PathBuf, image: &Path, mib: u64) -> Option<Self> {
        File::create(image).unwrap().set_len(mib << 20).unwrap();
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0", "-b", "1024"])
            .arg(image)
            .output();
        if !made.is_ok_and(|made| made.status.success()) {
            eprintln!("skipped: no ext4 can be made here");
            return None;
        }
        let small = Self::mounted(at, Command::new("mount").args(["-o", "loop"]).arg(image))?;
        std::fs::remove_dir(small.0.join("lost+found")).unwrap();
        Some(small)
    }

    fn mounted(at: PathBuf, mount: &mut Command) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        match mount.arg(&at).output() {
            Ok(output) if output.status.success() => Some(Self(at)),
            Ok(output) => {
                eprintln!(
                    "skipped: a small file system cannot be mounted here: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
                None
            }
            Err(why) => {
                eprintln!("skipped: mount: {why}");
                None
            }
        }
    }

    /// Takes all free space, to the last byte, as another program might.
    pub(crate) fn fill(&self) {
        let mut ballast = File::options()
            .append(true)
            .create(true)
            .open(self.ballast())
            .unwrap();
        for size in [1 << 20, 4096, 1] {
            let bytes = vec![1; size];
            while ballast.write(&bytes).is_ok_and(|written| written > 0) {}
        }
        drop(ballast.sync_all());
    }

    pub(super) fn free(&self) {
        drop(std::fs::remove_file(self.ballast()));
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// The total size of the files in this folder.
    fn bytes_in(&self, folder: &str) -> u64 {
        let shards = std::fs::read_dir(self.0.join(folder))
            .unwrap()
            .map(Result::unwrap);
        let files = shards.flat_map(|shard| std::fs::read_dir(shard.path()).unwrap().map(Result::unwrap));
        files.map(|file| file.metadata().unwrap().len()).sum()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[derive(Clone, Copy)]
enum Disk {
    Tmpfs,
    Ext4,
}

/// A registry with its store on a small disk. `None` if the disk or the shim cannot be made here.
async fn registry_on(disk: Disk, mib: u32) -> Option<(Small, Server, Http)> {
    let shim = Shim::build()?;
    let setup = Setup::plain();
    let at = setup.path("store");
    let small = match disk {
        Disk::Tmpfs => Small::mount(at, mib),
        Disk::Ext4 => Small::mount_ext4(at, &setup.path("disk"), mib.into()),
    }?;
    let mut server = Server::with(shim, setup);
    let http = Http::new(server.start(Kill::Never).await.unwrap());
    Some((small, server, http))
}

fn blob(number: usize) -> Vec<u8> {
    vec![u8::try_from(number % 251).unwrap(); 700_000 + number]
}

fn push_path(bytes: &[u8]) -> String {
    format!("/v2/a/blobs/uploads/?digest={}", sha256(bytes))
}

/// An image manifest with this many bytes of annotations.
pub(super) fn manifest(config: (&str, usize), number: usize, bytes: usize) -> String {
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.0, "size": config.1});
    let annotations = json!({"number": number.to_string(), "note": "x".repeat(bytes)});
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [], "annotations": annotations}).to_string()
}

async fn until_ready_says(http: &Http, what: &str) -> u16 {
    eventually(&format!("/readyz says {what:?}"), async || {
        let answer = http.ask(Method::GET, "/readyz", "").await.unwrap();
        let says_so = String::from_utf8_lossy(&answer.body).contains(what);
        says_so.then(|| answer.status.as_u16())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_a_full_disk_opens_deletes_and_can_be_checked() {
    for ext4 in [false, true] {
        let disk = if ext4 { Disk::Ext4 } else { Disk::Tmpfs };
        let Some((small, mut server, mut http)) = registry_on(disk, 64).await else {
            return;
        };
        let mut blobs = Vec::new();
        let mut manifests = Vec::new();
        while blobs.len() < 30 {
            let bytes = blob(blobs.len());
            assert_eq!(
                http.status(Method::POST, &push_path(&bytes), bytes.clone()).await,
                201
            );
            blobs.push((sha256(&bytes), bytes.len()));
        }
        let (refused, last) = loop {
            let number = manifests.len();
            let bytes = manifest((&blobs[0].0, blobs[0].1), number, 60_000);
            match http
                .status(Method::PUT, &format!("/v2/a/manifests/t{number}"), bytes.clone())
                .await
            {
                201 => manifests.push(sha256(bytes.as_bytes())),
                status => break (status, sha256(bytes.as_bytes())),
            }
            assert!(number < 2000, "the disk is never full");
        };
        assert_eq!(
            (refused, manifests.len() > 100),
            (507, true),
            "{}",
            manifests.len()
        );
        small.fill();
        assert_eq!(until_ready_says(&http, "storage is full").await, 200);
        let gone = |answer| assert_eq!(answer, Outcome::Done, "on ext4: {ext4}");
        let mut rest = manifests.split_off(20);
        for (number, digest) in manifests.iter().enumerate() {
            let reference = if number % 2 == 0 {
                digest.clone()
            } else {
                format!("t{number}")
            };
            gone(
                http.change(Method::DELETE, &format!("/v2/a/manifests/{reference}"), "")
                    .await,
            );
        }
        // Another program takes the freed blocks, and the process dies.
        small.fill();
        server.kill().await;
        small.fill();
        server.check();
        small.fill();
        http = Http::new(server.start(Kill::Never).await.expect("it starts on a full disk"));
        for (digest, _) in &blobs {
            assert_eq!(
                http.change(Method::GET, &format!("/v2/a/blobs/{digest}"), "")
                    .await,
                Outcome::Done
            );
        }
        small.fill();
        rest.extend(manifests.into_iter().skip(1).step_by(2));
        // The manifest may exist if only its tag found no room.
        let last = http
            .change(Method::DELETE, &format!("/v2/a/manifests/{last}"), "")
            .await;
        assert!(
            matches!(last, Outcome::Done | Outcome::Refused(StatusCode::NOT_FOUND)),
            "{last:?}"
        );
        for digest in &rest {
            gone(
                http.change(Method::DELETE, &format!("/v2/a/manifests/{digest}"), "")
                    .await,
            );
        }
        for (digest, _) in &blobs {
            gone(
                http.change(Method::DELETE, &format!("/v2/a/blobs/{digest}"), "")
                    .await,
            );
        }
        small.free();
        let bytes = blob(200);
        assert_eq!(
            http.status(Method::POST, &push_path(&bytes), bytes.clone()).await,
            201,
            "on ext4: {ext4}"
        );
        assert_eq!(until_ready_says(&http, "ok").await, 200);
        server.stop().await;
        server.check();
        drop(small);
    }
}

/// The version before made no reserve, and other programs may have used all its space.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_a_reserve_opens_on_a_disk_without_a_free_byte() {
    for (ext4, killed) in [(false, true), (false, false), (true, true), (true, false)] {
        let case = format!("on ext4: {ext4}, killed: {killed}");
        let disk = if ext4 { Disk::Ext4 } else { Disk::Tmpfs };
        let Some((small, mut server, http)) = registry_on(disk, 64).await else {
            return;
        };
        let bytes = blob(1);
        let digest = sha256(&bytes);
        assert_eq!(
            http.status(Method::POST, &push_path(&bytes), bytes.clone()).await,
            201
        );
        let mut manifests = Vec::new();
        for number in 0..40 {
            let manifest = manifest((&digest, bytes.len()), number, 30_000);
            manifests.push(sha256(manifest.as_bytes()));
            let path = format!("/v2/a/manifests/t{number}");
            assert_eq!(http.status(Method::PUT, &path, manifest).await, 201);
        }
        if killed {
            server.kill().await;
        } else {
            server.stop().await;
        }
        std::fs::remove_file(small.0.join("reserve")).unwrap();
        small.fill();
        server.check();
        let http = Http::new(server.start(Kill::Never).await.expect(&case));
        assert_eq!(until_ready_says(&http, "storage is full").await, 200);
        for path in [format!("/v2/a/blobs/{digest}"), "/v2/a/manifests/t7".to_owned()] {
            assert_eq!(http.change(Method::GET, &path, "").await, Outcome::Done, "{case}");
        }
        // A deletion writes a record to the log, so it needs some blocks.
        let ballast = small.ballast().metadata().unwrap().len();
        let file = File::options().write(true).open(small.ballast()).unwrap();
        file.set_len(ballast - (128 << 10)).unwrap();
        drop(file);
        for digest in &manifests {
            let path = format!("/v2/a/manifests/{digest}");
            assert_eq!(
                http.change(Method::DELETE, &path, "").await,
                Outcome::Done,
                "{case}"
            );
        }
        small.free();
        let bytes = blob(2);
        assert_eq!(
            http.status(Method::POST, &push_path(&bytes), bytes.clone()).await,
            201
        );
        assert_eq!(until_ready_says(&http, "ok").await, 200);
        server.stop().await;
        server.check();
        drop(small);
    }
}

/// The index is mapped into memory. A hole that finds no block would end the process.
#[tokio::test(flavor = "multi_thread")]
async fn the_index_of_the_log_has_blocks_of_a_disk_whose_blocks_are_smaller_than_pages() {
    use std::os::unix::fs::MetadataExt as _;
    let Some((small, mut server, http)) = registry_on(Disk::Ext4, 64).await else {
        return;
    };
    assert_eq!(http.status(Method::POST, &push_path(b"{}"), "{}").await, 201);
    let index = small.0.join("records.sqlite3-shm").metadata().unwrap();
    let allocated = index.blocks() * 512;
    // Enough for a log of over 16 MiB.
    assert!(
        index.len() >= 64 << 10 && allocated >= index.len(),
        "{allocated} of {}",
        index.len()
    );
    server.stop().await;
    server.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fails_on_a_full_disk_frees_its_bytes() {
    let Some((small, mut server, http)) = registry_on(Disk::Tmpfs, 16).await else {
        return;
    };
    let large = vec![7; 30 << 20];
    let begin = async || {
        http.ask(Method::POST, "/v2/a/blobs/uploads/", "")
            .await
            .unwrap()
            .must_be(202, "")
            .header("location")
            .to_owned()
    };
    // No bytes were acknowledged here.
    let upload = begin().await;
    for (method, path) in [
        (Method::POST, push_path(&large)),
        (Method::PATCH, upload.clone()),
        (
            Method::PUT,
            format!("{}?digest={}", begin().await, sha256(&large)),
        ),
    ] {
        if let Some(answer) = http.ask(method.clone(), &path, large.clone()).await {
            assert_eq!(answer.status.as_u16(), 507, "{answer}");
        }
        assert_eq!(small.bytes_in("d"), 0, "{method} {path}");
    }
    assert_eq!(http.status(Method::GET, &upload, "").await, 204);
    // Acknowledged bytes stay, and the upload continues after them.
    let upload = begin().await;
    let kept = vec![1; 100_000];
    http.ask(Method::PATCH, &upload, kept.clone())
        .await
        .unwrap()
        .must_be(202, "");
    drop(http.ask(Method::PATCH, &upload, large).await);
    assert_eq!(small.bytes_in("d"), 100_000);
    let closed = http
        .ask(Method::PUT, &format!("{upload}?digest={}", sha256(&kept)), "")
        .await
        .unwrap();
    closed.must_be(201, "the chunk that was kept");
    server.stop().await;
    server.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_another_program_keeps_reading_pushes_are_rejected_before_the_disk_is_full() {
    let Some((small, mut server, http)) = registry_on(Disk::Tmpfs, 200).await else {
        return;
    };
    assert_eq!(http.status(Method::POST, &push_path(b"{}"), "{}").await, 201);
    let reader = rusqlite::Connection::open(small.0.join("records.sqlite3")).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM records")
        .unwrap();
    let config = sha256(b"{}");
    let push = async |number: usize| {
        let bytes = manifest((&config, 2), number, 60_000);
        http.ask(Method::PUT, &format!("/v2/a/manifests/t{number}"), bytes)
            .await
            .unwrap()
    };
    let mut pushed = 0;
    let refused = loop {
        let answer = push(pushed).await;
        if answer.status != 201 {
            break answer;
        }
        pushed += 1;
        assert!(pushed < 2000, "the log has no bound");
    };
    assert!(
        refused.is(507, "UNKNOWN")
            && refused
                .to_string()
                .contains("another program keeps reading the registry's records.sqlite3"),
        "{refused}"
    );
    let free = rustix::fs::statvfs(&small.0).unwrap();
    assert!(free.f_bavail * 2 > free.f_blocks, "the disk is half empty still");
    assert_eq!(
        http.change(Method::DELETE, "/v2/a/manifests/t0", "").await,
        Outcome::Done
    );
    assert_eq!(until_ready_says(&http, "storage is full").await, 200);
    drop(reader);
    assert_eq!(until_ready_says(&http, "ok").await, 200);
    eventually("the log is emptied and a push succeeds", async || {
        (push(pushed).await.status == 201).then_some(())
    })
    .await;
    server.stop().await;
    server.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_bytes_cannot_be_written_is_not_ready_and_one_that_lost_them_does_not_start() {
    let Some(shim) = Shim::build() else { return };
    let setup = Setup::plain();
    let store = setup.path("store");
    let file = setup.file();
    let mut server = Server::with(shim, setup);
    let http = Http::new(server.start(Kill::Never).await.unwrap());
    for name in ["d", "v"] {
        assert_eq!(until_ready_says(&http, "ok").await, 200);
        std::fs::rename(store.join(name), store.join("away")).unwrap();
        assert_eq!(
            until_ready_says(
                &http,
                &format!("the folder {name} of the store cannot be written to")
            )
            .await,
            503
        );
        std::fs::rename(store.join("away"), store.join(name)).unwrap();
    }
    assert_eq!(until_ready_says(&http, "ok").await, 200);
    server.stop().await;
    for name in ["d", "v"] {
        std::fs::remove_dir_all(store.join(name)).unwrap();
        for command in ["serve", "fsck"] {
            let (code, _, errors) = output(&[command, file.to_str().unwrap()], &store);
            assert!(
                code != 0
                    && errors.contains(&*store.join(name).to_string_lossy())
                    && errors.contains("mkdir"),
                "{command}: {errors}"
            );
        }
        std::fs::create_dir(store.join(name)).unwrap();
    }
    assert!(server.start(Kill::Never).await.is_some());
    server.stop().await;
    server.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_pushes_are_507_pulls_and_deletions_work_and_nothing_is_torn() {
    let Some((small, mut server, http)) = registry_on(Disk::Tmpfs, 16).await else {
        return;
    };
    let blob = |number: u32| vec![u8::try_from(number).unwrap(); 700_000];
    let path = |bytes: &[u8]| format!("/v2/a/blobs/uploads/?digest={}", sha256(bytes));
    let mut pushed = Vec::new();
    let refused = loop {
        let bytes = blob(u32::try_from(pushed.len()).unwrap());
        match http.status(Method::POST, &path(&bytes), bytes.clone()).await {
            201 => pushed.push(sha256(&bytes)),
            status => break status,
        }
        assert!(pushed.len() < 100, "the disk is never full");
    };
    assert_eq!(refused, 507);
    assert!(pushed.len() > 5, "{}", pushed.len());
    // A large record is a file too, and may not use the reserve.
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": pushed[0], "size": 700_000});
    let large = json!({"schemaVersion": 2, "config": config, "layers": [], "annotations": {"note": "x".repeat(500_000)}}).to_string();
    assert_eq!(
        http.status(Method::PUT, "/v2/a/manifests/large", large.into_bytes())
            .await,
        507
    );
    // Another program takes the reserve.
    std::fs::write(small.0.join("ballast"), vec![0; 16 << 20]).unwrap_err();
    let bytes = blob(200);
    assert_eq!(http.status(Method::POST, &path(&bytes), bytes.clone()).await, 507);
    for digest in &pushed {
        assert_eq!(
            http.change(Method::GET, &format!("/v2/a/blobs/{digest}"), "")
                .await,
            Outcome::Done
        );
    }
    std::fs::remove_file(small.0.join("ballast")).unwrap();
    for digest in &pushed {
        assert_eq!(
            http.change(Method::DELETE, &format!("/v2/a/blobs/{digest}"), "")
                .await,
            Outcome::Done,
            "a deletion uses the reserve"
        );
    }
    server.stop().await;
    server.check();
    // Nothing has removed the bytes yet. The collector would do so. Here the disk becomes larger instead.
    let grown = Command::new("mount")
        .args(["-o", "remount,size=32m"])
        .arg(&small.0)
        .status()
        .unwrap();
    assert!(grown.success());
    let address = server.start(Kill::Never).await.unwrap();
    assert_eq!(
        Http::new(address)
            .status(Method::POST, &path(&bytes), bytes.clone())
            .await,
        201
    );
    server.stop().await;
    server.check();
}

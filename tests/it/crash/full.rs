//! A disk that is full.

use super::client::{Http, Told};
use super::server::{Kill, Server, Shim};
use crate::harness::{Setup, sha256};
use reqwest::Method;
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;

/// A file system of 16 MiB, until this is dropped.
struct Small(PathBuf);

impl Small {
    /// `None`, and it says why, where mounting is not allowed.
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(&at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at)),
            Ok(output) => {
                eprintln!("skipped: a small tmpfs cannot be mounted here: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(why) => {
                eprintln!("skipped: mount: {why}");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_pushes_are_507_pulls_and_deletions_work_and_nothing_is_torn() {
    let Some(shim) = Shim::build() else { return };
    let setup = Setup::plain();
    let Some(small) = Small::mount(setup.path("store")) else { return };
    let mut server = Server::with(shim, setup);
    let address = server.start(Kill::Never).await.unwrap();
    let http = Http::new(address);
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
    // A large record is a file too, and may not have the reserve.
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": pushed[0], "size": 700_000});
    let large = json!({"schemaVersion": 2, "config": config, "layers": [], "annotations": {"note": "x".repeat(500_000)}}).to_string();
    assert_eq!(http.status(Method::PUT, "/v2/a/manifests/large", large.into_bytes()).await, 507);
    // Whatever else takes the reserve away.
    std::fs::write(small.0.join("ballast"), vec![0; 16 << 20]).unwrap_err();
    let bytes = blob(200);
    assert_eq!(http.status(Method::POST, &path(&bytes), bytes.clone()).await, 507);
    for digest in &pushed {
        assert_eq!(http.change(Method::GET, &format!("/v2/a/blobs/{digest}"), "").await, Told::Done);
    }
    std::fs::remove_file(small.0.join("ballast")).unwrap();
    for digest in &pushed {
        assert_eq!(http.change(Method::DELETE, &format!("/v2/a/blobs/{digest}"), "").await, Told::Done, "deleting takes the reserve");
    }
    server.stop().await;
    server.check();
    // Nobody has taken the bytes away yet: the collector does, or here somebody who makes the disk larger.
    let grown = Command::new("mount").args(["-o", "remount,size=32m"]).arg(&small.0).status().unwrap();
    assert!(grown.success());
    let address = server.start(Kill::Never).await.unwrap();
    assert_eq!(Http::new(address).status(Method::POST, &path(&bytes), bytes.clone()).await, 201);
    server.stop().await;
    server.check();
}

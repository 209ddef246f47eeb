//! The server removes garbage while it serves.

use crate::harness::{Setup, TestApp, sha256};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::path::{Path, PathBuf};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &[u8] = b"the configuration";

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Pushes an image without a tag and returns the path of its manifest.
async fn push_image(app: &TestApp) -> String {
    let client = app.anonymous();
    let config = client.push_blob("team/app", CONFIG).await;
    let config =
        json!({"mediaType": "application/vnd.example.config", "digest": config, "size": CONFIG.len()});
    let manifest =
        json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": []}).to_string();
    let path = format!("/v2/team/app/manifests/{}", sha256(manifest.as_bytes()));
    let client = client.header("content-type", IMAGE);
    assert_eq!(client.put(&path, manifest).await.status, StatusCode::CREATED);
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_a_deletion_left_unreferenced_is_removed_while_the_registry_serves() {
    let mut setup = Setup::plain();
    setup.config["storage"]["gcDelay"] = json!("0");
    setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": 0});
    let app = setup.start().await;
    // The walk through the whole store takes place once, and before this push there is nothing to find.
    let walked = |line: &serde_json::Value| line["collection.kind"] == "full";
    let path = push_image(&app).await;
    let mark = app.log.since(0).len();
    assert_eq!(
        app.anonymous().send(Method::DELETE, &path, "").await.status,
        StatusCode::ACCEPTED
    );
    let line = app
        .log
        .wait("garbage was removed", mark, |line| {
            line["collection.kind"] == "recent"
        })
        .await;
    assert!(!walked(&line), "{line}");
    assert_eq!(
        (&line["collection.items"], &line["collection.bytes"]),
        (&json!(2), &json!(17)),
        "{line}"
    );
    assert_eq!(files(&app.store().join("d")), Vec::<PathBuf>::new());
    let metrics = app
        .anonymous()
        .get(&format!("http://{}/metrics", app.health.unwrap()))
        .await
        .text();
    for wanted in [
        "wharfinger_collected_total{what=\"unlinked_blob\"} 1",
        "wharfinger_collected_bytes_total 17",
        "wharfinger_collections_total{kind=\"recent\",result=\"done\"} 1",
    ] {
        assert!(metrics.lines().any(|line| line == wanted), "{wanted}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_collector_everything_stays() {
    let mut setup = Setup::plain();
    setup.config["storage"]["gcDelay"] = json!("0");
    setup.config["storage"]["gc"] = json!(false);
    let mut app = setup.start().await;
    let path = push_image(&app).await;
    assert_eq!(
        app.anonymous().send(Method::DELETE, &path, "").await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(files(&app.store().join("d")).len(), 1);
    app.signal(rustix::process::Signal::TERM);
    assert!(app.ended().await.success());
    let file = app.setup.file();
    let (code, out, err) = crate::harness::output(&["fsck", file.to_str().unwrap()], app.setup.folder.path());
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.ends_with("; a collection would free 17 bytes\n"), "{out}");
}

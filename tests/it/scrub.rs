//! The server finds what the disk has changed, while it serves.

use crate::harness::{Setup, TestApp, sha256};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::path::Path;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Changes one byte of the only file with this content below the folder.
fn flip(folder: &Path, content: &[u8]) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            flip(&path, content);
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.ends_with(content) {
            let last = bytes.iter().rposition(|byte| *byte == b'x').unwrap();
            bytes[last] = b'y';
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

impl TestApp {
    async fn walked(&self, mark: usize, damaged: u64) -> Value {
        self.log
            .wait("a walk has ended", mark, |line| {
                line["scrub.damaged"] == json!(damaged)
            })
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_content_is_found_while_the_registry_serves_and_repaired_by_a_push() {
    let mut setup = Setup::plain();
    setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": 0});
    let mut app = setup.start().await;
    let client = app.anonymous();
    let layer = vec![b'x'; 200_000];
    let digest = client.push_blob("team/app", &layer).await;
    let config =
        json!({"mediaType": "application/vnd.example.config", "digest": digest, "size": layer.len()});
    let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [], "annotations": {"a": "x".repeat(100_000)}}).to_string();
    let image = format!("/v2/team/app/manifests/{}", sha256(manifest.as_bytes()));
    let blob = format!("/v2/team/app/blobs/{digest}");
    let client = app.anonymous().header("content-type", IMAGE);
    let pushed = client.put(&image, manifest.clone()).await;
    assert_eq!(pushed.status, StatusCode::CREATED);
    flip(&app.store().join("d"), &layer);
    flip(&app.store().join("v"), manifest.as_bytes());
    assert_eq!(client.get(&blob).await.status, StatusCode::OK);
    let mark = app.mark().await;

    // A reload turns the walks on.
    app.reload(|config| config["storage"]["scrub"] = json!({"period": "1s", "rate": 50}))
        .await;
    app.walked(mark, 2).await;
    let lines = app.log.since(mark);
    for (field, expected) in [
        ("blob.digest", digest.as_str()),
        ("manifest.digest", image.rsplit('/').next().unwrap()),
    ] {
        assert!(
            lines
                .iter()
                .any(|line| line[field] == *expected && line["level"] == "ERROR"),
            "{field}: {lines:#?}"
        );
    }
    for path in [&blob, &image] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        let head = client.send(Method::HEAD, path, "").await;
        assert_eq!(head.status, StatusCode::NOT_FOUND, "{path}");
    }

    assert_eq!(app.anonymous().push_blob("team/app", &layer).await, digest);
    let pushed = client.put(&image, manifest.clone()).await;
    assert_eq!(pushed.status, StatusCode::CREATED);
    for path in [&blob, &image] {
        assert_eq!(client.get(path).await.status, StatusCode::OK, "{path}");
    }
    let mark = app.mark().await;
    app.walked(mark, 0).await;
    let health = app.health.unwrap();
    let metrics = app
        .anonymous()
        .get(&format!("http://{health}/metrics"))
        .await
        .text();
    for wanted in [
        "wharfinger_scrub_age_seconds ",
        "wharfinger_scrub_bytes_total ",
        "wharfinger_scrub_damaged_total{what=\"blob\"} ",
        "wharfinger_scrub_damaged_total{what=\"manifest\"} ",
    ] {
        assert!(
            metrics.lines().any(|line| line.starts_with(wanted)),
            "{wanted}: {metrics}"
        );
    }
}

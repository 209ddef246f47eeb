//! Deletions by real clients. An index must be deleted before its children. A client that tries the other
//! order gets an error that says so.

use super::Outcome;
use super::bench::finished;
use crate::harness::is_installed;
use crate::harness::{Client, Setup, TestApp, sha256};
use serde_json::{Value, json};
use tokio::process::Command;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An index of two images.
struct Pushed {
    index: String,
    children: [String; 2],
}

/// Has the tag `v1` on the index and `amd64` on its first child.
async fn push(client: &Client, repository: &str) -> Pushed {
    let descriptor = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": sha256(bytes), "size": bytes.len()});
    let put = |reference: String, manifest: String| async move {
        let media_type = if reference == "v1" { INDEX } else { IMAGE };
        let answer = client
            .clone()
            .header("content-type", media_type)
            .put(&format!("/v2/{repository}/manifests/{reference}"), manifest)
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    };
    let mut listed = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let config = json!({"architecture": architecture, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}});
        let config = config.to_string();
        client.push_blob(repository, config.as_bytes()).await;
        let config = descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes());
        let manifest =
            json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": []}).to_string();
        let mut child = descriptor(IMAGE, manifest.as_bytes());
        child["platform"] = json!({"architecture": architecture, "os": "linux"});
        listed.push(child);
        put(architecture.to_owned(), manifest).await;
    }
    let children = [0, 1].map(|at: usize| listed[at]["digest"].as_str().unwrap().to_owned());
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).to_string();
    let digest = sha256(index.as_bytes());
    put("v1".to_owned(), index).await;
    Pushed {
        index: digest,
        children,
    }
}

/// What a client is asked to delete.
enum Target<'a> {
    Tag(&'a str),
    Digest(&'a str),
}

async fn delete(program: &str, app: &TestApp, target: Target<'_>) -> Outcome {
    let name = format!("{}/app", app.host());
    let home = app.setup.path(program);
    std::fs::create_dir_all(&home).unwrap();
    let mut command = Command::new(program);
    command
        .kill_on_drop(true)
        .current_dir(&home)
        .env_clear()
        .env("HOME", &home)
        .env("PATH", std::env::var_os("PATH").unwrap());
    match (program, target) {
        ("skopeo", Target::Tag(tag)) => {
            command.args(["delete", "--tls-verify=false", &format!("docker://{name}:{tag}")])
        }
        ("skopeo", Target::Digest(digest)) => command.args([
            "delete",
            "--tls-verify=false",
            &format!("docker://{name}@{digest}"),
        ]),
        ("crane", Target::Tag(tag)) => command.args(["delete", "--insecure", &format!("{name}:{tag}")]),
        ("crane", Target::Digest(digest)) => {
            command.args(["delete", "--insecure", &format!("{name}@{digest}")])
        }
        (_, target) => {
            let host = json!({"hosts": {app.host(): {"tls": "disabled"}}});
            std::fs::create_dir_all(home.join(".regctl")).unwrap();
            std::fs::write(home.join(".regctl/config.json"), host.to_string()).unwrap();
            match target {
                Target::Tag(tag) => command.args(["tag", "delete", &format!("{name}:{tag}")]),
                Target::Digest(digest) => command.args(["manifest", "delete", &format!("{name}@{digest}")]),
            }
        }
    };
    finished(&mut command).await
}

async fn tags(client: &Client) -> Value {
    client.get("/v2/app/tags/list").await.json()["tags"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_delete_tags_and_an_index_before_its_children() {
    for program in ["crane", "regctl", "skopeo"] {
        if !is_installed(program) {
            continue;
        }
        let app = Setup::plain().start().await;
        let client = app.anonymous();
        let Pushed { index, children } = push(&client, "app").await;
        for child in &children {
            let refused = delete(program, &app, Target::Digest(child)).await;
            assert!(!refused.success, "{program}: {}", refused.text);
            assert_eq!(
                client.get(&format!("/v2/app/manifests/{child}")).await.status,
                200,
                "{program}"
            );
        }
        // skopeo deletes the manifest behind a tag, which an index may need.
        let untagged = delete(program, &app, Target::Tag("amd64")).await;
        assert_eq!(
            untagged.success,
            program != "skopeo",
            "{program}: {}",
            untagged.text
        );
        let left = if untagged.success {
            json!(["arm64", "v1"])
        } else {
            json!(["amd64", "arm64", "v1"])
        };
        assert_eq!(tags(&client).await, left, "{program}");
        assert_eq!(
            client
                .get(&format!("/v2/app/manifests/{}", children[0]))
                .await
                .status,
            200,
            "{program}"
        );

        let first = if program == "skopeo" {
            Target::Tag("v1")
        } else {
            Target::Digest(&index)
        };
        for target in [first, Target::Digest(&children[0]), Target::Digest(&children[1])] {
            let deleted = delete(program, &app, target).await;
            assert!(deleted.success, "{program}: {}", deleted.text);
        }
        assert_eq!(
            client.get("/v2/app/tags/list").await.status,
            404,
            "{program}: nothing is left"
        );
    }
}

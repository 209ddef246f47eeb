//! Two versions of the program on one bucket. The debug binary can run as the next version, which knows one
//! format more.

use crate::harness::{Client, Setup, TestApp, eventually, sha256};
use crate::replicas::{on, signing_keys};
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::json;
use std::process::Command;
use wharfinger_testkit::s3::Fake;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const NEXT: (&str, &str) = ("WHARFINGER_TEST_NEXT_FORMAT", "1");
/// The object of the record `i/format`.
const FORMAT: &str = "records/i._format";

fn setup(fake: &Fake) -> Setup {
    let place = fake.place();
    let mut setup = on(place, &place.endpoint, &signing_keys());
    setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": 0});
    setup
}

/// Runs a command of one of the two versions. Returns its exit code, and what it printed.
async fn run(command: &str, setup: &Setup, version: Option<(&str, &str)>) -> (i32, String) {
    run_with(&[command], setup, version).await
}

/// The same with options.
pub(crate) async fn run_with(
    arguments: &[&str],
    setup: &Setup,
    version: Option<(&str, &str)>,
) -> (i32, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    program.args(arguments).arg(setup.file()).envs(version);
    let output = tokio::task::spawn_blocking(move || program.output())
        .await
        .unwrap()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

pub(crate) async fn push(client: &Client, content: &str, tag: &str) -> StatusCode {
    let digest = sha256(content.as_bytes());
    let path = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    let pushed = client
        .send(reqwest::Method::POST, &path, content.to_owned())
        .await;
    if pushed.status != StatusCode::CREATED {
        return pushed.status;
    }
    let config = json!({"mediaType": "text/plain", "digest": digest, "size": content.len()});
    let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": []});
    let client = client.clone().header("content-type", IMAGE);
    let path = format!("/v2/team/app/manifests/{tag}");
    client.put(&path, manifest.to_string()).await.status
}

/// The content of the image's configuration.
pub(crate) async fn pull(client: &Client, tag: &str) -> String {
    let manifest = client.get(&format!("/v2/team/app/manifests/{tag}")).await;
    assert_eq!(manifest.status, StatusCode::OK, "{tag}: {}", manifest.text());
    let digest = manifest.json()["config"]["digest"].as_str().unwrap().to_owned();
    client.get(&format!("/v2/team/app/blobs/{digest}")).await.text()
}

fn records_of(fake: &Fake, format: u8) -> usize {
    let begins = format!("{{\"format\":{format},\"nonce\":");
    let objects = fake.objects();
    objects
        .values()
        .filter(|object| object.body.starts_with(begins.as_bytes()))
        .count()
}

async fn ready(app: &TestApp) -> StatusCode {
    let url = format!("http://{}/readyz", app.health.unwrap());
    app.anonymous().get(&url).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_serve_a_bucket_side_by_side_until_it_is_upgraded() {
    let fake = Fake::start().await;
    let mut old = setup(&fake).start().await;
    let new = setup(&fake).start_in(&[NEXT]).await;
    new.log
        .says("the store is written in format 2, and this version also knows format 3")
        .await;
    let by_old = old.anonymous();
    let by_new = new.anonymous();
    for (writer, reader, content) in [(&by_old, &by_new, "old"), (&by_new, &by_old, "new")] {
        for tag in [content, "moving"] {
            assert_eq!(push(writer, content, tag).await, StatusCode::CREATED);
            assert_eq!(pull(reader, tag).await, content);
        }
    }
    let (code, text) = run("upgrade", &old.setup, None).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("nothing to do: the store has format 2"), "{text}");
    let (code, text) = run("upgrade", &new.setup, Some(NEXT)).await;
    assert_eq!(code, 1, "{text}");
    let process = format!("(process {}), which supports formats up to 2", old.pid());
    assert!(
        text.contains("nothing was changed") && text.contains(&process),
        "{text}"
    );
    assert_eq!(records_of(&fake, 3), 0);

    old.signal(Signal::TERM);
    assert!(old.ended().await.success());
    let (code, text) = run("upgrade", &new.setup, Some(NEXT)).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("upgraded from format 2 to 3"), "{text}");
    new.log.says("the store has been upgraded").await;
    assert_eq!(push(&by_new, "new", "moving").await, StatusCode::CREATED);
    assert_eq!(push(&by_new, "newer", "newer").await, StatusCode::CREATED);
    assert_ne!((records_of(&fake, 2), records_of(&fake, 3)), (0, 0));
    assert!(records_of(&fake, 3) > 0);
    for (tag, content) in [
        ("old", "old"),
        ("new", "new"),
        ("moving", "new"),
        ("newer", "newer"),
    ] {
        assert_eq!(pull(&by_new, tag).await, content);
    }
    for (command, expected) in [("serve", 2), ("fsck", 1), ("gc", 1), ("upgrade", 1)] {
        let (code, text) = run(command, &old.setup, None).await;
        assert_eq!(code, expected, "{command}: {text}");
        let says = "the store has format 3, and this version of wharfinger supports formats up to 2";
        assert!(text.contains(says), "{command}: {text}");
    }
    let (code, text) = run("fsck", &new.setup, Some(NEXT)).await;
    assert!(code == 0 && text.contains(": clean: 0 damaged"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_stops_writing_when_it_meets_a_newer_format() {
    let fake = Fake::start().await;
    let old = setup(&fake).start().await;
    let client = old.anonymous();
    assert_eq!(push(&client, "before", "before").await, StatusCode::CREATED);
    // As after an upgrade that took this replica for dead. The last byte is the length of the padding, itself
    // included.
    assert!(fake.object(FORMAT).is_some(), "{:?}", fake.objects().keys());
    fake.put(FORMAT, "{\"format\":3}padding.\u{9}".to_owned());
    old.log
        .says("this process could not renew its record in the store: the store has format 3")
        .await;
    assert_eq!(
        push(&client, "after", "after").await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(pull(&client, "before").await, "before");
    eventually("the replica is not ready", async || {
        (ready(&old).await == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_needs_no_upgrade() {
    let setup = Setup::plain();
    let (code, text) = run("upgrade", &setup, None).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("`wharfinger serve` converts a store in a folder"),
        "{text}"
    );
}

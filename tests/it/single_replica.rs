//! `storage.storageDriver.singleReplica` on a store that ignores the conditions of requests.

use crate::harness::{Setup, TestApp, TestPki, eventually, output, sha256};
use serde_json::json;
use std::time::Duration;
use wharfinger::clock::{Clock, ManualClock};
use wharfinger_testkit::s3::{Conditions, Fake};

/// A store whose clock the test moves.
async fn store() -> (Fake, ManualClock) {
    let (clock, hand) = Clock::manual(Clock::system().now());
    let fake = Fake::start_at(clock).await;
    fake.set_rules(|rules| rules.conditions = Conditions::Ignored);
    (fake, hand)
}

/// A registry on this store, with folders of its own.
fn on(fake: &Fake, single: bool) -> Setup {
    let place = fake.place();
    let mut setup = Setup::plain();
    setup.config["storage"] = json!({
        "gc": false,
        "storageDriver": {
            "name": "s3",
            "bucket": place.bucket,
            "region": place.region,
            "regionendpoint": place.endpoint,
            "accesskey": place.access_key,
            "secretkey": place.secret_key,
            "singleReplica": single,
        },
    });
    setup.config["stateDirectory"] = json!("state");
    setup
}

/// Runs a command on the setup's file.
async fn run(setup: &Setup, command: &'static [&'static str]) -> (i32, String, String) {
    let file = setup.file();
    tokio::task::spawn_blocking(move || {
        let file = file.to_str().unwrap();
        let arguments: Vec<_> = command.iter().copied().chain([file]).collect();
        output(&arguments, std::path::Path::new("/"))
    })
    .await
    .unwrap()
}

/// Pushes an image by a tag and pulls it.
async fn push_and_pull(app: &TestApp, tag: &str) {
    let client = app.anonymous();
    let blob = client.push_blob("app", tag.as_bytes()).await;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": blob, "size": tag.len()},
        "layers": [],
    })
    .to_string();
    let client = app
        .anonymous()
        .header("content-type", "application/vnd.oci.image.manifest.v1+json");
    let path = format!("/v2/app/manifests/{tag}");
    let pushed = client.put(&path, manifest.clone()).await;
    assert_eq!(pushed.status, 201, "{}", pushed.text());
    let pulled = client.get(&path).await;
    assert_eq!(sha256(&pulled.body), sha256(manifest.as_bytes()));
    let pulled = client.get(&format!("/v2/app/blobs/{blob}")).await;
    assert_eq!(pulled.body, tag.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_registry_serves_a_store_that_ignores_conditions_and_a_second_is_refused() {
    let (fake, hand) = store().await;
    let mut several = on(&fake, false);
    several.config["http"]["auth"]["token"] = json!({"signingKeyFile": "keys.pem"});
    several.write("keys.pem", &TestPki::new().servers.server().key);
    let (code, _, said) = run(&several, &["serve"]).await;
    assert_eq!(code, 2, "{said}");
    for part in [
        "storage.storageDriver",
        &fake.place().endpoint,
        "creates an object twice",
        "singleReplica: true",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }

    let app = on(&fake, true).start().await;
    push_and_pull(&app, "first").await;
    let holder: serde_json::Value = serde_json::from_slice(&fake.object("holder").unwrap().body).unwrap();
    assert_eq!(holder["process"], app.pid());
    let process = format!("process {}", app.pid());
    for command in [&["serve"][..], &["gc"], &["fsck", "--mark"]] {
        let (_, _, said) = run(&on(&fake, true), command).await;
        for part in [&process, "Stop that registry", "remove singleReplica"] {
            assert!(said.contains(part), "{command:?}: {said}");
        }
    }
    let (code, _, said) = run(&several, &["serve"]).await;
    assert!(code == 2 && said.contains(&process), "{said}");
    let (code, said, errors) = run(&on(&fake, true), &["fsck"]).await;
    assert_eq!(code, 0, "reading harms nobody: {said}{errors}");

    // It is killed, and its successor must wait.
    drop(app);
    let (_, _, said) = run(&on(&fake, true), &["serve"]).await;
    assert!(said.contains(&process), "{said}");
    hand.advance(Duration::from_secs(91));
    let mut app = on(&fake, true).start().await;
    push_and_pull(&app, "second").await;
    let pulled = app.anonymous().get("/v2/app/manifests/first").await;
    assert_eq!(pulled.status, 200, "what the first one acknowledged is there");

    // It stops by itself, and its successor need not wait.
    app.signal(rustix::process::Signal::TERM);
    assert!(app.ended().await.success());
    assert_eq!(fake.object("holder"), None);
    let (code, said, errors) = run(&on(&fake, true), &["gc"]).await;
    assert_eq!(code, 0, "{said}{errors}");
    let app = on(&fake, true).start().await;
    push_and_pull(&app, "third").await;

    // Another one takes the bucket.
    let mut other = holder;
    other["id"] = json!("another");
    other["host"] = json!("another-host");
    fake.put("holder", other.to_string());
    let refused = eventually("a push is refused", async || {
        let answer = app.anonymous().post("/v2/app/blobs/uploads/").await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(
        refused.text().contains("makes no changes now"),
        "{}",
        refused.text()
    );
    let said = app
        .log
        .wait("another registry has the bucket", 0, |line| {
            line["message"]
                .as_str()
                .is_some_and(|said| said.contains("another-host"))
        })
        .await;
    assert!(said["message"].as_str().unwrap().contains("restart"), "{said}");
    let pulled = app.anonymous().get("/v2/app/manifests/third").await;
    assert_eq!(pulled.status, 200, "reads go on");
    eventually("it is not ready", async || {
        let answer = app.anonymous().get("/readyz").await;
        (answer.status == 503).then_some(())
    })
    .await;
}

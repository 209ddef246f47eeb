//! `wharfinger copy` from a folder to a bucket, and registries that start on the copies.

use crate::backup::Image;
use crate::gc::report;
use crate::harness::{Client, Setup, TestApp, TestPki, output, sha256};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;
use wharfinger_testkit::s3::{Fake, Fault, Gate, On, Operation, Place, SeaweedFs, When};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const REPOSITORIES: [&str; 2] = ["team/app", "team/app/tools"];
const UNFINISHED: &str = "is an unfinished copy of another one: run the same `wharfinger copy` again";
/// More than two parts.
const LARGE: usize = 20 << 20;
const MARK: &str = "registry/records/i._copy";

/// What clients read of the registry.
#[derive(Debug, PartialEq, Eq)]
struct Content(Vec<(String, u16, String)>);

impl Content {
    async fn of(client: &Client) -> Self {
        let mut paths = vec!["/v2/_catalog".to_owned()];
        for repository in REPOSITORIES {
            let list = format!("/v2/{repository}/tags/list");
            let tags = client.get(&list).await.json()["tags"].clone();
            paths.push(list);
            for tag in tags.as_array().unwrap() {
                let manifest = format!("/v2/{repository}/manifests/{}", tag.as_str().unwrap());
                let answer = client.get(&manifest).await;
                let digest = answer.header("docker-content-digest").to_owned();
                paths.push(manifest);
                paths.push(format!("/v2/{repository}/referrers/{digest}"));
                let about = answer.json();
                let layers = about["layers"].as_array().unwrap().iter();
                for blob in layers.chain([&about["config"]]) {
                    paths.push(format!(
                        "/v2/{repository}/blobs/{}",
                        blob["digest"].as_str().unwrap()
                    ));
                }
            }
        }
        let mut found = Vec::new();
        for path in paths {
            let answer = client.get(&path).await;
            found.push((path, answer.status.as_u16(), sha256(&answer.body)));
        }
        Self(found)
    }

    fn must_be_good(&self) {
        assert!(self.0.iter().all(|(_, status, _)| *status == 200), "{self:?}");
        for (path, _, digest) in self.0.iter().filter(|(path, ..)| path.contains("/blobs/")) {
            assert!(path.ends_with(digest), "{path} {digest}");
        }
    }
}

/// A registry on a folder with images, large and small, referrers, and an upload.
async fn filled(change: impl Fn(&mut Value)) -> TestApp {
    let mut setup = Setup::plain();
    change(&mut setup.config);
    let app = setup.start().await;
    let client = app.anonymous();
    for repository in REPOSITORIES {
        for number in 0..4 {
            let image = Image::new(repository, &format!("image {number}"), number == 0);
            image.push(&client, &format!("v{number}")).await;
            let answer = client
                .clone()
                .header("content-type", IMAGE)
                .put(
                    &format!("/v2/{repository}/manifests/{}", image.digest()),
                    image.manifest.clone(),
                )
                .await;
            assert_eq!(answer.status, 201);
        }
        let subject = Image::new(repository, "image 1", false);
        let config = client.push_blob(repository, b"{}").await;
        let config = json!({"mediaType": "application/vnd.example.signature", "digest": config, "size": 2});
        let about = json!({"mediaType": IMAGE, "digest": subject.digest(), "size": subject.manifest.len()});
        let signature =
            json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [], "subject": about});
        let signature = signature.to_string();
        let answer = client
            .clone()
            .header("content-type", IMAGE)
            .put(
                &format!("/v2/{repository}/manifests/{}", sha256(signature.as_bytes())),
                signature,
            )
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let layer = client.push_blob("team/app", &vec![3; LARGE]).await;
    let config = client.push_blob("team/app", b"{}").await;
    let large = json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": {"mediaType": "application/vnd.example", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.example", "digest": layer, "size": LARGE}],
    });
    let pushed = client
        .clone()
        .header("content-type", IMAGE)
        .put("/v2/team/app/manifests/large", large.to_string())
        .await;
    assert_eq!(pushed.status, 201, "{}", pushed.text());
    let upload = client.start_upload("team/app").await;
    assert_eq!(client.send(Method::PATCH, &upload, "half").await.status, 202);
    app
}

/// Stops the registry, and returns its folder.
async fn stopped(mut app: TestApp) -> Setup {
    app.signal(Signal::TERM);
    assert!(app.ended().await.success());
    std::mem::replace(&mut app.setup, Setup::plain())
}

/// A registry on this bucket.
fn on_bucket(place: &Place) -> Setup {
    let mut setup = Setup::plain();
    setup.config["storage"] = json!({"storageDriver": {
        "name": "s3",
        "bucket": place.bucket,
        "rootdirectory": "registry",
        "region": place.region,
        "regionendpoint": place.endpoint,
        "accesskey": place.access_key,
        "secretkey": place.secret_key,
    }});
    setup.config["stateDirectory"] = json!("state");
    setup.write("keys.pem", &TestPki::new().servers.server().key);
    setup.config["http"]["auth"]["token"] = json!({"signingKeyFile": "keys.pem"});
    setup
}

/// Returns the exit code, standard output and standard error.
async fn run(arguments: &[&Path]) -> (i32, String, String) {
    let arguments: Vec<PathBuf> = arguments.iter().map(|path| path.to_path_buf()).collect();
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(|path| path.to_str().unwrap()).collect();
        output(&arguments, Path::new("/"))
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn copy(from: &Setup, to: &Setup) -> (i32, String, String) {
    run(&[Path::new("copy"), &from.file(), &to.file()]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_moves_to_seaweedfs_with_all_that_clients_and_retention_see() {
    let Some(store) = tokio::task::block_in_place(SeaweedFs::start) else {
        let required = std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_some();
        assert!(!required, "weed is not installed");
        eprintln!("skipped: weed (SeaweedFS) is not installed");
        return;
    };
    // What retention keeps follows from the times of pulls and pushes.
    let keep = json!([{"patterns": [".*"], "mostRecentlyPulledCount": 1, "mostRecentlyPushedCount": 1}]);
    let policy = json!({"repositories": ["**"], "deleteUntagged": false, "keepTags": keep});
    let retention = |config: &mut Value| {
        config["storage"]["gc"] = json!(false);
        config["storage"]["gcDelay"] = json!("0");
        config["storage"]["retention"] = json!({"delay": "0", "maxShare": 1, "policies": [policy.clone()]});
    };
    let app = filled(&retention).await;
    let client = app.anonymous();
    for tag in ["v3", "v1"] {
        assert_eq!(
            client.get(&format!("/v2/team/app/manifests/{tag}")).await.status,
            200
        );
    }
    let before = Content::of(&client).await;
    before.must_be_good();
    // The last pull decides.
    assert_eq!(client.get("/v2/team/app/manifests/v2").await.status, 200);
    let mut target = on_bucket(&store.place());
    retention(&mut target.config);

    let file = app.setup.path("config.json");
    let (code, _, errors) = run(&[Path::new("copy"), &file, &target.file()]).await;
    assert!(
        code == 1 && errors.contains("is in use by process"),
        "{code} {errors}"
    );
    let from = stopped(app).await;
    let (code, _, errors) = copy(&target, &from).await;
    assert!(
        code == 2 && errors.contains("only copies from folders"),
        "{code} {errors}"
    );
    let (code, _, errors) = copy(&from, &from).await;
    assert!(
        code == 2 && errors.contains("only copies to buckets"),
        "{code} {errors}"
    );

    let (code, out, errors) = copy(&from, &target).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    assert!(
        out.contains(": complete: ") && out.contains(" 0 records removed"),
        "{out}"
    );
    let (code, _, errors) = copy(&from, &target).await;
    assert!(
        code == 1 && errors.contains("already holds a complete copy"),
        "{code} {errors}"
    );
    let (code, out, errors) = run(&[Path::new("fsck"), &target.file()]).await;
    assert!(
        code == 0 && out.contains(": clean: 0 damaged, 0 left over"),
        "{out} {errors}"
    );
    let (code, _, errors) = run(&[Path::new("backup"), &target.file(), &target.path("backup")]).await;
    assert!(
        code == 2 && errors.contains("only copies folders: turn on versioning"),
        "{code} {errors}"
    );

    let (code, expected) = report(&from, &["--dry-run"]).await;
    assert_eq!(code, 0);
    assert!(expected.to_string().contains("v0"), "{expected}");
    let (code, found) = report(&target, &["--dry-run"]).await;
    assert_eq!((code, &found["repositories"]), (0, &expected["repositories"]));

    let app = target.start().await;
    assert_eq!(Content::of(&app.anonymous()).await, before);
    let image = Image::new("team/app", "after", false);
    image.push(&app.anonymous(), "after").await;
    image.must_be(&app.anonymous(), "after").await;
}

/// The copy is killed when the bucket has got one of these requests, before or after its effect.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_at_any_point_continues_and_no_registry_uses_it_before() {
    let app = filled(|_| {}).await;
    let before = Content::of(&app.anonymous()).await;
    before.must_be_good();
    let from = stopped(app).await;
    let mut last = None;
    let mut commands = vec!["serve", "fsck", "gc"];
    let put = |prefix| On::operation(Operation::Put).under(prefix);
    for (on, when) in [
        (put("registry/records/i._store"), When::Before),
        (put("registry/d/"), When::After),
        (On::operation(Operation::UploadPart).skip(1), When::After),
        (On::operation(Operation::CompleteUpload), When::After),
        (put("registry/records/").skip(50), When::After),
        // The first write of the mark begins the copy, the second ends it.
        (put(MARK).skip(1), When::Before),
    ] {
        let what = format!("{on:?} {when:?}");
        let fake = Fake::start().await;
        let target = on_bucket(fake.place());
        let gate = Gate::default();
        fake.inject(on, Fault::Hold(when, gate.clone()));
        let mut child = Command::new(env!("CARGO_BIN_EXE_wharfinger"))
            .arg("copy")
            .args([from.file(), target.file()])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        tokio::select! {
            () = gate.arrived(1) => {}
            ended = child.wait() => panic!("{what}: it ended before: {ended:?}"),
        }
        // The request that waits has no effect any more.
        child.kill().await.unwrap();
        fake.heal();
        for command in commands.drain(..) {
            let (code, _, errors) = run(&[Path::new(command), &target.file()]).await;
            assert!(
                code != 0 && errors.contains(UNFINISHED),
                "{what}: {command}: {code} {errors}"
            );
        }
        let (code, out, errors) = copy(&from, &target).await;
        assert_eq!((code, errors.as_str()), (0, ""), "{what}: {out}");
        assert_eq!(published_twice(&fake), Vec::<String>::new(), "{what}");
        assert!(
            fake.uploads().is_empty(),
            "{what}: a part of the first run is left"
        );
        let (code, out, errors) = run(&[Path::new("fsck"), &target.file()]).await;
        assert!(
            code == 0 && out.contains(": clean: 0 damaged, 0 left over"),
            "{what}: {out} {errors}"
        );
        commands.push("serve");
        last = Some((fake, target));
    }
    let (_fake, target) = last.unwrap();
    let app = target.start().await;
    assert_eq!(Content::of(&app.anonymous()).await, before);
}

/// The blobs whose bytes were published more than once.
fn published_twice(fake: &Fake) -> Vec<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    for seen in fake.requests() {
        let publishes = matches!(seen.operation, Operation::Put | Operation::CompleteUpload);
        if publishes && seen.key.starts_with("registry/d/") && seen.effect == Some(200) {
            *counts.entry(seen.key).or_default() += 1;
        }
    }
    counts.retain(|_, count| *count > 1);
    counts.into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_named_and_the_next_push_repairs_the_copy() {
    let app = Setup::plain().start().await;
    let image = Image::new("team/app", "damaged", false);
    image.push(&app.anonymous(), "v1").await;
    let from = stopped(app).await;
    let mut files = Vec::new();
    for shard in std::fs::read_dir(from.path("store/d")).unwrap() {
        let shard = shard.unwrap().path();
        if shard.is_dir() {
            files.extend(std::fs::read_dir(shard).unwrap().map(|file| file.unwrap().path()));
        }
    }
    let layer = files
        .iter()
        .find(|file| std::fs::read(file).unwrap() == image.blobs[1])
        .unwrap();
    let mut bytes = image.blobs[1].clone();
    bytes[100] ^= 1;
    std::fs::write(layer, bytes).unwrap();
    let fake = Fake::start().await;
    let target = on_bucket(fake.place());
    let (code, out, errors) = copy(&from, &target).await;
    assert!(
        code == 1 && errors.contains("itself is damaged (1 findings above)"),
        "{errors}"
    );
    let named = format!(
        "damage: the blob {} in team/app: its bytes, ",
        sha256(&image.blobs[1])
    );
    assert!(out.starts_with(&named) && out.contains(": complete: "), "{out}");
    let app = target.start().await;
    image.push(&app.anonymous(), "v1").await;
    image.must_be(&app.anonymous(), "v1").await;
}

//! `wharfinger gc` with and without a running registry.

use crate::backup::Image;
use crate::crash::full::Small;
use crate::harness::{Client, Setup, TestApp, output, sha256};
use reqwest::Method;
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

/// A registry that removes nothing by itself. Its collector has no grace period.
fn at_once() -> Setup {
    let mut setup = Setup::plain();
    setup.config["storage"]["gc"] = json!(false);
    setup.config["storage"]["gcDelay"] = json!("0");
    setup
}

/// Runs the command for this configuration. Returns the exit code, standard output and standard error.
async fn gc(setup: &Setup, more: &[&str]) -> (i32, String, String) {
    let file = setup.file().display().to_string();
    let folder = setup.folder.path().to_owned();
    let arguments: Vec<String> = ["gc", &file]
        .iter()
        .chain(more)
        .map(|text| (*text).to_owned())
        .collect();
    let run = move || output(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &folder);
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The exit code and the report.
pub(crate) async fn report(setup: &Setup, more: &[&str]) -> (i32, Value) {
    let (code, out, errors) = gc(setup, &[&["--output", "json"], more].concat()).await;
    let report = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code} {out}{errors}"));
    (code, report)
}

/// Runs the command twice, the first time as a dry run. Both must report the same. Returns the report.
async fn twice(setup: &Setup) -> Value {
    let before = bytes_in(&setup.path("store/d"));
    let (code, mut dry) = report(setup, &["--dry-run"]).await;
    assert_eq!(code, 0, "{dry}");
    assert_eq!(
        bytes_in(&setup.path("store/d")),
        before,
        "a dry run changes nothing"
    );
    let (code, done) = report(setup, &[]).await;
    assert_eq!(
        (code, &dry["dryRun"], &done["dryRun"]),
        (0, &json!(true), &json!(false))
    );
    dry["dryRun"] = json!(false);
    assert_eq!(dry, done);
    // The bytes of manifests are in the table of records.
    let repositories = done["repositories"].as_object().unwrap().values();
    let manifests: u64 = repositories
        .filter_map(|repository| repository["goes"]["untaggedManifest"]["bytes"].as_u64())
        .sum();
    let freed = before - bytes_in(&setup.path("store/d"));
    assert_eq!(done["freedBytes"], json!(freed + manifests), "{done}");
    done
}

pub(crate) fn bytes_in(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        bytes += if metadata.is_dir() {
            bytes_in(&entry.path())
        } else {
            metadata.len()
        };
    }
    bytes
}

fn size(image: &Image) -> u64 {
    image.blobs.iter().map(|bytes| bytes.len() as u64).sum()
}

async fn answers(app: &TestApp) {
    let answers = |line: &Value| line["control.socket"].is_string();
    app.log.wait("it answers the operator", 0, answers).await;
}

async fn stop(app: &mut TestApp) {
    app.signal(Signal::TERM);
    assert!(app.ended().await.success());
}

/// Deletes the manifest only, so that the blobs are left for the collector.
async fn delete(client: &Client, image: &Image) {
    let path = format!("/v2/team/app/manifests/{}", image.digest());
    assert_eq!(client.send(Method::DELETE, &path, "").await.status, 202);
}

/// Pushes one image that is kept, one that is unreferenced after its deletion, and one without a tag.
async fn push_and_delete(client: &Client) -> [Image; 3] {
    let [kept, deleted, untagged] =
        ["kept", "deleted", "untagged"].map(|salt| Image::new("team/app", salt, false));
    kept.push(client, "v1").await;
    deleted.push(client, "v2").await;
    untagged.push(client, &untagged.digest()).await;
    delete(client, &deleted).await;
    [kept, deleted, untagged]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_registry_removes_what_the_dry_run_said_and_serves_the_rest() {
    let app = at_once().start().await;
    answers(&app).await;
    let client = app.anonymous();
    let [kept, deleted, untagged] = push_and_delete(&client).await;
    let upload = client.start_upload("team/app").await;
    let sent = client.send(Method::PATCH, &upload, b"half".to_vec()).await;
    assert_eq!(sent.status, 202, "{}", sent.text());
    let done = twice(&app.setup).await;
    let bytes = size(&deleted);
    let manifest = client
        .get(&format!("/v2/team/app/manifests/{}", untagged.digest()))
        .await;
    assert_eq!(
        done,
        json!({
            "complete": true,
            "freedBytes": bytes,
            "dryRun": false,
            "resumed": false,
            "repositories": {"team/app": {
                "goes": {"unneededLink": {"count": 2, "bytes": bytes}},
                "stays": {"untagged": {"count": 1, "bytes": manifest.body.len()}},
            }},
            "store": {"goes": {"unlinkedBlob": {"count": 2, "bytes": bytes}}, "stays": {}},
            "omittedRepositories": 0,
            "others": {"goes": {}, "stays": {}},
        })
    );
    kept.must_be(&client, "v1").await;
    untagged.must_be(&client, &untagged.digest()).await;
    // An open upload continues.
    let place = format!(
        "{}{}digest={}",
        sent.header("location"),
        if sent.header("location").contains('?') {
            '&'
        } else {
            '?'
        },
        sha256(b"half and half")
    );
    let ended = client.put(&place, b" and half".to_vec()).await;
    assert_eq!(ended.status, 201, "{}", ended.text());
    let asked = |line: &Value| line["collection.kind"] == "asked" && line["collection.items"] == 4;
    app.log.wait("a collection is complete", 0, asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_registry_the_command_removes_what_the_dry_run_said() {
    let mut app = at_once().start().await;
    let [kept, deleted, untagged] = push_and_delete(&app.anonymous()).await;
    stop(&mut app).await;
    let (code, dry, errors) = gc(&app.setup, &["--dry-run"]).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{dry}");
    assert_eq!(twice(&app.setup).await["freedBytes"], json!(size(&deleted)));
    let (code, now, _) = gc(&app.setup, &[]).await;
    let (words, last) = dry.trim_end().rsplit_once('\n').unwrap();
    assert!(
        words.starts_with("REPOSITORY") && words.contains("team/app     goes       2  "),
        "{dry}"
    );
    let said = format!(
        ": dry run complete: 4 to remove, {} bytes to free, 1 to keep",
        size(&deleted)
    );
    assert!(last.ends_with(&said), "{dry}");
    assert!(
        code == 0 && now.ends_with(": complete: 0 removed, 0 bytes freed, 1 kept\n"),
        "{now}"
    );
    let (code, out, errors) = output(
        &["fsck", app.setup.file().to_str().unwrap()],
        app.setup.folder.path(),
    );
    assert!(
        code == 0 && out.contains(": clean: 0 damaged, 0 left over"),
        "{out}{errors}"
    );
    let app = app.restart().await;
    kept.must_be(&app.anonymous(), "v1").await;
    untagged.must_be(&app.anonymous(), &untagged.digest()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_deletes_the_tags_and_manifests_that_the_dry_run_named() {
    let mut setup = at_once();
    let keep_tags = json!([{"patterns": ["^v"], "mostRecentlyPushedCount": 1}, {"patterns": ["keep"]}]);
    setup.config["storage"]["retention"] =
        json!({"policies": [{"repositories": ["team/**"], "keepTags": keep_tags}]});
    let app = setup.start().await;
    answers(&app).await;
    let client = app.anonymous();
    let mut images = Vec::new();
    for tag in ["v1", "v2", "keep", "nightly"] {
        let image = Image::new("team/app", tag, false);
        image.push(&client, tag).await;
        images.push(image);
    }
    let untagged = Image::new("team/app", "untagged", false);
    untagged.push(&client, &untagged.digest()).await;
    let done = twice(&app.setup).await;
    let mut manifests = [&images[0], &images[3], &untagged].map(Image::digest);
    manifests.sort();
    assert_eq!(
        done["repositories"]["team/app"]["givenUp"],
        json!({
            "storage.retention.policies[0].keepTags: no entry matches the tag": ["nightly"],
            "storage.retention.policies[0].keepTags[0]: none of its rules keeps the tag": ["v1"],
            "storage.retention.policies[0].deleteUntagged: it has no tag": manifests,
        })
    );
    let tags: Value = serde_json::from_slice(&client.get("/v2/team/app/tags/list").await.body).unwrap();
    assert_eq!(tags["tags"], json!(["keep", "v2"]));
    images[1].must_be(&client, "v2").await;
    images[2].must_be(&client, "keep").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_policies_and_which_tags_they_spare() {
    let mut setup = at_once();
    setup.config["storage"]["retention"] =
        json!({"policies": [{"repositories": ["team/**"], "keepTags": [{"patterns": ["^never$"]}]}]});
    let mut app = setup.start().await;
    answers(&app).await;
    let client = app.anonymous();
    for tag in ["v1", "nightly"] {
        Image::new("team/app", tag, false).push(&client, tag).await;
    }
    let given_up = async |app: &TestApp| {
        let (code, report) = report(&app.setup, &["--dry-run"]).await;
        assert_eq!(code, 0, "{report}");
        report["repositories"]["team/app"]["givenUp"].clone()
    };
    let key = "storage.retention.policies[0].keepTags: no entry matches the tag";
    assert_eq!(given_up(&app).await[key], json!(["nightly", "v1"]));
    app.reload(|config| {
        config["storage"]["retention"]["policies"][0]["keepImmutable"] = json!(true);
        config["accessControl"]["repositories"]["**"]["immutableTags"] = json!(["v*"]);
    })
    .await;
    assert_eq!(given_up(&app).await[key], json!(["nightly"]));
    let done = twice(&app.setup).await;
    assert_eq!(
        done["repositories"]["team/app"]["givenUp"][key],
        json!(["nightly"])
    );
    let tags: Value = serde_json::from_slice(&client.get("/v2/team/app/tags/list").await.body).unwrap();
    assert_eq!(tags["tags"], json!(["v1"]));
}

/// The default of `storage.gcDelay` protects blobs whose manifest is still to come.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_being_pushed_survives() {
    let app = Setup::plain().start().await;
    answers(&app).await;
    let client = app.anonymous();
    let image = Image::new("team/app", "slow", false);
    for bytes in &image.blobs {
        client.push_blob("team/app", bytes).await;
    }
    let done = twice(&app.setup).await;
    assert_eq!(
        done["repositories"]["team/app"],
        json!({"goes": {}, "stays": {"young": {"count": 2, "bytes": size(&image)}}})
    );
    image.push_manifest(&client, "v1").await;
    image.must_be(&client, "v1").await;
}

/// Nothing of the repository is removed, because the manifest may need anything. Garbage of other
/// repositories is removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_cannot_be_read_stops_its_repository_and_ends_with_1() {
    let mut app = at_once().start().await;
    let client = app.anonymous();
    push_and_delete(&client).await;
    client.push_blob("team/other", b"nobody needs this").await;
    stop(&mut app).await;
    let db = Connection::open(app.store().join("records.sqlite3")).unwrap();
    let damage = "UPDATE records SET value = x'00' WHERE key LIKE 'r/team/app!/m/%'";
    assert_eq!(db.execute(damage, []).unwrap(), 2);
    drop(db);
    for more in [&["--dry-run"][..], &[]] {
        let (code, found) = report(&app.setup, more).await;
        assert_eq!((code, &found["complete"]), (1, &json!(false)), "{found}");
        let stopped = &found["repositories"]["team/app"];
        assert!(
            stopped["stopped"].as_str().unwrap().contains("r/team/app!/m/"),
            "{found}"
        );
        assert_eq!(stopped["goes"], json!({}), "{found}");
        assert_eq!(found["freedBytes"], 17, "{found}");
    }
    let (code, out, errors) = gc(&app.setup, &[]).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.contains(": INCOMPLETE: 0 removed"), "{out}");
    assert!(
        out.contains("everything, because a manifest cannot be read\n    "),
        "{out}"
    );
    assert!(errors.contains("could not be checked or removed"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_cannot_be_made_says_why() {
    let app = at_once().start().await;
    answers(&app).await;
    let mut config = app.setup.config.clone();
    config["stateDirectory"] = json!("elsewhere");
    app.setup.write("other.json", &config.to_string());
    app.setup.file();
    let held = format!("in use by process {}", app.pid());
    for (arguments, code, said) in [
        (
            &["gc", "other.json"][..],
            1,
            &[
                held.as_str(),
                "The request for the collection",
                "there is no such socket",
            ][..],
        ),
        (&["gc", "nowhere.json"], 2, &["nowhere.json"]),
        (&["gc", "config.json", "--output", "xml"], 2, &["xml", "json"]),
    ] {
        let (found, out, errors) = output(arguments, app.setup.folder.path());
        assert_eq!((found, out.as_str()), (code, ""), "{arguments:?}: {errors}");
        for said in said {
            assert!(
                errors.contains(said),
                "{arguments:?}: expected {said} in {errors}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn space_comes_back_on_a_full_disk() {
    let setup = at_once();
    let Some(small) = Small::mount(setup.path("store"), 48) else {
        return;
    };
    let mut app = setup.start().await;
    answers(&app).await;
    let client = app.anonymous();
    let [first, second] = ["first", "second"].map(|salt| Image::new("team/app", salt, false));
    for image in [&first, &second] {
        image.push(&client, "v1").await;
    }
    small.fill();
    delete(&client, &first).await;
    assert_eq!(twice(&app.setup).await["freedBytes"], json!(size(&first)));
    delete(&client, &second).await;
    stop(&mut app).await;
    small.fill();
    assert_eq!(twice(&app.setup).await["freedBytes"], json!(size(&second)));
    assert_eq!(bytes_in(&app.store().join("d")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_pass_prints_what_it_removed() {
    let mut setup = at_once();
    setup.config["storage"]["commit"] = json!(false);
    setup.config["storage"]["retention"] =
        json!({"policies": [{"repositories": ["**"], "keepTags": [{"patterns": ["^keep$"]}]}]});
    let mut app = setup.start().await;
    let client = app.anonymous();
    let image = Image::new("team/app", "many tags", false);
    image.push(&client, "keep").await;
    for number in 0..200 {
        image.push_manifest(&client, &format!("t{number}")).await;
    }
    stop(&mut app).await;
    let log = app.store().join("records.sqlite3-wal");
    let size = || std::fs::metadata(&log).map_or(0, |file| file.len());
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"))
        .args(["gc", "--output", "json"])
        .arg(app.setup.file())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It has deleted some tags.
    while size() < 100_000 && command.try_wait().unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    kill_process(Pid::from_child(&command), Signal::INT).unwrap();
    let ended = tokio::task::spawn_blocking(|| command.wait_with_output().unwrap());
    let ended = ended.await.unwrap();
    let done: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(done["complete"], json!(ended.status.success()), "{done}");
    let told = done["repositories"]["team/app"]["goes"]["unmatchedTag"]["count"]
        .as_u64()
        .unwrap();
    let (code, rest) = report(&app.setup, &[]).await;
    assert_eq!(code, 0, "{rest}");
    let rest = rest["repositories"]["team/app"]["goes"]["unmatchedTag"]["count"]
        .as_u64()
        .unwrap_or(0);
    // The deletion that the signal interrupts may be in neither report.
    assert!((199..=200).contains(&(told + rest)), "{told} and {rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_that_the_registry_uses_other_policies_and_what_a_policy_would_free() {
    let mut setup = at_once();
    let policies = json!([{"repositories": ["**"], "keepTags": [{"patterns": ["^keep$"]}]}]);
    setup.config["storage"]["retention"] = json!({"dryRun": true, "policies": policies});
    let app = setup.start().await;
    answers(&app).await;
    let client = app.anonymous();
    let image = Image::new("team/app", "goes", false);
    image.push(&client, "goes").await;
    Image::new("team/app", "keep", false).push(&client, "keep").await;
    let (code, out, errors) = gc(&app.setup, &["--dry-run"]).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    let bytes = size(&image) + image.manifest.len() as u64;
    let more =
        format!("0 bytes to free, 2 to keep; without storage.retention.dryRun, {bytes} more bytes to free");
    assert!(out.contains(&more), "{more} in {out}");
    let mut other = app.setup.config.clone();
    other["storage"]["retention"]["dryRun"] = json!(false);
    app.setup.write("other.json", &other.to_string());
    let folder = app.setup.folder.path().to_owned();
    let run = move || output(&["gc", "other.json", "--dry-run"], &folder);
    let (code, out, errors) = tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!(code, 0, "{out}{errors}");
    assert!(out.contains(&more), "the registry's policies were used: {out}");
    assert!(
        errors.contains("the registry has loaded another storage.gcDelay or storage.retention"),
        "{errors}"
    );
}

//! `wharfinger backup` with and without a running registry, and registries that start on the copies.

use crate::harness::{Client, Setup, TestApp, copy_folder, output, sha256};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::task::JoinSet;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const WRITERS: usize = 4;
const TAGS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone)]
pub(crate) struct Image {
    repository: String,
    pub(crate) blobs: [Vec<u8>; 2],
    pub(crate) manifest: String,
}

impl Image {
    /// With `note`, the manifest is so large that its record is a file.
    pub(crate) fn new(repository: &str, salt: &str, note: bool) -> Self {
        let blobs = [("config", 10), ("layer", 1000)]
            .map(|(kind, times)| format!("{kind} {repository} {salt} ").repeat(times).into_bytes());
        let [config, layer] =
            blobs.each_ref().map(|bytes| json!({"mediaType": "application/vnd.example", "digest": sha256(bytes), "size": bytes.len()}));
        let note = "x".repeat(if note { 70_000 } else { 1 });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer], "annotations": {"note": note},
        });
        Self {
            repository: repository.to_owned(),
            blobs,
            manifest: manifest.to_string(),
        }
    }

    pub(crate) fn digest(&self) -> String {
        sha256(self.manifest.as_bytes())
    }

    pub(crate) async fn push(&self, client: &Client, tag: &str) {
        for bytes in &self.blobs {
            client.push_blob(&self.repository, bytes).await;
        }
        self.push_manifest(client, tag).await;
    }

    pub(crate) async fn push_manifest(&self, client: &Client, tag: &str) {
        let path = format!("/v2/{}/manifests/{tag}", self.repository);
        let answer = client
            .clone()
            .header("content-type", IMAGE)
            .put(&path, self.manifest.clone())
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    pub(crate) async fn delete(&self, client: &Client) {
        let blobs = self.blobs.iter().map(|bytes| format!("blobs/{}", sha256(bytes)));
        for what in [format!("manifests/{}", self.digest())].into_iter().chain(blobs) {
            let answer = client
                .send(Method::DELETE, &format!("/v2/{}/{what}", self.repository), "")
                .await;
            assert_eq!(answer.status, 202, "{}", answer.text());
        }
    }

    /// The image exists and is complete.
    pub(crate) async fn must_be(&self, client: &Client, tag: &str) {
        let answer = client
            .get(&format!("/v2/{}/manifests/{tag}", self.repository))
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (200, self.manifest.clone()),
            "{tag}"
        );
        for bytes in &self.blobs {
            let answer = client
                .get(&format!("/v2/{}/blobs/{}", self.repository, sha256(bytes)))
                .await;
            assert!(
                answer.status == 200 && answer.body == *bytes,
                "{tag}: {}",
                answer.status
            );
        }
    }
}

/// The states that a tag was given, in order. After the last acknowledged one, the tag may be in any of the
/// later ones.
#[derive(Clone)]
struct History {
    states: Vec<Option<Image>>,
    acknowledged: usize,
}

type Histories = Arc<Mutex<HashMap<(String, &'static str), History>>>;

/// Backs this registry up into `to`. Returns the exit code, standard output and standard error.
pub(crate) async fn back_up(app: &TestApp, to: &Path, more: &[&str]) -> (i32, String, String) {
    app.log
        .wait("it answers the operator", 0, |line| {
            line["control.socket"].is_string()
        })
        .await;
    run(&app.setup, to, more).await
}

/// Runs the command for this configuration.
async fn run(setup: &Setup, to: &Path, more: &[&str]) -> (i32, String, String) {
    let file = setup.file().display().to_string();
    let folder = setup.folder.path().to_owned();
    let arguments: Vec<String> = ["backup", &file, to.to_str().unwrap()]
        .iter()
        .chain(more)
        .map(|text| (*text).to_owned())
        .collect();
    let run = move || output(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &folder);
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// A registry's folder whose store is a copy of the backup.
pub(crate) fn copied(backup: &Path) -> Setup {
    let setup = Setup::plain();
    copy_folder(backup, &setup.path("store"));
    setup
}

/// A registry on a copy of the backup, which is checked first.
pub(crate) async fn restored(backup: &Path) -> TestApp {
    let setup = copied(backup);
    let (code, out, errors) = output(&["fsck", setup.file().to_str().unwrap()], setup.folder.path());
    assert_eq!(code, 0, "{out}{errors}");
    setup.start().await
}

/// Pushes, retags, deletes, and leaves uploads open, until `stop`.
async fn work(
    client: Client,
    repository: String,
    histories: Histories,
    stop: Arc<AtomicBool>,
    done: watch::Sender<usize>,
) {
    let mut dice = fastrand::Rng::new();
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let tag = TAGS[dice.usize(..TAGS.len())];
        let new = Image::new(&repository, &format!("{tag} {number}"), dice.bool());
        let key = (repository.clone(), tag);
        let (before, now) = {
            let mut histories = histories.lock().unwrap();
            let states = &mut histories
                .entry(key.clone())
                .or_insert(History {
                    states: vec![None],
                    acknowledged: 0,
                })
                .states;
            let before = states.last().cloned().flatten();
            let now = if before.is_some() && dice.u8(0..3) == 0 {
                None
            } else {
                Some(new)
            };
            states.push(now.clone());
            (before, now)
        };
        match (&now, &before) {
            (Some(image), _) => image.push(&client, tag).await,
            (None, Some(image)) => image.delete(&client).await,
            (None, None) => {}
        }
        histories
            .lock()
            .unwrap()
            .entry(key)
            .and_modify(|history| history.acknowledged = history.states.len() - 1);
        if dice.u8(0..4) == 0 {
            let upload = client.start_upload(&repository).await;
            let sent = client
                .send(Method::PATCH, &upload, vec![7; dice.usize(1..50_000)])
                .await;
            assert_eq!(sent.status, 202, "{}", sent.text());
            if dice.bool() {
                assert_eq!(
                    client
                        .send(Method::DELETE, sent.header("location"), "")
                        .await
                        .status,
                    204
                );
            }
        }
        done.send_modify(|done| *done += 1);
    }
}

/// Each tag is in a state that it had during the backup: one between the last that was acknowledged before
/// the backup and the last that was begun before its end.
async fn compare(backup: &Path, before: &HashMap<(String, &'static str), History>, after: &Histories) {
    let app = restored(backup).await;
    let client = app.anonymous();
    let after = after.lock().unwrap().clone();
    for (key @ (repository, tag), History { states, .. }) in &after {
        let first = before.get(key).map_or(0, |history| history.acknowledged);
        let answer = client.get(&format!("/v2/{repository}/manifests/{tag}")).await;
        let found = (answer.status == 200).then(|| answer.text());
        assert!(found.is_some() || answer.status == 404, "{}", answer.text());
        let state = states[first..]
            .iter()
            .find(|state| state.as_ref().map(|image| &image.manifest) == found.as_ref());
        match state {
            Some(Some(image)) => image.must_be(&client, tag).await,
            Some(None) => {}
            None => panic!("{repository}:{tag} is in a state that it did not have then: {found:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn during_pushes_and_deletions_every_backup_can_be_started_on() {
    let mut app = Setup::plain().start().await;
    let histories = Histories::default();
    let stop = Arc::new(AtomicBool::new(false));
    let (done, mut heard) = watch::channel(0);
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        writers.spawn(work(
            app.anonymous(),
            format!("team/{number}"),
            histories.clone(),
            stop.clone(),
            done.clone(),
        ));
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let mut meanwhile = 0;
    for round in 0..5 {
        let goal = *done.borrow() + 15;
        heard.wait_for(|done| *done >= goal).await.unwrap();
        // One folder is used again and again, and some are new.
        let to = elsewhere.path().join(if round % 2 == 0 {
            "daily".to_owned()
        } else {
            format!("new {round}")
        });
        let more: &[&str] = if round > 2 { &["--hard-link"] } else { &[] };
        let before = histories.lock().unwrap().clone();
        let count = *done.borrow();
        let (code, out, errors) = back_up(&app, &to, more).await;
        assert_eq!((code, errors.as_str()), (0, ""), "{out}");
        meanwhile += *done.borrow() - count;
        compare(&to, &before, &histories).await;
    }
    stop.store(true, Ordering::SeqCst);
    writers.join_all().await;
    assert!(meanwhile > 0, "nothing happened during a backup");
    // The store itself is undamaged.
    assert!(!app.store().join("d/held").exists() && !app.store().join("v/held").exists());
    app.signal(Signal::TERM);
    app.ended().await;
    let (code, out, errors) = output(
        &["fsck", app.setup.file().to_str().unwrap()],
        app.setup.folder.path(),
    );
    assert_eq!(code, 0, "{out}{errors}");
    let before = histories.lock().unwrap().clone();
    let daily = elsewhere.path().join("daily");
    let (code, out, errors) = run(&app.setup, &daily, &[]).await;
    assert!(code == 0 && !out.contains(" 0 unchanged"), "{out}{errors}");
    compare(&daily, &before, &histories).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_the_command_makes_the_backup_itself() {
    let mut app = Setup::plain().start().await;
    let image = Image::new("team/app", "one", true);
    image.push(&app.anonymous(), "v1").await;
    let elsewhere = tempfile::tempdir().unwrap();
    let served = elsewhere.path().join("served");
    let stopped = elsewhere.path().join("stopped");
    assert_eq!(back_up(&app, &served, &[]).await.0, 0);
    app.signal(Signal::TERM);
    app.ended().await;
    let (code, out, errors) = run(&app.setup, &stopped, &[]).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    assert!(
        out.starts_with(&format!("{}: complete: 3 files of ", stopped.display())),
        "{out}"
    );
    // The registry's backup and this one are of the same store.
    let (code, out, _) = run(&app.setup, &served, &[]).await;
    assert!(code == 0 && out.contains(" 3 unchanged, 0 removed"), "{out}");
    for backup in [&served, &stopped] {
        image.must_be(&restored(backup).await.anonymous(), "v1").await;
    }
    // A relative path is relative to the command's folder.
    let (code, out, _) = run(&app.setup, Path::new("here"), &[]).await;
    assert!(code == 0 && app.setup.path("here/format").exists(), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_backup_says_what_to_do() {
    let app = Setup::plain().start().await;
    Image::new("team/app", "one", false)
        .push(&app.anonymous(), "v1")
        .await;
    let elsewhere = tempfile::tempdir().unwrap();
    let store = app.store();
    let full = elsewhere.path().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("thesis"), "").unwrap();
    let backup = elsewhere.path().join("backup");
    assert_eq!(back_up(&app, &backup, &[]).await.0, 0);
    std::fs::write(elsewhere.path().join("file"), "").unwrap();
    let running = copied(&backup).start().await;
    for (to, said) in [
        (store.join("backup"), "overlaps with the store in "),
        (
            full.clone(),
            "contains `thesis`, and is not a backup: name an empty folder",
        ),
        (
            elsewhere.path().join("file"),
            "cannot be written or read: Not a directory",
        ),
        (running.store(), "is a store of its own, not a backup"),
        (
            "/proc/backup".into(),
            "/proc/backup cannot be written or read: it does not exist",
        ),
    ] {
        let (code, out, errors) = back_up(&app, &to, &[]).await;
        assert!(
            code == 1 && out.is_empty() && errors.contains(said),
            "{}: {code} {out}{errors}",
            to.display()
        );
    }
    assert_eq!(std::fs::read_dir(&full).unwrap().count(), 1);
    assert!(!store.join("backup").exists());
    // The configuration names another state directory than the running server uses.
    let mut config = app.setup.config.clone();
    config["stateDirectory"] = json!("elsewhere");
    app.setup.write("other.json", &config.to_string());
    let (code, _, errors) = output(
        &["backup", "other.json", backup.to_str().unwrap()],
        app.setup.folder.path(),
    );
    assert!(
        code == 1
            && errors.contains(&format!("in use by process {}", app.pid()))
            && errors.contains("there is no such socket"),
        "{errors}"
    );
    let (code, _, errors) = output(&["backup", "nowhere.json", "x"], app.setup.folder.path());
    assert!(code == 2 && errors.contains("nowhere.json"), "{errors}");
}

/// Everything undamaged is saved, and the exit code reports the damage.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_backed_up_as_far_as_possible() {
    let app = Setup::plain().start().await;
    let image = Image::new("team/app", "one", true);
    let damaged = Image::new("team/app", "two", false);
    image.push(&app.anonymous(), "v1").await;
    damaged.push(&app.anonymous(), "v2").await;
    let mut lost = 0;
    for shard in std::fs::read_dir(app.store().join("d")).unwrap() {
        for file in std::fs::read_dir(shard.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if std::fs::read(&path).unwrap() == damaged.blobs[1] {
                std::fs::remove_file(path).unwrap();
                lost += 1;
            }
        }
    }
    assert_eq!(lost, 1);
    let elsewhere = tempfile::tempdir().unwrap();
    let (code, out, errors) = back_up(&app, elsewhere.path(), &[]).await;
    assert!(
        code == 1
            && out.contains("is missing from the store\n")
            && errors.contains("check the store with `wharfinger fsck`"),
        "{out}{errors}"
    );
    let restored = copied(elsewhere.path()).start().await;
    image.must_be(&restored.anonymous(), "v1").await;
    // A push heals the copy.
    damaged.push(&restored.anonymous(), "v2").await;
    damaged.must_be(&restored.anonymous(), "v2").await;
}

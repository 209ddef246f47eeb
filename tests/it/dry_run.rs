//! The next pass removes exactly what `wharfinger gc --dry-run` reported: with policies, and with everything
//! in the store that a pass may remove.

use crate::backup::Image;
use crate::gc::report;
use crate::harness::{Client, Setup, TestApp, copy_folder, eventually, output, sha256};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const R: &str = "team/app";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LOST: &[u8] = b"bytes that a disk has changed";
const UPLOADED: &[u8] = b"half of a blob";

/// The parts of a store that a pass may change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Snapshot {
    records: BTreeMap<String, Vec<u8>>,
    files: BTreeMap<String, u64>,
}

impl Snapshot {
    fn of(store: &Path) -> Self {
        let mut files = BTreeMap::new();
        for part in ["d", "v"] {
            add_files(&store.join(part), &mut files);
        }
        let db = rusqlite::Connection::open(store.join("records.sqlite3")).unwrap();
        // Records about the process itself are left out.
        let mut records = db
            .prepare("SELECT key, CAST(value AS BLOB) FROM records WHERE key NOT GLOB '[gh]/*'")
            .unwrap();
        let records = records.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        Self {
            records: records.unwrap().map(Result::unwrap).collect(),
            files,
        }
    }

    fn keys(&self) -> BTreeSet<&str> {
        self.records.keys().map(String::as_str).collect()
    }
}

fn add_files(folder: &Path, files: &mut BTreeMap<String, u64>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            add_files(&entry.path(), files);
        } else {
            let name = entry.file_name().into_string().unwrap();
            // A registry may remove it meanwhile.
            if let Ok(metadata) = entry.metadata() {
                files.insert(name, metadata.len());
            }
        }
    }
}

fn setup() -> Setup {
    let mut setup = Setup::plain();
    let keep_tags = json!([{"patterns": ["^v"], "mostRecentlyPushedCount": 2}, {"patterns": ["^keep"]}]);
    let policy = json!({"repositories": ["team/**"], "deleteReferrers": true, "keepTags": keep_tags});
    setup.config["storage"]["gc"] = json!(false);
    setup.config["storage"]["gcDelay"] = json!("0");
    setup.config["storage"]["retention"] = json!({"delay": "0", "maxShare": 1, "policies": [policy]});
    setup
}

async fn put(client: &Client, kind: &str, reference: &str, manifest: &Value) -> String {
    let text = manifest.to_string();
    let digest = sha256(text.as_bytes());
    let reference = if reference.is_empty() { &digest } else { reference };
    let path = format!("/v2/{R}/manifests/{reference}");
    let answer = client.clone().header("content-type", kind).put(&path, text).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    digest
}

/// Pushes an image that refers to a subject.
async fn refer(client: &Client, tag: &str, subject: &str) -> String {
    let blob = format!("about {subject}").into_bytes();
    let config = json!({"mediaType": "a/b", "digest": client.push_blob(R, &blob).await, "size": blob.len()});
    let about = json!({"mediaType": IMAGE, "digest": subject, "size": size_of(client, subject).await});
    let manifest =
        json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [], "subject": about});
    put(client, IMAGE, tag, &manifest).await
}

async fn index(client: &Client, tag: &str, children: &[&Image]) -> String {
    let mut listed = Vec::new();
    for child in children {
        let digest = child.digest();
        listed.push(json!({"mediaType": IMAGE, "digest": digest, "size": size_of(client, &digest).await}));
    }
    let index =
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed, "annotations": {"tag": tag}});
    put(client, INDEX, tag, &index).await
}

async fn size_of(client: &Client, manifest: &str) -> usize {
    let answer = client.get(&format!("/v2/{R}/manifests/{manifest}")).await;
    assert_eq!(answer.status, 200);
    answer.body.len()
}

/// What the clients pushed, and what passes delete of it.
struct Pushed {
    kept: Vec<(Image, String)>,
    /// Tags and manifests that the next pass deletes.
    deleted: BTreeSet<String>,
    /// What the pass after that deletes. Tags that are named after a manifest are checked before it is
    /// deleted.
    deleted_later: BTreeSet<String>,
}

async fn push_all(client: &Client) -> Pushed {
    let image = |salt: &str| Image::new(R, salt, salt.starts_with("large"));
    let mut kept = Vec::new();
    let mut deleted = BTreeSet::new();
    let mut deleted_later = BTreeSet::new();
    for tag in ["v1", "v2", "v3", "keep", "nightly"] {
        let image = image(tag);
        image.push(client, tag).await;
        if ["v1", "nightly"].contains(&tag) {
            deleted.extend([tag.to_owned(), image.digest()]);
        } else {
            kept.push((image, tag.to_owned()));
        }
    }
    for salt in ["untagged", "large and untagged"] {
        let image = image(salt);
        image.push(client, &image.digest()).await;
        deleted.insert(image.digest());
    }
    // Referrers of a kept and of a deleted image, and tags that are named after these.
    for (subject, stays) in [(image("keep").digest(), true), (image("nightly").digest(), false)] {
        let signature = subject.replace(':', "-") + ".sig";
        let untagged = refer(client, "", &subject).await;
        let tagged = image(&signature);
        tagged.push(client, &signature).await;
        if stays {
            kept.push((tagged, signature));
        } else {
            deleted.insert(untagged);
            deleted_later.extend([signature, tagged.digest()]);
        }
    }
    // A kept index and a deleted one. They share a child.
    let [first, shared, last] = ["first child", "shared child", "last child"].map(image);
    for child in [&first, &shared, &last] {
        child.push(client, &child.digest()).await;
    }
    index(client, "keep-both", &[&first, &shared]).await;
    let old = index(client, "old-index", &[&shared, &last]).await;
    deleted.extend(["old-index".to_owned(), old, last.digest()]);
    for child in [first, shared] {
        let digest = child.digest();
        kept.push((child, digest));
    }
    Pushed {
        kept,
        deleted,
        deleted_later,
    }
}

/// Pushes to a repository without a policy. Only the blobs of its deleted manifest are removed.
async fn push_to_others(client: &Client) {
    let [untagged, deleted] = ["untagged", "deleted"].map(|salt| Image::new("other/app", salt, false));
    for image in [&untagged, &deleted] {
        image.push(client, &image.digest()).await;
    }
    let path = format!("/v2/other/app/manifests/{}", deleted.digest());
    assert_eq!(client.send(Method::DELETE, &path, "").await.status, 202);
    // This blob of a deleted image stays, because another repository needs it.
    let blob = &Image::new(R, "nightly", false).blobs[0];
    client.push_blob("other/app", blob).await;
    let config = json!({"mediaType": "a/b", "digest": sha256(blob), "size": blob.len()});
    let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": []});
    push_to_other(client, "v1", &manifest).await;
}

async fn push_to_other(client: &Client, tag: &str, manifest: &Value) {
    let path = format!("/v2/other/app/manifests/{tag}");
    let client = client.clone().header("content-type", IMAGE);
    assert_eq!(client.put(&path, manifest.to_string()).await.status, 201);
}

async fn stop(app: &mut TestApp) {
    app.signal(Signal::TERM);
    assert!(app.ended().await.success());
}

/// Replaces bytes that a disk has changed, so that the blob's record names the old and the new ones.
async fn replace_bytes(mut app: TestApp) -> TestApp {
    let digest = app.anonymous().push_blob("other/app", LOST).await;
    let config = json!({"mediaType": "a/b", "digest": digest, "size": LOST.len()});
    let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": []});
    push_to_other(&app.anonymous(), "v2", &manifest).await;
    stop(&mut app).await;
    let mut files = BTreeMap::new();
    add_files(&app.store().join("d"), &mut files);
    for name in files.keys() {
        let path = app.store().join("d").join(&name[..2]).join(name);
        if std::fs::read(&path).unwrap() == LOST {
            std::fs::write(&path, LOST.to_ascii_uppercase()).unwrap();
        }
    }
    let (_, out, errors) = output(
        &["fsck", "--mark", app.setup.file().to_str().unwrap()],
        app.setup.folder.path(),
    );
    assert!(out.contains("1 damaged"), "{out}{errors}");
    let app = app.restart().await;
    app.anonymous().push_blob("other/app", LOST).await;
    app
}

/// Begins two uploads. One of them expires.
async fn begin_uploads(mut app: TestApp) -> TestApp {
    let client = app.anonymous();
    let mut names = Vec::new();
    for _ in 0..2 {
        let upload = client.start_upload(R).await;
        let sent = client.send(Method::PATCH, &upload, UPLOADED.to_vec()).await;
        assert_eq!(sent.status, 202);
        names.push(upload.rsplit('/').next().unwrap().to_owned());
    }
    stop(&mut app).await;
    let db = rusqlite::Connection::open(app.store().join("records.sqlite3")).unwrap();
    let changed = db.execute(
        "UPDATE records SET written = written - 90000000 WHERE key = 'u/team/app!/' || ?1",
        [&names[0]],
    );
    assert_eq!(changed, Ok(1));
    app
}

/// The tags and manifests that a report names.
fn named(report: &Value) -> BTreeSet<String> {
    let sections = report["repositories"].as_object().unwrap().values();
    let lists = sections.flat_map(|section| section["givenUp"].as_object().into_iter().flatten());
    lists
        .flat_map(|(_, names)| names.as_array().unwrap())
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// How many items or bytes of this kind the report says are removed.
fn amount(report: &Value, kind: &str, of: &str) -> u64 {
    let sections = report["repositories"].as_object().unwrap().values();
    let sections = sections.chain([&report["store"]]);
    sections
        .filter_map(|section| section["goes"][kind][of].as_u64())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_pass_removes_what_the_dry_run_named_and_nothing_else() {
    let app = setup().start().await;
    let pushed = push_all(&app.anonymous()).await;
    push_to_others(&app.anonymous()).await;
    let app = begin_uploads(replace_bytes(app).await).await;
    let store = app.store();
    let before = Snapshot::of(&store);

    let (code, mut said) = report(&app.setup, &["--dry-run"]).await;
    assert_eq!(code, 0, "{said:#}");
    assert_eq!(Snapshot::of(&store), before, "a dry run changes nothing");
    assert_eq!(named(&said), pushed.deleted, "{said:#}");

    let mut alone = setup();
    alone.config["storage"]["gc"] = json!(true);
    alone.config["storage"]["gcInterval"] = json!("1ms");
    copy_folder(&store, &alone.path("store"));
    let (code, done) = report(&app.setup, &[]).await;
    said["dryRun"] = json!(false);
    assert_eq!((code, &done), (0, &said));
    let after = Snapshot::of(&store);
    must_be_as_reported(&before, &after, &said, &pushed.deleted);

    let (code, later) = report(&app.setup, &[]).await;
    assert_eq!(
        (code, named(&later)),
        (0, pushed.deleted_later.clone()),
        "{later:#}"
    );
    let (code, nothing) = report(&app.setup, &["--dry-run"]).await;
    assert_eq!((code, &nothing["freedBytes"]), (0, &json!(0)), "{nothing:#}");

    // The scheduled passes of a registry remove the same.
    let last = Snapshot::of(&store);
    let mut alone = alone.start().await;
    eventually("the scheduled passes have removed the same", async || {
        (Snapshot::of(&alone.store()).keys() == last.keys()).then_some(())
    })
    .await;
    stop(&mut alone).await;
    assert_eq!(Snapshot::of(&alone.store()).files, last.files);
    let (code, out, errors) = output(
        &["fsck", app.setup.file().to_str().unwrap()],
        app.setup.folder.path(),
    );
    assert!(
        code == 0 && out.contains(": clean: 0 damaged, 0 left over"),
        "{out}{errors}"
    );
    let app = app.restart().await;
    for (image, reference) in &pushed.kept {
        image.must_be(&app.anonymous(), reference).await;
    }
}

/// Compares what was removed from the store with the report.
fn must_be_as_reported(before: &Snapshot, after: &Snapshot, said: &Value, named: &BTreeSet<String>) {
    assert!(after.keys().is_subset(&before.keys()), "nothing is new");
    let gone: Vec<&str> = before.keys().difference(&after.keys()).copied().collect();
    let count = |prefix: &str| gone.iter().filter(|key| key.starts_with(prefix)).count() as u64;
    for (prefix, kind) in [
        ("l/", "unneededLink"),
        ("b/", "unlinkedBlob"),
        ("u/", "expiredUpload"),
    ] {
        let expected = amount(said, kind, "count");
        assert!(expected > 0 && count(prefix) == expected, "{kind}: {gone:#?}");
    }
    let names: BTreeSet<String> = gone
        .iter()
        .filter_map(|key| {
            let key = key.strip_prefix("r/team/app!/")?;
            let manifest = key.strip_prefix("m/").map(|digest| digest.replace('/', ":"));
            manifest.or_else(|| key.strip_prefix("t/").map(str::to_owned))
        })
        .collect();
    assert_eq!(names, *named);
    // The other removed records are entries for these.
    let others = gone.iter().filter(|key| {
        let entry = ["k/", "s/", "i/", "p/"]
            .iter()
            .any(|kind| key.starts_with(&format!("r/team/app!/{kind}")));
        let about = names
            .iter()
            .any(|name| key.contains(name.trim_start_matches("sha256:")));
        !(entry && about)
    });
    let known = ["l/", "b/", "u/", "r/team/app!/m/", "r/team/app!/t/"];
    let unknown: Vec<_> = others
        .filter(|key| !known.iter().any(|kind| key.starts_with(kind)))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");

    let bytes: u64 = before
        .files
        .iter()
        .filter(|(name, _)| !after.files.contains_key(*name))
        .map(|(_, bytes)| bytes)
        .sum();
    let removed = ["unlinkedBlob", "expiredUpload", "replacedBytes"].map(|kind| amount(said, kind, "bytes"));
    assert!(removed.iter().all(|bytes| *bytes > 0), "{said:#}");
    // A large manifest is a file that also contains its record.
    let large: u64 = before
        .files
        .iter()
        .filter(|(name, bytes)| !after.files.contains_key(*name) && **bytes > 60_000)
        .map(|(_, bytes)| bytes)
        .sum();
    assert!(large > 0);
    assert_eq!(bytes - large, removed.iter().sum::<u64>(), "{said:#}");
}

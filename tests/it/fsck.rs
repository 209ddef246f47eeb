//! `wharfinger fsck` on a store that a registry has left, intact or damaged.

use crate::harness::{Setup, TestApp, output, sha256};
use reqwest::Method;
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &[u8] = b"the configuration";

/// A store with one image. The process that pushed it has ended.
struct Store {
    app: TestApp,
}

impl Store {
    async fn with_an_image() -> Self {
        let mut app = Setup::plain().start().await;
        push_image(&app).await;
        app.signal(Signal::TERM);
        assert!(app.ended().await.success());
        Self { app }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.app.store().join(name)
    }

    /// Returns the exit code, standard output and standard error.
    fn fsck(&self, more: &[&str]) -> (i32, String, String) {
        let file = self.app.setup.file();
        output(
            &[&["fsck", file.to_str().unwrap()], more].concat(),
            self.app.setup.folder.path(),
        )
    }

    fn sql(&self, statement: &str) {
        assert_eq!(
            Connection::open(self.path("records.sqlite3"))
                .unwrap()
                .execute(statement, [])
                .unwrap(),
            1,
            "{statement}"
        );
    }

    /// The file with the blob's bytes.
    fn bytes(&self) -> PathBuf {
        let db = Connection::open(self.path("records.sqlite3")).unwrap();
        let record: Vec<u8> = db
            .query_row("SELECT value FROM records WHERE key = ?1", [blob_key()], |row| {
                row.get(0)
            })
            .unwrap();
        // After the line that every record begins with.
        let record: Value =
            serde_json::from_str(str::from_utf8(&record).unwrap().lines().nth(1).unwrap()).unwrap();
        let name = record["generation"].as_str().unwrap();
        self.path("d").join(&name[..2]).join(name)
    }
}

async fn push_image(app: &TestApp) {
    let client = app.anonymous();
    let config = client.push_blob("team/app", CONFIG).await;
    let config =
        json!({"mediaType": "application/vnd.example.config", "digest": config, "size": CONFIG.len()});
    let manifest =
        json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": []}).to_string();
    let answer = client
        .header("content-type", IMAGE)
        .put("/v2/team/app/manifests/v1", manifest)
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

fn blob_key() -> String {
    let digest = sha256(CONFIG);
    let hex = digest.strip_prefix("sha256:").unwrap();
    format!("b/sha256/{}/{hex}", &hex[..2])
}

/// The summary is the last line.
fn lines(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_store_is_clean_and_ends_with_0() {
    let store = Store::with_an_image().await;
    let (code, out, err) = store.fsck(&[]);
    let said = "clean: 0 damaged, 0 left over; checked 1 manifests, 1 tags, 1 blobs of 17 bytes, 1 links and 0 uploads";
    assert_eq!(
        (code, out, err),
        (
            0,
            format!("{}: {said}\n", store.app.store().display()),
            String::new()
        )
    );
    let (code, out, err) = store.fsck(&["--json"]);
    let checked = json!({"blobs": 1, "bytes": 17, "links": 1, "manifests": 1, "tags": 1, "uploads": 0});
    let summary = json!({"damages": 0, "leftovers": 0, "marked": 0, "cleared": 0, "notMarked": 0, "checked": checked, "collectableBytes": 0});
    assert_eq!((code, lines(&out), err.as_str()), (0, vec![summary], ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_damage_is_named_and_ends_with_1() {
    let store = Store::with_an_image().await;
    let bytes = store.bytes();
    fs::write(&bytes, b"the confusing one").unwrap();
    store.sql("DELETE FROM records WHERE key LIKE 'r/team/app!/m/%'");
    let (code, out, err) = store.fsck(&[]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    let found = sha256(b"the confusing one");
    let name = bytes.file_name().unwrap().to_str().unwrap();
    for said in [
        format!(
            "damage: {}: its bytes {name} have the digest {found}\n",
            blob_key()
        ),
        "damage: r/team/app!/t/v1: points to the manifest ".to_owned(),
        ": DAMAGED: 2 damaged, ".to_owned(),
    ] {
        assert!(out.contains(&said), "expected {said} in {out}");
    }
    let (code, out, err) = store.fsck(&["--json"]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    let reported = lines(&out);
    let damage = json!({"severity": "damage", "key": blob_key(), "what": format!("its bytes {name} have the digest {found}")});
    assert!(reported.contains(&damage), "{out}");
    assert_eq!(reported.last().unwrap()["damages"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn marked_blobs_are_sent_again_and_healed() {
    let store = Store::with_an_image().await;
    fs::write(store.bytes(), b"the confusing one").unwrap();
    let (code, out, err) = store.fsck(&["--mark"]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    let marked = format!(
        "marked: {}: the registry now reports this blob as missing, and its next push replaces the bytes\n",
        blob_key()
    );
    assert!(
        out.contains(&marked) && out.contains("1 damaged, 0 left over, 1 blobs marked; "),
        "{out}"
    );
    let (_, out, _) = store.fsck(&["--mark", "--json"]);
    assert_eq!(
        lines(&out).last().unwrap()["marked"],
        0,
        "it is marked already: {out}"
    );

    let mut app = store.app.restart().await;
    let client = app.anonymous();
    let path = format!("/v2/team/app/blobs/{}", sha256(CONFIG));
    assert_eq!(client.send(Method::HEAD, &path, "").await.status, 404);
    push_image(&app).await;
    assert_eq!(client.send(Method::HEAD, &path, "").await.status, 200);
    assert_eq!(client.get(&path).await.body, CONFIG);
    app.signal(Signal::TERM);
    assert!(app.ended().await.success());
    let (code, out, _) = Store { app }.fsck(&[]);
    assert!(code == 0 && out.contains(": clean: 0 damaged, "), "{out}");
}

/// The registry did not find the bytes when a client asked, because their folder was being restored.
#[tokio::test(flavor = "multi_thread")]
async fn the_mark_of_bytes_that_came_back_is_shown_and_cleared() {
    let store = Store::with_an_image().await;
    let shard = store.bytes().parent().unwrap().to_owned();
    let aside = store.path("aside");
    fs::rename(&shard, &aside).unwrap();
    let path = format!("/v2/team/app/blobs/{}", sha256(CONFIG));
    let mut app = store.app.restart().await;
    assert_eq!(app.anonymous().send(Method::HEAD, &path, "").await.status, 404);
    app.signal(Signal::TERM);
    assert!(app.ended().await.success());
    let store = Store { app };
    fs::rename(&aside, &shard).unwrap();

    let (code, out, _) = store.fsck(&[]);
    let shown = format!("leftover: {}: is marked as damaged, but its bytes ", blob_key());
    assert!(
        code == 0 && out.contains(&shown) && out.contains("clean: 0 damaged, 1 left over; "),
        "{out}"
    );
    let (code, out, _) = store.fsck(&["--mark"]);
    let cleared = format!(
        "cleared: {}: its bytes are good, and the registry serves it again\n",
        blob_key()
    );
    assert!(
        code == 0 && out.contains(&cleared) && out.contains("1 left over, 1 marks cleared; "),
        "{out}"
    );
    let (_, out, _) = store.fsck(&["--mark", "--json"]);
    assert_eq!(lines(&out).len(), 1, "there is none left: {out}");
    let app = store.app.restart().await;
    assert_eq!(app.anonymous().send(Method::HEAD, &path, "").await.status, 200);
}

/// Such folders are not followed, and the check continues.
#[tokio::test(flavor = "multi_thread")]
async fn folders_that_are_links_are_damage() {
    let store = Store::with_an_image().await;
    let outside = tempfile::tempdir().unwrap();
    let shard = store.bytes().parent().unwrap().to_owned();
    let begin = shard.file_name().unwrap().to_str().unwrap();
    for (link, name) in [(&shard, "bytes"), (&store.path("v/00"), "values")] {
        let moved = outside.path().join(name);
        fs::rename(link, &moved)
            .or_else(|_| fs::create_dir(&moved))
            .unwrap();
        std::os::unix::fs::symlink(&moved, link).unwrap();
    }
    let (code, out, err) = store.fsck(&[]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    for said in [
        &format!("damage: {}: its bytes {begin}", blob_key()),
        &format!("damage: bytes: the folder d/{begin} cannot be listed: "),
        "damage: records: the folder v/00 cannot be read: ",
        ": DAMAGED: 3 damaged, ",
    ] {
        assert!(out.contains(said), "expected {said} in {out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_alone_are_named_and_end_with_0() {
    let store = Store::with_an_image().await;
    let nobodys = "0".repeat(32);
    for (folder, name) in [("d/00", nobodys.as_str()), ("v/00", "0000000000000001")] {
        fs::create_dir_all(store.path(folder)).unwrap();
        fs::write(store.path(folder).join(name), "x").unwrap();
    }
    let (code, out, err) = store.fsck(&[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for said in [
        &format!(
            "leftover: bytes {nobodys}: no record names them; the collector removes them when they are old\n"
        ),
        "leftover: v: a large value without a record\n",
        ": clean: 0 damaged, 2 left over; ",
    ] {
        assert!(out.contains(said), "expected {said} in {out}");
    }
    let (code, out, _) = store.fsck(&["--json"]);
    let reported = lines(&out);
    assert_eq!(
        (
            code,
            reported.len(),
            &reported[2]["damages"],
            &reported[2]["leftovers"]
        ),
        (0, 3, &json!(0), &json!(2)),
        "{out}"
    );
}

/// The index lacks a row of the table. The store itself would not notice.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_the_records_that_lacks_one_is_damage() {
    let store = Store::with_an_image().await;
    let file = store.path("records.sqlite3");
    let page = |db: &Connection, of: &str| -> usize {
        let number: i64 = db.query_row(of, [], |row| row.get(0)).unwrap();
        number.try_into().unwrap()
    };
    let db = Connection::open(&file).unwrap();
    let root = page(
        &db,
        "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_records_1'",
    );
    let size = page(&db, "PRAGMA page_size");
    drop(db);
    let mut content = fs::read(&file).unwrap();
    let index = &mut content[(root - 1) * size..root * size];
    let key = blob_key().into_bytes();
    let at = index.windows(key.len()).position(|window| window == key).unwrap();
    index[at + key.len() - 1] ^= 1;
    fs::write(&file, content).unwrap();
    let (code, out, err) = store.fsck(&[]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(
        out.contains("damage: records: ") && out.contains("missing from index"),
        "{out}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_not_a_database_end_with_1_and_name_the_file() {
    for half in [false, true] {
        let store = Store::with_an_image().await;
        let file = store.path("records.sqlite3");
        let mut content = fs::read(&file).unwrap();
        if half {
            content.truncate(content.len() / 2)
        } else {
            content[..100].fill(b'x')
        }
        fs::write(&file, &content).unwrap();
        let (code, out, err) = store.fsck(&[]);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.contains(file.to_str().unwrap()), "{err}");
        assert_eq!(fs::read(&file).unwrap(), content, "left as it is");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_use_is_not_checked_and_ends_with_1() {
    let app = Setup::plain().start().await;
    push_image(&app).await;
    let file = app.setup.file();
    let (code, out, err) = output(&["fsck", file.to_str().unwrap()], app.setup.folder.path());
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    for said in [
        app.store().to_str().unwrap(),
        &format!("in use by process {}", app.pid()),
    ] {
        assert!(err.contains(said), "expected {said} in {err}");
    }
    assert_eq!(
        app.anonymous().get("/v2/team/app/manifests/v1").await.status,
        200,
        "the registry still serves"
    );
}

#[test]
fn without_a_store_fsck_makes_none() {
    let setup = Setup::plain();
    let fsck = |file: &Path| output(&["fsck", file.to_str().unwrap()], setup.folder.path());
    let (code, out, err) = fsck(&setup.file());
    assert!(
        code == 1 && out.is_empty() && err.contains("there is no store in "),
        "{code}: {out}{err}"
    );
    assert!(!setup.path("store").exists());
    let (code, _, err) = fsck(&setup.path("nowhere.json"));
    assert!(code == 2 && err.contains("nowhere.json"), "{code}: {err}");
}

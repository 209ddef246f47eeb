//! Reads create nothing: after any GET or HEAD by any caller, the store is the same, byte for byte. The
//! exception is a HEAD by a caller that may push. It renews a blob's link or a manifest, so that the caller
//! can rely on the answer.

use super::super::routes::{NAMES, Route};
use super::*;
use rusqlite::{Connection as Database, OpenFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// All files below the folder. Records are read from their database, with the values that are files.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Snapshot {
    records: BTreeMap<String, (i64, Vec<u8>)>,
    files: BTreeMap<String, Option<Vec<u8>>>,
}

impl Snapshot {
    fn of(folder: &Path) -> Self {
        let database =
            Database::open_with_flags(folder.join("records.sqlite3"), OpenFlags::SQLITE_OPEN_READ_ONLY)
                .unwrap();
        let mut select = database
            .prepare("SELECT key, version, CAST(value AS BLOB) FROM records")
            .unwrap();
        let records = select
            .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let mut snapshot = Self {
            records,
            files: BTreeMap::new(),
        };
        snapshot.walk(folder, folder);
        for (version, value) in snapshot.records.values_mut() {
            let [first, ..] = version.to_be_bytes();
            if let Some(Some(file)) = snapshot.files.remove(&format!("v/{first:02x}/{version:016x}")) {
                *value = file;
            }
        }
        snapshot
    }

    /// Replaced values are removed after the answer, so this waits for that.
    async fn once_values_are_removed(folder: &Path) -> Self {
        for _ in 0..1000 {
            let snapshot = Self::of(folder);
            if !snapshot.files.keys().any(|name| name.starts_with("v/")) {
                return snapshot;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self::of(folder)
    }

    fn walk(&mut self, root: &Path, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                self.walk(root, &path);
                if !name.starts_with("v/") {
                    self.files.insert(name, None);
                }
            } else if !name.starts_with("records.sqlite3") {
                self.files.insert(name, Some(std::fs::read(&path).unwrap()));
            }
        }
    }

    /// The snapshot with one record from `other`. The two records may differ only in their age.
    fn but_for_the_age_of(mut self, key: &str, other: &Self) -> Self {
        let then = self.records.get(key).unwrap();
        let now = other.records.get(key).unwrap();
        assert_eq!(said(&then.1), said(&now.1), "{key}");
        self.records.insert(key.to_owned(), now.clone());
        self
    }
}

/// The text of a record without the line of the nonce.
fn said(value: &[u8]) -> &[u8] {
    value.splitn(2, |byte| *byte == b'\n').nth(1).unwrap()
}

/// A caller that may push to `public/**`. Without a subject a caller may read there.
const PUSHER: Option<&str> = Some("pusher");
const R: &str = "public/a";

impl Site {
    /// Sends the request with a token that lives for days.
    async fn request(&self, caller: Option<&str>, request: Builder, body: impl Into<Body>) -> Answer {
        let request = match caller {
            Some(subject) => {
                let claims =
                    json!({"iss": ISSUER, "sub": subject, "aud": "registry", "exp": NOW + 1_000_000});
                bearer(request, &self.signer.token(&claims))
            }
            None => request,
        };
        self.send(request, body).await
    }

    async fn give_blob(&self, content: &str) -> String {
        let digest = sha256(content);
        let request = ask(Method::POST, &format!("/v2/{R}/blobs/uploads/?digest={digest}"));
        assert_eq!(
            self.request(PUSHER, request, content.to_owned()).await.status,
            StatusCode::CREATED
        );
        digest
    }

    async fn give_image(&self, tag: &str, config: &str, extra: (&str, Value)) -> String {
        let mut manifest = image(config);
        manifest[extra.0] = extra.1;
        let request = ask(Method::PUT, &format!("/v2/{R}/manifests/{tag}")).header("content-type", IMAGE);
        let answer = self.request(PUSHER, request, manifest.to_string()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        answer.header("docker-content-digest").to_owned()
    }
}

/// The row of the table that a path belongs to.
fn kind(path: &str) -> Option<&'static str> {
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    Some(Route::parse(path).ok()?.row().name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_or_a_head_does_not_change_the_store() {
    let site = Site::on_disk();
    let folder = site.folder.as_ref().unwrap().path();
    // The store has one of everything: links to a manifest, a manifest in a file, an upload, and a blob whose
    // bytes are lost.
    let config = site.give_blob("{}").await;
    let alone = site.give_blob("alone").await;
    let lost = site.give_blob("lost").await;
    let subject = site.give_image("v1", &config, ("annotations", json!({}))).await;
    let size = site
        .request(None, ask(Method::GET, &format!("/v2/{R}/manifests/v1")), "")
        .await
        .body
        .len();
    let referrer = site
        .give_image(
            "refers",
            &config,
            (
                "subject",
                json!({"mediaType": IMAGE, "digest": subject, "size": size}),
            ),
        )
        .await;
    let large = site
        .give_image(
            "large",
            &config,
            ("annotations", json!({"padding": "x".repeat(100_000)})),
        )
        .await;
    let begun = site
        .request(PUSHER, ask(Method::POST, &format!("/v2/{R}/blobs/uploads/")), "")
        .await;
    let upload = begun.header("location").to_owned();
    assert_eq!(
        site.request(PUSHER, ask(Method::PATCH, &upload), "part")
            .await
            .status,
        StatusCode::ACCEPTED
    );
    let blob_key = |digest: &str| digest.replacen("sha256:", &format!("b/sha256/{}/", &digest[7..9]), 1);
    let link_key = |digest: &str| format!("{}/{R}!", blob_key(digest).replacen('b', "l", 1));
    let manifest_key = |digest: &str| digest.replacen("sha256:", &format!("r/{R}!/m/sha256/"), 1);
    let record = Snapshot::of(folder).records[&blob_key(&lost)].1.clone();
    let record: Value = serde_json::from_slice(said(&record)).unwrap();
    let name = record["generation"].as_str().unwrap();
    std::fs::remove_file(folder.join("d").join(&name[..2]).join(name)).unwrap();
    // The first read that finds the bytes lost marks the blob. That is the only write by a read, and later
    // reads make none.
    assert_eq!(
        site.get(&format!("/v2/{R}/blobs/{lost}")).await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    // After this time links and manifests are old, but the upload still exists.
    site.hand.advance(Duration::from_secs(13 * 3600));

    let begin = Snapshot::of(folder);
    for prefix in [
        "b/",
        "c/",
        "l/",
        "r/public/a!/k/",
        "r/public/a!/m/",
        "r/public/a!/s/",
        "r/public/a!/t/",
        "u/",
    ] {
        assert!(
            begin.records.keys().any(|key| key.starts_with(prefix)),
            "no {prefix}"
        );
    }
    assert!(begin.records[&manifest_key(&large)].1.len() > 100_000);
    // The records that a HEAD by a caller that may push renews.
    let mut kept: Vec<_> = [&alone, &config, &lost]
        .map(|digest| (format!("blobs/{digest}"), link_key(digest)))
        .into();
    let manifests = [
        ("v1", &subject),
        ("large", &large),
        (referrer.as_str(), &referrer),
    ];
    kept.extend(
        manifests.map(|(reference, digest)| (format!("manifests/{reference}"), manifest_key(digest))),
    );
    kept.extend(["v1", "large"].map(|tag| (format!("manifests/{tag}"), format!("r/{R}!/t/{tag}"))));

    let missing = sha256("missing");
    let missing_512 = sha512("missing");
    let mut paths: Vec<(String, u16, u16)> = Vec::new();
    // Each path has the status of a GET by a caller that may push, and by others.
    let mut row = |path: &str, pusher: u16, others: u16| paths.push((path.to_owned(), pusher, others));
    for path in [
        "/",
        "/livez",
        "/readyz",
        "/startupz",
        "/token",
        "/v2/token",
        "/v2/_wharfinger/jwks",
        "/v2/_oci/ext/discover",
    ] {
        row(path, 200, 200);
    }
    for path in [
        "/v2/_catalog",
        "/v2/_catalog?n=1&last=a",
        &format!("/v2/token?service=r.example&scope=repository:{R}:pull,push"),
    ] {
        row(path, 200, 200);
    }
    for path in ["/v2", "/v2/", "/v2/_wharfinger/whoami"] {
        row(path, 200, 401);
    }
    row("/metrics", 403, 401);
    for (rest, here, elsewhere) in [
        ("manifests/v1".to_owned(), 200, 404),
        ("manifests/large".into(), 200, 404),
        ("manifests/none".into(), 404, 404),
        (format!("manifests/{referrer}"), 200, 404),
        (format!("manifests/{missing}"), 404, 404),
        (format!("manifests/{missing_512}"), 404, 404),
        (format!("blobs/{config}"), 200, 404),
        (format!("blobs/{alone}?ns=r.example:5000"), 200, 404),
        (format!("blobs/{lost}"), 500, 404),
        (format!("blobs/{missing}"), 404, 404),
        (format!("blobs/{missing_512}"), 404, 404),
        ("tags/list".into(), 200, 404),
        ("tags/list?n=1&last=large".into(), 200, 404),
        (format!("referrers/{subject}?artifactType=a/b"), 200, 200),
        (format!("referrers/{missing}"), 200, 200),
    ] {
        row(&format!("/v2/{R}/{rest}"), here, here);
        row(&format!("/v2/public/none/{rest}"), elsewhere, elsewhere);
        row(&format!("/v2/secret/a/{rest}"), 403, 401);
    }
    row(&upload, 204, 401);
    row(&format!("/v2/{R}/blobs/uploads/{}", "0".repeat(32)), 404, 401);
    row(&format!("/v2/{R}/blobs/uploads/"), 405, 405);
    row("/v2/public/UPPER/tags/list", 400, 400);
    row("/nowhere", 404, 404);
    let kinds: BTreeSet<_> = paths.iter().filter_map(|(path, ..)| kind(path)).collect();
    assert_eq!(kinds.len(), NAMES.len(), "{kinds:?}");

    let mut before = begin;
    let mut other_answers = Vec::new();
    for (path, pusher, others) in &paths {
        for (caller, status) in [(None, others), (PUSHER, pusher)] {
            for method in [Method::GET, Method::HEAD] {
                for (header, value) in [
                    ("accept", "*/*"),
                    ("range", "bytes=0-0"),
                    ("if-none-match", "*"),
                    ("if-match", "\"x\""),
                ] {
                    let answer = site
                        .request(
                            caller,
                            ask(method.clone(), path).header(header, value),
                            Body::empty(),
                        )
                        .await;
                    if method == Method::GET && header == "accept" && answer.status.as_u16() != *status {
                        other_answers.push(format!("{path} {caller:?}: {}, not {status}", answer.status));
                    }
                    let asks = |rest: &str| path.split('?').next() == Some(&format!("/v2/{R}/{rest}"));
                    let mut after = Snapshot::of(folder);
                    if caller == PUSHER && method == Method::HEAD {
                        for (_, key) in kept.iter().filter(|(rest, _)| asks(rest)) {
                            after = Snapshot::once_values_are_removed(folder).await;
                            before = before.but_for_the_age_of(key, &after);
                        }
                    }
                    assert!(
                        before == after,
                        "{method} {path} {caller:?} {header}: {:?}",
                        changes(&before, &after)
                    );
                }
            }
        }
    }
    assert_eq!(other_answers, [""; 0]);
    // The expected exceptions were renewed.
    let records = rusqlite::Connection::open(folder.join("records.sqlite3")).unwrap();
    for key in kept
        .iter()
        .map(|(_, key)| key)
        .filter(|key| **key != link_key(&lost))
    {
        let written = records.query_row("SELECT written FROM records WHERE key = ?1", [key], |row| {
            row.get::<_, i64>(0)
        });
        assert_eq!(written.unwrap(), (NOW + 13 * 3600) * 1000, "{key}");
    }
}

/// The names of records and files that differ.
fn changes<'a>(before: &'a Snapshot, after: &'a Snapshot) -> BTreeSet<&'a String> {
    let records = before
        .records
        .keys()
        .chain(after.records.keys())
        .filter(|key| before.records.get(*key) != after.records.get(*key));
    let files = before
        .files
        .keys()
        .chain(after.files.keys())
        .filter(|name| before.files.get(*name) != after.files.get(*name));
    records.chain(files).collect()
}

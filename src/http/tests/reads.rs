//! Reads never create anything: whatever GET and HEAD ask, and whoever asks, the store is byte for byte what it was. Only a HEAD for a blob
//! by somebody who may push makes its link young, so that they may rely on the answer.

use super::super::route::Route;
use super::*;
use rusqlite::{Connection as Database, OpenFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Everything below the folder but the records, which are read as such.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Snapshot {
    records: BTreeMap<String, (i64, Vec<u8>)>,
    files: BTreeMap<String, Option<Vec<u8>>>,
}

impl Snapshot {
    fn of(folder: &Path) -> Self {
        let database = Database::open_with_flags(folder.join("records.sqlite3"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut select = database.prepare("SELECT key, version, CAST(value AS BLOB) FROM records").unwrap();
        let records = select.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))).unwrap().map(Result::unwrap).collect();
        let mut snapshot = Self { records, files: BTreeMap::new() };
        snapshot.walk(folder, folder);
        snapshot
    }

    fn walk(&mut self, root: &Path, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                self.walk(root, &path);
                self.files.insert(name, None);
            } else if !name.starts_with("records.sqlite3") {
                self.files.insert(name, Some(std::fs::read(&path).unwrap()));
            }
        }
    }

    /// With the link of this key as it is in `other`, which is the same but for its age.
    fn but_for_the_age_of(mut self, key: &str, other: &Self) -> Self {
        let (then, now) = (self.records.get(key).unwrap(), other.records.get(key).unwrap());
        assert_eq!(said(&then.1), said(&now.1), "{key}");
        self.records.insert(key.to_owned(), now.clone());
        self
    }
}

/// What a record says, without the line with the nonce.
fn said(value: &[u8]) -> Value {
    serde_json::from_slice(value.splitn(2, |byte| *byte == b'\n').nth(1).unwrap()).unwrap()
}

/// Someone who may push to `public/**`. `None` may read there.
const PUSHER: Option<&str> = Some("pusher");
const R: &str = "public/a";

impl Site {
    /// With a token that lives for days.
    async fn request(&self, caller: Option<&str>, request: Builder, body: impl Into<Body>) -> Answer {
        let request = match caller {
            Some(subject) => {
                let claims = json!({"iss": ISSUER, "sub": subject, "aud": "registry", "exp": NOW + 1_000_000});
                bearer(request, &self.signer.token(&claims))
            }
            None => request,
        };
        self.send(request, body).await
    }

    async fn give_blob(&self, content: &str) -> String {
        let digest = sha256(content);
        let request = ask(Method::POST, &format!("/v2/{R}/blobs/uploads/?digest={digest}"));
        assert_eq!(self.request(PUSHER, request, content.to_owned()).await.status, StatusCode::CREATED);
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

/// Which kind of route it is. Whoever adds one adds it to the paths below as well.
fn kind(path: &str) -> Option<&'static str> {
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    Some(match Route::parse(path).ok()? {
        Route::Base => "base",
        Route::Catalog => "catalog",
        Route::Extensions => "extensions",
        Route::Token => "token",
        Route::Metrics => "metrics",
        Route::Whoami => "whoami",
        Route::Jwks => "jwks",
        Route::Health(_) => "health",
        Route::Manifest(..) => "manifest",
        Route::Blob(..) => "blob",
        Route::Uploads(_) => "uploads",
        Route::Upload(..) => "upload",
        Route::Tags(_) => "tags",
        Route::Referrers(..) => "referrers",
    })
}
const KINDS: usize = 14;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_or_a_head_leaves_the_store_as_it_was() {
    let site = Site::on_disk();
    let folder = site.folder.as_ref().unwrap().path();
    // One of everything: what leads to a manifest, one that is a file of its own, an upload, a blob whose bytes are lost.
    let (config, alone, lost) = (site.give_blob("{}").await, site.give_blob("alone").await, site.give_blob("lost").await);
    let subject = site.give_image("v1", &config, ("annotations", json!({}))).await;
    let referrer = site.give_image("refers", &config, ("subject", json!({"mediaType": IMAGE, "digest": subject, "size": 1}))).await;
    site.give_image("large", &config, ("annotations", json!({"padding": "x".repeat(100_000)}))).await;
    let begun = site.request(PUSHER, ask(Method::POST, &format!("/v2/{R}/blobs/uploads/")), "").await;
    let upload = begun.header("location").to_owned();
    assert_eq!(site.request(PUSHER, ask(Method::PATCH, &upload), "part").await.status, StatusCode::ACCEPTED);
    let blob_key = |digest: &str| digest.replacen("sha256:", &format!("b/sha256/{}/", &digest[7..9]), 1);
    let link_key = |digest: &str| format!("{}/{R}!", blob_key(digest).replacen('b', "l", 1));
    let record = Snapshot::of(folder).records[&blob_key(&lost)].1.clone();
    let record = said(&record);
    let name = record["generation"].as_str().unwrap();
    std::fs::remove_file(folder.join("d").join(&name[..2]).join(name)).unwrap();
    // Long enough for links to be old, not so long that the upload is gone.
    site.hand.advance(Duration::from_secs(13 * 3600));

    let begin = Snapshot::of(folder);
    for prefix in ["b/", "c/", "l/", "r/public/a!/k/", "r/public/a!/m/", "r/public/a!/s/", "r/public/a!/t/", "u/"] {
        assert!(begin.records.keys().any(|key| key.starts_with(prefix)), "no {prefix}");
    }
    assert!(begin.files.keys().any(|name| name.starts_with("v/") && name.len() > 5));

    let (missing, missing_512) = (sha256("missing"), sha512("missing"));
    let mut paths: Vec<(String, u16, u16)> = Vec::new();
    // With the status of a GET by one who may push, and by others.
    let mut row = |path: &str, pusher: u16, others: u16| paths.push((path.to_owned(), pusher, others));
    for path in ["/livez", "/readyz", "/startupz", "/token", "/v2/token", "/v2/_wharfinger/jwks", "/v2/_oci/ext/discover"] {
        row(path, 200, 200);
    }
    for path in ["/v2/_catalog", "/v2/_catalog?n=1&last=a", &format!("/v2/token?service=r.example&scope=repository:{R}:pull,push")] {
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
    assert_eq!(kinds.len(), KINDS, "{kinds:?}");

    let (mut before, mut other_answers) = (begin, Vec::new());
    for (path, pusher, others) in &paths {
        for (caller, status) in [(None, others), (PUSHER, pusher)] {
            for method in [Method::GET, Method::HEAD] {
                for (header, value) in [("accept", "*/*"), ("range", "bytes=0-0"), ("if-none-match", "*"), ("if-match", "\"x\"")] {
                    let answer = site.request(caller, ask(method.clone(), path).header(header, value), Body::empty()).await;
                    if method == Method::GET && header == "accept" && answer.status.as_u16() != *status {
                        other_answers.push(format!("{path} {caller:?}: {}, not {status}", answer.status));
                    }
                    let after = Snapshot::of(folder);
                    let keeps = [&alone, &config, &lost].into_iter().find(|digest| path.starts_with(&format!("/v2/{R}/blobs/{digest}")));
                    if let (Some(digest), PUSHER, &Method::HEAD) = (keeps, caller, &method) {
                        before = before.but_for_the_age_of(&link_key(digest), &after);
                    }
                    assert!(before == after, "{method} {path} {caller:?} {header}: {:?}", changes(&before, &after));
                }
            }
        }
    }
    assert_eq!(other_answers, [""; 0]);
    // The exception is one that was made.
    let records = rusqlite::Connection::open(folder.join("records.sqlite3")).unwrap();
    for digest in [&alone, &config] {
        let written = records.query_row("SELECT written FROM records WHERE key = ?1", [link_key(digest)], |row| row.get::<_, i64>(0));
        assert_eq!(written.unwrap(), (NOW + 13 * 3600) * 1000, "{digest}");
    }
}

/// The names of what is not as it was.
fn changes<'a>(before: &'a Snapshot, after: &'a Snapshot) -> BTreeSet<&'a String> {
    let records = before.records.keys().chain(after.records.keys()).filter(|key| before.records.get(*key) != after.records.get(*key));
    let files = before.files.keys().chain(after.files.keys()).filter(|name| before.files.get(*name) != after.files.get(*name));
    records.chain(files).collect()
}

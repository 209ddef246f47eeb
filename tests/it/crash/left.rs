//! What is left in a store at the end, and a fresh store with the same content, to which it is compared.

use super::http::Http;
use crate::harness::{Setup, sha256};
use http::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How much larger the table of records may be than a fresh one. The registry keeps 4 MiB of free pages, and
/// pages are half empty after deletions.
const TABLE: u64 = 8 << 20;

/// Manifests and tags.
#[derive(Default)]
pub(crate) struct Left {
    manifests: BTreeMap<(String, String), Manifest>,
}

#[derive(Default)]
struct Manifest {
    bytes: String,
    blobs: Vec<String>,
    tags: BTreeSet<String>,
}

impl Left {
    pub(crate) fn add(&mut self, repository: &str, digest: &str, bytes: &str, blobs: &[String]) {
        let manifest = self.of(repository, digest);
        manifest.bytes = bytes.to_owned();
        manifest.blobs = blobs.to_vec();
    }

    pub(crate) fn tag(&mut self, repository: &str, tag: &str, digest: &str) {
        self.of(repository, digest).tags.insert(tag.to_owned());
    }

    fn of(&mut self, repository: &str, digest: &str) -> &mut Manifest {
        let key = (repository.to_owned(), digest.to_owned());
        self.manifests.entry(key).or_default()
    }

    /// Adds everything that the tags of the repository need: manifests, children, blobs and referrers.
    pub(super) async fn follow_tags(&mut self, http: &Http, repository: &str) -> Option<()> {
        let get = async |path: String| {
            http.ask(Method::GET, &format!("/v2/{repository}/{path}"), "")
                .await
        };
        let answer = get("tags/list".to_owned()).await?;
        let tags = answer.json()["tags"].as_array().cloned().unwrap_or_default();
        let mut next = Vec::new();
        for tag in tags {
            let tag = tag.as_str().unwrap();
            let digest = http.manifest(repository, tag).await?.unwrap();
            self.tag(repository, tag, &digest);
            next.push(digest);
        }
        while let Some(digest) = next.pop() {
            let answer = get(format!("manifests/{digest}"))
                .await?
                .must_be(200, "a tag, an index or a list of referrers");
            let manifest = answer.json();
            let bytes = String::from_utf8(answer.body.to_vec()).unwrap();
            let blobs = [&json!([manifest["config"]]), &manifest["layers"]];
            let blobs: Vec<String> = blobs.into_iter().flat_map(digests).collect();
            self.add(repository, &digest, &bytes, &blobs);
            next.extend(digests(&manifest["manifests"]));
            let referrers = get(format!("referrers/{digest}")).await?.must_be(200, "nothing");
            next.extend(digests(&referrers.json()["manifests"]));
        }
        Some(())
    }

    /// Pushes all of it to another registry.
    pub(crate) async fn copy(&self, from: &Http, to: &Http) -> Option<()> {
        // An index is accepted after its children.
        let is_index = |manifest: &Manifest| manifest.blobs.is_empty();
        let (indexes, images): (Vec<_>, Vec<_>) = self
            .manifests
            .iter()
            .partition(|(_, manifest)| is_index(manifest));
        for ((repository, digest), manifest) in images.into_iter().chain(indexes) {
            for blob in &manifest.blobs {
                let path = format!("/v2/{repository}/blobs/{blob}");
                let bytes = from.ask(Method::GET, &path, "").await?.must_be(200, digest).body;
                let path = format!("/v2/{repository}/blobs/uploads/?digest={blob}");
                to.ask(Method::POST, &path, bytes).await?.must_be(201, "nothing");
            }
            let tags: Vec<String> = manifest.tags.iter().map(|tag| format!("tag={tag}")).collect();
            let path = format!("/v2/{repository}/manifests/{digest}?{}", tags.join("&"));
            let pushed = to.ask(Method::PUT, &path, manifest.bytes.clone()).await?;
            pushed.must_be(201, "nothing");
        }
        Some(())
    }
}

fn digests(descriptors: &Value) -> Vec<String> {
    let descriptors = descriptors.as_array().into_iter().flatten();
    descriptors
        .filter_map(|one| one["digest"].as_str().map(str::to_owned))
        .collect()
}

/// A registry whose clients may push manifests with wrong sizes, as those of the loop do.
pub(crate) fn lenient() -> Setup {
    let mut setup = Setup::plain();
    setup.config["storage"]["uncheckedDescriptors"] = json!(["**"]);
    setup
}

/// Compares two stores that no process has open. Returns the bytes of the blobs, of the large records, and of
/// the tables of the first and of the second.
pub(super) fn compare(used: &Path, fresh: &Path) -> [u64; 4] {
    let [ours, theirs] = [used, fresh].map(keys);
    let only: Vec<_> = ours.symmetric_difference(&theirs).collect();
    assert!(
        only.is_empty(),
        "only one of the stores has these records: {only:#?}"
    );
    let [ours, theirs] = [used, fresh].map(|store| files(&store.join("d")));
    let digests = |files: &[Vec<u8>]| files.iter().map(|bytes| sha256(bytes)).collect::<BTreeSet<_>>();
    assert_eq!(ours.len(), theirs.len(), "files of blobs");
    assert_eq!(digests(&ours), digests(&theirs));
    let [large, others] = [used, fresh].map(|store| size(&files(&store.join("v"))));
    // A record names the time of its push.
    assert!(
        large.abs_diff(others) <= large / 100,
        "{large} and {others} bytes of large records"
    );
    let [table, other] = [used, fresh].map(|store| store.join("records.sqlite3").metadata().unwrap().len());
    assert!(
        table <= other + TABLE,
        "a table of {table} bytes, and {other} if it is fresh"
    );
    [size(&ours), large, table, other]
}

fn size(files: &[Vec<u8>]) -> u64 {
    files.iter().map(|bytes| bytes.len() as u64).sum()
}

/// The keys of all records but those about the process: what it noted of its work, and the pulls.
fn keys(store: &Path) -> BTreeSet<String> {
    let records = rusqlite::Connection::open(store.join("records.sqlite3")).unwrap();
    let mut keys = records
        .prepare("SELECT key FROM records WHERE key NOT GLOB '[gh]/*' AND key NOT GLOB 'r/*!/p/*'")
        .unwrap();
    let keys = keys.query_map([], |row| row.get(0)).unwrap();
    keys.map(Result::unwrap).collect()
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![std::fs::read(path).unwrap()]
            }
        })
        .collect()
}

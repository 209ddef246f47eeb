//! One repository whose tags, blobs and manifests all clients write, read and delete at once. If a client is
//! rejected, another one must be the cause.

use super::http::{Answer, Http, sha512};
use super::register::{Act, Content, History, Ticket};
use crate::harness::sha256;
use http::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;

pub(super) const REPOSITORY: &str = "shared/app";
const TAGS: [&str; 3] = ["s0", "s1", "s2"];
/// The number of blobs that all clients push, need, mount and delete.
const BLOBS: usize = 6;
/// With more manifests than these, clients delete more than they push.
const MANIFESTS: usize = 24;

#[derive(Default)]
pub(super) struct Shared {
    history: History,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Acknowledged, and not being deleted.
    manifests: BTreeMap<String, Manifest>,
    /// Manifests whose push was not answered.
    perhaps: BTreeMap<String, Manifest>,
    /// Manifests whose deletion was not answered.
    perhaps_gone: BTreeMap<String, Manifest>,
    /// Which manifest needed which blob, since when, and until when. The manifest may not exist.
    needs: Vec<(String, String, u64, Option<u64>)>,
}

#[derive(Clone)]
struct Manifest {
    bytes: String,
    blobs: Vec<String>,
    before: String,
}

impl Shared {
    /// `None` if the registry died, as everywhere here. Otherwise whether a change was acknowledged.
    pub(super) async fn push(&self, http: &Http, dice: &mut fastrand::Rng) -> Option<bool> {
        if self.state.lock().unwrap().manifests.len() > MANIFESTS {
            return self.delete_manifest(http, dice).await;
        }
        let size = dice.usize(2..3000);
        let own: Vec<u8> = std::iter::repeat_with(|| dice.u8(..)).take(size).collect();
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={}", sha256(&own));
        let uploaded = http
            .ask(Method::POST, &path, own.clone())
            .await?
            .must_be(201, "nothing: anybody may push a blob");
        let (content, common) = blob(dice);
        if dice.bool() {
            self.push_blob(http, &common, content.clone()).await?;
        }
        let layers = [(sha256(&own), own.len()), (common.clone(), content.len())];
        let layers = layers.map(|(digest, size)| json!({"mediaType": "a/b", "digest": digest, "size": size}));
        let bytes = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": layers[0], "layers": layers});
        let bytes = bytes.to_string();
        let tag = TAGS[dice.usize(0..TAGS.len())];
        let digest = sha256(bytes.as_bytes());
        let mut manifest = Manifest {
            bytes: bytes.clone(),
            blobs: vec![sha256(&own), common.clone()],
            before: uploaded.to_string(),
        };

        let begun = self.history.now();
        let ticket = self.history.begin(tag, Act::Write(Some(digest.clone())));
        {
            let mut state = self.state.lock().unwrap();
            state.needs.push((digest.clone(), common.clone(), begun, None));
            state.perhaps.insert(digest.clone(), manifest.clone());
        }
        let answer = http
            .ask(Method::PUT, &format!("/v2/{REPOSITORY}/manifests/{tag}"), bytes)
            .await?;
        if is_missing(&answer, &common) {
            self.history.refused(&ticket);
            self.history.read(&common, begun, None);
            self.state.lock().unwrap().perhaps.remove(&digest);
            self.needed_until_now(&digest);
            return Some(false);
        }
        let answer = answer.must_be(201, &manifest.before);
        assert_eq!(answer.header("docker-content-digest"), digest, "{answer}");
        self.history.acknowledge(&ticket);
        self.history.read(&common, begun, there());
        manifest.before = answer.to_string();
        let mut state = self.state.lock().unwrap();
        state.perhaps.remove(&digest);
        state.manifests.insert(digest, manifest);
        Some(true)
    }

    /// Pushes a blob that others may be deleting.
    async fn push_blob(&self, http: &Http, digest: &str, content: Vec<u8>) -> Option<bool> {
        let begun = self.history.now();
        let ticket = self.history.begin(digest, Act::Write(there()));
        let answer = http
            .ask(
                Method::POST,
                &format!("/v2/{REPOSITORY}/blobs/uploads/?digest={digest}"),
                content,
            )
            .await?;
        if answer.is(503, "UNKNOWN") && self.history.was_emptied(digest, begun) {
            return Some(false); // it was there when the push began, and then not: whether it is now, nobody was told
        }
        let answer = answer.must_be(
            201,
            "nothing: anybody may push a blob, and nobody has deleted it meanwhile",
        );
        assert_eq!(answer.header("docker-content-digest"), digest, "{answer}");
        self.history.acknowledge(&ticket);
        Some(true)
    }

    pub(super) async fn delete_tag(&self, http: &Http, dice: &mut fastrand::Rng) -> Option<bool> {
        let tag = TAGS[dice.usize(0..TAGS.len())];
        let begun = self.history.now();
        let ticket = self.history.begin(tag, Act::Write(None));
        let answer = http
            .ask(Method::DELETE, &format!("/v2/{REPOSITORY}/manifests/{tag}"), "")
            .await?;
        if answer.is(404, "MANIFEST_UNKNOWN") || answer.is(404, "NAME_UNKNOWN") {
            self.history.refused(&ticket);
            self.history.read(tag, begun, None);
            return Some(false);
        }
        answer.must_be(202, "nothing: the tag is there or not");
        self.history.acknowledge(&ticket);
        Some(true)
    }

    async fn delete_manifest(&self, http: &Http, dice: &mut fastrand::Rng) -> Option<bool> {
        let (digest, manifest) = {
            let mut state = self.state.lock().unwrap();
            let Some(digest) = dice.choice(state.manifests.keys()).cloned() else {
                return Some(false);
            };
            let manifest = state.manifests.remove(&digest).unwrap();
            state.perhaps_gone.insert(digest.clone(), manifest.clone());
            (digest, manifest)
        };
        self.remove(http, &digest, |answer| {
            drop(answer.must_be(202, &manifest.before))
        })
        .await?;
        Some(true)
    }

    async fn remove(&self, http: &Http, digest: &str, judge: impl FnOnce(Answer)) -> Option<()> {
        let tickets: Vec<Ticket> = TAGS
            .iter()
            .map(|tag| self.history.begin(tag, Act::Remove(digest.to_owned())))
            .collect();
        judge(
            http.ask(
                Method::DELETE,
                &format!("/v2/{REPOSITORY}/manifests/{digest}"),
                "",
            )
            .await?,
        );
        tickets.iter().for_each(|ticket| self.history.acknowledge(ticket));
        self.state.lock().unwrap().perhaps_gone.remove(digest);
        self.needed_until_now(digest);
        Some(())
    }

    fn needed_until_now(&self, manifest: &str) {
        let now = self.history.now();
        let mut state = self.state.lock().unwrap();
        state
            .needs
            .iter_mut()
            .filter(|need| need.0 == manifest)
            .for_each(|need| need.3 = Some(now));
    }

    pub(super) async fn delete_blob(&self, http: &Http, dice: &mut fastrand::Rng) -> Option<bool> {
        let (_, digest) = blob(dice);
        let begun = self.history.now();
        let ticket = self.history.begin(&digest, Act::Write(None));
        let answer = http
            .ask(Method::DELETE, &format!("/v2/{REPOSITORY}/blobs/{digest}"), "")
            .await?;
        if answer.is(404, "BLOB_UNKNOWN") {
            self.history.refused(&ticket);
            self.history.read(&digest, begun, None);
            return Some(false);
        }
        if answer.is(405, "DENIED") {
            self.history.refused(&ticket);
            self.history.read(&digest, begun, there());
            let state = self.state.lock().unwrap();
            let needs = |need: &&(String, String, u64, Option<u64>)| {
                need.1 == digest && need.3.is_none_or(|end| end > begun)
            };
            assert!(
                state.needs.iter().any(|need| needs(&need)),
                "{answer}\nand no manifest that may be there needs it"
            );
            return Some(false);
        }
        answer.must_be(202, "nothing: the blob is there, needed or not");
        self.history.acknowledge(&ticket);
        Some(true)
    }

    /// The path of a tag or a blob.
    pub(super) async fn read(&self, http: &Http, dice: &mut fastrand::Rng) -> Option<bool> {
        let begun = self.history.now();
        if dice.bool() {
            let tag = TAGS[dice.usize(0..TAGS.len())];
            let found = http.manifest(REPOSITORY, tag).await?;
            self.history.read(tag, begun, found);
        } else {
            let (_, digest) = blob(dice);
            self.history
                .read(&digest, begun, found_blob(http, &digest).await?);
        }
        Some(false)
    }

    /// Mounts a blob of this repository in another one. Returns the blob and the status: 201 if the blob
    /// existed, or 202 for an upload.
    pub(super) async fn mount(
        &self,
        http: &Http,
        dice: &mut fastrand::Rng,
        to: &str,
    ) -> (String, Vec<u8>, Option<Answer>) {
        let (content, digest) = blob(dice);
        let begun = self.history.now();
        let answer = http
            .ask(
                Method::POST,
                &format!("/v2/{to}/blobs/uploads/?mount={digest}&from={REPOSITORY}"),
                "",
            )
            .await;
        if let Some(answer) = &answer {
            let mounted = answer.status == 201;
            self.history
                .read(&digest, begun, if mounted { there() } else { None });
        }
        (digest, content, answer)
    }

    /// Compares everything while no client writes, repeats the unanswered requests, and compares again.
    pub(super) async fn settle(&self, http: &Http) -> Option<()> {
        self.compare(http).await?;
        let (perhaps, perhaps_gone) = {
            let mut state = self.state.lock().unwrap();
            (std::mem::take(&mut state.perhaps), state.perhaps_gone.clone())
        };
        for (digest, mut manifest) in perhaps {
            // It may have existed before. From now on it exists, or lacks what others deleted.
            let begun = self.history.now();
            let answer = http
                .ask(
                    Method::PUT,
                    &format!("/v2/{REPOSITORY}/manifests/{digest}"),
                    manifest.bytes.clone(),
                )
                .await?;
            let common = &manifest.blobs[1];
            if is_missing(&answer, common) {
                self.history.read(common, begun, None);
                self.needed_until_now(&digest);
                continue;
            }
            self.history.read(common, begun, there());
            manifest.before = answer.must_be(201, &manifest.before).to_string();
            self.state.lock().unwrap().manifests.insert(digest, manifest);
        }
        for (digest, manifest) in perhaps_gone {
            let gone = |answer: &Answer| {
                answer.status == 202 || answer.is(404, "MANIFEST_UNKNOWN") || answer.is(404, "NAME_UNKNOWN")
            };
            self.remove(http, &digest, |answer| {
                assert!(
                    gone(&answer),
                    "{answer}\nacknowledged before: {}",
                    manifest.before
                )
            })
            .await?;
        }
        self.compare(http).await?;
        self.state.lock().unwrap().needs.retain(|need| need.3.is_none());
        let manifests = self.state.lock().unwrap().manifests.clone();
        for (digest, Manifest { blobs, before, .. }) in manifests {
            let answer = http
                .ask(Method::GET, &format!("/v2/{REPOSITORY}/manifests/{digest}"), "")
                .await?;
            answer.must_be(200, &before).must_hold(&digest, &before);
            for blob in blobs {
                http.must_have(REPOSITORY, &blob, &before).await?;
            }
        }
        Some(())
    }

    async fn compare(&self, http: &Http) -> Option<()> {
        for tag in TAGS {
            self.history.settle(tag, http.manifest(REPOSITORY, tag).await?);
        }
        for index in 0..BLOBS {
            let (_, digest) = common(index);
            self.history.settle(&digest, found_blob(http, &digest).await?);
        }
        Some(())
    }
}

/// One of the shared blobs.
fn blob(dice: &mut fastrand::Rng) -> (Vec<u8>, String) {
    common(dice.usize(0..BLOBS))
}

fn common(index: usize) -> (Vec<u8>, String) {
    let content = format!("blob {index} of all")
        .repeat(1 + index * 100)
        .into_bytes();
    let digest = if index.is_multiple_of(2) {
        sha256(&content)
    } else {
        sha512(&content)
    };
    (content, digest)
}

fn there() -> Content {
    Some("there".to_owned())
}

async fn found_blob(http: &Http, digest: &str) -> Option<Content> {
    let answer = http
        .ask(Method::GET, &format!("/v2/{REPOSITORY}/blobs/{digest}"), "")
        .await?;
    if answer.is(404, "BLOB_UNKNOWN") {
        return Some(None);
    }
    answer
        .must_be(200, "nothing: the blob is there or not")
        .must_hold(digest, "nothing: a blob has its digest");
    Some(there())
}

/// Whether the manifest was rejected only because this blob is missing.
fn is_missing(answer: &Answer, digest: &str) -> bool {
    answer.is(404, "MANIFEST_BLOB_UNKNOWN")
        && answer
            .errors()
            .iter()
            .all(|error| error["detail"]["digest"] == digest)
}

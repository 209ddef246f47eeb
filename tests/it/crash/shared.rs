//! One repository whose tags, blobs and manifests all clients write, read and delete at once. If a client is
//! rejected, another one must be the cause.

mod needs;

use super::http::{Answer, Http, sha512};
use super::left::Left;
use crate::harness::sha256;
use http::Method;
use needs::Needs;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;
use wharfinger_testkit::{Act, Content, History, Ticket};

pub(super) const REPOSITORY: &str = "shared/app";
const TAGS: [&str; 3] = ["s0", "s1", "s2"];
/// The number of blobs that all clients push, need, mount and delete.
const BLOBS: usize = 6;
/// With more manifests than these, clients delete more than they push.
const MANIFESTS: usize = 24;

#[derive(Default)]
pub(super) struct Shared {
    /// Whether a collector without grace runs. It may remove a blob that no manifest needs at any moment.
    pub(super) collects: bool,
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
    needs: Needs,
}

#[derive(Clone)]
struct Manifest {
    bytes: String,
    blobs: Vec<String>,
    before: String,
}

impl Shared {
    pub(super) fn beside_collectors() -> Self {
        Self {
            collects: true,
            ..Self::default()
        }
    }

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
            .must_be(201, "nothing, but any client may push a blob");
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
            manifest
                .blobs
                .iter()
                .for_each(|blob| state.needs.begin(&digest, blob));
            state.perhaps.insert(digest.clone(), manifest.clone());
        }
        let answer = http
            .ask(Method::PUT, &format!("/v2/{REPOSITORY}/manifests/{tag}"), bytes)
            .await?;
        if self.lacks_blobs(&answer, &manifest, begun) {
            self.history.refused(&ticket);
            self.state.lock().unwrap().perhaps.remove(&digest);
            self.needed_until_now(&digest);
            return Some(false);
        }
        let answer = answer.must_be(201, &manifest.before);
        assert_eq!(answer.header("docker-content-digest"), digest, "{answer}");
        self.history.acknowledge(&ticket);
        self.saw_blob(&common, begun, true);
        manifest.before = answer.to_string();
        let now = self.history.now();
        let mut state = self.state.lock().unwrap();
        state.needs.acknowledge(&digest, now);
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
        let may_vanish = self.collects || self.history.was_emptied(digest, begun);
        if answer.is(503, "UNKNOWN") && may_vanish {
            return Some(false); // it was deleted during the push, so no client knows whether it exists now
        }
        let answer = answer.must_be(
            201,
            "nothing, but any client may push a blob, and no client deleted it meanwhile",
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
        answer.must_be(202, "nothing, but the tag is there or not");
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
            state.needs.doom(&digest);
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
        self.state.lock().unwrap().needs.end(manifest, now);
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
            self.saw_blob(&digest, begun, false);
            return Some(false);
        }
        if answer.is(405, "DENIED") {
            self.history.refused(&ticket);
            self.saw_blob(&digest, begun, true);
            let state = self.state.lock().unwrap();
            assert!(
                state.needs.may_be(&digest, begun),
                "{answer}\nand no manifest that may be there needs it"
            );
            return Some(false);
        }
        answer.must_be(202, "nothing, but the blob is there, needed or not");
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
            let found = found_blob(http, &digest).await?;
            self.saw_blob(&digest, begun, found.is_some());
        }
        Some(false)
    }

    /// Mounts a blob of this repository in another one. The status is 201 if the blob existed, or 202 for an
    /// upload.
    pub(super) async fn mount(&self, http: &Http, digest: &str, to: &str) -> Option<Answer> {
        let begun = self.history.now();
        let path = format!("/v2/{to}/blobs/uploads/?mount={digest}&from={REPOSITORY}");
        let answer = http.ask(Method::POST, &path, "").await?;
        self.saw_blob(digest, begun, answer.status == 201);
        Some(answer)
    }

    /// A request that began at `begun` has seen that the blob is there, or that it is not.
    fn saw_blob(&self, digest: &str, begun: u64, is_there: bool) {
        if !self.collects {
            let seen = if is_there { there() } else { None };
            self.history.read(digest, begun, seen);
        } else if !is_there {
            let is_needed = self.state.lock().unwrap().needs.are_certain(digest, begun);
            assert!(!is_needed, "{digest} is gone, and a manifest needs it");
        }
    }

    /// Whether the manifest was rejected only because blobs of it are missing that may be missing.
    fn lacks_blobs(&self, answer: &Answer, manifest: &Manifest, begun: u64) -> bool {
        if !answer.is(404, "MANIFEST_BLOB_UNKNOWN") {
            return false;
        }
        let [own, common] = &manifest.blobs[..] else {
            unreachable!()
        };
        for error in answer.errors() {
            let missing = &error["detail"]["digest"];
            assert!(missing == common || self.collects && missing == own, "{answer}");
            self.saw_blob(missing.as_str().unwrap(), begun, false);
        }
        true
    }

    /// The manifests and tags that are there.
    pub(super) async fn what_is_left(&self, http: &Http, left: &mut Left) -> Option<()> {
        let manifests = self.state.lock().unwrap().manifests.clone();
        for (digest, manifest) in &manifests {
            left.add(REPOSITORY, digest, &manifest.bytes, &manifest.blobs);
        }
        for tag in TAGS {
            if let Some(digest) = http.manifest(REPOSITORY, tag).await? {
                left.tag(REPOSITORY, tag, &digest);
            }
        }
        Some(())
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
            if self.lacks_blobs(&answer, &manifest, begun) {
                self.needed_until_now(&digest);
                continue;
            }
            self.saw_blob(&manifest.blobs[1], begun, true);
            manifest.before = answer.must_be(201, &manifest.before).to_string();
            let now = self.history.now();
            let mut state = self.state.lock().unwrap();
            state.needs.acknowledge(&digest, now);
            state.manifests.insert(digest, manifest);
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
        self.state.lock().unwrap().needs.forget_ended();
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
            let begun = self.history.now();
            let found = found_blob(http, &digest).await?;
            if self.collects {
                self.saw_blob(&digest, begun, found.is_some());
                self.history.forget(&digest);
            } else {
                self.history.settle(&digest, found);
            }
        }
        Some(())
    }
}

/// One of the shared blobs.
pub(super) fn blob(dice: &mut fastrand::Rng) -> (Vec<u8>, String) {
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
        .must_be(200, "nothing, but the blob is there or not")
        .must_hold(digest, "nothing, but a blob has its digest");
    Some(there())
}

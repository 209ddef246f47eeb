//! A client that remembers every acknowledged change. No other client writes to its repository, so it knows
//! every possible answer. Any other answer is a failure.

mod collected;
mod reading;
mod settle;

use super::http::sha512;
pub(super) use super::http::{Http, Outcome};
use super::shared::{self, Shared};
use super::upload::Upload;
use crate::harness::sha256;
use http::Method;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::Instant;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Above these numbers of manifests, blobs and uploads, clients delete or close more than they add, so that
/// comparisons stay short.
const MANIFESTS: usize = 16;
const BLOBS: usize = 40;
const UPLOADS: usize = 3;

#[derive(Clone, Debug)]
struct Manifest {
    bytes: String,
    blobs: Vec<String>,
    /// The children, if it is an index.
    children: Vec<String>,
    subject: Option<String>,
    before: String,
}

/// The request without an answer. There is at most one, because a registry that does not answer is dead.
#[derive(Clone, Debug)]
enum Unanswered {
    /// A push by digest or tag, with the tags that the manifest was to get.
    Push {
        digest: String,
        manifest: Manifest,
        tags: Vec<String>,
    },
    Manifest {
        deleted: String,
    },
    Tag {
        deleted: String,
    },
    /// A blob that was pushed, mounted or deleted.
    Blob(String),
}

pub(super) struct Client {
    repository: String,
    dice: fastrand::Rng,
    shared: Arc<Shared>,
    /// What was acknowledged. Every tag is on one of these manifests.
    tags: BTreeMap<String, (String, String)>,
    manifests: BTreeMap<String, Manifest>,
    /// Each with the answer that acknowledged it.
    blobs: BTreeMap<String, String>,
    uploads: Vec<Upload>,
    /// Paths whose deletion was acknowledged recently, with that answer.
    gone: BTreeMap<String, String>,
    unanswered: Option<Unanswered>,
    pub(super) done: Done,
}

/// The number of acknowledged changes and of uploads that were checked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) acknowledged: u64,
    /// Uploads that were open when the registry died and had the acknowledged offset afterwards.
    pub(super) resumed: u64,
    /// Uploads that were gone after a closing request without an answer.
    pub(super) again: u64,
}

impl Client {
    pub(super) fn new(number: usize, shared: Arc<Shared>, dice: fastrand::Rng) -> Self {
        Self {
            repository: format!("client/{number}"),
            dice,
            shared,
            tags: BTreeMap::new(),
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
            uploads: Vec::new(),
            gone: BTreeMap::new(),
            unanswered: None,
            done: Done::default(),
        }
    }

    /// Works until time is up. Returns `false` if the registry stops answering.
    pub(super) async fn work(&mut self, address: SocketAddr, stop: Instant) -> bool {
        let http = Http::new(address).patient(self.shared.collects);
        while Instant::now() < stop {
            let most = if self.shared.collects { 39 } else { 36 };
            let changed = match self.dice.u32(0..most) {
                0..9 => self.push(&http).await,
                9 => self.delete_tag(&http).await,
                10 | 11 => self.delete_manifest(&http).await,
                12 | 13 => self.push_or_delete_blob(&http).await,
                14 | 15 => self.mount(&http).await,
                16..19 => self.upload_on(&http).await,
                19 => self.list(&http).await,
                20 => self.referrers(&http).await,
                21 => self.pull(&http).await,
                22..26 => self.shared.push(&http, &mut self.dice).await,
                26 => self.shared.delete_tag(&http, &mut self.dice).await,
                27 => self.shared.delete_blob(&http, &mut self.dice).await,
                28..30 => self.push_index(&http).await,
                30 | 31 => self.push_again(&http).await,
                36..39 => self.push_scrap(&http).await,
                _ => self.shared.read(&http, &mut self.dice).await,
            };
            match changed {
                Some(changed) => self.done.acknowledged += u64::from(changed),
                None => return false,
            }
        }
        true
    }

    fn path(&self, what: &str) -> String {
        format!("/v2/{}/{what}", self.repository)
    }

    fn tag(&mut self) -> String {
        format!("t{}", self.dice.u32(0..40))
    }

    /// Unique bytes and their digest.
    fn content(&mut self) -> (Vec<u8>, String) {
        let size = if self.dice.u32(0..10) == 0 {
            self.dice.usize(16..400_000)
        } else {
            self.dice.usize(16..3000)
        };
        let bytes: Vec<u8> = std::iter::repeat_with(|| self.dice.u8(..)).take(size).collect();
        let digest = if self.dice.u32(0..3) == 0 {
            sha512(&bytes)
        } else {
            sha256(&bytes)
        };
        (bytes, digest)
    }

    /// Pushes a blob, at once or in chunks. `None` means that the registry died, as everywhere here.
    async fn push_blob(&mut self, http: &Http) -> Option<String> {
        let (bytes, digest) = self.content();
        if self.dice.bool() {
            self.unanswered = Some(Unanswered::Blob(digest.clone()));
            let answer = http
                .ask(
                    Method::POST,
                    &self.path(&format!("blobs/uploads/?digest={digest}")),
                    bytes,
                )
                .await?;
            let answer = answer.must_be(201, "nothing, but any client may push a blob");
            assert_eq!(answer.header("docker-content-digest"), digest, "{answer}");
            self.has_blob(&digest, answer.to_string());
        } else {
            self.begin(http, bytes, digest.clone()).await?;
            let last = self.uploads.len() - 1;
            let length = self.dice.usize(2..=self.uploads[last].left());
            self.uploads[last].append(http, length).await?;
            self.close(http, last).await?;
        }
        Some(digest)
    }

    fn has_blob(&mut self, digest: &str, before: String) {
        self.unanswered = None;
        self.gone.remove(&self.path(&format!("blobs/{digest}")));
        self.blobs.insert(digest.to_owned(), before);
    }

    /// The digest's algorithm may be announced at the beginning or at the end.
    async fn begin(&mut self, http: &Http, bytes: Vec<u8>, digest: String) -> Option<()> {
        let hint = if digest.starts_with("sha512:") && self.dice.bool() {
            "?digest-algorithm=sha512"
        } else {
            ""
        };
        self.uploads
            .push(Upload::begin(http, &self.repository, bytes, digest, hint).await?);
        Some(())
    }

    async fn close(&mut self, http: &Http, index: usize) -> Option<()> {
        let closed = self.uploads[index].close(http).await?;
        let upload = self.uploads.swap_remove(index);
        self.done.again += u64::from(closed.again);
        self.has_blob(&upload.digest, closed.before);
        Some(())
    }

    /// Continues an upload, or begins one, and leaves it open.
    async fn upload_on(&mut self, http: &Http) -> Option<bool> {
        if self.uploads.len() < UPLOADS && self.dice.bool() {
            let (bytes, digest) = self.content();
            self.begin(http, bytes, digest).await?;
        }
        if self.uploads.is_empty() {
            return Some(false);
        }
        let index = self.dice.usize(0..self.uploads.len());
        let length = self.dice.usize(2..2000);
        match self.dice.u32(0..4) {
            0 => self.close(http, index).await?,
            1 => self.uploads[index].append_twice(http, length).await?,
            _ => self.uploads[index].append(http, length).await?,
        }
        Some(true)
    }

    /// Mounts a blob from the repository that all clients write to.
    async fn mount(&mut self, http: &Http) -> Option<bool> {
        let (content, digest) = shared::blob(&mut self.dice);
        self.unanswered = Some(Unanswered::Blob(digest.clone()));
        let answer = self.shared.mount(http, &digest, &self.repository).await?;
        if answer.status == 202 {
            let mut upload = Upload::begun(answer, &self.repository, content, digest.clone());
            let before = upload.close(http).await?.before;
            self.has_blob(&digest, before);
        } else {
            let answer = answer.must_be(201, "nothing, but a blob can be mounted, or else be pushed");
            assert_eq!(answer.header("docker-content-digest"), digest, "{answer}");
            self.has_blob(&digest, answer.to_string());
        }
        Some(true)
    }

    /// An image with new or existing blobs, with or without a subject, which need not exist. It is pushed by
    /// tag, or by digest with tags beside it, which is the only way for sha512.
    async fn push(&mut self, http: &Http) -> Option<bool> {
        if self.manifests.len() > MANIFESTS {
            return self.delete_manifest(http).await;
        }
        if self.blobs.len() > BLOBS {
            return self.push_or_delete_blob(http).await;
        }
        let mut blobs = Vec::new();
        for _ in 0..2 {
            let known = if self.dice.u32(0..4) == 0 {
                self.dice.choice(self.blobs.keys()).cloned()
            } else {
                None
            };
            blobs.push(if let Some(known) = known {
                known
            } else {
                self.push_blob(http).await?
            });
        }
        let subject = match self.dice.u32(0..4) {
            0 => self.dice.choice(self.manifests.keys()).cloned(),
            1 => Some(sha256(self.repository.as_bytes())),
            _ => None,
        };
        // Some are larger than the table of records allows.
        let padding = if self.dice.u32(0..10) == 0 {
            "x".repeat(100_000)
        } else {
            String::new()
        };
        let descriptor =
            |digest: &str| json!({"mediaType": "application/vnd.example", "digest": digest, "size": 1});
        let mut bytes = json!({
            "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(&blobs[0]), "layers": [descriptor(&blobs[1])],
            "annotations": {"padding": padding, "nonce": self.dice.u64(..).to_string()},
        });
        if let Some(subject) = &subject {
            bytes["subject"] = json!({"mediaType": IMAGE, "digest": subject, "size": 1});
        }
        let bytes = bytes.to_string();
        let (digest, tags, path) = if self.dice.bool() {
            let digest = sha256(bytes.as_bytes());
            let tag = self.tag();
            (digest, vec![tag.clone()], format!("manifests/{tag}"))
        } else {
            let digest = if self.dice.bool() {
                sha512(bytes.as_bytes())
            } else {
                sha256(bytes.as_bytes())
            };
            // Some get many tags, so that a deletion has much to do.
            let most = if self.dice.u32(0..4) == 0 { 30 } else { 3 };
            let tags: BTreeSet<String> = (0..self.dice.u32(0..most)).map(|_| self.tag()).collect();
            let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
            (
                digest.clone(),
                tags.into_iter().collect(),
                format!("manifests/{digest}?{}", query.join("&")),
            )
        };
        let before = blobs
            .iter()
            .map(|blob| self.blobs[blob].as_str())
            .collect::<Vec<_>>()
            .join(", ");
        let mut manifest = Manifest {
            bytes: bytes.clone(),
            blobs,
            children: Vec::new(),
            subject,
            before,
        };
        self.unanswered = Some(Unanswered::Push {
            digest: digest.clone(),
            manifest: manifest.clone(),
            tags: tags.clone(),
        });
        let answer = http.ask(Method::PUT, &self.path(&path), bytes).await?;
        if self.was_collected(&answer, &manifest) {
            return Some(false);
        }
        let answer = answer.must_be(201, &manifest.before);
        let announced: Vec<&str> = answer
            .headers
            .get_all("oci-tag")
            .iter()
            .map(|tag| tag.to_str().unwrap())
            .collect();
        assert!(
            !path.contains('?') || announced == tags,
            "{answer}: {announced:?}"
        );
        assert_eq!(answer.header("docker-content-digest"), digest, "{answer}");
        assert_eq!(
            answer.header("oci-subject"),
            manifest.subject.as_deref().unwrap_or_default(),
            "{answer}"
        );
        manifest.before = answer.to_string();
        for tag in tags {
            self.tags.insert(tag, (digest.clone(), answer.to_string()));
        }
        self.has_manifest(digest, manifest);
        Some(true)
    }

    /// An index of existing images.
    async fn push_index(&mut self, http: &Http) -> Option<bool> {
        let images: Vec<String> = self
            .manifests
            .keys()
            .filter(|digest| self.manifests[*digest].children.is_empty())
            .cloned()
            .collect();
        if images.is_empty() || self.manifests.len() > MANIFESTS {
            return self.delete_manifest(http).await;
        }
        let children: BTreeSet<String> = (0..2)
            .map(|_| images[self.dice.usize(0..images.len())].clone())
            .collect();
        let listed: Vec<_> = children
            .iter()
            .map(|digest| json!({"mediaType": IMAGE, "digest": digest, "size": 1}))
            .collect();
        let nonce = self.dice.u64(..).to_string();
        let bytes = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed, "annotations": {"nonce": nonce}}).to_string();
        let before = children
            .iter()
            .map(|child| self.manifests[child].before.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        let children = children.into_iter().collect();
        self.push_by_tag(
            http,
            Manifest {
                bytes,
                blobs: Vec::new(),
                children,
                subject: None,
                before,
            },
        )
        .await
    }

    /// Pushes an existing manifest again, under a tag that may be on another one.
    async fn push_again(&mut self, http: &Http) -> Option<bool> {
        let Some(manifest) = self.dice.choice(self.manifests.values()).cloned() else {
            return Some(false);
        };
        self.push_by_tag(http, manifest).await
    }

    async fn push_by_tag(&mut self, http: &Http, mut manifest: Manifest) -> Option<bool> {
        let tag = self.tag();
        let bytes = manifest.bytes.clone();
        let digest = sha256(bytes.as_bytes());
        self.unanswered = Some(Unanswered::Push {
            digest: digest.clone(),
            manifest: manifest.clone(),
            tags: vec![tag.clone()],
        });
        let answer = http
            .ask(Method::PUT, &self.path(&format!("manifests/{tag}")), bytes)
            .await?
            .must_be(201, &manifest.before);
        assert_eq!(answer.header("docker-content-digest"), digest, "{answer}");
        manifest.before = answer.to_string();
        self.tags.insert(tag, (digest.clone(), answer.to_string()));
        self.has_manifest(digest, manifest);
        Some(true)
    }

    fn has_manifest(&mut self, digest: String, manifest: Manifest) {
        self.unanswered = None;
        self.gone.remove(&self.path(&format!("manifests/{digest}")));
        self.manifests.insert(digest, manifest);
    }

    async fn delete_tag(&mut self, http: &Http) -> Option<bool> {
        let tag = self.tag();
        self.unanswered = Some(Unanswered::Tag { deleted: tag.clone() });
        let answer = http
            .ask(Method::DELETE, &self.path(&format!("manifests/{tag}")), "")
            .await?;
        self.unanswered = None;
        let Some((_, before)) = self.tags.remove(&tag) else {
            let code = if answer.is(404, "NAME_UNKNOWN") && self.manifests.is_empty() {
                "NAME_UNKNOWN"
            } else {
                "MANIFEST_UNKNOWN"
            };
            assert!(
                answer.is(404, code),
                "{answer}\nand the tag had not been acknowledged"
            );
            return Some(false);
        };
        answer.must_be(202, &before);
        Some(true)
    }

    async fn delete_manifest(&mut self, http: &Http) -> Option<bool> {
        let Some(digest) = self.dice.choice(self.manifests.keys()).cloned() else {
            return Some(false);
        };
        self.unanswered = Some(Unanswered::Manifest {
            deleted: digest.clone(),
        });
        let path = self.path(&format!("manifests/{digest}"));
        let answer = http.ask(Method::DELETE, &path, "").await?;
        if let Some(index) = self
            .manifests
            .values()
            .find(|manifest| manifest.children.contains(&digest))
        {
            assert!(
                answer.is(405, "DENIED"),
                "{answer}\nacknowledged before, and lists it: {}",
                index.before
            );
            self.unanswered = None;
            return Some(false);
        }
        let answer = answer.must_be(202, &self.manifests[&digest].before);
        self.gone.insert(path, answer.to_string());
        self.forget(&digest);
        Some(true)
    }

    fn forget(&mut self, digest: &str) {
        self.unanswered = None;
        self.manifests.remove(digest);
        self.tags.retain(|_, (on, _)| on != digest);
    }

    /// The deletion of a blob is rejected exactly if a manifest needs the blob.
    async fn push_or_delete_blob(&mut self, http: &Http) -> Option<bool> {
        if self.blobs.is_empty() || self.blobs.len() < BLOBS && self.dice.u32(0..4) == 0 {
            self.push_blob(http).await?;
            return Some(true);
        }
        let spare = if self.blobs.len() > BLOBS {
            self.blobs.keys().find(|digest| self.user(digest).is_none())
        } else {
            None
        };
        let digest = spare.or_else(|| self.dice.choice(self.blobs.keys()))?.clone();
        let user = self.user(&digest);
        let path = self.path(&format!("blobs/{digest}"));
        let needed = user.is_some();
        let before = user
            .map_or(&self.blobs[&digest], |manifest| &manifest.before)
            .clone();
        self.unanswered = Some(Unanswered::Blob(digest.clone()));
        let answer = http.ask(Method::DELETE, &path, "").await?;
        self.unanswered = None;
        if needed {
            assert!(
                answer.is(405, "DENIED"),
                "{answer}\nacknowledged before, and needs it: {before}"
            );
            return Some(false);
        }
        self.blobs.remove(&digest);
        if self.shared.collects && answer.is(404, "BLOB_UNKNOWN") {
            return Some(false);
        }
        self.gone.insert(path, answer.must_be(202, &before).to_string());
        Some(true)
    }
}

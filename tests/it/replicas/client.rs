//! A client that pushes, moves, reads and deletes what other clients do at the same time, each request over a
//! connection of its own. It repeats uploads that had no answer, and reports every request for a tag.

use super::known::{Image, Known, REPOSITORIES, TAGS, known, register};
use crate::crash::http::{Answer, Http};
use crate::harness::{eventually, sha256};
use http::Method;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::sleep;
use wharfinger_testkit::Act;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// How long it waits for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// How often it sends a blob until it gives up.
const TRIES: usize = 30;
/// With more images than these, it deletes more than it pushes.
const IMAGES: usize = 80;
/// So much does not fit into one part of a multipart upload.
const LARGE: usize = 11 << 20;

pub(super) struct Client {
    http: Http,
    dice: fastrand::Rng,
    known: Arc<Known>,
    /// The uploads that it began and perhaps did not end.
    open: Vec<String>,
    pub(super) done: Done,
}

/// What was acknowledged, and what had no answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) pushes: u64,
    pub(super) moves: u64,
    pub(super) deletions: u64,
    pub(super) reads: u64,
    pub(super) resumed: u64,
    pub(super) mounts: u64,
    pub(super) unknown: u64,
    pub(super) given_up: u64,
}

impl std::iter::Sum for Done {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            pushes: sum.pushes + one.pushes,
            moves: sum.moves + one.moves,
            deletions: sum.deletions + one.deletions,
            reads: sum.reads + one.reads,
            resumed: sum.resumed + one.resumed,
            mounts: sum.mounts + one.mounts,
            unknown: sum.unknown + one.unknown,
            given_up: sum.given_up + one.given_up,
        })
    }
}

impl Client {
    pub(super) fn new(http: Http, dice: fastrand::Rng, known: Arc<Known>) -> Self {
        Self {
            http,
            dice,
            known,
            open: Vec::new(),
            done: Done::default(),
        }
    }

    /// Works until nothing goes wrong any more.
    pub(super) async fn work(&mut self, calm: &AtomicBool) {
        while !calm.load(Ordering::Relaxed) {
            let is_full = self.known.count() > IMAGES;
            match self.dice.u32(0..20) {
                0..6 if is_full => self.delete_image().await,
                0..6 => self.push().await,
                6..9 => self.move_tag().await,
                9..14 => self.read_tag().await,
                14..16 => self.delete_tag().await,
                16 => self.delete_image().await,
                17 => self.list().await,
                _ => self.pull().await,
            }
        }
    }

    /// Ends the uploads that it did not end. Nothing is wrong any more, but a request may still wait for an
    /// answer of the store and hold its upload.
    pub(super) async fn finish(&mut self) {
        for upload in std::mem::take(&mut self.open) {
            eventually("the upload ends", async || {
                let answer = self.http.ask(Method::DELETE, &upload, "").await;
                let answer = answer.expect("an answer");
                if answer.is(416, "BLOB_UPLOAD_INVALID") {
                    return None;
                }
                let is_gone = answer.status == 204 || answer.is(404, "BLOB_UPLOAD_UNKNOWN");
                assert!(is_gone, "{answer}");
                Some(())
            })
            .await;
        }
    }

    async fn push(&mut self) {
        let repository = self.repository();
        let size = match self.dice.u32(0..30) {
            0 => LARGE,
            _ => self.dice.usize(8..5000),
        };
        let mut own = vec![0; size];
        self.dice.fill(&mut own);
        let common = self.dice.u32(0..4);
        let common = format!("layer {common} of all").repeat(20).into_bytes();
        if !self.blob(repository, &own).await || !self.mount_or_push(repository, &common).await {
            self.done.given_up += 1;
            return;
        }
        let layers = [&own, &common]
            .map(|bytes| json!({"mediaType": "a/b", "digest": sha256(bytes), "size": bytes.len()}));
        let bytes = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": layers[0], "layers": layers});
        let image = Image {
            bytes: bytes.to_string(),
            blobs: vec![sha256(&own), sha256(&common)],
            before: "both blobs".to_owned(),
        };
        let digest = sha256(image.bytes.as_bytes());
        if let Some(before) = self.put(repository, &image).await {
            self.done.pushes += 1;
            self.known.add(repository, digest, Image { before, ..image });
        }
    }

    /// The image may be deleted at the same moment. Then either may win.
    async fn move_tag(&mut self) {
        if let Some((repository, _, image)) = self.known.any(&mut self.dice)
            && self.put(repository, &image).await.is_some()
        {
            self.done.moves += 1;
        }
    }

    /// Pushes a manifest, most often by a tag. All of its blobs were acknowledged. Returns the answer that
    /// acknowledged it, too.
    async fn put(&mut self, repository: &'static str, image: &Image) -> Option<String> {
        let digest = sha256(image.bytes.as_bytes());
        self.known.send(repository, &digest);
        let tag = (self.dice.u32(0..8) > 0).then(|| self.tag());
        let ticket = tag.map(|tag| {
            let act = Act::Write(Some(digest.clone()));
            self.known.history.begin(&register(repository, tag), act)
        });
        let path = format!("/v2/{repository}/manifests/{}", tag.unwrap_or(&digest));
        let answer = self.ask(Method::PUT, &path, image.bytes.clone()).await?;
        let answer = answer.must_be(201, &image.before);
        if let Some(ticket) = ticket {
            self.known.history.acknowledge(&ticket);
        }
        Some(answer.to_string())
    }

    async fn read_tag(&mut self) {
        let repository = self.repository();
        let tag = self.tag();
        let method = self.dice.choice([Method::GET, Method::HEAD]).unwrap();
        let path = format!("/v2/{repository}/manifests/{tag}");
        let begun = self.known.history.now();
        let Some(answer) = self.ask(method.clone(), &path, "").await else {
            return;
        };
        let found = (answer.status != 404).then(|| {
            let answer = answer.must_be(200, "nothing, but the tag is there or not");
            let digest = answer.header("docker-content-digest").to_owned();
            if method == Method::GET {
                answer.must_hold(&digest, "nothing, but a manifest has its digest");
            }
            digest
        });
        let register = register(repository, tag);
        self.known.history.read(&register, begun, found);
        self.done.reads += 1;
    }

    async fn delete_tag(&mut self) {
        let repository = self.repository();
        let tag = self.tag();
        let register = register(repository, tag);
        let begun = self.known.history.now();
        let ticket = self.known.history.begin(&register, Act::Write(None));
        let path = format!("/v2/{repository}/manifests/{tag}");
        let Some(answer) = self.ask(Method::DELETE, &path, "").await else {
            return;
        };
        if answer.status == 404 {
            self.known.history.refused(&ticket);
            self.known.history.read(&register, begun, None);
            return;
        }
        answer.must_be(202, "nothing, but the tag is there or not");
        self.known.history.acknowledge(&ticket);
        self.done.deletions += 1;
    }

    /// Deletes an image with all of its tags.
    async fn delete_image(&mut self) {
        let Some((repository, digest, image)) = self.known.take(&mut self.dice) else {
            return;
        };
        let tickets = TAGS.map(|tag| {
            let act = Act::Remove(digest.clone());
            self.known.history.begin(&register(repository, tag), act)
        });
        let path = format!("/v2/{repository}/manifests/{digest}");
        if let Some(answer) = self.ask(Method::DELETE, &path, "").await {
            answer.must_be(202, &image.before);
            tickets
                .iter()
                .for_each(|ticket| self.known.history.acknowledge(ticket));
            self.done.deletions += 1;
        }
    }

    async fn list(&mut self) {
        let repository = self.repository();
        let begun = self.known.history.now();
        let path = format!("/v2/{repository}/tags/list");
        let Some(answer) = self.ask(Method::GET, &path, "").await else {
            return;
        };
        let mut listed = Vec::new();
        if !answer.is(404, "NAME_UNKNOWN") {
            let answer = answer.must_be(200, "nothing, but the repository is there or not");
            listed.extend(answer.json()["tags"].as_array().cloned().unwrap_or_default());
        }
        for tag in TAGS {
            let register = register(repository, tag);
            self.known
                .history
                .listed(&register, begun, listed.contains(&json!(tag)));
        }
        self.done.reads += 1;
    }

    /// Reads an image with one of its blobs.
    async fn pull(&mut self) {
        let Some((repository, digest, image)) = self.known.any(&mut self.dice) else {
            return;
        };
        let blob = self.dice.choice(&image.blobs).unwrap().clone();
        for (kind, digest_there) in [("manifests", &digest), ("blobs", &blob)] {
            let path = format!("/v2/{repository}/{kind}/{digest_there}");
            let Some(answer) = self.ask(Method::GET, &path, "").await else {
                return;
            };
            // Another client may have begun to delete it.
            if self.known.has(repository, &digest) {
                answer
                    .must_be(200, &image.before)
                    .must_hold(digest_there, &image.before);
            }
        }
        self.done.reads += 1;
    }

    async fn mount_or_push(&mut self, repository: &'static str, bytes: &[u8]) -> bool {
        if self.dice.bool() {
            let from = self.repository();
            let path = format!(
                "/v2/{repository}/blobs/uploads/?mount={}&from={from}",
                sha256(bytes)
            );
            match self.ask(Method::POST, &path, "").await {
                Some(answer) if answer.status == 201 => {
                    self.done.mounts += 1;
                    return true;
                }
                Some(answer) => drop(self.begun(answer)),
                None => {}
            }
        }
        self.blob(repository, bytes).await
    }

    /// Returns whether the blob was acknowledged.
    async fn blob(&mut self, repository: &'static str, bytes: &[u8]) -> bool {
        for _ in 0..TRIES {
            let sent = match self.dice.u32(0..3) {
                0 => self.in_one_request(repository, bytes).await,
                _ => self.in_chunks(repository, bytes).await,
            };
            if sent.is_some() {
                return true;
            }
            sleep(Duration::from_millis(self.dice.u64(20..300))).await;
        }
        false
    }

    /// `None` if there was no answer, as below.
    async fn in_one_request(&mut self, repository: &str, bytes: &[u8]) -> Option<()> {
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(bytes));
        let answer = self.ask(Method::POST, &path, bytes.to_vec()).await;
        answer?.must_be(201, "nothing, but any client may push a blob");
        Some(())
    }

    async fn in_chunks(&mut self, repository: &str, bytes: &[u8]) -> Option<()> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let answer = self.ask(Method::POST, &path, "").await?;
        let location = self.begun(answer);
        let chunk = bytes.len() / self.dice.usize(1..4) + 1;
        let mut offset = 0;
        for _ in 0..TRIES {
            let end = (offset + chunk).min(bytes.len());
            let is_last = end == bytes.len();
            let range = (offset < end).then(|| (offset, end - 1));
            let (method, path, status) = if is_last {
                let path = format!("{location}?digest={}", sha256(bytes));
                (Method::PUT, path, 201)
            } else {
                (Method::PATCH, location.clone(), 202)
            };
            let body = bytes[offset..end].to_vec();
            let sent = self.http.ask_with(method, &path, range, body).await;
            match known(sent) {
                // An earlier request of this upload may have arrived late.
                Some(answer) if answer.is(416, "BLOB_UPLOAD_INVALID") => {
                    offset = self.offset(&location, offset).await?;
                }
                Some(answer) => {
                    answer.must_be(status, &format!("{offset} bytes of {location}"));
                    offset = end;
                    if is_last {
                        self.open.retain(|open| *open != location);
                        return Some(());
                    }
                }
                None => {
                    self.done.unknown += 1;
                    if is_last {
                        return None;
                    }
                    offset = self.offset(&location, offset).await?;
                    self.done.resumed += 1;
                }
            }
        }
        None
    }

    /// How many bytes the upload has. They include all acknowledged ones.
    async fn offset(&mut self, location: &str, acknowledged: usize) -> Option<usize> {
        for _ in 0..TRIES {
            let Some(answer) = self.ask(Method::GET, location, "").await else {
                continue;
            };
            let answer = answer.must_be(204, &format!("{acknowledged} bytes of {location}"));
            let range = answer.header("range").strip_prefix("0-").unwrap();
            // An empty upload has the range `0--1`.
            let offset = usize::try_from(range.parse::<isize>().unwrap() + 1).unwrap();
            assert!(
                offset >= acknowledged,
                "{answer}: {acknowledged} were acknowledged"
            );
            return Some(offset);
        }
        None
    }

    /// Notes an upload and returns its location.
    fn begun(&mut self, answer: Answer) -> String {
        let answer = answer.must_be(202, "nothing, but any client may begin an upload");
        let location = answer.header("location").to_owned();
        self.open.push(location.clone());
        location
    }

    /// `None` if it is unknown what happened.
    async fn ask(&mut self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Option<Answer> {
        let answer = known(self.http.ask(method, path, body).await);
        if answer.is_none() {
            self.done.unknown += 1;
            sleep(Duration::from_millis(self.dice.u64(5..50))).await;
        }
        answer
    }

    fn repository(&mut self) -> &'static str {
        self.dice.choice(REPOSITORIES).unwrap()
    }

    fn tag(&mut self) -> &'static str {
        self.dice.choice(TAGS).unwrap()
    }
}

//! What all clients know: which images were acknowledged, and what was seen of the tags.

use crate::crash::http::{Answer, Http};
use crate::crash::left::Left;
use crate::harness::sha256;
use http::Method;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use wharfinger_testkit::{Act, History};

pub(super) const REPOSITORIES: [&str; 2] = ["chaos/a", "chaos/b"];
pub(super) const TAGS: [&str; 3] = ["t0", "t1", "t2"];

#[derive(Default)]
pub(super) struct Known {
    pub(super) history: History,
    /// The images that no client has begun to delete, by repository and digest.
    images: Mutex<BTreeMap<(&'static str, String), Image>>,
    /// All manifests whose push began.
    sent: Mutex<BTreeSet<(&'static str, String)>>,
}

#[derive(Clone)]
pub(super) struct Image {
    pub(super) bytes: String,
    pub(super) blobs: Vec<String>,
    /// The answer that acknowledged it.
    pub(super) before: String,
}

/// What the history calls a tag.
pub(super) fn register(repository: &str, tag: &str) -> String {
    format!("{repository}:{tag}")
}

/// Whether the answer tells what happened.
pub(super) fn known(answer: Option<Answer>) -> Option<Answer> {
    answer.filter(|answer| !answer.status.is_server_error())
}

impl Known {
    pub(super) fn has(&self, repository: &'static str, digest: &str) -> bool {
        let images = self.images.lock().unwrap();
        images.contains_key(&(repository, digest.to_owned()))
    }

    /// A push of the manifest begins.
    pub(super) fn send(&self, repository: &'static str, digest: &str) {
        self.sent.lock().unwrap().insert((repository, digest.to_owned()));
    }

    pub(super) fn add(&self, repository: &'static str, digest: String, image: Image) {
        self.images.lock().unwrap().insert((repository, digest), image);
    }

    pub(super) fn any(&self, dice: &mut fastrand::Rng) -> Option<(&'static str, String, Image)> {
        let images = self.images.lock().unwrap();
        let ((repository, digest), image) = dice.choice(images.iter())?;
        Some((repository, digest.clone(), image.clone()))
    }

    /// Picks an image to delete.
    pub(super) fn take(&self, dice: &mut fastrand::Rng) -> Option<(&'static str, String, Image)> {
        let (repository, digest, image) = self.any(dice)?;
        let taken = self.images.lock().unwrap().remove(&(repository, digest.clone()));
        taken.map(|_| (repository, digest, image))
    }

    pub(super) fn count(&self) -> usize {
        self.images.lock().unwrap().len()
    }

    /// Deletes the manifests that are there, but are not known: their push or deletion had no answer. Nothing is
    /// wrong any more.
    pub(super) async fn delete_unknown(&self, address: SocketAddr) {
        let http = Http::new(address);
        let sent = self.sent.lock().unwrap().clone();
        for (repository, digest) in sent {
            let is_known = self.has(repository, &digest);
            if is_known
                || http
                    .manifest(repository, &digest)
                    .await
                    .expect("an answer")
                    .is_none()
            {
                continue;
            }
            self.delete(&http, repository, &digest, "nothing, but it was found")
                .await;
        }
    }

    /// Deletes a manifest with all of its tags, while nothing is wrong.
    pub(super) async fn delete(&self, http: &Http, repository: &str, digest: &str, before: &str) {
        let tickets = TAGS.map(|tag| {
            let act = Act::Remove(digest.to_owned());
            self.history.begin(&register(repository, tag), act)
        });
        let path = format!("/v2/{repository}/manifests/{digest}");
        let answer = http.ask(Method::DELETE, &path, "").await.expect("an answer");
        // A read by digest may be some seconds behind.
        if !answer.is(404, "MANIFEST_UNKNOWN") {
            answer.must_be(202, before);
        }
        tickets.iter().for_each(|ticket| self.history.acknowledge(ticket));
    }

    /// All images and their tags.
    pub(super) async fn left(&self, address: SocketAddr) -> Left {
        let http = Http::new(address);
        let mut left = Left::default();
        for ((repository, digest), image) in self.images.lock().unwrap().iter() {
            left.add(repository, digest, &image.bytes, &image.blobs);
        }
        for repository in REPOSITORIES {
            for tag in TAGS {
                if let Some(digest) = http.manifest(repository, tag).await.expect("an answer") {
                    left.tag(repository, tag, &digest);
                }
            }
        }
        left
    }

    /// Reads everything through one replica, while nothing is wrong: all tags, and all images with their
    /// blobs.
    pub(super) async fn compare(&self, replica: SocketAddr) {
        let http = Http::new(replica);
        for repository in REPOSITORIES {
            for tag in TAGS {
                let begun = self.history.now();
                let found = http.manifest(repository, tag).await.expect("an answer");
                self.history.read(&register(repository, tag), begun, found);
            }
        }
        let images = self.images.lock().unwrap().clone();
        let all: Vec<_> = images.iter().collect();
        for some in all.chunks(8) {
            let read = some
                .iter()
                .map(|((repository, digest), image)| image.must_be_in(&http, repository, digest));
            futures_util::future::join_all(read).await;
        }
    }
}

impl Image {
    async fn must_be_in(&self, http: &Http, repository: &str, digest: &str) {
        let path = format!("/v2/{repository}/manifests/{digest}");
        let answer = http.ask(Method::GET, &path, "").await.expect("an answer");
        answer.must_be(200, &self.before).must_hold(digest, &self.before);
        assert_eq!(sha256(self.bytes.as_bytes()), digest);
        for blob in &self.blobs {
            let read = http.must_have(repository, blob, &self.before).await;
            read.expect("an answer");
        }
    }
}

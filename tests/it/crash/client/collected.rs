//! What differs beside a collector without grace: a blob that no manifest needs may be gone at any moment, and
//! the policies delete the tags that begin with [`SCRAP`].

use super::super::http::Answer;
use super::super::left::Left;
use super::*;

/// The policies of `collecting.rs` delete the tags that begin with this.
pub(in crate::crash) const SCRAP: char = 'x';

impl Client {
    /// A manifest that needs the blob.
    pub(super) fn user(&self, digest: &str) -> Option<&Manifest> {
        let needs = |manifest: &&Manifest| manifest.blobs.iter().any(|blob| blob == digest);
        self.manifests.values().find(needs)
    }

    /// Whether the manifest was rejected because blobs of it are gone that no other manifest needs.
    pub(super) fn was_collected(&mut self, answer: &Answer, manifest: &Manifest) -> bool {
        if !self.shared.collects || !answer.is(404, "MANIFEST_BLOB_UNKNOWN") {
            return false;
        }
        for error in answer.errors() {
            let digest = error["detail"]["digest"].as_str().unwrap();
            assert!(manifest.blobs.iter().any(|blob| blob == digest), "{answer}");
            self.may_be_gone(digest, answer);
            self.blobs.remove(digest);
        }
        self.unanswered = None;
        true
    }

    pub(super) fn may_be_gone(&self, digest: &str, answer: &Answer) {
        if let Some(user) = self.user(digest) {
            panic!(
                "{answer}\nacknowledged before, and needs {digest}: {}",
                user.before
            );
        }
    }

    /// Compares all blobs with the registry. Those that a manifest needs are there.
    pub(super) async fn compare_blobs(&mut self, http: &Http) -> Option<()> {
        for (digest, before) in self.blobs.clone() {
            let path = self.path(&format!("blobs/{digest}"));
            let answer = http.ask(Method::GET, &path, "").await?;
            if self.shared.collects && answer.is(404, "BLOB_UNKNOWN") {
                self.may_be_gone(&digest, &answer);
                self.blobs.remove(&digest);
            } else {
                answer.must_be(200, &before).must_hold(&digest, &before);
            }
        }
        Some(())
    }

    /// Gives an existing manifest a tag that the policies delete, moves such a tag, or pulls by it.
    pub(super) async fn push_scrap(&mut self, http: &Http) -> Option<bool> {
        let tag = format!("{SCRAP}{}", self.dice.u32(0..10));
        if self.dice.u32(0..3) == 0 {
            http.manifest(&self.repository, &tag).await?;
            return Some(false);
        }
        let Some((digest, manifest)) = self.dice.choice(&self.manifests) else {
            return Some(false);
        };
        let path = self.path(&format!("manifests/{digest}?tag={tag}"));
        let answer = http.ask(Method::PUT, &path, manifest.bytes.clone()).await?;
        answer.must_be(201, &manifest.before);
        Some(true)
    }

    /// Deletes about half of the manifests.
    pub(in crate::crash) async fn delete_half(&mut self, http: &Http) -> Option<()> {
        for _ in 0..self.manifests.len() / 2 {
            self.delete_manifest(http).await?;
        }
        Some(())
    }

    /// The manifests that are there.
    pub(in crate::crash) fn what_is_left(&self, left: &mut Left) {
        for (digest, manifest) in &self.manifests {
            left.add(&self.repository, digest, &manifest.bytes, &manifest.blobs);
        }
        for (tag, (digest, _)) in &self.tags {
            left.tag(&self.repository, tag, digest);
        }
    }
}

//! After a restart, a client learns what became of its unanswered request, and compares everything it
//! remembers with what the registry has.

use super::*;

impl Client {
    /// Learns the result of the unanswered request, and compares everything it remembers with the registry.
    pub(in crate::crash) async fn settle(&mut self, http: &Http) -> Option<()> {
        if let Some(unanswered) = self.unanswered.take() {
            self.learn(http, unanswered).await?;
        }
        for upload in &mut self.uploads {
            self.done.resumed += u64::from(upload.look(http).await?);
        }
        let repository = self.repository.clone();
        for (tag, (digest, before)) in &self.tags {
            let found = http.manifest(&repository, tag).await?;
            assert_eq!(
                found.as_ref(),
                Some(digest),
                "{repository}:{tag}\nacknowledged before: {before}"
            );
        }
        for (digest, Manifest { blobs, before, .. }) in &self.manifests {
            let answer = http
                .ask(Method::GET, &self.path(&format!("manifests/{digest}")), "")
                .await?;
            answer.must_be(200, before).must_hold(digest, before);
            assert!(
                blobs.iter().all(|blob| self.blobs.contains_key(blob)),
                "{digest} needs {blobs:?}, and {:?} are there",
                self.blobs
            );
        }
        self.compare_blobs(http).await?;
        for (path, before) in std::mem::take(&mut self.gone) {
            http.ask(Method::GET, &path, "").await?.must_be(404, &before);
        }
        self.list(http).await?;
        self.referrers(http).await?;
        let repositories = http.ask(Method::GET, "/v2/_catalog?n=1000", "").await?.json();
        let listed = repositories["repositories"]
            .as_array()
            .unwrap()
            .iter()
            .any(|name| *name == json!(repository));
        assert!(
            listed || self.manifests.is_empty(),
            "{repository} is not in {repositories}"
        );
        Some(())
    }

    async fn learn(&mut self, http: &Http, unanswered: Unanswered) -> Option<()> {
        let repository = self.repository.clone();
        match unanswered {
            Unanswered::Push {
                digest,
                mut manifest,
                tags,
            } => {
                let there = http.manifest(&repository, &digest).await?.is_some();
                let mut moved = Vec::new();
                for tag in tags {
                    let found = http.manifest(&repository, &tag).await?;
                    let acknowledged = self.tags.get(&tag).map(|(digest, _)| digest);
                    if found.as_ref() == Some(&digest) {
                        assert!(there, "{repository}:{tag} is on {digest}, which is not there");
                        moved.push(tag);
                    } else {
                        assert_eq!(
                            found.as_ref(),
                            acknowledged,
                            "{repository}:{tag}, which was to be moved to {digest}: {:?}",
                            self.tags
                        );
                    }
                }
                if !there {
                    // Pushes it again, as a client would.
                    let answer = http
                        .ask(
                            Method::PUT,
                            &self.path(&format!("manifests/{digest}")),
                            manifest.bytes.clone(),
                        )
                        .await?;
                    if self.was_collected(&answer, &manifest) {
                        return Some(());
                    }
                    manifest.before = answer.must_be(201, &manifest.before).to_string();
                }
                for tag in moved {
                    self.tags
                        .insert(tag, (digest.clone(), "nothing, but it was found so".to_owned()));
                }
                self.has_manifest(digest, manifest);
            }
            Unanswered::Manifest { deleted } => {
                if http.manifest(&repository, &deleted).await?.is_some() {
                    return Some(()); // the comparison that follows finds its tags
                }
                for (tag, (_, before)) in self.tags.iter().filter(|(_, (digest, _))| *digest == deleted) {
                    let found = http.manifest(&repository, tag).await?;
                    assert_eq!(
                        found, None,
                        "{repository}:{tag}, when {deleted} is gone\nacknowledged before: {before}"
                    );
                }
                // Deletes it again, as a client would. That completes an interrupted deletion.
                let answer = http
                    .ask(Method::DELETE, &self.path(&format!("manifests/{deleted}")), "")
                    .await?;
                let gone = answer.is(404, "MANIFEST_UNKNOWN") || answer.is(404, "NAME_UNKNOWN");
                assert!(gone || answer.status == 202, "{answer}\nand it was not there");
                self.forget(&deleted);
            }
            Unanswered::Tag { deleted } => {
                if http.manifest(&repository, &deleted).await?.is_none() {
                    self.tags.remove(&deleted);
                }
            }
            Unanswered::Blob(digest) => {
                let path = self.path(&format!("blobs/{digest}"));
                let answer = http.ask(Method::GET, &path, "").await?;
                if answer.is(404, "BLOB_UNKNOWN") {
                    self.blobs.remove(&digest);
                } else {
                    answer
                        .must_be(200, "nothing, but it is there or not")
                        .must_hold(&digest, "nothing, but it is there or not");
                    self.has_blob(&digest, "nothing, but it was found so".to_owned());
                }
            }
        }
        Some(())
    }

    /// Closes the uploads that are still open, each of which must become a blob.
    pub(in crate::crash) async fn finish(&mut self, http: &Http) -> Option<()> {
        while !self.uploads.is_empty() {
            self.close(http, 0).await?;
        }
        self.settle(http).await
    }
}

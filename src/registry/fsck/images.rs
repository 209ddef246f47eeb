//! The images that must be pushed again, because something that they need is damaged.

use super::super::Error;
use super::super::keys::{self, Entry};
use super::super::states::manifest::ManifestRecord;
use super::Check;
use crate::oci::{Digest, RepositoryName, Tag};
use crate::storage::Show;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// An image that a client must push again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokenImage {
    pub repository: String,
    /// The manifest that is damaged or needs damaged content.
    pub digest: String,
    /// The tags of the manifest and of the indexes that list it.
    pub tags: BTreeSet<String>,
}

impl fmt::Display for BrokenImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            repository,
            digest,
            tags,
        } = self;
        write!(f, "push again: {repository}@{digest}")?;
        for (i, tag) in tags.iter().enumerate() {
            let before = if i == 0 { ", tagged" } else { "," };
            write!(f, "{before} {tag}")?;
        }
        Ok(())
    }
}

impl Check<'_> {
    /// Names every manifest that is damaged or needs damaged content. Call this after everything else was
    /// checked. Without damage it reads nothing.
    pub(super) async fn images(&mut self) -> Result<(), Error> {
        if self.damaged_blobs.is_empty() && self.damaged_manifests.is_empty() {
            return Ok(());
        }
        let all = keys::all_of_repositories::<ManifestRecord>();
        let mut all = self.registry.records.keys(all, Show::Visible);
        while let Some(key) = all.next().await? {
            let Some(Entry::Manifest(repository, digest)) = Entry::parse(key.as_str()) else {
                continue;
            };
            if self.is_broken(&repository, &digest).await {
                let mut tags = self.tags_of(&repository, &digest).await?;
                let prefix = keys::indexes(&repository, &digest);
                let mut indexes = self.registry.records.keys(prefix.clone(), Show::All);
                while let Some(key) = indexes.next().await? {
                    if let Some(index) = keys::digest_of(prefix.rest(&key)) {
                        tags.append(&mut self.tags_of(&repository, &index).await?);
                    }
                }
                self.progress.must_be_pushed(&BrokenImage {
                    repository: repository.to_string(),
                    digest: digest.to_string(),
                    tags,
                });
            }
        }
        Ok(())
    }

    async fn is_broken(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let key = keys::manifest(repository, digest);
        if self.damaged_manifests.contains(key.as_str()) {
            return true;
        }
        let record = self.look(&key).await;
        record.is_some_and(|record| {
            let mut blobs = record.header.blobs.iter();
            blobs.any(|blob| self.damaged_blobs.contains(&blob.0))
        })
    }

    async fn tags_of(&self, repository: &RepositoryName, digest: &Digest) -> Result<BTreeSet<String>, Error> {
        let prefix = keys::back_references(repository, digest);
        let mut entries = self.registry.records.keys(prefix.clone(), Show::All);
        let mut tags = BTreeSet::new();
        while let Some(key) = entries.next().await? {
            let Ok(tag) = prefix.rest(&key).parse::<Tag>() else {
                continue;
            };
            let found = self.look(&keys::tag(repository, &tag)).await;
            if found.is_some_and(|found| found.target() == Some(digest)) {
                tags.insert(tag.to_string());
            }
        }
        Ok(tags)
    }
}

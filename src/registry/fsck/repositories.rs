//! Manifests, tags, and what leads to them.

use super::super::hashing::digest_of;
use super::super::marks::LISTED;
use super::super::records::{LinkRecord, ManifestRecord, ManifestState, Mark, TagRecord};
use super::super::{Error, keys};
use super::Check;
use crate::oci::{Digest, Manifest, RepositoryName, Tag};

impl Check<'_> {
    /// Everything below `r/`; what lies elsewhere than records do is told.
    pub(super) async fn repositories(&mut self) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let page = self.registry.records.list("", &after, LISTED).await?;
            let Some(last) = page.last().cloned() else { return Ok(()) };
            for key in &page {
                match keys::Entry::parse(key) {
                    Some(keys::Entry::Manifest(repository, digest)) => self.manifest(key, &repository, &digest).await,
                    Some(keys::Entry::Tag(repository, tag)) => self.tag(key, &repository, &tag).await,
                    Some(keys::Entry::BackReference(repository, digest, tag)) => self.back_reference(key, &repository, &digest, &tag).await,
                    Some(keys::Entry::Referrer(repository, subject, referrer)) => {
                        self.referrer(key, &repository, &subject, &referrer).await;
                    }
                    Some(keys::Entry::Catalog | keys::Entry::Other) => {}
                    None => self.damage(key, "is not the key of a record"),
                }
            }
            after = last;
        }
    }

    /// To be called when it is known which repositories are in use.
    pub(super) async fn catalogue(&mut self) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let page = self.registry.records.list(keys::CATALOG, &after, LISTED).await?;
            let Some(last) = page.last().cloned() else { return Ok(()) };
            for key in &page {
                let Some(repository) = keys::repository_of(key, keys::CATALOG) else { continue };
                if self.read::<Mark>(key).await.is_some()
                    && !self.in_use.contains(repository.as_str())
                    && self.registry.records.list(&keys::manifests(&repository), "", 1).await?.is_empty()
                {
                    self.leftover(key, "nothing is in the repository");
                }
            }
            after = last;
        }
    }

    async fn manifest(&mut self, key: &str, repository: &RepositoryName, digest: &Digest) {
        let Some(record) = self.read::<ManifestRecord>(key).await else { return };
        self.checked.manifests += 1;
        match record.header.state {
            ManifestState::Pend => self.leftover(key, "a push that was cut short"),
            ManifestState::Dying => {
                self.leftover(key, "a deletion that was cut short");
                return;
            }
            ManifestState::Com | ManifestState::Cond => {}
        }
        let found = digest_of(digest.algorithm(), &record.bytes);
        if found != *digest {
            self.damage(key, format!("its bytes have the digest {found}"));
            return;
        }
        match Manifest::parse(Some(&record.header.media_type), &record.bytes) {
            Ok(manifest) if record.says(&manifest) => {}
            Ok(_) => self.damage(key, "its header does not say what its bytes say"),
            Err(why) => self.damage(key, format!("its bytes are no manifest: {why}")),
        }
        if record.is_readable() {
            self.needs(key, repository, digest, &record).await;
        }
    }

    /// What a manifest that is served needs.
    async fn needs(&mut self, key: &str, repository: &RepositoryName, digest: &Digest, record: &ManifestRecord) {
        for blob in &record.header.blobs {
            let link = self.look::<LinkRecord>(&keys::link(&blob.0, repository)).await;
            let linked = link.is_some_and(|link| link.generation.is_some());
            if !linked && !record.header.sparse {
                self.damage(key, format!("needs the blob {}, which the repository does not have", blob.0));
            }
        }
        for child in &record.header.manifests {
            let there = self.look::<ManifestRecord>(&keys::manifest(repository, &child.0)).await.is_some_and(|child| child.is_readable());
            if !there && !record.header.sparse {
                self.leftover(key, format!("lists the manifest {}, which was deleted", child.0));
            }
        }
        if let Some(subject) = &record.header.subject
            && self.look::<Mark>(&keys::referrer(repository, &subject.0, digest)).await.is_none()
        {
            self.damage(key, format!("is not found among the referrers of {}", subject.0));
        }
        if self.look::<Mark>(&keys::catalog(repository.as_str())).await.is_none() {
            self.damage(key, "its repository is not in the catalogue");
        }
    }

    async fn tag(&mut self, key: &str, repository: &RepositoryName, tag: &Tag) {
        let Some(record) = self.read::<TagRecord>(key).await else { return };
        self.checked.tags += 1;
        match self.look::<ManifestRecord>(&keys::manifest(repository, &record.digest.0)).await {
            None => self.damage(key, format!("is on the manifest {}, which does not exist", record.digest.0)),
            Some(manifest) if !manifest.is_readable() => self.leftover(key, "is on a manifest whose deletion was cut short"),
            Some(_) => {
                let back = keys::back_reference(repository, &record.digest.0, tag);
                if self.look::<Mark>(&back).await.is_none() {
                    self.leftover(key, "a push that was cut short: deleting the manifest would leave the tag");
                }
            }
        }
    }

    async fn back_reference(&mut self, key: &str, repository: &RepositoryName, digest: &Digest, tag: &Tag) {
        let there = self.read::<Mark>(key).await.is_some();
        let target = self.look::<TagRecord>(&keys::tag(repository, tag)).await;
        if there && target.is_none_or(|target| target.digest.0 != *digest) {
            self.leftover(key, "the tag is elsewhere");
        }
    }

    async fn referrer(&mut self, key: &str, repository: &RepositoryName, subject: &Digest, referrer: &Digest) {
        let there = self.read::<Mark>(key).await.is_some();
        let manifest = self.look::<ManifestRecord>(&keys::manifest(repository, referrer)).await.filter(ManifestRecord::is_readable);
        let refers = manifest.and_then(|manifest| manifest.header.subject).is_some_and(|found| found.0 == *subject);
        if there && !refers {
            self.leftover(key, "the referrer is not there");
        }
    }
}

//! Manifests, tags, and the entries that point at them.

use super::super::hashing::digest_of;
use super::super::keys::{Entry, Key, Prefix};
use super::super::records::Stored;
use super::super::states::manifest::{ManifestRecord, ManifestState};
use super::super::states::mark::Mark;
use super::super::{Error, keys};
use super::Check;
use crate::oci::{Digest, InvalidManifest, Manifest, RepositoryName, Tag};
use crate::storage::Show;

impl Check<'_> {
    /// Checks all records of repositories except links and uploads. A key that no record can have is
    /// reported.
    pub(super) async fn repositories(&mut self) -> Result<(), Error> {
        let mut keys = self
            .registry
            .records
            .keys(Prefix::<()>::new(String::new()), Show::All);
        while let Some(key) = keys.next().await? {
            let key = key.as_str();
            match Entry::parse(key) {
                Some(Entry::Manifest(repository, digest)) => self.manifest(&repository, &digest).await,
                Some(Entry::Tag(repository, tag)) => self.tag(&repository, &tag).await,
                Some(Entry::Past(repository, tag, seq)) => self.past(&repository, &tag, seq).await,
                Some(Entry::BackReference(repository, digest, tag)) => {
                    self.back_reference(&repository, &digest, &tag).await
                }
                Some(Entry::Referrer(repository, subject, referrer)) => {
                    self.referrer(&repository, &subject, &referrer).await
                }
                Some(Entry::Index(repository, child, index)) => self.index(&repository, &child, &index).await,
                Some(Entry::Deletion(repository, digest)) => self.deletion(&repository, &digest).await,
                Some(Entry::Pass) => self.is_readable(&keys::pass()).await,
                Some(Entry::Pulls(repository, digest)) => self.pulls(&repository, &digest).await,
                Some(Entry::Scrub) => self.is_readable(&keys::scrub()).await,
                Some(Entry::StoreUsage) => self.is_readable(&keys::usage_of_store()).await,
                Some(Entry::Usage(repository)) => self.is_readable(&keys::usage(repository.as_str())).await,
                Some(Entry::Own) => self.own(key).await,
                Some(Entry::Blob(_) | Entry::Link(..) | Entry::Upload(..) | Entry::Catalog(_)) => {}
                None => self.damage(key, "is not the key of a record"),
            }
        }
        Ok(())
    }

    /// Call this after links and uploads have been checked.
    pub(super) async fn catalogue(&mut self) -> Result<(), Error> {
        let mut in_use = self.in_use.take().sorted()?;
        let mut next = in_use.next()?;
        let mut keys = self.registry.records.keys(keys::catalog(), Show::All);
        while let Some(key) = keys.next().await? {
            let rest = keys.prefix().rest(&key);
            while next.as_deref().is_some_and(|next| next < rest) {
                next = in_use.next()?;
            }
            let Some(repository) = keys::repository_of(rest) else {
                continue;
            };
            if self.read(&key).await.is_some()
                && next.as_deref() != Some(rest)
                && self
                    .registry
                    .records
                    .is_empty(&keys::manifests(&repository), Show::All)
                    .await?
            {
                self.leftover(key.as_str(), "the repository is empty");
            }
        }
        Ok(())
    }

    async fn manifest(&mut self, repository: &RepositoryName, digest: &Digest) {
        let key = keys::manifest(repository, digest);
        let Some(record) = self.read(&key).await else {
            self.damaged_manifests.insert(key.to_string());
            return;
        };
        let key = key.as_str();
        self.checked.manifests += 1;
        match record.header.state {
            ManifestState::Pend => self.leftover(key, "remains of an interrupted push"),
            ManifestState::Dying => {
                self.leftover(key, "remains of an interrupted deletion");
                return;
            }
            ManifestState::Com | ManifestState::Cond => {}
        }
        let found = digest_of(digest.algorithm(), &record.bytes);
        if found != *digest {
            self.damage(key, format!("its bytes have the digest {found}"));
            self.damaged_manifests.insert(key.to_owned());
            return;
        }
        match Manifest::parse(Some(&record.header.media_type), &record.bytes) {
            Ok(manifest) if record.says(&manifest) => {}
            Ok(_) => self.damage(key, "its header does not match its bytes"),
            // Earlier versions accepted these.
            Err(InvalidManifest::Lacks { .. } | InvalidManifest::Surplus { .. }) => {}
            Err(why) => self.damage(key, format!("its bytes are not a valid manifest: {why}")),
        }
        if record.is_readable() {
            self.needs(key, repository, digest, &record).await;
        }
    }

    /// Checks that everything exists that a readable manifest needs.
    async fn needs(
        &mut self,
        key: &str,
        repository: &RepositoryName,
        digest: &Digest,
        record: &ManifestRecord,
    ) {
        for blob in &record.header.blobs {
            let link = self.look(&keys::link(&blob.0, repository)).await;
            let linked = link.is_some_and(|link| link.generation.is_some());
            if !linked && !record.header.sparse {
                self.damage(
                    key,
                    format!("needs the blob {}, which the repository does not have", blob.0),
                );
                self.damaged_manifests.insert(key.to_owned());
            }
        }
        for child in &record.header.manifests {
            let there = self
                .look(&keys::manifest(repository, &child.0))
                .await
                .is_some_and(|child| child.is_readable());
            // In sparse repositories, a child may be deleted before its index.
            if !there && !record.header.sparse && !self.registry.settings.sparse.contain(repository) {
                self.damage(
                    key,
                    format!(
                        "lists the manifest {}, which the repository does not have",
                        child.0
                    ),
                );
                self.damaged_manifests.insert(key.to_owned());
            }
            if !record.header.sparse
                && self
                    .look(&keys::index(repository, &child.0, digest))
                    .await
                    .is_none()
            {
                self.damage(
                    key,
                    format!("no index entry protects its manifest {} from deletion", child.0),
                );
            }
        }
        if let Some(subject) = &record.header.subject
            && self
                .look(&keys::referrer(repository, &subject.0, digest))
                .await
                .is_none()
        {
            self.damage(key, format!("is missing from the referrers of {}", subject.0));
        }
        if self.look(&keys::in_catalog(repository.as_str())).await.is_none() {
            self.damage(key, "its repository is not in the catalogue");
        }
    }

    async fn tag(&mut self, repository: &RepositoryName, tag: &Tag) {
        let key = keys::tag(repository, tag);
        let Some(record) = self.read(&key).await else {
            return;
        };
        let key = key.as_str();
        if record.is_announcement() {
            self.leftover(key, "remains of an interrupted push");
        }
        let Some(target) = record.target() else { return };
        self.checked.tags += 1;
        match self.look(&keys::manifest(repository, target)).await {
            None => self.damage(
                key,
                format!("points to the manifest {target}, which does not exist"),
            ),
            Some(manifest) if !manifest.is_readable() => {
                self.leftover(key, "points to a manifest whose deletion was interrupted")
            }
            Some(_) => {
                if self
                    .look(&keys::back_reference(repository, target, tag))
                    .await
                    .is_none()
                {
                    self.leftover(
                        key,
                        "remains of an interrupted push: deleting the manifest would not delete this tag",
                    );
                }
            }
        }
    }

    async fn past(&mut self, repository: &RepositoryName, tag: &Tag, seq: u64) {
        let key = keys::past(repository, tag, seq);
        if let Some(record) = self.read(&key).await.filter(|record| record.seq != seq) {
            self.damage(
                key.as_str(),
                format!(
                    "has the key of event {seq}, but is event {} of the tag",
                    record.seq
                ),
            );
        }
    }

    async fn back_reference(&mut self, repository: &RepositoryName, digest: &Digest, tag: &Tag) {
        let tagged = self.look(&keys::tag(repository, tag)).await;
        let leads = tagged.is_some_and(|tagged| tagged.target() == Some(digest));
        self.entry(
            &keys::back_reference(repository, digest, tag),
            leads,
            "the tag does not point to this manifest",
        )
        .await;
    }

    async fn referrer(&mut self, repository: &RepositoryName, subject: &Digest, referrer: &Digest) {
        let manifest = self
            .look(&keys::manifest(repository, referrer))
            .await
            .filter(ManifestRecord::is_readable);
        let refers = manifest
            .and_then(|manifest| manifest.header.subject)
            .is_some_and(|found| found.0 == *subject);
        self.entry(
            &keys::referrer(repository, subject, referrer),
            refers,
            "the referrer does not exist or has another subject",
        )
        .await;
    }

    async fn index(&mut self, repository: &RepositoryName, child: &Digest, index: &Digest) {
        let lists = self
            .look(&keys::manifest(repository, index))
            .await
            .is_some_and(|found| found.lists(child));
        self.entry(
            &keys::index(repository, child, index),
            lists,
            "the index does not exist or does not list this manifest",
        )
        .await;
    }

    async fn deletion(&mut self, repository: &RepositoryName, digest: &Digest) {
        self.entry(
            &keys::deletion(repository, digest),
            false,
            "remains of an interrupted deletion",
        )
        .await;
    }

    async fn pulls(&mut self, repository: &RepositoryName, digest: &Digest) {
        let key = keys::pulls(repository, digest);
        if self.read(&key).await.is_some() && self.look(&keys::manifest(repository, digest)).await.is_none() {
            self.leftover(key.as_str(), "the manifest does not exist");
        }
    }

    /// The token service reads the store's ID itself.
    async fn own(&mut self, key: &str) {
        let probe = keys::probe();
        let pulls_began = keys::pulls_began();
        if key == probe.as_str() {
            self.is_readable(&probe).await;
        } else if key == pulls_began.as_str() {
            self.is_readable(&pulls_began).await;
        }
        for lease in [keys::collecting(), keys::scrubbing()] {
            if key == lease.as_str() {
                self.is_readable(&lease).await;
            }
        }
    }

    async fn is_readable<T: Stored>(&mut self, key: &Key<T>) {
        self.read(key).await;
    }

    /// Reports an entry whose target does not exist.
    async fn entry(&mut self, key: &Key<Mark>, leads: bool, what: &str) {
        if self.read(key).await.is_some() && !leads {
            self.leftover(key.as_str(), what);
        }
    }
}

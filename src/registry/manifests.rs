//! Manifests: reading, pushing, deleting (distribution-spec, Pulling manifests, Pushing Manifests, Deleting Manifests).

use super::hashing::digest_of;
use super::keys::Key;
use super::states::manifest::{self, ManifestRecord};
use super::typed_store::{Base, Found, until_settled};
use super::{Error, Registry, keys};
use crate::access::{Delete, Permit, Read, Write};
use crate::limits::MANIFEST_BYTES;
use crate::oci::{Algorithm, Condition, Digest, Manifest, Reference, RepositoryName, Tag};
use crate::storage::Show;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};

/// A manifest as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    pub media_type: String,
    pub digest: Digest,
    pub bytes: Bytes,
    pub subject: Option<Digest>,
}

/// A manifest was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    pub digest: Digest,
    /// For `OCI-Subject`.
    pub subject: Option<Digest>,
    /// What the manifest refers to and the repository lacks, where policy accepts that.
    pub missing: Vec<Digest>,
}

impl Registry {
    pub async fn manifest(&self, permit: &Permit<Read>, reference: &Reference) -> Result<StoredManifest, Error> {
        let repository = permit.repository();
        let found = match reference {
            Reference::Digest(digest) => self.stored(repository, digest).await?,
            Reference::Tag(tag) => self.tagged(repository, tag).await?,
        };
        match found {
            Some(manifest) => Ok(manifest),
            None => Err(self.unknown_manifest(repository).await?),
        }
    }

    /// Accepts a manifest whose content the repository holds; its subject may be absent. Whether policy lets the tag be made or moved
    /// is decided by the write of the tag itself.
    pub async fn put_manifest(
        &self,
        permit: &Permit<Write>,
        reference: &Reference,
        content_type: Option<&str>,
        bytes: Bytes,
    ) -> Result<Pushed, Error> {
        self.put_manifest_if(&Condition::default(), permit, reference, content_type, bytes).await
    }

    /// The same on a condition about what the reference leads to now. For a tag it is judged by the write that moves the tag.
    pub async fn put_manifest_if(
        &self,
        condition: &Condition,
        permit: &Permit<Write>,
        reference: &Reference,
        content_type: Option<&str>,
        bytes: Bytes,
    ) -> Result<Pushed, Error> {
        if bytes.len() > MANIFEST_BYTES {
            return Err(Error::TooLarge);
        }
        let algorithm = match reference {
            Reference::Digest(digest) => digest.algorithm(),
            Reference::Tag(_) => Algorithm::Sha256,
        };
        let found = digest_of(algorithm, &bytes);
        if let Reference::Digest(expected) = reference
            && *expected != found
        {
            return Err(Error::DigestMismatch { expected: expected.clone(), found });
        }
        let manifest = Manifest::parse(content_type, &bytes)?;
        let mut pushed = Pushed { digest: found, subject: manifest.subject.clone(), missing: Vec::new() };
        let sparse = self.settings.sparse.contain(permit.repository());
        let record = ManifestRecord::pending(manifest, bytes).sparse(sparse);
        let Reference::Tag(tag) = reference else {
            if !permit.may_create() || !condition.is_empty() {
                let stored = self.stored(permit.repository(), &pushed.digest).await?.map(|stored| stored.digest);
                if stored.is_none() && !permit.may_create() {
                    return Err(Error::TagMissing);
                }
                if !condition.allows(stored.as_ref()) {
                    return Err(Error::ConditionFailed { found: stored });
                }
            }
            pushed.missing = self.commit(permit.repository(), &pushed.digest, &record).await?;
            return Ok(pushed);
        };
        // A tag that may not be written is refused before the manifest is stored; the write below decides all the same.
        self.check_tag(condition, permit, tag, &pushed.digest).await?;
        let (met, written) = (Condition::default(), AtomicBool::new(false));
        let missing = until_settled(|| async {
            let missing = self.commit(permit.repository(), &pushed.digest, &record).await?;
            // The condition held when the tag was written, and would now meet this push's own tag.
            let condition = if written.load(Ordering::SeqCst) { &met } else { condition };
            self.write_tag(condition, permit, tag, &pushed.digest).await?;
            written.store(true, Ordering::SeqCst);
            // Else somebody deleted the manifest meanwhile.
            Ok(self.stays(permit.repository(), &pushed.digest).await?.then_some(missing))
        });
        pushed.missing = missing.await?;
        Ok(pushed)
    }

    /// By digest, the manifest and every tag on it; by tag, that tag alone.
    pub async fn delete_manifest(&self, permit: &Permit<Delete>, reference: &Reference) -> Result<(), Error> {
        self.delete_manifest_if(Condition::default(), permit, reference).await
    }

    /// The same on a condition about what a tag leads to now. What a digest leads to cannot change.
    pub async fn delete_manifest_if(&self, condition: Condition, permit: &Permit<Delete>, reference: &Reference) -> Result<(), Error> {
        let (registry, repository, reference) = (self.clone(), permit.repository().clone(), reference.clone());
        // To its end even if the caller is given up: a manifest's tags go with it.
        let task = tokio::spawn(async move {
            let deleted = match &reference {
                Reference::Tag(tag) => registry.delete_tag(&condition, &repository, tag).await?,
                Reference::Digest(digest) if condition.allows(Some(digest)) => registry.delete_by_digest(&repository, digest).await?,
                Reference::Digest(digest) => return Err(Error::ConditionFailed { found: Some(digest.clone()) }),
            };
            if deleted { Ok(()) } else { Err(registry.unknown_manifest(&repository).await?) }
        });
        task.await.unwrap_or(Err(Error::Interrupted))
    }

    /// The manifest itself was not found: does the repository exist?
    async fn unknown_manifest(&self, repository: &RepositoryName) -> Result<Error, Error> {
        let exists = self.records.is_marked(&keys::in_catalog(repository.as_str())).await?;
        Ok(if exists { Error::ManifestUnknown } else { Error::RepositoryUnknown })
    }

    pub(super) async fn stored(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<StoredManifest>, Error> {
        let found = self.records.look_up(&keys::manifest(repository, digest)).await?.filter(|found| found.record.is_readable());
        Ok(found.map(|found| StoredManifest {
            media_type: found.record.header.media_type.clone(),
            digest: digest.clone(),
            bytes: found.record.bytes.clone(),
            subject: found.record.header.subject.as_ref().map(|subject| subject.0.clone()),
        }))
    }

    async fn tagged(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<StoredManifest>, Error> {
        let mut before = None;
        loop {
            let Some(digest) = self.tag_target(repository, tag).await? else { return Ok(None) };
            let found = self.stored(repository, &digest).await?;
            // The tag may have moved, and the old manifest gone, between the two reads.
            if found.is_some() || before.as_ref() == Some(&digest) {
                return Ok(found);
            }
            before = Some(digest);
        }
    }

    /// Announces the manifest, which keeps collectors away from what it needs, looks whether all of that is there, and commits. Answers
    /// with what is missing, where that is accepted.
    async fn commit(&self, repository: &RepositoryName, digest: &Digest, pushed: &ManifestRecord) -> Result<Vec<Digest>, Error> {
        until_settled(|| self.commit_once(repository, digest, pushed)).await
    }

    async fn commit_once(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        pushed: &ManifestRecord,
    ) -> Result<Option<Vec<Digest>>, Error> {
        let key = keys::manifest(repository, digest);
        let announce = |found: Option<Found<ManifestRecord>>| {
            let old = found.as_ref().is_some_and(|found| self.records.is_old(found.written));
            Ok(ManifestRecord::announce(found.map(|found| found.record), pushed, old))
        };
        let (record, base) = match self.records.change(&key, announce).await? {
            (manifest::Found::Pending(record), Some(base)) => (record, base),
            (manifest::Found::Committed(_), _) => return Ok(Some(Vec::new())),
            (manifest::Found::Pending(_), None) => return Ok(None),
        };
        // Whoever deletes a child asks these, and the child is looked at after they are written.
        let listed: Vec<_> = record.header.manifests.iter().map(|child| keys::index(repository, &child.0, digest)).collect();
        self.records.mark_all(&listed).await?;
        let missing = self.missing(repository, &record).await?;
        if !missing.is_empty() && !record.header.sparse {
            self.bury(repository, digest, &base, &record).await?;
            return Err(Error::MissingReferences(missing));
        }
        if let Some(subject) = &record.header.subject {
            self.records.mark(&keys::referrer(repository, &subject.0, digest)).await?;
        }
        self.records.mark(&keys::in_catalog(repository.as_str())).await?;
        Ok(self.records.swap(&key, &base, &record.committed()).await?.map(|_| missing))
    }

    async fn missing(&self, repository: &RepositoryName, record: &ManifestRecord) -> Result<Vec<Digest>, Error> {
        let mut missing = Vec::new();
        for blob in &record.header.blobs {
            if !self.holds(repository, &blob.0).await? {
                missing.push(blob.0.clone());
            }
        }
        for child in &record.header.manifests {
            if !self.stays(repository, &child.0).await? {
                missing.push(child.0.clone());
            }
        }
        Ok(missing)
    }

    /// Whether the manifest is there from now on; one that is condemned is rescued.
    pub(super) async fn stays(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        self.records.settle(&keys::manifest(repository, digest), |found, _| ManifestRecord::hold(found)).await
    }

    async fn delete_by_digest(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let key = keys::manifest(repository, digest);
        until_settled(|| async {
            match self.records.read(&key).await? {
                // What is dying already belongs to a deletion that goes on, or that was cut short: help it.
                Some(found) if found.record.is_readable() || !found.record.counts() => {
                    if !self.bury(repository, digest, &found.base(), &found.record).await? {
                        return Ok(None);
                    }
                    self.leave(repository).await?;
                    Ok(Some(true))
                }
                _ => Ok(Some(false)),
            }
        })
        .await
    }

    /// Takes the manifest away and what leads to it. `false`, and nothing has happened, if the record has changed. The record goes last:
    /// as long as a tag may lead to a manifest that is gone, the record says why.
    pub(super) async fn bury(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        base: &Base,
        record: &ManifestRecord,
    ) -> Result<bool, Error> {
        let key = keys::manifest(repository, digest);
        let Some(version) = self.records.swap(&key, base, &record.dying()).await? else { return Ok(false) };
        self.delete_tags_on(repository, digest).await?;
        if let Some(subject) = &record.header.subject {
            self.records.clear(&keys::referrer(repository, &subject.0, digest), || self.exists(&key)).await?;
        }
        for child in &record.header.manifests {
            self.records.clear(&keys::index(repository, &child.0, digest), || self.exists(&key)).await?;
        }
        // Unless it is pushed again meanwhile.
        self.records.delete(&key, &version).await?;
        Ok(true)
    }

    async fn exists(&self, key: &Key<ManifestRecord>) -> Result<bool, Error> {
        Ok(self.records.read(key).await?.is_some_and(|found| found.record.counts()))
    }

    /// Takes the repository out of the catalogue if nothing keeps it there.
    pub(super) async fn leave(&self, repository: &RepositoryName) -> Result<(), Error> {
        self.records.clear(&keys::in_catalog(repository.as_str()), || self.is_in_use(repository)).await
    }

    async fn is_in_use(&self, repository: &RepositoryName) -> Result<bool, Error> {
        Ok(!self.records.is_empty(&keys::manifests(repository), Show::All).await?
            || !self.records.is_empty(&keys::uploads(repository), Show::All).await?)
    }
}

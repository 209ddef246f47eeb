//! Manifests: reading, pushing, deleting (distribution-spec, Pulling manifests, Pushing Manifests, Deleting Manifests).

use super::hashing::digest_of;
use super::marks::{LISTED, TRIES, contended};
use super::records::{ManifestRecord, ManifestState};
use super::{Error, Registry, keys};
use crate::access::{Delete, Permit, Read, Write};
use crate::limits::MANIFEST_BYTES;
use crate::oci::{Algorithm, Condition, Digest, Manifest, Reference, RepositoryName, Tag};
use crate::storage::Version;
use bytes::Bytes;

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
        let record = ManifestRecord::pending(manifest, bytes, self.clock.now()).sparse(sparse);
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
            pushed.missing = self.commit(permit.repository(), &pushed.digest, record).await?;
            return Ok(pushed);
        };
        // A tag that may not be written is refused before the manifest is stored; the write below decides all the same.
        self.check_tag(condition, permit, tag, &pushed.digest).await?;
        let (mut condition, met) = (condition, Condition::default());
        for _ in 0..TRIES {
            pushed.missing = self.commit(permit.repository(), &pushed.digest, record.clone()).await?;
            self.write_tag(condition, permit, tag, &pushed.digest).await?;
            if self.stays(permit.repository(), &pushed.digest).await? {
                return Ok(pushed);
            }
            // Somebody deleted the manifest meanwhile. The condition did hold, and would now meet this push's own tag.
            condition = &met;
        }
        Err(contended())
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
        let exists = self.records.is_marked(&keys::catalog(repository.as_str())).await?;
        Ok(if exists { Error::ManifestUnknown } else { Error::RepositoryUnknown })
    }

    pub(super) async fn stored(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<StoredManifest>, Error> {
        let record = self.records.look_up::<ManifestRecord>(&keys::manifest(repository, digest)).await?;
        Ok(record.filter(|record| record.is_readable()).map(|record| StoredManifest {
            media_type: record.header.media_type.clone(),
            digest: digest.clone(),
            bytes: record.bytes.clone(),
            subject: record.header.subject.as_ref().map(|subject| subject.0.clone()),
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
    async fn commit(&self, repository: &RepositoryName, digest: &Digest, pending: ManifestRecord) -> Result<Vec<Digest>, Error> {
        let key = keys::manifest(repository, digest);
        for _ in 0..TRIES {
            let (version, record) = match self.records.read::<ManifestRecord>(&key).await? {
                None => match self.records.create(&key, &pending).await? {
                    Some(version) => (version, pending.clone()),
                    None => continue,
                },
                Some((_, record)) if record.header.state == ManifestState::Com => return Ok(Vec::new()),
                Some((version, record)) if record.header.state == ManifestState::Cond => {
                    self.records.swap(&key, version, &record.in_state(ManifestState::Com)).await?;
                    continue;
                }
                Some((version, record)) if record.header.state == ManifestState::Dying => {
                    match self.records.swap(&key, version, &pending).await? {
                        Some(version) => (version, pending.clone()),
                        None => continue,
                    }
                }
                Some(found) => found,
            };
            let missing = self.missing(repository, &record).await?;
            if !missing.is_empty() && !record.header.sparse {
                self.bury(repository, digest, version, record).await?;
                return Err(Error::MissingReferences(missing));
            }
            if let Some(subject) = &record.header.subject {
                self.records.mark(&keys::referrer(repository, &subject.0, digest)).await?;
            }
            self.records.mark(&keys::catalog(repository.as_str())).await?;
            if self.records.swap(&key, version, &record.in_state(ManifestState::Com)).await?.is_some() {
                return Ok(missing);
            }
        }
        Err(contended())
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
        let key = keys::manifest(repository, digest);
        for _ in 0..TRIES {
            match self.records.read::<ManifestRecord>(&key).await? {
                Some((_, record)) if record.header.state == ManifestState::Com => return Ok(true),
                Some((version, record)) if record.header.state == ManifestState::Cond => {
                    self.records.swap(&key, version, &record.in_state(ManifestState::Com)).await?;
                }
                _ => return Ok(false),
            }
        }
        Err(contended())
    }

    async fn delete_by_digest(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let key = keys::manifest(repository, digest);
        for _ in 0..TRIES {
            match self.records.read::<ManifestRecord>(&key).await? {
                // What is dying already belongs to a deletion that goes on, or that was cut short: help it.
                Some((version, record)) if record.is_readable() || !record.counts() => {
                    if self.bury(repository, digest, version, record).await? {
                        self.leave(repository).await?;
                        return Ok(true);
                    }
                }
                _ => return Ok(false),
            }
        }
        Err(contended())
    }

    /// Takes the manifest away and what leads to it. `false`, and nothing has happened, if the record has changed. The record goes last:
    /// as long as a tag may lead to a manifest that is gone, the record says why.
    pub(super) async fn bury(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        version: Version,
        record: ManifestRecord,
    ) -> Result<bool, Error> {
        let key = keys::manifest(repository, digest);
        let dying = record.dying();
        let Some(version) = self.records.swap(&key, version, &dying).await? else { return Ok(false) };
        self.delete_tags_on(repository, digest).await?;
        if let Some(subject) = &dying.header.subject {
            self.records.clear(&keys::referrer(repository, &subject.0, digest), || self.exists(&key)).await?;
        }
        // Unless it is pushed again meanwhile.
        self.records.delete(&key, version).await?;
        Ok(true)
    }

    async fn exists(&self, key: &str) -> Result<bool, Error> {
        Ok(self.records.read::<ManifestRecord>(key).await?.is_some_and(|(_, record)| record.counts()))
    }

    /// Takes the repository out of the catalogue if nothing keeps it there.
    pub(super) async fn leave(&self, repository: &RepositoryName) -> Result<(), Error> {
        self.records.clear(&keys::catalog(repository.as_str()), || self.is_in_use(repository)).await
    }

    async fn is_in_use(&self, repository: &RepositoryName) -> Result<bool, Error> {
        if !self.records.list(&keys::manifests(repository), "", 1).await?.is_empty() {
            return Ok(true);
        }
        let mut after = String::new();
        loop {
            let page = self.records.list(keys::UPLOADS, &after, LISTED).await?;
            let Some(last) = page.last().cloned() else { return Ok(false) };
            for key in &page {
                match self.is_upload_of(key, repository).await {
                    Ok(false) => {}
                    Ok(true) => return Ok(true),
                    Err(why) => tracing::error!("an upload cannot be told from others: {why}"),
                }
            }
            after = last;
        }
    }
}

//! Manifests: reading and pushing (distribution-spec, Pulling manifests, Pushing Manifests).

use super::deleting::listed;
use super::hashing::digest_of;
use super::large::{Turn, worked};
use super::omitted::Step;
use super::records::unless_unreadable;
use super::states::manifest::{self, ManifestRecord};
use super::typed_store::{Base, Found, Reading, until_settled};
use super::{Error, Registry, keys, to_its_end};
use crate::access::{Permit, Read, Write};
use crate::limits::MANIFEST_BYTES;
use crate::oci::{
    Algorithm, Condition, Digest, Flaw, InvalidManifest, Manifest, Reference, RepositoryName, Tag,
};
use crate::storage::Version;
use bytes::Bytes;
use futures_util::future::join4;
use std::sync::atomic::{AtomicU64, Ordering};

/// A manifest as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    pub media_type: String,
    pub digest: Digest,
    pub bytes: Bytes,
    pub subject: Option<Digest>,
}

/// The result of an accepted push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    pub digest: Digest,
    /// For `OCI-Subject`.
    pub subject: Option<Digest>,
    /// Content that the manifest refers to and the repository does not have, if the repository is sparse.
    pub missing: Vec<Digest>,
}

/// A manifest whose entries are written and whose content exists.
pub(super) struct Complete {
    /// What is missing, if the repository is sparse.
    pub missing: Vec<Digest>,
    /// The back reference of the tag, as it was written.
    pub back: Option<Version>,
}

/// A manifest that is being pushed.
pub(super) struct Pushing {
    pub record: ManifestRecord,
    pub manifest: Manifest,
    /// Whether the sizes in its descriptors are checked.
    pub checked: bool,
    /// Held until the push ends, even if the client disconnects.
    _turn: Turn,
}

impl Registry {
    /// A manifest as it is stored now.
    pub async fn manifest(
        &self,
        permit: &Permit<Read>,
        reference: &Reference,
    ) -> Result<StoredManifest, Error> {
        self.manifest_by(Reading::Present, permit, reference).await
    }

    /// A manifest for a GET. The store may answer for the manifest with what it had a few seconds ago, but not
    /// for a tag.
    pub async fn pull_manifest(
        &self,
        permit: &Permit<Read>,
        reference: &Reference,
    ) -> Result<StoredManifest, Error> {
        self.manifest_by(Reading::Recent, permit, reference).await
    }

    async fn manifest_by(
        &self,
        reading: Reading,
        permit: &Permit<Read>,
        reference: &Reference,
    ) -> Result<StoredManifest, Error> {
        let repository = permit.repository();
        let found = match reference {
            Reference::Digest(digest) => self.stored(reading, repository, digest).await?,
            Reference::Tag(tag) => self.tagged(reading, repository, tag).await?,
        };
        match found {
            Some(manifest) => Ok(manifest),
            None => Err(self.unknown_manifest(repository).await?),
        }
    }

    /// Accepts a manifest if the repository has all content that it refers to, except its subject. The write
    /// of the tag decides whether policy allows creating or moving the tag.
    pub async fn put_manifest(
        &self,
        permit: &Permit<Write>,
        reference: &Reference,
        content_type: Option<&str>,
        bytes: Bytes,
    ) -> Result<Pushed, Error> {
        self.put_manifest_if(&Condition::default(), permit, reference, content_type, bytes)
            .await
    }

    /// Like [`put_manifest`](Self::put_manifest), if the condition on the reference's current digest holds.
    /// For a tag, the write that moves the tag checks the condition.
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
        let turn = self.requests.take(bytes.len()).await;
        let header = content_type.map(str::to_owned);
        let read = bytes.clone();
        let parse = move || {
            (
                digest_of(algorithm, &read),
                Manifest::parse(header.as_deref(), &read),
            )
        };
        let (found, parsed) = worked(bytes.len(), parse).await?;
        if let Reference::Digest(expected) = reference
            && *expected != found
        {
            return Err(Error::DigestMismatch {
                expected: expected.clone(),
                found,
            });
        }
        let mut manifest = parsed?;
        let checked = !self.settings.unchecked_descriptors.contain(permit.repository());
        if let Some(flaw) = manifest
            .flaw
            .take_if(|flaw| checked || matches!(flaw, Flaw::LongType { .. }))
        {
            return Err(InvalidManifest::from(flaw).into());
        }
        self.sort_children(permit.repository(), &mut manifest).await?;
        let subject = manifest.subject.as_ref().map(|subject| subject.digest.clone());
        let mut pushed = Pushed {
            digest: found,
            subject,
            missing: Vec::new(),
        };
        let sparse = self.settings.sparse.contain(permit.repository());
        let record = ManifestRecord::pending(&manifest, bytes)
            .sparse(sparse)
            .pushed_at(Some(self.records.now().as_millis()));
        let pushing = Pushing {
            record,
            manifest,
            checked,
            _turn: turn,
        };
        let Reference::Tag(tag) = reference else {
            if !permit.may_create() || !condition.is_empty() {
                // An unreadable manifest exists too, and this push repairs it.
                let stored = unless_unreadable(
                    self.stored(Reading::Present, permit.repository(), &pushed.digest)
                        .await,
                )?;
                let stored = stored.map_or_else(
                    || Some(pushed.digest.clone()),
                    |stored| stored.map(|stored| stored.digest),
                );
                if stored.is_none() && !permit.may_create() {
                    return Err(Error::TagMissing);
                }
                if !condition.allows(stored.as_ref()) {
                    return Err(Error::ConditionFailed { found: stored });
                }
            }
            let registry = self.clone();
            let repository = permit.repository().clone();
            return to_its_end(async move {
                let committed = registry.commit(&repository, &pushed.digest, &pushing, None, None);
                pushed.missing = committed.await?.missing;
                Ok(pushed)
            })
            .await;
        };
        let registry = self.clone();
        let condition = condition.clone();
        let permit = permit.clone();
        let tag = tag.clone();
        to_its_end(async move {
            pushed.missing = registry
                .commit_with_tag(&condition, &permit, &tag, &pushed.digest, &pushing)
                .await?;
            Ok(pushed)
        })
        .await
    }

    /// The error for a manifest that was not found: either the repository or only the manifest is unknown.
    pub(super) async fn unknown_manifest(&self, repository: &RepositoryName) -> Result<Error, Error> {
        let exists = self
            .records
            .is_marked(&keys::in_catalog(repository.as_str()))
            .await?;
        Ok(if exists {
            Error::ManifestUnknown
        } else {
            Error::RepositoryUnknown
        })
    }

    async fn stored(
        &self,
        reading: Reading,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<StoredManifest>, Error> {
        let key = keys::manifest(repository, digest);
        let found = self
            .records
            .look_up_for(reading, &key, ManifestRecord::is_readable)
            .await?
            .filter(|found| found.record.is_readable());
        Ok(found.map(|found| StoredManifest {
            media_type: found.record.header.media_type.clone(),
            digest: digest.clone(),
            bytes: found.record.bytes.clone(),
            subject: found
                .record
                .header
                .subject
                .as_ref()
                .map(|subject| subject.0.clone()),
        }))
    }

    async fn tagged(
        &self,
        reading: Reading,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<StoredManifest>, Error> {
        let mut before = None;
        loop {
            let Some(digest) = self.tag_target(repository, tag).await? else {
                return Ok(None);
            };
            let found = self.stored(reading, repository, &digest).await?;
            // Between the two reads the tag may have moved and the old manifest may have been deleted.
            if found.is_some() || before.as_ref() == Some(&digest) {
                return Ok(found);
            }
            before = Some(digest);
        }
    }

    /// Announces the manifest, which protects what it needs from collectors, then checks that all of it
    /// exists, and commits. A manifest that is already committed is checked as well. With a `tag`, also writes the
    /// tag's back reference. `announced` is an announcement that this push has already made.
    pub(super) async fn commit(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        pushed: &Pushing,
        tag: Option<&Tag>,
        mut announced: Option<Base>,
    ) -> Result<Complete, Error> {
        until_settled(|| self.commit_once(repository, digest, pushed, tag, announced.take())).await
    }

    async fn commit_once(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        pushed: &Pushing,
        tag: Option<&Tag>,
        announced: Option<Base>,
    ) -> Result<Option<Complete>, Error> {
        let sparse = pushed.record.header.sparse;
        let key = keys::manifest(repository, digest);
        let early = if self.omitted.has(Step::Announcing) {
            Some(
                self.complete(repository, digest, &pushed.record, pushed, tag)
                    .await?,
            )
        } else {
            None
        };
        let announce = |found: Option<Found<ManifestRecord>>| async move {
            let old = found
                .as_ref()
                .is_some_and(|found| self.records.is_old(found.written));
            let found = found.map(|found| found.record);
            // A deletion that is under way is finished first. Otherwise it would stop and leave some of its
            // tags on the new manifest.
            if found.as_ref().is_some_and(|found| !found.protects_references()) {
                self.untag(repository, digest).await?;
            }
            Ok(ManifestRecord::announce(found, &pushed.record, old))
        };
        let announced = match announced {
            Some(base) => Ok((manifest::Found::Pending(pushed.record.clone()), Some(base))),
            None => self.records.change_after(&key, announce).await,
        };
        let announced = match announced {
            Err(why) if why.is_damage() => {
                // If there is a marker, the damaged manifest was being deleted, and the deletion continues.
                // Otherwise its tags must stay even if this push is rejected, so it is committed at once.
                let going = self
                    .records
                    .is_marked(&keys::deletion(repository, digest))
                    .await?;
                let record = if going {
                    pushed.record.dying()
                } else {
                    pushed.record.committed()
                };
                self.records.replace_damaged(&key, &record).await?;
                return Ok(None);
            }
            announced => announced?,
        };
        let (record, base) = match announced {
            (manifest::Found::Pending(record), Some(base)) => {
                // The announcement may be what an earlier push left.
                let pushed = pushed.record.header.pushed;
                (record.sparse(sparse).pushed_at(pushed), base)
            }
            (manifest::Found::Committed(found), base) => {
                // The record may name less than this push needs, because an earlier version recorded less, or
                // a child of an index was then stored as another kind.
                let differs = found.header.blobs != pushed.record.header.blobs;
                let record = if differs {
                    pushed.record.committed().pushed_at(found.header.pushed)
                } else {
                    found.sparse(sparse)
                };
                let complete = self.complete(repository, digest, &record, pushed, tag).await;
                if complete.is_err() && !self.protects_references(&key).await? {
                    // It was deleted meanwhile, perhaps before the entries of its children were written
                    // again.
                    self.records
                        .clear_alike(&listed(repository, digest, &record), || {
                            self.protects_references(&key)
                        })
                        .await?;
                }
                if let (Err(_), Some(tag)) = (&complete, tag) {
                    // If the tag is unreadable, its entry stays, because the tag may be repaired.
                    unless_unreadable(self.clear_back_reference(repository, digest, tag).await)?;
                }
                let complete = complete?;
                if let Some(base) = base.filter(|_| differs) {
                    // The record is rewritten only now, so that a rejected push leaves it unchanged. The next
                    // attempt checks again with the new record.
                    self.records.swap(&key, &base, &record).await?;
                    return Ok(None);
                }
                // If it was deleted meanwhile, its entries may be missing, and the push starts again.
                return Ok(self.stays(repository, digest).await?.then_some(complete));
            }
            (manifest::Found::Pending(_), None) => return Ok(None),
        };
        // The room is held until the manifest is counted.
        let reserving = self
            .usage
            .reserve_manifest(repository, digest, record.bytes.len());
        let (room, complete) = match reserving.await {
            Ok(room) => match early {
                Some(complete) => (room, Ok(complete)),
                None => (
                    room,
                    self.complete(repository, digest, &record, pushed, tag).await,
                ),
            },
            Err(exceeded) => (None, Err(exceeded.into())),
        };
        let committed = match complete {
            Ok(complete) => self
                .records
                .swap(&key, &base, &record.committed())
                .await
                .map(|done| done.map(|_| complete)),
            Err(refused) => Err(refused),
        };
        match &committed {
            Ok(Some(_)) => self.usage.gained_manifest(repository, digest, record.bytes.len()),
            Ok(None) => {}
            // An announced manifest would prevent the deletion of others. If the commit succeeded after all,
            // this does nothing.
            Err(refused) => match self.give_up(repository, digest, &base, &record).await {
                // Another push of the same manifest was faster, so this one needs no room.
                Ok(false) if matches!(refused, Error::QuotaExceeded(_)) => return Ok(None),
                Ok(_) => {}
                Err(why) => {
                    tracing::warn!(repo.name = %repository, manifest.digest = %digest, "could not remove the remains of a failed push; the next start removes them: {why}");
                }
            },
        }
        drop(room);
        committed
    }

    /// Writes the entries that point at the manifest, and protects what it needs. The order matters: the
    /// entries under an index's children are written before the children are read, because the deletion of a
    /// child looks for these entries. Everything else is independent and runs side by side.
    async fn complete(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        record: &ManifestRecord,
        pushed: &Pushing,
        tag: Option<&Tag>,
    ) -> Result<Complete, Error> {
        self.records.mark_all(&listed(repository, digest, record)).await?;
        let subject = async {
            match &record.header.subject {
                Some(subject) => {
                    let referrer = keys::referrer(repository, &subject.0, digest);
                    self.records.mark(&referrer).await
                }
                None => Ok(()),
            }
        };
        let back = async {
            let Some(tag) = tag else { return Ok(None) };
            let seen = self.settings.shared.then_some(None);
            self.records
                .mark_from(&keys::back_reference(repository, digest, tag), seen)
                .await
        };
        let (missing, subject, entered, back) = join4(
            self.missing(repository, record, pushed),
            subject,
            self.enter(repository),
            back,
        )
        .await;
        let missing = missing?;
        subject?;
        entered?;
        Ok(Complete { missing, back: back? })
    }

    /// Protects the manifest from collection and returns whether it exists. A condemned manifest is rescued.
    pub(super) async fn stays(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        self.hold_manifest(repository, digest)
            .await
            .map(|size| size.is_some())
    }

    /// Like [`stays`](Self::stays), but returns the size.
    pub(super) async fn hold_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        let size = AtomicU64::new(0);
        let step = |found: Option<ManifestRecord>, _| {
            size.store(
                found.as_ref().map_or(0, |found| found.bytes.len() as u64),
                Ordering::SeqCst,
            );
            ManifestRecord::hold(found)
        };
        // An unreadable manifest is treated as missing, so the client pushes it again, which rewrites it.
        let there = unless_unreadable(
            self.records
                .settle(&keys::manifest(repository, digest), step)
                .await,
        )?
        .unwrap_or(false);
        Ok(there.then(|| size.into_inner()))
    }
}

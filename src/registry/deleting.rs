//! Deletes manifests and tags (distribution-spec, Deleting Manifests, Deleting Tags), and finishes
//! interrupted deletions and pushes.
//!
//! A deletion by digest has these steps. The record of the manifest is deleted last, so it explains every
//! entry that still points at it.
//! 1. The manifest is condemned. Then the indexes that may list it are read, and its tags if some may be
//!    immutable. A push of such an index or tag meanwhile rescues the manifest.
//! 2. The manifest becomes `dying`, which hides it from readers. A marker tells lists of tags and the next
//!    start that it is being deleted.
//! 3. Its tags and their back references are deleted, a thousand at a time.
//! 4. The entries that point at it from its subject and its children are deleted.
//! 5. The record is deleted, and that of the manifest's pulls. The repository leaves the catalogue if nothing
//!    else is in it. Then the marker is deleted.

use super::garbage::Candidate;
use super::keys::{Entry, Key};
use super::records::unless_unreadable;
use super::states::Condemnable;
use super::states::manifest::ManifestRecord;
use super::states::mark::Mark;
use super::typed_store::{Base, Changed, Found, Judged, until_settled};
use super::{Error, Registry, keys, to_its_end};
use crate::access::{Delete, Permit};
use crate::oci::{Condition, Digest, Reference, RepositoryName, Tag};
use crate::storage::{Failure, Show};

impl Registry {
    /// By digest, deletes the manifest and all its tags. By tag, deletes only that tag.
    pub async fn delete_manifest(&self, permit: &Permit<Delete>, reference: &Reference) -> Result<(), Error> {
        self.delete_manifest_if(Condition::default(), permit, reference)
            .await
    }

    /// Like [`delete_manifest`](Self::delete_manifest), if the condition on the current digest holds.
    pub async fn delete_manifest_if(
        &self,
        condition: Condition,
        permit: &Permit<Delete>,
        reference: &Reference,
    ) -> Result<(), Error> {
        let registry = self.freeing();
        let permit = permit.clone();
        let reference = reference.clone();
        to_its_end(async move {
            let deleted = match &reference {
                Reference::Tag(tag) => registry.delete_tag(&condition, &permit, tag).await?,
                Reference::Digest(digest) if condition.allows(Some(digest)) => {
                    registry.delete_by_digest(&permit, digest).await?
                }
                Reference::Digest(digest) => {
                    return Err(Error::ConditionFailed {
                        found: Some(digest.clone()),
                    });
                }
            };
            if deleted {
                Ok(())
            } else {
                Err(registry.unknown_manifest(permit.repository()).await?)
            }
        })
        .await
    }

    /// Finishes deletions that a crash interrupted, and removes manifests whose push a crash interrupted.
    /// Call this before the first request. Returns how many it finished. On a shared store they may be pushes and
    /// deletions of other processes that are still running, so the collector finishes those that are old.
    pub async fn finish_what_a_crash_left(&self) -> Result<usize, Error> {
        if self.settings.shared {
            return Ok(0);
        }
        self.freeing().finish_all().await
    }

    async fn finish_all(&self) -> Result<usize, Error> {
        let mut finished = 0;
        let mut hidden = self
            .records
            .keys(keys::all_of_repositories::<ManifestRecord>(), Show::Hidden);
        while let Some(key) = hidden.next().await? {
            match Entry::parse(key.as_str()) {
                Some(Entry::Manifest(repository, digest)) => {
                    finished +=
                        usize::from(unless_damaged(&key, self.finish_one(&repository, &digest).await)?);
                }
                Some(Entry::Tag(repository, tag)) => {
                    let finishing = self.finish_announcement(&repository, &tag);
                    finished += usize::from(unless_damaged(&key, finishing.await)?);
                }
                _ => {}
            }
        }
        // These markers belong to manifests that are gone or were pushed again.
        let mut markers = self.records.keys(keys::all_deletions(), Show::All);
        while let Some(key) = markers.next().await? {
            if let Some(Entry::Deletion(repository, digest)) = Entry::parse(key.as_str()) {
                finished += usize::from(unless_damaged(
                    &key,
                    self.finish_marker(&repository, &digest).await,
                )?);
            }
        }
        Ok(finished)
    }

    /// Deletes a manifest that is pending or dying.
    async fn finish_one(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let found = self.records.read(&keys::manifest(repository, digest)).await?;
        match found.filter(|found| !found.record.is_readable()) {
            Some(found) => {
                self.give_up(repository, digest, &found.base(), &found.record)
                    .await
            }
            None => Ok(false),
        }
    }

    /// Removes the announcement of an immutable tag. If its writer still runs, it announces the tag again.
    async fn finish_announcement(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool, Error> {
        let key = keys::tag(repository, tag);
        match self.records.read(&key).await? {
            Some(found) if found.record.is_announcement() => self.records.delete(&key, &found.version).await,
            _ => Ok(false),
        }
    }

    /// Deletes the marker last, because the next start looks only for manifests with a marker.
    async fn finish_marker(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        self.leave(repository).await?;
        let marker = keys::deletion(repository, digest);
        let judged = self
            .records
            .judge(&marker, |_| true, || self.is_dying(repository, digest))
            .await?;
        Ok(matches!(judged, Judged::Taken))
    }

    /// Deletes a manifest whose push failed or whose deletion was interrupted. The push may have added the
    /// repository to the catalogue.
    pub(super) async fn give_up(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        base: &Base,
        record: &ManifestRecord,
    ) -> Result<bool, Error> {
        let removed = self
            .freeing()
            .remove_manifest(repository, digest, base, record)
            .await?;
        if record.protects_references() {
            self.leave(repository).await?;
        }
        Ok(removed)
    }

    async fn delete_by_digest(&self, permit: &Permit<Delete>, digest: &Digest) -> Result<bool, Error> {
        let repository = permit.repository();
        let key = keys::manifest(repository, digest);
        until_settled(|| async {
            let found = match self.records.read(&key).await {
                Err(why) if why.is_damage() => {
                    self.hide_damaged(permit, digest).await?;
                    return Ok(None);
                }
                found => found?,
            };
            match found {
                Some(found) if found.record.is_readable() => {
                    self.delete_committed(permit, digest, found).await
                }
                // Another deletion is under way or was interrupted. Finish it.
                Some(found) if !found.record.protects_references() => Ok(self
                    .remove_manifest(repository, digest, &found.base(), &found.record)
                    .await?
                    .then_some(true)),
                // The manifest is still being pushed, so readers do not see it. If the push was interrupted,
                // this removes its remains. If it still runs, it starts again.
                Some(found) => {
                    if let Some(why) = self.tags_forbid_deletion(permit, digest, Look::First).await? {
                        return Err(why);
                    }
                    Ok(self
                        .give_up(repository, digest, &found.base(), &found.record)
                        .await?
                        .then_some(false))
                }
                None => Ok(Some(false)),
            }
        })
        .await
    }

    /// Makes an unreadable manifest `dying`. This is safe, because a client that relies on the manifest
    /// rewrites it first. The manifest's children and subject are unknown, so their entries for it remain.
    /// Entries are only hints.
    async fn hide_damaged(&self, permit: &Permit<Delete>, digest: &Digest) -> Result<(), Error> {
        let repository = permit.repository();
        if let Some(why) = self.forbids_deletion(permit, digest, Look::First).await? {
            return Err(why);
        }
        self.records
            .replace_damaged(
                &keys::manifest(repository, digest),
                &ManifestRecord::unknown().dying(),
            )
            .await
            .map(drop)
    }

    /// `None` if another writer was faster.
    async fn delete_committed(
        &self,
        permit: &Permit<Delete>,
        digest: &Digest,
        found: Found<ManifestRecord>,
    ) -> Result<Option<bool>, Error> {
        let repository = permit.repository();
        let key = keys::manifest(repository, digest);
        let mut base = found.base();
        let condemned = found.record.condemned();
        // Most rejections are found before anything is written.
        if let Some(why) = self.forbids_deletion(permit, digest, Look::First).await? {
            return Err(why);
        }
        let tags_matter = permit.detects_collisions() || !permit.may_delete_every_tag();
        if tags_matter || !self.settings.sparse.contain(repository) {
            if !found.record.is_condemned() {
                let Some(version) = self.records.swap(&key, &base, &condemned).await? else {
                    return Ok(None);
                };
                base = base.at(version);
            }
            match self.forbids_deletion(permit, digest, Look::Condemned).await {
                Ok(None) => {}
                forbidden => {
                    if let Err(why) = self.records.swap(&key, &base, &condemned.rescued()).await {
                        tracing::warn!(record.key = %key, "the deletion of a manifest was rejected, but the manifest stays condemned until the next push or HEAD of it: {why}");
                    }
                    return forbidden.and_then(|why| why.map_or(Ok(None), Err));
                }
            }
        }
        Ok(self
            .remove_manifest(repository, digest, &base, &condemned)
            .await?
            .then_some(true))
    }

    /// Why the manifest must not be deleted: an index lists it, or its tags must stay.
    async fn forbids_deletion(
        &self,
        permit: &Permit<Delete>,
        digest: &Digest,
        look: Look,
    ) -> Result<Option<Error>, Error> {
        let repository = permit.repository();
        if !self.settings.sparse.contain(repository)
            && let Some(listed) = self.listed_by(repository, digest).await?
        {
            return Ok(Some(listed));
        }
        self.tags_forbid_deletion(permit, digest, look).await
    }

    /// Why the manifest's tags must stay: one is immutable, or there are several.
    async fn tags_forbid_deletion(
        &self,
        permit: &Permit<Delete>,
        digest: &Digest,
        look: Look,
    ) -> Result<Option<Error>, Error> {
        let repository = permit.repository();
        if !permit.detects_collisions() && permit.may_delete_every_tag() {
            return Ok(None);
        }
        let mut entries = self
            .records
            .keys(keys::back_references(repository, digest), Show::All);
        let mut found = 0;
        while let Some(key) = entries.next().await? {
            let Ok(tag) = entries.prefix().rest(&key).parse::<Tag>() else {
                continue;
            };
            let points_here = match (permit.may_delete(&tag), look) {
                (Err(immutable), Look::Condemned) => {
                    if self.withdraw(repository, &tag, digest).await? {
                        return Ok(Some(immutable.into()));
                    }
                    false
                }
                (immutable, _) => {
                    // An unreadable tag points at no manifest.
                    let target = unless_unreadable(self.tag_target(repository, &tag).await)?.flatten();
                    let points_here = target.as_ref() == Some(digest);
                    if let (Err(immutable), true) = (immutable, points_here) {
                        return Ok(Some(immutable.into()));
                    }
                    points_here
                }
            };
            found += usize::from(points_here);
            if found > 1 && permit.detects_collisions() {
                return Ok(Some(Error::SeveralTags));
            }
        }
        Ok(None)
    }

    /// Finds an index of the repository, committed or being pushed, that lists the manifest. If there is
    /// none, finds an unreadable index that may list it.
    async fn listed_by(&self, repository: &RepositoryName, child: &Digest) -> Result<Option<Error>, Error> {
        let mut entries = self.records.keys(keys::indexes(repository, child), Show::All);
        let mut unreadable = None;
        while let Some(key) = entries.next().await? {
            let Some(index) = keys::digest_of(entries.prefix().rest(&key)) else {
                continue;
            };
            match unless_unreadable(self.records.look_up(&keys::manifest(repository, &index)).await)? {
                Some(Some(found)) if found.record.lists(child) => return Ok(Some(Error::Listed { index })),
                Some(_) => {}
                None => unreadable = Some(Error::MayBeListed { index }),
            }
        }
        Ok(unreadable)
    }

    /// Deletes the manifest and all entries for it. `false` if the record has changed; then nothing is
    /// deleted.
    pub(super) async fn remove_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        base: &Base,
        record: &ManifestRecord,
    ) -> Result<bool, Error> {
        let key = keys::manifest(repository, digest);
        let marker = keys::deletion(repository, digest);
        let Some(base) = self.hide(repository, digest, base, record).await? else {
            return Ok(false);
        };
        self.untag(repository, digest).await?;
        let mut entries = listed(repository, digest, record);
        entries.extend(
            record
                .header
                .subject
                .as_ref()
                .map(|subject| keys::referrer(repository, &subject.0, digest)),
        );
        self.records
            .clear_alike(&entries, || self.protects_references(&key))
            .await?;
        // This fails if the manifest was pushed again meanwhile.
        let mut gone = vec![self.records.planned(&key, Some(&base), None)?];
        gone.extend(self.forgetting_pulls(repository, digest).await?);
        // A failed push also clears the marker, because it may have started on top of a deletion that had set
        // one.
        let mut last = vec![marker];
        if record.is_readable() || !record.protects_references() {
            // The marker is deleted last, so that the next start finishes an interrupted deletion.
            last.insert(0, keys::in_catalog(repository.as_str()));
        }
        let marker = last.len() - 1;
        self.records
            .clear_all(gone, &last, async |place| {
                if place == marker {
                    self.is_dying(repository, digest).await
                } else {
                    self.is_in_use(repository).await
                }
            })
            .await?;
        self.release(repository, digest, record);
        Ok(true)
    }

    /// Notes for the collector what the manifest needed, and what referred to it.
    fn release(&self, repository: &RepositoryName, digest: &Digest, record: &ManifestRecord) {
        let blobs = record.header.blobs.iter();
        let links = blobs.map(|blob| Candidate::Link(repository.clone(), blob.0.clone()));
        let children = record.header.manifests.iter();
        let children = children.map(|child| Candidate::Manifest(repository.clone(), child.0.clone()));
        let referrers = [Candidate::Referrers(repository.clone(), digest.clone())];
        self.garbage
            .note(self.records.now(), links.chain(children).chain(referrers));
    }

    /// Makes the manifest `dying`, with a marker if it may have tags. `None` if the record has changed.
    async fn hide(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        base: &Base,
        record: &ManifestRecord,
    ) -> Result<Option<Base>, Error> {
        let key = keys::manifest(repository, digest);
        let marker = keys::deletion(repository, digest);
        if !record.protects_references() {
            self.records.mark(&marker).await?;
            return Ok(Some(base.clone()));
        }
        // The order matters: a marker is cleared if its manifest is not dying.
        let mut changes = vec![self.records.planned(&key, Some(base), Some(&record.dying()))?];
        if record.is_readable() {
            changes.push(self.records.renewed(&marker).await?);
        }
        let done = self.records.change_all(changes).await?;
        if record.is_readable() && matches!(done.first(), Some(Changed::Written(_))) {
            self.usage.lost_manifest(repository, digest, record.bytes.len());
        }
        match done.as_slice() {
            [Changed::Written(version), Changed::Lost] => {
                self.records.mark(&marker).await?;
                Ok(Some(base.at(version.clone())))
            }
            [Changed::Written(version), ..] => Ok(Some(base.at(version.clone()))),
            _ => {
                self.records
                    .clear(&marker, || self.is_dying(repository, digest))
                    .await?;
                Ok(None)
            }
        }
    }

    /// Deletes the tags of a manifest that is being deleted, with their back references. Stops if the
    /// manifest is pushed again.
    pub(super) async fn untag(&self, repository: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        let mut pages = self.records.pages(
            keys::back_references(repository, digest),
            String::new(),
            Show::All,
        );
        while let Some(page) = pages.next().await? {
            let tags: Vec<(Key<Mark>, Tag)> = page
                .into_iter()
                .filter_map(|key| pages.prefix().rest(&key).parse().ok().map(|tag| (key, tag)))
                .collect();
            if !until_settled(|| self.untag_once(repository, digest, &tags)).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns whether the manifest is still being deleted. `None` if one of the tags was written meanwhile.
    async fn untag_once(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tags: &[(Key<Mark>, Tag)],
    ) -> Result<Option<bool>, Error> {
        let mut changes = Vec::new();
        for (_, tag) in tags {
            let key = keys::tag(repository, tag);
            // An unreadable tag is skipped, so that it does not prevent the deletion of the others.
            let found = unless_unreadable(self.records.read(&key).await)?.flatten();
            if let Some(found) = found.filter(|found| found.record.target() == Some(digest)) {
                changes.push(self.records.planned(&key, Some(&found.base()), None)?);
            }
        }
        // The order of the reads matters: a push commits the manifest before it writes the tag.
        if self
            .protects_references(&keys::manifest(repository, digest))
            .await?
        {
            return Ok(Some(false));
        }
        let back: Vec<_> = tags.iter().map(|(key, _)| key.clone()).collect();
        let points_there = async |place: usize| match tags.get(place) {
            // The entry of an unreadable tag stays, because the tag may be repaired.
            Some((_, tag)) => {
                Ok(unless_unreadable(self.may_point_at(repository, tag, digest).await)?.unwrap_or(true))
            }
            None => Ok(false),
        };
        let done = self.records.clear_all(changes, &back, points_there).await?;
        Ok(done.iter().all(|done| *done != Changed::Lost).then_some(true))
    }

    /// Whether the manifest is committed, condemned or being pushed.
    pub(super) async fn protects_references(&self, key: &Key<ManifestRecord>) -> Result<bool, Error> {
        Ok(self
            .records
            .read(key)
            .await?
            .is_some_and(|found| found.record.protects_references()))
    }

    pub(super) async fn is_dying(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let found = self.records.read(&keys::manifest(repository, digest)).await?;
        Ok(found.is_some_and(|found| !found.record.protects_references()))
    }

    /// Removes the repository from the catalogue if it has no manifests and no uploads.
    pub(super) async fn leave(&self, repository: &RepositoryName) -> Result<(), Error> {
        self.records
            .clear(&keys::in_catalog(repository.as_str()), || {
                self.is_in_use(repository)
            })
            .await
    }

    pub(super) async fn is_in_use(&self, repository: &RepositoryName) -> Result<bool, Error> {
        Ok(!self
            .records
            .is_empty(&keys::manifests(repository), Show::All)
            .await?
            || !self
                .records
                .is_empty(&keys::uploads(repository), Show::All)
                .await?)
    }
}

/// When the tags of a manifest are read.
#[derive(Clone, Copy)]
enum Look {
    /// Before anything is written. Most rejections are found here.
    First,
    /// After the manifest is condemned. Tags that are being created are withdrawn: their writers then find
    /// the manifest condemned.
    Condemned,
}

/// The entries of an index under each of its children.
pub(super) fn listed(
    repository: &RepositoryName,
    digest: &Digest,
    record: &ManifestRecord,
) -> Vec<Key<Mark>> {
    record
        .header
        .manifests
        .iter()
        .map(|child| keys::index(repository, &child.0, digest))
        .collect()
}

/// Logs a failure, so that one record does not stop the others. Returns the error if the store accepts no
/// changes at all.
fn unless_damaged<T>(key: &Key<T>, done: Result<bool, Error>) -> Result<bool, Error> {
    match done {
        Err(why @ Error::Storage(Failure::Full | Failure::Stopped | Failure::Busy)) => Err(why),
        Err(why) => {
            tracing::error!(
                "could not finish an interrupted push or deletion at {key}: {why}; check the store with `wharfinger fsck`"
            );
            Ok(false)
        }
        done => done,
    }
}

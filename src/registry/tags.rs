//! Tags. A tag's record says where the tag points. A back reference from the manifest to the tag is written
//! before the tag and cleared after it, so that the deletion of a manifest finds its tags without reading all
//! tags.

use super::garbage::Candidate;
use super::states::Next;
use super::states::tag::{Event, TagRecord};
use super::typed_store::{Found, until_settled};
use super::{Error, Registry, keys, records, to_its_end};
use crate::access::{Delete, Permit, Unmovable, Write};
use crate::oci::{Condition, Digest, RepositoryName, Tag};
use crate::storage::Version;
use std::future::ready;
use std::sync::Arc;

impl Registry {
    /// Points a tag at a manifest that the repository has. The digest may have any algorithm.
    pub async fn put_tag(&self, permit: &Permit<Write>, tag: &Tag, digest: &Digest) -> Result<(), Error> {
        if !self.stays(permit.repository(), digest).await? {
            return Err(Error::ManifestUnknown);
        }
        let registry = self.clone();
        let permit = permit.clone();
        let tag = tag.clone();
        let digest = digest.clone();
        to_its_end(async move {
            if !registry
                .write_tag(&Condition::default(), &permit, &tag, &digest)
                .await?
            {
                return Err(Error::ManifestUnknown);
            }
            if !registry.stays(permit.repository(), &digest).await? {
                // The manifest was deleted after the tag was written, perhaps by a deletion that had listed
                // its tags before.
                registry.untag(permit.repository(), &digest).await?;
            }
            Ok(())
        })
        .await
    }

    /// Fails if policy does not currently allow pointing all these tags at `digest`.
    pub async fn check_tags(
        &self,
        permit: &Permit<Write>,
        tags: &[Tag],
        digest: &Digest,
    ) -> Result<(), Error> {
        for tag in tags {
            drop(self.check_tag(&Condition::default(), permit, tag, digest).await?);
        }
        Ok(())
    }

    pub(super) async fn tag_target(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Digest>, Error> {
        let found = self.records.look_up(&keys::tag(repository, tag)).await?;
        Ok(found.and_then(|found| found.record.target().cloned()))
    }

    /// Fails if policy or the request's condition does not currently allow writing the tag. Returns the tag as it
    /// was read, unless that is unreadable.
    pub(super) async fn check_tag(
        &self,
        condition: &Condition,
        permit: &Permit<Write>,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<Option<SeenTag>, Error> {
        match self.records.look_up(&keys::tag(permit.repository(), tag)).await {
            Err(why) if why.is_damage() => {
                may_replace(condition, permit, tag, why)?;
                Ok(None)
            }
            found => {
                let found = found?;
                let target = found.as_ref().and_then(|found| found.record.target());
                may_write(condition, permit, tag, target, digest)?;
                Ok(Some(found))
            }
        }
    }

    /// Like [`write_tag`](Self::write_tag), for a push that has read the tag and has already written its back
    /// reference. The caller must check both the back reference and the manifest afterwards, and then call
    /// [`is_off`](Self::is_off) for the manifest that is returned: the one at which the tag pointed before. `None` if
    /// the tag is immutable and must be announced.
    pub(super) async fn place_tag(
        &self,
        condition: &Condition,
        permit: &Permit<Write>,
        tag: &Tag,
        digest: &Digest,
        seen: SeenTag,
    ) -> Result<Option<Option<Digest>>, Error> {
        match self.swap_tag(condition, permit, tag, digest, Some(seen)).await {
            Ok(Swapped::Written { previous }) => Ok(Some(previous)),
            Ok(Swapped::MustBeAnnounced) => Ok(None),
            // The tag may have been written in spite of the error, so its back reference must stay.
            Err(Error::Storage(failure)) => Err(failure.into()),
            Err(refused) => {
                // If the tag is unreadable, the back reference stays, because the tag may be repaired.
                let cleared = self.clear_back_reference(permit.repository(), digest, tag).await;
                records::unless_unreadable(cleared)?;
                Err(refused)
            }
        }
    }

    /// Returns whether the tag is written. An immutable tag is not created on a manifest that has been
    /// deleted meanwhile.
    pub(super) async fn write_tag(
        &self,
        condition: &Condition,
        permit: &Permit<Write>,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let repository = permit.repository();
        let back = keys::back_reference(repository, digest, tag);
        if permit.is_immutable(tag) {
            self.announce_early(permit, tag, digest).await?;
        }
        self.records.mark(&back).await?;
        let swapped = until_settled(|| async {
            Ok(match self.swap_tag(condition, permit, tag, digest, None).await? {
                Swapped::Written { previous } => Some(Some(previous)),
                Swapped::MustBeAnnounced => self.create_announced(condition, permit, tag, digest).await?,
            })
        });
        match swapped.await {
            Ok(Some(previous)) => {
                // A clearing that began before the tag was written may have condemned the back reference
                // since.
                self.records.mark(&back).await?;
                if let Some(previous) = previous {
                    self.is_off(repository, &previous, tag).await?;
                }
                Ok(true)
            }
            Ok(None) => {
                self.clear_back_reference(repository, digest, tag).await?;
                Ok(false)
            }
            // The tag may have been written in spite of the error, so its back reference must stay.
            Err(Error::Storage(failure)) => Err(failure.into()),
            Err(refused) => {
                if permit.is_immutable(tag) {
                    self.withdraw(repository, tag, digest).await?;
                }
                // If the tag is unreadable, the back reference stays, because the tag may be repaired.
                records::unless_unreadable(self.clear_back_reference(repository, digest, tag).await)?;
                Err(refused)
            }
        }
    }

    async fn swap_tag(
        &self,
        condition: &Condition,
        permit: &Permit<Write>,
        tag: &Tag,
        digest: &Digest,
        seen: Option<SeenTag>,
    ) -> Result<Swapped, Error> {
        let key = keys::tag(permit.repository(), tag);
        let event = self.event(permit)?;
        let put = |found: Option<Found<TagRecord>>| {
            let found = found.map(|found| found.record);
            let target = found.as_ref().and_then(TagRecord::target);
            may_write(condition, permit, tag, target, digest)?;
            if target.is_none() && permit.is_immutable(tag) {
                return Ok(Next::Keep(Swapped::MustBeAnnounced));
            }
            Ok(match TagRecord::put(found, digest, &event, records::hash) {
                Next::Write(record, previous) => Next::Write(record, Swapped::Written { previous }),
                // The step always writes.
                _ => Next::Keep(Swapped::Written { previous: None }),
            })
        };
        let mut seen = seen.map(|seen| seen.map(|seen| Found::clone(&seen)));
        until_settled(|| {
            let seen = seen.take();
            async {
                match self
                    .records
                    .change_seen(&key, seen, |found| ready(put(found)))
                    .await
                {
                    Err(why) if why.is_damage() => {
                        may_replace(condition, permit, tag, why)?;
                        let Next::Write(record, previous) =
                            TagRecord::put(None, digest, &event, records::hash)
                        else {
                            return Ok(None);
                        };
                        Ok(self
                            .records
                            .replace_damaged(&key, &record)
                            .await?
                            .then_some(Swapped::Written { previous }))
                    }
                    done => Ok(Some(done?.0)),
                }
            }
        })
        .await
    }

    /// Writes the announcement and the back reference with one commit. That is only faster: the tag is
    /// announced again where it must be.
    async fn announce_early(&self, permit: &Permit<Write>, tag: &Tag, digest: &Digest) -> Result<(), Error> {
        let key = keys::tag(permit.repository(), tag);
        if !matches!(
            records::unless_unreadable(self.records.look_up(&key).await)?,
            Some(None)
        ) {
            return Ok(());
        }
        let Next::Write(announced, _) = TagRecord::announce(None, digest, &self.event(permit)?) else {
            return Ok(());
        };
        let back = keys::back_reference(permit.repository(), digest, tag);
        let changes = [self.records.planned(&key, None, Some(&announced))?];
        let changes = changes.into_iter().chain(self.records.wanted(&back).await?);
        self.records.change_all(changes.collect()).await.map(drop)
    }

    /// Creates an immutable tag. A tag that could be read must not point at other content later, so the
    /// manifest must not be deleted just after the tag is written. The tag is therefore announced first. A
    /// deletion condemns the manifest and then withdraws announcements, and this reads the manifest after the
    /// announcement, so one of them finds the other.
    ///
    /// `None` if another writer was faster, and `Some(None)` if the manifest was deleted.
    async fn create_announced(
        &self,
        condition: &Condition,
        permit: &Permit<Write>,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<Option<Option<Option<Digest>>>, Error> {
        let key = keys::tag(permit.repository(), tag);
        let event = self.event(permit)?;
        let announced = self.records.change(&key, |found| {
            let found = found.map(|found| found.record);
            let target = found.as_ref().and_then(TagRecord::target);
            may_write(condition, permit, tag, target, digest)?;
            Ok(TagRecord::announce(found, digest, &event))
        });
        let (true, Some(base)) = announced.await? else {
            return Ok(None);
        };
        // Only now does the announcement keep others from clearing it.
        self.records
            .mark(&keys::back_reference(permit.repository(), digest, tag))
            .await?;
        if !self.stays(permit.repository(), digest).await? {
            self.records.delete(&key, &base.version).await?;
            return Ok(Some(None));
        }
        let Next::Write(record, previous) = TagRecord::put(None, digest, &event, records::hash) else {
            return Ok(None);
        };
        Ok(self
            .records
            .swap(&key, &base, &record)
            .await?
            .map(|_| Some(previous)))
    }

    /// Withdraws the announcement of an immutable tag, so that its writer reads the manifest again. Returns
    /// whether the tag exists and points at `digest`, or may do so because it cannot be read.
    pub(super) async fn withdraw(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let key = keys::tag(repository, tag);
        until_settled(|| async {
            let Some(found) = records::unless_unreadable(self.records.read(&key).await)? else {
                return Ok(Some(true));
            };
            Ok(match found {
                Some(found) if found.record.is_announcement() => {
                    self.records.delete(&key, &found.version).await?.then_some(false)
                }
                found => Some(found.is_some_and(|found| found.record.target() == Some(digest))),
            })
        })
        .await
    }

    fn event(&self, permit: &Permit<Write>) -> Result<Event, Error> {
        let by = permit.principal().to_string();
        let at = self.records.now().as_millis();
        Ok(Event {
            by,
            at,
            id: self.ids.next()?.to_string(),
        })
    }

    /// `false` if there is no such tag.
    pub(super) async fn delete_tag(
        &self,
        condition: &Condition,
        permit: &Permit<Delete>,
        tag: &Tag,
    ) -> Result<bool, Error> {
        until_settled(|| self.delete_tag_once(condition, permit, tag)).await
    }

    /// `None` if a push has just replaced an unreadable tag.
    async fn delete_tag_once(
        &self,
        condition: &Condition,
        permit: &Permit<Delete>,
        tag: &Tag,
    ) -> Result<Option<bool>, Error> {
        let repository = permit.repository();
        let key = keys::tag(repository, tag);
        let delete = self.records.change(&key, |found| {
            let Some(target) = found.as_ref().and_then(|found| found.record.target()) else {
                return Ok(Next::Keep(None));
            };
            permit.may_delete(tag)?;
            if !condition.allows(Some(target)) {
                return Err(Error::ConditionFailed {
                    found: Some(target.clone()),
                });
            }
            Ok(Next::Delete(Some(target.clone())))
        });
        let deleted = match delete.await {
            // The tag is unreadable, so its target is unknown.
            Err(why) if why.is_damage() && condition.is_empty() => {
                permit.may_delete(tag)?;
                return Ok(self.records.delete_damaged(&key).await?.then_some(true));
            }
            Err(why) if why.is_damage() => return Err(Error::ConditionFailed { found: None }),
            deleted => deleted?.0,
        };
        let Some(digest) = deleted else {
            return Ok(Some(false));
        };
        self.is_off(repository, &digest, tag).await?;
        Ok(Some(true))
    }

    /// Clears the tag's back reference. The manifest may have lost its last tag, so a collector checks it.
    pub(super) async fn is_off(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tag: &Tag,
    ) -> Result<(), Error> {
        let candidate = Candidate::Manifest(repository.clone(), digest.clone());
        self.garbage.note(self.records.now(), [candidate]);
        self.clear_back_reference(repository, digest, tag).await
    }

    /// Deletes a tag for a retention policy, in the state in which it was read. `false` if it has changed.
    pub(super) async fn take_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        version: &Version,
    ) -> Result<bool, Error> {
        if !self.records.delete(&keys::tag(repository, tag), version).await? {
            return Ok(false);
        }
        self.is_off(repository, digest, tag).await?;
        Ok(true)
    }

    /// Whether the tag points at the manifest or is announced. An announced tag may soon point at any
    /// manifest, and each of its writers needs its back reference.
    pub(super) async fn may_point_at(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let found = self.records.look_up(&keys::tag(repository, tag)).await?;
        Ok(
            found
                .is_some_and(|found| found.record.is_announcement() || found.record.target() == Some(digest)),
        )
    }

    pub(super) async fn clear_back_reference(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tag: &Tag,
    ) -> Result<(), Error> {
        let points_there = || self.may_point_at(repository, tag, digest);
        self.records
            .clear(&keys::back_reference(repository, digest, tag), points_there)
            .await
    }
}

/// A tag as it was read. `None` if it does not exist.
pub(super) type SeenTag = Option<Arc<Found<TagRecord>>>;

/// The result of an attempt to write a tag.
enum Swapped {
    /// The tag was written. It pointed at another manifest before, or at none.
    Written { previous: Option<Digest> },
    /// The tag is immutable and does not exist yet.
    MustBeAnnounced,
}

/// Writing an unreadable tag is treated as moving it, so it needs the same rights. A condition on it never
/// holds.
fn may_replace(condition: &Condition, permit: &Permit<Write>, tag: &Tag, why: Error) -> Result<(), Error> {
    match permit.may_move(tag) {
        Err(Unmovable::NoUpdate) => Err(why),
        Err(why) => Err(why.into()),
        Ok(()) if condition.is_empty() => Ok(()),
        Ok(()) => Err(Error::ConditionFailed { found: None }),
    }
}

/// A caller with the right `create` or `update` may push the digest that the tag already has.
fn may_write(
    condition: &Condition,
    permit: &Permit<Write>,
    tag: &Tag,
    found: Option<&Digest>,
    digest: &Digest,
) -> Result<(), Error> {
    match found {
        None if !permit.may_create() => return Err(Error::TagMissing),
        Some(found) if found != digest => permit.may_move(tag)?,
        _ => {}
    }
    if condition.allows(found) {
        Ok(())
    } else {
        Err(Error::ConditionFailed {
            found: found.cloned(),
        })
    }
}

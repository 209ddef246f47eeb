//! Tags. A tag's record says where the tag points. A back reference from the manifest to the tag is written
//! before the tag and cleared after it, so that the deletion of a manifest finds its tags without reading all
//! tags.

use super::garbage::Candidate;
use super::states::Next;
use super::states::tag::{Event, TagRecord};
use super::typed_store::until_settled;
use super::{Error, Registry, UploadId, keys, records, to_its_end};
use crate::access::{Permit, Write};
use crate::oci::{Condition, Digest, RepositoryName, Tag};

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
            registry
                .write_tag(&Condition::default(), &permit, &tag, &digest)
                .await?;
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
            self.check_tag(&Condition::default(), permit, tag, digest).await?;
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

    /// Fails if policy or the request's condition does not currently allow writing the tag.
    pub(super) async fn check_tag(
        &self,
        condition: &Condition,
        permit: &Permit<Write>,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<(), Error> {
        match self.tag_target(permit.repository(), tag).await {
            Err(why) if why.is_damage() => may_replace(condition, permit, why),
            found => may_write(condition, permit, found?.as_ref(), digest),
        }
    }

    pub(super) async fn write_tag(
        &self,
        condition: &Condition,
        permit: &Permit<Write>,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<(), Error> {
        let repository = permit.repository();
        let back = keys::back_reference(repository, digest, tag);
        self.records.mark(&back).await?;
        match self.swap_tag(condition, permit, tag, digest).await {
            Ok(previous) => {
                // A clearing that began before the tag was written may have condemned the back reference
                // since.
                self.records.mark(&back).await?;
                match previous {
                    Some(previous) => self.is_off(repository, &previous, tag).await,
                    None => Ok(()),
                }
            }
            // The tag may have been written in spite of the error, so its back reference must stay.
            Err(Error::Storage(failure)) => Err(failure.into()),
            Err(refused) => {
                self.clear_back_reference(repository, digest, tag).await?;
                Err(refused)
            }
        }
    }

    /// Returns the manifest that the tag pointed at before, if it was another one.
    async fn swap_tag(
        &self,
        condition: &Condition,
        permit: &Permit<Write>,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<Option<Digest>, Error> {
        let key = keys::tag(permit.repository(), tag);
        let event = self.event(permit)?;
        let put = || {
            self.records.change(&key, |found| {
                let found = found.map(|found| found.record);
                may_write(
                    condition,
                    permit,
                    found.as_ref().and_then(TagRecord::target),
                    digest,
                )?;
                Ok(TagRecord::put(found, digest, &event, records::hash))
            })
        };
        until_settled(|| async {
            match put().await {
                Err(why) if why.is_damage() => {
                    may_replace(condition, permit, why)?;
                    let Next::Write(record, before) = TagRecord::put(None, digest, &event, records::hash)
                    else {
                        return Ok(None);
                    };
                    Ok(self
                        .records
                        .replace_damaged(&key, &record)
                        .await?
                        .then_some(before))
                }
                done => Ok(Some(done?.0)),
            }
        })
        .await
    }

    fn event(&self, permit: &Permit<Write>) -> Result<Event, Error> {
        let by = permit.principal().to_string();
        let at = self.records.now().as_millis();
        Ok(Event {
            by,
            at,
            id: UploadId::random()?.to_string(),
        })
    }

    /// `false` if there is no such tag.
    pub(super) async fn delete_tag(
        &self,
        condition: &Condition,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<bool, Error> {
        until_settled(|| self.delete_tag_once(condition, repository, tag)).await
    }

    /// `None` if a push has just replaced an unreadable tag.
    async fn delete_tag_once(
        &self,
        condition: &Condition,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<bool>, Error> {
        let key = keys::tag(repository, tag);
        let delete = self.records.change(&key, |found| {
            let Some(target) = found.as_ref().and_then(|found| found.record.target()) else {
                return Ok(Next::Keep(None));
            };
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

    /// The tag no longer points at this manifest, which may have lost its last one.
    async fn is_off(&self, repository: &RepositoryName, digest: &Digest, tag: &Tag) -> Result<(), Error> {
        let candidate = Candidate::Manifest(repository.clone(), digest.clone());
        self.garbage.note(self.records.now(), [candidate]);
        self.clear_back_reference(repository, digest, tag).await
    }

    async fn clear_back_reference(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tag: &Tag,
    ) -> Result<(), Error> {
        let points_there = || async { Ok(self.tag_target(repository, tag).await?.as_ref() == Some(digest)) };
        self.records
            .clear(&keys::back_reference(repository, digest, tag), points_there)
            .await
    }
}

/// Writing an unreadable tag is treated as moving it, so it needs the right `update`. A condition on it never
/// holds.
fn may_replace(condition: &Condition, permit: &Permit<Write>, why: Error) -> Result<(), Error> {
    if !permit.may_update() {
        return Err(why);
    }
    if condition.is_empty() {
        Ok(())
    } else {
        Err(Error::ConditionFailed { found: None })
    }
}

/// A caller with the right `create` or `update` may push the digest that the tag already has.
fn may_write(
    condition: &Condition,
    permit: &Permit<Write>,
    found: Option<&Digest>,
    digest: &Digest,
) -> Result<(), Error> {
    match found {
        None if !permit.may_create() => Err(Error::TagMissing),
        Some(found) if found != digest && !permit.may_update() => Err(Error::TagExists),
        _ if !condition.allows(found) => Err(Error::ConditionFailed {
            found: found.cloned(),
        }),
        _ => Ok(()),
    }
}

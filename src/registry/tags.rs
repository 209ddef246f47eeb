//! Tags. A tag's record is the truth; a back reference from the manifest to its tag is written before the tag and cleared after it,
//! so that deleting a manifest finds its tags without reading all of them.

use super::marks::{LISTED, TRIES, contended};
use super::records::{Format, TagRecord, Text};
use super::{Error, Registry, keys};
use crate::access::{Permit, Write};
use crate::oci::{Condition, Digest, RepositoryName, Tag};

impl Registry {
    /// Puts a tag on a manifest that the repository holds, under any algorithm's digest.
    pub async fn put_tag(&self, permit: &Permit<Write>, tag: &Tag, digest: &Digest) -> Result<(), Error> {
        if !self.stays(permit.repository(), digest).await? {
            return Err(Error::ManifestUnknown);
        }
        self.write_tag(&Condition::default(), permit, tag, digest).await?;
        if self.stays(permit.repository(), digest).await? {
            return Ok(());
        }
        // The manifest was deleted meanwhile; its deleter may have looked for tags before this one was there.
        self.delete_tags_on(permit.repository(), digest).await?;
        Err(Error::ManifestUnknown)
    }

    /// Whether policy would let all of these tags be put there as things stand.
    pub async fn check_tags(&self, permit: &Permit<Write>, tags: &[Tag], digest: &Digest) -> Result<(), Error> {
        for tag in tags {
            self.check_tag(&Condition::default(), permit, tag, digest).await?;
        }
        Ok(())
    }

    pub(super) async fn tag_target(&self, repository: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, Error> {
        let record = self.records.look_up::<TagRecord>(&keys::tag(repository, tag)).await?;
        Ok(record.map(|record| record.digest.0.clone()))
    }

    /// Whether policy and the request's condition would let the tag be written as things stand.
    pub(super) async fn check_tag(&self, condition: &Condition, permit: &Permit<Write>, tag: &Tag, digest: &Digest) -> Result<(), Error> {
        let found = self.tag_target(permit.repository(), tag).await?;
        may_write(condition, permit, found.as_ref(), digest)
    }

    pub(super) async fn write_tag(&self, condition: &Condition, permit: &Permit<Write>, tag: &Tag, digest: &Digest) -> Result<(), Error> {
        let repository = permit.repository();
        let back = keys::back_reference(repository, digest, tag);
        self.records.mark(&back).await?;
        match self.swap_tag(condition, permit, tag, digest).await {
            Ok(previous) => {
                // A clearing that began before the tag was written may have condemned the back reference since.
                self.records.mark(&back).await?;
                match previous {
                    Some(previous) => self.clear_back_reference(repository, &previous, tag).await,
                    None => Ok(()),
                }
            }
            // The tag may be there all the same, now or later, and must be found then.
            Err(Error::Storage(failure)) => Err(failure.into()),
            Err(refused) => {
                self.clear_back_reference(repository, digest, tag).await?;
                Err(refused)
            }
        }
    }

    /// Answers with the other manifest that the tag pointed at before.
    async fn swap_tag(&self, condition: &Condition, permit: &Permit<Write>, tag: &Tag, digest: &Digest) -> Result<Option<Digest>, Error> {
        let key = keys::tag(permit.repository(), tag);
        let record = TagRecord {
            format: Format,
            digest: Text(digest.clone()),
            by: permit.principal().to_string(),
            at: self.clock.now().as_millis(),
        };
        for _ in 0..TRIES {
            let found = self.records.read::<TagRecord>(&key).await?;
            may_write(condition, permit, found.as_ref().map(|(_, found)| &found.digest.0), digest)?;
            match found {
                None => {
                    if self.records.create(&key, &record).await?.is_some() {
                        return Ok(None);
                    }
                }
                // Written anew as it was, so that whoever is deleting it with the manifest it was on sees that it is wanted.
                Some((version, found)) if found.digest == record.digest => {
                    if self.records.swap(&key, version, &found).await?.is_some() {
                        return Ok(None);
                    }
                }
                Some((version, found)) => {
                    if self.records.swap(&key, version, &record).await?.is_some() {
                        return Ok(Some(found.digest.0));
                    }
                }
            }
        }
        Err(contended())
    }

    /// `false` if there is no such tag.
    pub(super) async fn delete_tag(&self, condition: &Condition, repository: &RepositoryName, tag: &Tag) -> Result<bool, Error> {
        let key = keys::tag(repository, tag);
        for _ in 0..TRIES {
            let Some((version, found)) = self.records.read::<TagRecord>(&key).await? else { return Ok(false) };
            if !condition.allows(Some(&found.digest.0)) {
                return Err(Error::ConditionFailed { found: Some(found.digest.0) });
            }
            if self.records.delete(&key, version).await? {
                self.clear_back_reference(repository, &found.digest.0, tag).await?;
                return Ok(true);
            }
        }
        Err(contended())
    }

    pub(super) async fn delete_tags_on(&self, repository: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        let prefix = keys::back_references(repository, digest);
        let mut after = String::new();
        loop {
            let page = self.records.list(&prefix, &after, LISTED).await?;
            let Some(last) = page.last().cloned() else { return Ok(()) };
            for tag in page.iter().filter_map(|key| key.strip_prefix(&prefix)?.parse().ok()) {
                self.delete_tag_on(repository, digest, &tag).await?;
                self.clear_back_reference(repository, digest, &tag).await?;
            }
            after = last;
        }
    }

    /// Deletes the tag if it points at this manifest and the manifest is gone.
    async fn delete_tag_on(&self, repository: &RepositoryName, digest: &Digest, tag: &Tag) -> Result<(), Error> {
        let key = keys::tag(repository, tag);
        for _ in 0..TRIES {
            match self.records.read::<TagRecord>(&key).await? {
                // A manifest that was pushed again is committed before its tag is written: the order of the two reads matters.
                Some((version, found)) if found.digest.0 == *digest && !self.stays(repository, digest).await? => {
                    if self.records.delete(&key, version).await? {
                        return Ok(());
                    }
                }
                _ => return Ok(()),
            }
        }
        Err(contended())
    }

    async fn clear_back_reference(&self, repository: &RepositoryName, digest: &Digest, tag: &Tag) -> Result<(), Error> {
        let points_there = || async { Ok(self.tag_target(repository, tag).await?.as_ref() == Some(digest)) };
        self.records.clear(&keys::back_reference(repository, digest, tag), points_there).await
    }
}

/// Pushing the digest that the tag has already is allowed to whoever may make the tag or move it.
fn may_write(condition: &Condition, permit: &Permit<Write>, found: Option<&Digest>, digest: &Digest) -> Result<(), Error> {
    match found {
        None if !permit.may_create() => Err(Error::TagMissing),
        Some(found) if found != digest && !permit.may_update() => Err(Error::TagExists),
        _ if !condition.allows(found) => Err(Error::ConditionFailed { found: found.cloned() }),
        _ => Ok(()),
    }
}

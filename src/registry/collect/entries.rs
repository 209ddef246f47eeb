//! Index entries that point at nothing, and announcements of tags. An entry is only a hint: the record that
//! it points at decides.

use super::super::Error;
use super::super::keys::{self, Entry, Key};
use super::super::states::mark::Mark;
use super::Collector;
use super::references::is_unknown;
use super::report::{Goes, Item, Notes};
use crate::clock::Timestamp;
use crate::oci::{Digest, RepositoryName, Tag};

impl Collector {
    /// Clears the entry if it is old and points at nothing. Writes the entry of a tag that lacks one. Does
    /// nothing for other kinds of records.
    pub(super) async fn entry(
        &self,
        entry: &Entry,
        written: Timestamp,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        if let Entry::Tag(repository, tag) = entry {
            return self.repair_back_reference(repository, tag).await;
        }
        if self.is_young(written) {
            return Ok(());
        }
        let key = Key::new(entry.key());
        match entry {
            Entry::BackReference(repository, digest, tag) => {
                let points = || self.points_at(repository, tag, digest);
                self.clear_entry(repository, &key, points, notes).await
            }
            Entry::Referrer(repository, subject, referrer) => {
                let refers = || self.refers(repository, referrer, subject);
                self.clear_entry(repository, &key, refers, notes).await
            }
            // A dry run pretends that this index is gone. Deleting an index also clears the entries of its
            // children.
            Entry::Index(repository, _, index)
                if self.is_pretended(keys::manifest(repository, index).as_str()) =>
            {
                Ok(())
            }
            Entry::Index(repository, _, index) => {
                let lists = || self.lists_what_names_it(repository, index);
                self.clear_entry(repository, &key, lists, notes).await
            }
            Entry::Deletion(repository, digest) => {
                let is_dying = || self.is_dying(repository, digest);
                self.clear_entry(repository, &key, is_dying, notes).await
            }
            Entry::Pulls(repository, digest) => self.stale_pulls(repository, digest, notes).await,
            Entry::Catalog(repository) => {
                let is_in_use = || self.registry.is_in_use(repository);
                self.clear_entry(repository, &key, is_in_use, notes).await
            }
            _ => Ok(()),
        }
    }

    /// Writes the back reference of a tag that lacks it, because its push crashed while a collector cleared an
    /// older one. Without it, the tag does not protect its manifest. A young tag may have an old manifest.
    async fn repair_back_reference(&self, repository: &RepositoryName, tag: &Tag) -> Result<(), Error> {
        if self.is_dry() {
            return Ok(());
        }
        let Some((tag, digest, _)) = self.tag(&keys::tag(repository, tag)).await? else {
            return Ok(());
        };
        let key = keys::back_reference(repository, &digest, &tag);
        if self.registry.records.is_marked(&key).await? {
            return Ok(());
        }
        self.registry.records.mark(&key).await?;
        let points = || self.points_at(repository, &tag, &digest);
        if points().await? {
            tracing::warn!(repo.name = %repository, manifest.tag = tag.as_str(), manifest.digest = %digest, "a tag did not protect its manifest, because its push was interrupted; now it does");
            return Ok(());
        }
        // The tag was moved or deleted meanwhile.
        self.registry.records.clear(&key, points).await
    }

    /// Deletes the pull record of a manifest that is gone.
    async fn stale_pulls(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        let manifest = keys::manifest(repository, digest);
        // Deleting a manifest also deletes its pull record.
        if self.is_pretended(manifest.as_str()) {
            return Ok(());
        }
        if self.is_there(&manifest).await? {
            return Ok(());
        }
        if !self.is_dry() {
            let forgetting = self.registry.forgetting_pulls(repository, digest).await?;
            let changes = forgetting.into_iter().collect();
            self.registry.records.change_all(changes).await?;
        }
        let key = keys::pulls(repository, digest);
        let item = Item {
            repository: Some(repository),
            name: key.as_str(),
            bytes: 0,
        };
        notes.goes(&item, Goes::StaleEntry);
        Ok(())
    }

    /// Removes the old announcement of an immutable tag, whose push has failed. If the push still runs, it
    /// finds the announcement gone and announces the tag again.
    pub(super) async fn announcement(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error> {
        self.breath.take().await;
        let key = keys::tag(repository, tag);
        let found = match self.registry.records.read(&key).await {
            Err(why) if is_unknown(&why) => return Ok(()),
            found => found?,
        };
        let Some(found) =
            found.filter(|found| found.record.is_announcement() && !self.is_young(found.written))
        else {
            return Ok(());
        };
        if self.is_dry() {
            self.pretend(key.as_str());
        } else if !self.registry.records.delete(&key, &found.version).await? {
            return Ok(());
        }
        let item = Item {
            repository: Some(repository),
            name: tag.as_str(),
            bytes: 0,
        };
        notes.goes(&item, Goes::InterruptedPush);
        Ok(())
    }

    async fn clear_entry<F>(
        &self,
        repository: &RepositoryName,
        key: &Key<Mark>,
        needed: impl Fn() -> F,
        notes: &mut Notes<'_>,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<bool, Error>>,
    {
        if needed().await? {
            return Ok(());
        }
        if !self.is_dry() {
            self.registry.records.clear(key, needed).await?;
        }
        let item = Item {
            repository: Some(repository),
            name: key.as_str(),
            bytes: 0,
        };
        notes.goes(&item, Goes::StaleEntry);
        Ok(())
    }

    /// Whether the manifest exists and has this subject. True if the manifest cannot be read, because it may.
    async fn refers(
        &self,
        repository: &RepositoryName,
        referrer: &Digest,
        subject: &Digest,
    ) -> Result<bool, Error> {
        self.breath.take().await;
        match self.read_manifest(&keys::manifest(repository, referrer)).await {
            Err(why) if is_unknown(&why) => Ok(true),
            found => Ok(found?.is_some_and(|found| {
                let its = found.record.header.subject.as_ref();
                found.record.protects_references() && its.is_some_and(|its| its.0 == *subject)
            })),
        }
    }

    async fn is_dying(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        match self.read_manifest(&keys::manifest(repository, digest)).await {
            Err(why) if is_unknown(&why) => Ok(true),
            found => Ok(found?.is_some_and(|found| !found.record.protects_references())),
        }
    }
}

//! Blobs: reading and deleting them, and publishing them in a repository. The bytes of a blob are stored
//! once. Each repository that may serve them has a link with their name, so a pull reads one record.

use super::garbage::Candidate;
use super::keys::Key;
use super::omitted::Step;
use super::records::unless_unreadable;
use super::states::blob::{BlobRecord, BlobState, Own};
use super::states::link::{Announced, LinkRecord};
use super::states::{Condemnable, Next};
use super::suspecting::{Brought, Watched};
use super::typed_store::{Base, Found, Judged, Reading, contended, until_settled};
use super::{Error, Registry, keys, to_its_end};
use crate::access::{Create, Delete, Permit, Read, Reader};
use crate::oci::{Digest, RepositoryName};
use crate::storage::{BlobFile, Show};
use futures_util::future::join;
use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A blob that may be served.
#[derive(Clone)]
pub struct Blob {
    pub digest: Digest,
    pub size: u64,
    pub file: Arc<dyn BlobFile>,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("digest", &self.digest)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// A blob as it is stored now.
    pub async fn blob(&self, permit: &Permit<Read>, digest: &Digest) -> Result<Blob, Error> {
        self.blob_by(Reading::Present, permit, digest, None).await
    }

    /// A blob for a GET, which reads the bytes from `first` on, if that is known. The store may answer with the
    /// records that it had a few seconds ago.
    pub async fn pull_blob(
        &self,
        permit: &Permit<Read>,
        digest: &Digest,
        first: Option<u64>,
    ) -> Result<Blob, Error> {
        match self.blob_by(Reading::Recent, permit, digest, first).await {
            // The bytes may have been replaced or removed since.
            Err(Error::BlobDamaged(_)) => self.blob(permit, digest).await,
            found => found,
        }
    }

    async fn blob_by(
        &self,
        reading: Reading,
        permit: &Permit<Read>,
        digest: &Digest,
        first: Option<u64>,
    ) -> Result<Blob, Error> {
        let link = keys::link(digest, permit.repository());
        let blob = keys::blob(digest);
        let (link, blob) = join(
            self.records
                .look_up_for(reading, &link, |link| link.generation.is_some()),
            self.records
                .look_up_for(reading, &blob, |blob| blob.state != BlobState::Dying),
        )
        .await;
        let (name, size) = link?
            .and_then(|link| link.record.bytes())
            .ok_or(Error::BlobUnknown)?;
        // The link may name bytes that were damaged and have since been replaced, so the blob's record takes
        // precedence. If that is missing or unreadable, the link is used.
        let blob = blob.ok().flatten();
        let blob = blob.filter(|blob| blob.record.state != BlobState::Dying);
        if let Some(blob) = &blob
            && blob.record.suspect
            && !self.is_good_after_all(digest, &blob.record).await?
        {
            return Err(Error::BlobDamaged(digest.clone()));
        }
        let (name, size) = blob.map_or((name, size), |blob| {
            (blob.record.generation.clone(), blob.record.size)
        });
        if let Some(file) = self.open_whole_at(digest, &name, size, first).await? {
            return Ok(self.opened(digest, name, file));
        }
        // The bytes may have been replaced meanwhile.
        let replaced = self
            .records
            .read(&keys::blob(digest))
            .await?
            .map(|blob| blob.record)
            .filter(|blob| blob.generation != name);
        let Some(BlobRecord { generation, size, .. }) = replaced else {
            return Err(Error::BlobDamaged(digest.clone()));
        };
        let file = self
            .open_whole(digest, &generation, size)
            .await?
            .ok_or_else(|| Error::BlobDamaged(digest.clone()))?;
        Ok(self.opened(digest, generation, file))
    }

    fn opened(&self, digest: &Digest, name: String, file: Arc<dyn BlobFile>) -> Blob {
        let size = file.size();
        let file = Watched {
            registry: self.clone(),
            digest: digest.clone(),
            name,
            file,
        };
        Blob {
            digest: digest.clone(),
            size,
            file: Arc::new(file),
        }
    }

    /// Deletes the repository's link to the blob. This is rejected while a manifest of the repository needs
    /// the blob, even one that is still being pushed. Other repositories keep the blob.
    pub async fn delete_blob(&self, permit: &Permit<Delete>, digest: &Digest) -> Result<(), Error> {
        let registry = self.clone();
        let repository = permit.repository().clone();
        let digest = digest.clone();
        // The catalogue must be updated even if the client disconnects.
        to_its_end(async move {
            let key = keys::link(&digest, &repository);
            let referenced = || registry.is_referenced(&repository, &digest);
            let size = AtomicU64::new(0);
            let may = |link: &LinkRecord| {
                size.store(link.size, Ordering::SeqCst);
                link.can_be_deleted()
            };
            let judge = || async {
                match registry.records.judge(&key, &may, &referenced).await {
                    // A push that needs the link rewrites it first, which changes its version.
                    Err(why) if why.is_damage() => {
                        if registry.is_referenced(&repository, &digest).await? {
                            Ok(Some(Judged::Needed))
                        } else {
                            Ok(registry
                                .records
                                .delete_damaged(&key)
                                .await?
                                .then_some(Judged::Taken))
                        }
                    }
                    judged => judged.map(Some),
                }
            };
            match until_settled(judge).await? {
                Judged::Absent => Err(Error::BlobUnknown),
                Judged::Needed => Err(Error::Referenced),
                Judged::Taken => {
                    let size = size.load(Ordering::SeqCst);
                    registry.usage.lost_link(&repository, &digest, size);
                    registry.note_blob(&digest);
                    registry.leave(&repository).await
                }
            }
        })
        .await
    }

    /// Mounts the blob and returns whether the repository has it now. With `from`, the blob must be in that
    /// repository; otherwise in any repository that `anywhere` may read.
    pub async fn mount(
        &self,
        permit: &Permit<Create>,
        from: Option<&Permit<Read>>,
        anywhere: Option<&Reader<'_>>,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let held = match (from, anywhere) {
            (Some(from), _) => unless_unreadable(self.held(from, digest).await)?
                .flatten()
                .is_some(),
            (None, Some(reader)) => self.is_held_anywhere(reader, digest).await?,
            (None, None) => false,
        };
        Ok(held && self.publish(permit.repository(), digest, None).await?.is_some())
    }

    /// The name and size of the blob's bytes, if this repository may serve it. HEAD, GET, mounts and pushes
    /// of existing content all decide by this function, so no caller learns of a blob that it may not read.
    pub(super) async fn held(
        &self,
        permit: &Permit<Read>,
        digest: &Digest,
    ) -> Result<Option<(String, u64)>, Error> {
        let link = self
            .records
            .look_up(&keys::link(digest, permit.repository()))
            .await?;
        Ok(link.and_then(|link| link.record.bytes()))
    }

    async fn is_held_anywhere(&self, reader: &Reader<'_>, digest: &Digest) -> Result<bool, Error> {
        let mut links = self.records.keys(keys::links(digest), Show::All);
        while let Some(key) = links.next().await? {
            let repository = keys::repository_of(links.prefix().rest(&key));
            let Some(permit) = repository.and_then(|repository| reader.permit(&repository)) else {
                continue;
            };
            if unless_unreadable(self.held(&permit, digest).await)?
                .flatten()
                .is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Protects the blob from collection if the repository has it, and returns its size. A condemned link is
    /// rescued.
    pub(super) async fn hold_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        let size = AtomicU64::new(0);
        let step = |found: Option<LinkRecord>, _| {
            size.store(found.as_ref().map_or(0, |found| found.size), Ordering::SeqCst);
            match LinkRecord::hold(found) {
                Next::Write(_, there) if self.omitted.has(Step::Rescuing) => Next::Keep(there),
                next => next,
            }
        };
        // An unreadable link is treated as missing, so the client pushes the blob again, which rewrites the
        // link.
        let there = unless_unreadable(self.records.settle(&keys::link(digest, repository), step).await)?
            .unwrap_or(false);
        Ok(there.then(|| size.into_inner()))
    }

    async fn is_referenced(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let mut manifests = self.records.keys(keys::manifests(repository), Show::All);
        let mut unreadable = None;
        while let Some(key) = manifests.next().await? {
            match unless_unreadable(self.records.read(&key).await)? {
                Some(Some(manifest)) if manifest.record.needs_blob(digest) => return Ok(true),
                Some(_) => {}
                None => unreadable = keys::manifest_of(&key).or(unreadable),
            }
        }
        unreadable.map_or(Ok(false), |manifest| Err(Error::Undecided { manifest }))
    }

    /// Links the blob in the repository and returns the name of its bytes. `None` if the store has no intact
    /// bytes and none were `brought`. If the store already has the bytes, the brought ones are not used, and
    /// the caller must remove them.
    pub(super) async fn publish(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        brought: Option<Brought>,
    ) -> Result<Option<String>, Error> {
        let registry = self.clone();
        let repository = repository.clone();
        let digest = digest.clone();
        to_its_end(async move {
            until_settled(|| registry.publish_once(&repository, &digest, brought.as_ref())).await
        })
        .await
    }

    async fn publish_once(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        brought: Option<&Brought>,
    ) -> Result<Option<Option<String>>, Error> {
        let key = keys::link(digest, repository);
        // New bytes mean that the repository probably does not have the blob.
        let upload = brought.and_then(Brought::upload);
        let guess = upload.map(|_| None);
        let announced = self
            .records
            .change_seen(&key, guess, |found| {
                ready(Ok(LinkRecord::announce(found.map(|found| found.record))))
            })
            .await;
        let (announced, base) = match announced {
            Err(why) if why.is_damage() => {
                self.records.replace_damaged(&key, &LinkRecord::PENDING).await?;
                return Ok(None);
            }
            announced => announced?,
        };
        let Some(base) = base else { return Ok(None) };
        let is_linked = matches!(announced, Announced::Live { .. });
        let new = match announced {
            Announced::Live { generation, size }
                if self.is_intact(digest, &generation, size, brought).await? =>
            {
                return Ok(self
                    .keep_link(repository, digest)
                    .await?
                    .then_some(Some(generation)));
            }
            Announced::Live { .. } => false,
            Announced::Pending { new } => new,
        };
        // A link that was live is counted already. The room is held until the new link is counted.
        let room = if is_linked {
            Ok(None)
        } else {
            let size = brought.map(Brought::size);
            self.room_for_blob(repository, digest, size).await
        };
        let _room = match room {
            Err(Error::QuotaExceeded(why)) => {
                let withdrawn = self.without_room((repository, digest), (&base, new), why);
                return Box::pin(withdrawn).await;
            }
            room => room?,
        };
        let settled = self.settle(digest, brought).await;
        let nothing_happened = settled.as_ref().is_err_and(Error::is_full);
        if new && (nothing_happened || matches!(settled, Ok(None))) {
            self.records.delete(&key, &base.version).await?;
        }
        let Some(blob) = settled? else {
            // The new bytes were published and then collected at once, so the client must send them again.
            return if brought.is_some_and(Brought::is_new) {
                Err(contended())
            } else {
                Ok(Some(None))
            };
        };
        let link = LinkRecord::live(blob.generation.clone(), blob.size);
        let linked = self.records.swap(&key, &base, &link).await?;
        if linked.is_some() && !is_linked {
            self.usage.gained_link(repository, digest, blob.size);
        }
        Ok(linked.map(|_| Some(blob.generation)))
    }

    /// Makes the blob's record live with intact bytes, with those that were `brought` if necessary. `None` if
    /// there are no intact bytes.
    async fn settle(&self, digest: &Digest, brought: Option<&Brought>) -> Result<Option<BlobRecord>, Error> {
        let settled = until_settled(|| self.settle_once(digest, brought)).await?;
        if let Some((blob, brought)) = settled.as_ref().zip(brought) {
            let was_published = brought.is_published();
            brought.note_published(&blob.generation);
            // Bytes that replace others are counted already.
            if !was_published && brought.is_published() && blob.trash.is_empty() {
                self.usage.gained_blob(digest, blob.size);
            }
        }
        if settled.as_ref().is_some_and(|blob| !blob.trash.is_empty()) {
            self.note_blob(digest);
        }
        Ok(settled)
    }

    /// Notes for the collector that the blob may have lost its last link, or has replaced bytes.
    fn note_blob(&self, digest: &Digest) {
        self.garbage
            .note(self.records.now(), [Candidate::Blob(digest.clone())]);
    }

    /// `None` if another push has just replaced a damaged record.
    async fn settle_once(
        &self,
        digest: &Digest,
        brought: Option<&Brought>,
    ) -> Result<Option<Option<BlobRecord>>, Error> {
        let own = if self.omitted.has(Step::PublishingOnce) {
            brought.map(Brought::own)
        } else {
            brought.and_then(Brought::unpublished)
        };
        let key = keys::blob(digest);
        if let (Some(own), Some(brought)) = (own, brought)
            && brought.upload().is_some()
            && brought.guesses()
        {
            let published = Box::pin(self.publish_in_two_steps(&key, own, Some(brought))).await?;
            if published.is_some() || brought.unpublished().is_none() {
                return Ok(published);
            }
        }
        let is_new = &AtomicBool::new(false);
        let decide = |found: Option<Found<BlobRecord>>| async move {
            let found = found.map(|found| found.record);
            let upload = own.and(brought).and_then(Brought::upload);
            if found.is_none() && upload.is_some() {
                is_new.store(true, Ordering::SeqCst);
                return Ok(Next::Keep(None));
            }
            let intact = match &found {
                Some(blob) if blob.is_usable() => {
                    self.are_whole(digest, &blob.generation, blob.size, brought)
                        .await?
                }
                _ => false,
            };
            let condemned = found.as_ref().is_some_and(Condemnable::is_condemned);
            if self.omitted.has(Step::Rescuing) && condemned && intact {
                return Ok(Next::Keep(found));
            }
            let next = BlobRecord::settle(found, intact, own);
            let publishes = |blob: &BlobRecord| own.is_some_and(|own| own.name == blob.generation);
            if let (Next::Write(blob, _), Some(upload)) = (&next, upload)
                && publishes(blob)
                && !self.is_still_closed(upload).await?
            {
                return Err(Error::UploadUnknown);
            }
            Ok(next)
        };
        match (self.records.change_after(&key, decide).await, own) {
            // The record is damaged, so the name of the old bytes is lost.
            (Err(why), Some(own)) if why.is_damage() => {
                let blob = BlobRecord::live(own.clone());
                Ok(self
                    .records
                    .replace_damaged(&key, &blob)
                    .await?
                    .then_some(Some(blob)))
            }
            (Ok(_), Some(own)) if is_new.load(Ordering::SeqCst) => {
                Box::pin(self.publish_in_two_steps(&key, own, brought)).await
            }
            (settled, _) => Ok(Some(unless_unreadable(settled)?.and_then(|(settled, _)| settled))),
        }
    }

    /// Creates the record of a blob on a shared store. Expiry may end the upload at any moment and give its bytes to
    /// the collector. It does so in the blob's record, but a creation cannot tell whether there was a record in
    /// between. So the record is created as condemned, then the session is read, and then the record becomes live.
    /// `None` if another writer was faster.
    async fn publish_in_two_steps(
        &self,
        key: &Key<BlobRecord>,
        own: &Own,
        brought: Option<&Brought>,
    ) -> Result<Option<Option<BlobRecord>>, Error> {
        let blob = BlobRecord::live(own.clone());
        let Some(version) = self.records.create(key, &blob.condemned()).await? else {
            return Ok(None);
        };
        // Another attempt may use these bytes as long as the record names them, and must not name them again.
        if let Some(brought) = brought {
            brought.use_up();
        }
        let upload = brought.and_then(Brought::upload);
        if let Some(upload) = upload
            && !self.is_still_closed(upload).await?
        {
            self.records.delete(key, &version).await?;
            return Err(Error::UploadUnknown);
        }
        let swapped = self.records.swap(key, &Base::created(version), &blob).await?;
        Ok(swapped.map(|_| Some(blob)))
    }

    /// The blob's bytes, if the caller may read them and they are not known to be damaged. A push then need
    /// not write them again.
    pub(super) async fn known(
        &self,
        permit: &Permit<Read>,
        digest: &Digest,
    ) -> Result<Option<Arc<dyn BlobFile>>, Error> {
        match unless_unreadable(self.held(permit, digest).await)?.flatten() {
            Some((name, size)) if self.is_usable(digest, &name, size).await? => {
                self.open_whole(digest, &name, size).await
            }
            _ => Ok(None),
        }
    }

    /// Whether the blob has the bytes `name`, and neither an earlier check nor this push has found them to be
    /// damaged.
    pub(super) async fn is_intact(
        &self,
        digest: &Digest,
        name: &str,
        size: u64,
        brought: Option<&Brought>,
    ) -> Result<bool, Error> {
        Ok(self.is_usable(digest, name, size).await? && self.are_whole(digest, name, size, brought).await?)
    }

    async fn is_usable(&self, digest: &Digest, name: &str, size: u64) -> Result<bool, Error> {
        let blob = unless_unreadable(self.records.look_up(&keys::blob(digest)).await)?.flatten();
        Ok(blob.is_some_and(|blob| {
            blob.record.is_usable() && blob.record.generation == name && blob.record.size == size
        }))
    }
}

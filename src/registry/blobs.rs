//! Blobs: reading, deleting, and the writer's side of publishing one for a repository. A blob's bytes are kept once; each
//! repository that may serve them has a link, which says where they lie, so a pull costs one record.

use super::states::blob::{BlobRecord, Own};
use super::states::link::{Announced, LinkRecord};
use super::typed_store::{Found, Judged, contended, until_settled};
use super::{Error, Registry, keys, to_its_end};
use crate::access::{Create, Delete, Permit, Read, Reader};
use crate::oci::{Digest, RepositoryName};
use crate::storage::{BlobFile, Failure, Show};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A blob that may be served.
#[derive(Clone)]
pub struct Blob {
    pub digest: Digest,
    pub size: u64,
    pub file: Arc<dyn BlobFile>,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("digest", &self.digest).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Registry {
    pub async fn blob(&self, permit: &Permit<Read>, digest: &Digest) -> Result<Blob, Error> {
        let (name, size) = self.held(permit, digest).await?.ok_or(Error::BlobUnknown)?;
        // The link may still name bytes that were lost or damaged, and have been replaced since. Without the blob's record, the link is all
        // that is known.
        let blob = self.records.look_up(&keys::blob(digest)).await.ok().flatten();
        let usable = blob.filter(|blob| blob.record.is_usable());
        let name = usable.map_or(name, |blob| blob.record.generation.clone());
        let opened = match self.bytes.open(&name).await {
            Ok(file) if file.size() != size => Err(Failure::Missing),
            opened => opened,
        };
        let file = match opened {
            // The bytes were replaced meanwhile.
            Err(Failure::Missing) => match self.records.read(&keys::blob(digest)).await? {
                Some(blob) if blob.record.generation != name => self.bytes.open(&blob.record.generation).await?,
                _ => return Err(Failure::Missing.into()),
            },
            opened => opened?,
        };
        Ok(Blob { digest: digest.clone(), size, file })
    }

    /// Refused while a manifest of the repository, committed or being pushed, needs the blob. Other repositories keep theirs.
    pub async fn delete_blob(&self, permit: &Permit<Delete>, digest: &Digest) -> Result<(), Error> {
        let (registry, repository, digest) = (self.clone(), permit.repository().clone(), digest.clone());
        // The repository may have to leave the catalogue.
        to_its_end(async move {
            let key = keys::link(&digest, &repository);
            let referenced = || registry.is_referenced(&repository, &digest);
            match registry.records.judge(&key, LinkRecord::can_be_deleted, referenced).await? {
                Judged::Absent => Err(Error::BlobUnknown),
                Judged::Needed => Err(Error::Referenced),
                Judged::Taken => registry.leave(&repository).await,
            }
        })
        .await
    }

    /// `true` if the repository holds the blob now. With `from`, that repository must hold it; otherwise any that `anywhere` reads.
    pub async fn mount(
        &self,
        permit: &Permit<Create>,
        from: Option<&Permit<Read>>,
        anywhere: Option<&Reader<'_>>,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let held = match (from, anywhere) {
            (Some(from), _) => self.held(from, digest).await?.is_some(),
            (None, Some(reader)) => self.is_held_anywhere(reader, digest).await?,
            (None, None) => false,
        };
        Ok(held && self.publish(permit.repository(), digest, None).await?.is_some())
    }

    /// May this caller have this blob here? If so, the name and the size of its bytes. The one place that answers it, for HEAD, GET and
    /// ranges, for the source of a mount, and for the push of what is here already: nobody learns of a blob that they may not read.
    pub(super) async fn held(&self, permit: &Permit<Read>, digest: &Digest) -> Result<Option<(String, u64)>, Error> {
        let link = self.records.look_up(&keys::link(digest, permit.repository())).await?;
        Ok(link.and_then(|link| Some((link.record.generation.clone()?, link.record.size))))
    }

    async fn is_held_anywhere(&self, reader: &Reader<'_>, digest: &Digest) -> Result<bool, Error> {
        let mut links = self.records.keys(keys::links(digest), Show::All);
        while let Some(key) = links.next().await? {
            let repository = keys::repository_of(links.prefix().rest(&key));
            let Some(permit) = repository.and_then(|repository| reader.permit(&repository)) else { continue };
            if self.held(&permit, digest).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The size of a blob, for somebody who asks for nothing more. Known without a look at its bytes.
    pub async fn blob_size(&self, permit: &Permit<Read>, digest: &Digest) -> Result<u64, Error> {
        self.held(permit, digest).await?.map(|(_, size)| size).ok_or(Error::BlobUnknown)
    }

    /// Whether the repository may serve the blob from now on; a link that is condemned is rescued.
    pub(super) async fn holds(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        self.records.settle(&keys::link(digest, repository), |found, _| LinkRecord::hold(found)).await
    }

    async fn is_referenced(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let mut manifests = self.records.keys(keys::manifests(repository), Show::All);
        while let Some(key) = manifests.next().await? {
            if self.records.read(&key).await?.is_some_and(|manifest| manifest.record.needs_blob(digest)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Links the blob in the repository and says under which name its bytes lie; without `own` bytes, `None` if there are none.
    /// If another's bytes are there already, `own` is not used and remains the caller's to remove.
    pub(super) async fn publish(&self, repository: &RepositoryName, digest: &Digest, own: Option<Own>) -> Result<Option<String>, Error> {
        let (registry, repository, digest) = (self.clone(), repository.clone(), digest.clone());
        to_its_end(async move {
            let published = AtomicBool::new(false);
            until_settled(|| registry.publish_once(&repository, &digest, own.as_ref(), &published)).await
        })
        .await
    }

    /// `published` remembers whether `own` was.
    async fn publish_once(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        own: Option<&Own>,
        published: &AtomicBool,
    ) -> Result<Option<Option<String>>, Error> {
        let key = keys::link(digest, repository);
        let (announced, base) = self.records.change(&key, |found| Ok(LinkRecord::announce(found.map(|found| found.record)))).await?;
        let Some(base) = base else { return Ok(None) };
        let new = match announced {
            Announced::Live { generation, size } if self.is_intact(digest, &generation, size).await? => {
                return Ok(self.keep_link(repository, digest).await?.then_some(Some(generation)));
            }
            Announced::Live { .. } => false,
            Announced::Pending { new } => new,
        };
        let Some(blob) = self.settle(digest, own, published).await? else {
            if new {
                self.records.delete(&key, &base.version).await?;
            }
            // With bytes at first, they were published, and somebody collected them at once: the client must send them again.
            return if own.is_some() { Err(contended()) } else { Ok(Some(None)) };
        };
        let link = LinkRecord::live(blob.generation.clone(), blob.size);
        Ok(self.records.swap(&key, &base, &link).await?.map(|_| Some(blob.generation)))
    }

    /// Makes the blob's record live with intact bytes, `own` ones if need be. `None` if there are none.
    async fn settle(&self, digest: &Digest, own: Option<&Own>, published: &AtomicBool) -> Result<Option<BlobRecord>, Error> {
        let own = own.filter(|_| !published.load(Ordering::SeqCst));
        let decide = |found: Option<Found<BlobRecord>>| async move {
            let found = found.map(|found| found.record);
            let intact = match &found {
                Some(blob) if blob.is_usable() => self.has_bytes(&blob.generation, blob.size).await?,
                _ => false,
            };
            Ok(BlobRecord::settle(found, intact, own))
        };
        let (settled, _) = self.records.change_after(&keys::blob(digest), decide).await?;
        if settled.as_ref().zip(own).is_some_and(|(blob, own)| blob.generation == own.name) {
            published.store(true, Ordering::SeqCst);
        }
        Ok(settled)
    }

    /// Whether this caller may have intact bytes of the blob here, so that new ones need not be written.
    pub(super) async fn is_known(&self, permit: &Permit<Read>, digest: &Digest) -> Result<bool, Error> {
        match self.held(permit, digest).await? {
            Some((name, size)) => self.is_intact(digest, &name, size).await,
            None => Ok(false),
        }
    }

    /// Whether `name` is what the blob has, nobody found it to be damaged, and the bytes are there.
    pub(super) async fn is_intact(&self, digest: &Digest, name: &str, size: u64) -> Result<bool, Error> {
        Ok(self.is_usable(digest, name).await? && self.has_bytes(name, size).await?)
    }

    async fn is_usable(&self, digest: &Digest, name: &str) -> Result<bool, Error> {
        let blob = self.records.look_up(&keys::blob(digest)).await?;
        Ok(blob.is_some_and(|blob| blob.record.is_usable() && blob.record.generation == name))
    }

    async fn has_bytes(&self, name: &str, size: u64) -> Result<bool, Error> {
        match self.bytes.open(name).await {
            Ok(file) => Ok(file.size() == size),
            Err(Failure::Missing) => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }
}

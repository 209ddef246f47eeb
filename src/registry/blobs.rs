//! Blobs: reading, deleting, and the writer's side of publishing one for a repository. A blob's bytes are kept once; each
//! repository that may serve them has a link, which says where they lie, so a pull costs one record.

use super::marks::{LISTED, TRIES, contended};
use super::records::{BlobRecord, BlobState, Format, LinkRecord, LinkState, ManifestRecord};
use super::{Error, Registry, keys};
use crate::access::{Create, Delete, Permit, Read, Reader};
use crate::oci::{Digest, RepositoryName};
use crate::storage::{BlobFile, Failure};
use std::fmt;
use std::sync::Arc;

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

/// Sealed bytes that wait to be published. Published at most once: a second time, their collector might be at work already.
pub(super) struct Own {
    pub name: String,
    pub size: u64,
}

impl Registry {
    pub async fn blob(&self, permit: &Permit<Read>, digest: &Digest) -> Result<Blob, Error> {
        let (name, size) = self.held(permit, digest).await?.ok_or(Error::BlobUnknown)?;
        let opened = match self.bytes.open(&name).await {
            Ok(file) if file.size() != size => Err(Failure::Missing),
            opened => opened,
        };
        let file = match opened {
            // The bytes were lost, and replaced after the link was written.
            Err(Failure::Missing) => match self.records.read::<BlobRecord>(&keys::blob(digest)).await? {
                Some((_, blob)) if blob.generation != name => self.bytes.open(&blob.generation).await?,
                _ => return Err(Failure::Missing.into()),
            },
            opened => opened?,
        };
        Ok(Blob { digest: digest.clone(), size, file })
    }

    /// Refused while a manifest of the repository, committed or being pushed, needs the blob. Other repositories keep theirs.
    pub async fn delete_blob(&self, permit: &Permit<Delete>, digest: &Digest) -> Result<(), Error> {
        let repository = permit.repository();
        let key = keys::link(digest, repository);
        for _ in 0..TRIES {
            let (version, link) = match self.records.read::<LinkRecord>(&key).await? {
                Some((version, link)) if link.generation.is_some() => (version, link),
                _ => return Err(Error::BlobUnknown),
            };
            // Condemn, look, then decide: a manifest that is pushed meanwhile rescues the link, and the delete below fails.
            let Some(condemned) = self.records.swap(&key, version, &LinkRecord { state: LinkState::Cond, ..link.clone() }).await? else {
                continue;
            };
            match self.is_referenced(repository, digest).await {
                Ok(false) if self.records.delete(&key, condemned).await? => return Ok(()),
                Ok(false) => continue,
                referenced => {
                    self.records.swap(&key, condemned, &link.rescued()).await?;
                    return Err(referenced.err().unwrap_or(Error::Referenced));
                }
            }
        }
        Err(contended())
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
        let link = self.records.look_up::<LinkRecord>(&keys::link(digest, permit.repository())).await?;
        Ok(link.and_then(|link| Some((link.generation.clone()?, link.size))))
    }

    async fn is_held_anywhere(&self, reader: &Reader<'_>, digest: &Digest) -> Result<bool, Error> {
        let prefix = keys::links(digest);
        let mut after = String::new();
        loop {
            let page = self.records.list(&prefix, &after, LISTED).await?;
            let Some(last) = page.last().cloned() else { return Ok(false) };
            for repository in page.iter().filter_map(|key| keys::repository_of(key, &prefix)) {
                let Some(permit) = reader.permit(&repository) else { continue };
                if self.held(&permit, digest).await?.is_some() {
                    return Ok(true);
                }
            }
            after = last;
        }
    }

    /// The size of a blob, for somebody who asks for nothing more. Known without a look at its bytes.
    pub async fn blob_size(&self, permit: &Permit<Read>, digest: &Digest) -> Result<u64, Error> {
        self.held(permit, digest).await?.map(|(_, size)| size).ok_or(Error::BlobUnknown)
    }

    /// The same for somebody who may push here, and asks in order not to push: they may rely on the answer. The bytes are there, and no
    /// collector takes the blob before a manifest can refer to it. Creates nothing.
    pub async fn keep_blob(&self, read: &Permit<Read>, create: &Permit<Create>, digest: &Digest) -> Result<u64, Error> {
        match self.keep_link(create, digest).await {
            Ok(true) => {}
            Ok(false) => return Err(Error::BlobUnknown),
            // A store that takes no changes loses nothing either, and goes on to be read.
            Err(why @ Error::Storage(Failure::Full | Failure::Stopped)) => {
                tracing::warn!(repo.name = %create.repository(), blob.digest = %digest, "a blob is not kept for longer: {why}");
            }
            Err(why) => return Err(why),
        }
        match self.blob(read, digest).await {
            Ok(blob) => Ok(blob.size),
            // Lost: whoever pushes it again makes it whole.
            Err(Error::Storage(Failure::Missing)) => Err(Error::BlobUnknown),
            Err(why) => Err(why),
        }
    }

    /// Whether the repository holds the blob, for long enough to be relied on from now on; a link that is condemned is rescued.
    async fn keep_link(&self, permit: &Permit<Create>, digest: &Digest) -> Result<bool, Error> {
        let key = keys::link(digest, permit.repository());
        if self.records.look_up::<LinkRecord>(&key).await?.is_some_and(|link| link.generation.is_some() && link.is_fresh(self.clock.now()))
        {
            return Ok(true);
        }
        for _ in 0..TRIES {
            match self.records.read::<LinkRecord>(&key).await? {
                Some((_, link)) if link.generation.is_none() => return Ok(false),
                Some((_, link)) if link.is_fresh(self.clock.now()) => return Ok(true),
                Some((version, link)) => {
                    if self.records.swap(&key, version, &link.refreshed(self.clock.now())).await?.is_some() {
                        return Ok(true);
                    }
                }
                None => return Ok(false),
            }
        }
        Err(contended())
    }

    /// Whether the repository may serve the blob from now on; a link that is condemned is rescued.
    pub(super) async fn holds(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let key = keys::link(digest, repository);
        for _ in 0..TRIES {
            match self.records.read::<LinkRecord>(&key).await? {
                Some((_, link)) if link.state == LinkState::Live => return Ok(true),
                Some((version, link)) if link.generation.is_some() => {
                    self.records.swap(&key, version, &link.rescued()).await?;
                }
                _ => return Ok(false),
            }
        }
        Err(contended())
    }

    async fn is_referenced(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let prefix = keys::manifests(repository);
        let mut after = String::new();
        loop {
            let page = self.records.list(&prefix, &after, LISTED).await?;
            let Some(last) = page.last().cloned() else { return Ok(false) };
            for key in &page {
                let manifest = self.records.read::<ManifestRecord>(key).await?;
                if manifest.is_some_and(|(_, manifest)| manifest.counts() && manifest.header.blobs.iter().any(|blob| blob.0 == *digest)) {
                    return Ok(true);
                }
            }
            after = last;
        }
    }

    /// Links the blob in the repository and says under which name its bytes lie; without `own` bytes, `None` if there are none.
    /// If another's bytes are there already, `own` is not used and remains the caller's to remove.
    pub(super) async fn publish(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        mut own: Option<Own>,
    ) -> Result<Option<String>, Error> {
        let key = keys::link(digest, repository);
        let has_bytes = own.is_some();
        for _ in 0..TRIES {
            // Announce the link first, so that a collector of the blob that looks after this finds it.
            let (version, announced) = match self.records.read::<LinkRecord>(&key).await? {
                None => match self.records.create(&key, &LinkRecord::pending(self.clock.now())).await? {
                    Some(version) => (version, true),
                    None => continue,
                },
                Some((version, link)) if link.state == LinkState::Cond => {
                    self.records.swap(&key, version, &link.rescued()).await?;
                    continue;
                }
                Some((version, link @ LinkRecord { generation: Some(_), .. })) => {
                    let name = link.generation.clone().unwrap_or_default();
                    if !self.is_intact(&name, link.size).await? {
                        (version, false)
                    } else if link.is_fresh(self.clock.now())
                        || self.records.swap(&key, version, &link.refreshed(self.clock.now())).await?.is_some()
                    {
                        return Ok(Some(name));
                    } else {
                        continue;
                    }
                }
                Some((version, _)) => (version, false),
            };
            let Some(blob) = self.settle(digest, &mut own).await? else {
                if announced {
                    self.records.delete(&key, version).await?;
                }
                // With bytes at first, they were published, and somebody collected them at once: the client must send them again.
                return if has_bytes { Err(contended()) } else { Ok(None) };
            };
            let link = LinkRecord::live(blob.generation.clone(), blob.size, self.clock.now());
            if self.records.swap(&key, version, &link).await?.is_some() {
                return Ok(Some(blob.generation));
            }
        }
        Err(contended())
    }

    /// Makes the blob's record live with intact bytes, `own` ones if need be. `None` if there are none.
    async fn settle(&self, digest: &Digest, own: &mut Option<Own>) -> Result<Option<BlobRecord>, Error> {
        let key = keys::blob(digest);
        for _ in 0..TRIES {
            let (version, found) = match self.records.read::<BlobRecord>(&key).await? {
                Some((version, blob)) => (Some(version), Some(blob)),
                None => (None, None),
            };
            let usable = match &found {
                Some(blob) => blob.state != BlobState::Dying && self.is_intact(&blob.generation, blob.size).await?,
                None => false,
            };
            let (version, blob) = match (version, found) {
                (Some(_), Some(blob)) if usable && blob.state == BlobState::Live => return Ok(Some(blob)),
                (Some(version), Some(blob)) if usable => (Some(version), BlobRecord { state: BlobState::Live, ..blob }),
                (version, found) => {
                    let Some(own) = own.as_ref() else { return Ok(None) };
                    let mut trash = Vec::new();
                    if let Some(old) = found {
                        trash = old.trash;
                        trash.push(old.generation);
                    }
                    (version, BlobRecord { format: Format, state: BlobState::Live, generation: own.name.clone(), size: own.size, trash })
                }
            };
            let settled = match version {
                Some(version) => self.records.swap(&key, version, &blob).await?,
                None => self.records.create(&key, &blob).await?,
            };
            if settled.is_some() {
                own.take_if(|own| own.name == blob.generation);
                return Ok(Some(blob));
            }
        }
        Err(contended())
    }

    /// Whether this caller may have intact bytes of the blob here, so that new ones need not be written.
    pub(super) async fn is_known(&self, permit: &Permit<Read>, digest: &Digest) -> Result<bool, Error> {
        match self.held(permit, digest).await? {
            Some((name, size)) => self.is_intact(&name, size).await,
            None => Ok(false),
        }
    }

    async fn is_intact(&self, name: &str, size: u64) -> Result<bool, Error> {
        match self.bytes.open(name).await {
            Ok(file) => Ok(file.size() == size),
            Err(Failure::Missing) => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }
}

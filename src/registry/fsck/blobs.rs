//! Blobs, their bytes, and their links.

use super::super::keys::{Entry, Key};
use super::super::rehashing::Follower;
use super::super::states::blob::{BlobRecord, BlobState};
use super::super::states::link::{LinkRecord, LinkState};
use super::super::suspecting::Damage;
use super::super::{Error, Marking, keys};
use super::Check;
use crate::oci::{Digest, RepositoryName};
use crate::storage::{Failure, Show};

impl Follower for Check<'_> {
    async fn has_read(&mut self, bytes: u64) {
        self.hashed += bytes;
        self.progress.hashed(self.hashed, self.to_hash);
    }
}

impl Check<'_> {
    pub(super) async fn blobs(&mut self) -> Result<(), Error> {
        let mut keys = self.registry.records.keys(keys::blobs(), Show::All);
        while let Some(key) = keys.next().await? {
            let Some(Entry::Blob(digest)) = Entry::parse(key.as_str()) else {
                continue;
            };
            let Some(blob) = self.read(&key).await else {
                self.damaged_blobs.insert(digest);
                continue;
            };
            self.checked.blobs += 1;
            for name in blob.trash.iter().chain([&blob.generation]) {
                self.names(name, key.as_str())?;
            }
            if blob.state == BlobState::Dying {
                self.leftover(key.as_str(), "waits for the collector");
            } else {
                self.content(key.as_str(), &digest, &blob).await?;
            }
        }
        Ok(())
    }

    /// How many bytes there are to be hashed.
    pub(super) async fn all_bytes(&self) -> Result<u64, Error> {
        let mut sum = 0;
        let mut blobs = self.registry.records.keys(keys::blobs(), Show::All);
        while let Some(key) = blobs.next().await? {
            sum += self.look(&key).await.map_or(0, |blob| blob.size);
        }
        let mut uploads = self.registry.records.keys(keys::all_uploads(), Show::All);
        while let Some(key) = uploads.next().await? {
            sum += self.look(&key).await.map_or(0, |session| session.offset);
        }
        Ok(sum)
    }

    async fn content(&mut self, key: &str, digest: &Digest, blob: &BlobRecord) -> Result<(), Error> {
        let name = &blob.generation;
        let marking = match self.whole(digest, blob).await? {
            Ok(()) if blob.suspect => {
                self.leftover(
                    key,
                    format!("is marked as damaged, but its bytes {name} are good: `wharfinger fsck --mark` clears the mark"),
                );
                if !self.marks {
                    return Ok(());
                }
                self.registry.clear_suspicion(digest, name).await
            }
            Ok(()) => return Ok(()),
            Err(damage) => {
                self.damage(key, format!("its bytes {name} {damage}"));
                self.damaged_blobs.insert(digest.clone());
                if !self.marks {
                    return Ok(());
                }
                self.registry.mark_suspect(digest, name, &damage).await
            }
        };
        match marking {
            Ok(Marking::Kept) => {}
            Ok(marking) => self.progress.marked(key, marking),
            Err(why) => self.damage(key, format!("its damage mark cannot be changed: {why}")),
        }
        Ok(())
    }

    async fn whole(&mut self, digest: &Digest, blob: &BlobRecord) -> Result<Result<(), Damage>, Error> {
        let registry = self.registry;
        let found = registry.rehash(digest, blob, self).await?;
        if matches!(found, Ok(()) | Err(Damage::Digest(_))) {
            self.checked.bytes += blob.size;
        }
        Ok(found)
    }

    pub(super) async fn links(&mut self) -> Result<(), Error> {
        let mut keys = self.registry.records.keys(keys::all_links(), Show::All);
        while let Some(key) = keys.next().await? {
            let Some(Entry::Link(digest, repository)) = Entry::parse(key.as_str()) else {
                continue;
            };
            self.link(&key, &digest, &repository).await?;
        }
        Ok(())
    }

    async fn link(
        &mut self,
        key: &Key<LinkRecord>,
        digest: &Digest,
        repository: &RepositoryName,
    ) -> Result<(), Error> {
        let Some(link) = self.read(key).await else {
            return Ok(());
        };
        self.in_use.push(&format!("{repository}!"))?;
        self.linked(key.as_str(), link, digest).await;
        Ok(())
    }

    async fn linked(&mut self, key: &str, link: LinkRecord, digest: &Digest) {
        self.checked.links += 1;
        let Some(name) = link.generation else {
            if link.state == LinkState::Live {
                self.damage(key, "is live but names no bytes");
            } else {
                self.leftover(key, "remains of an interrupted push");
            }
            return;
        };
        let Some(blob) = self.look(&keys::blob(digest)).await else {
            self.damage(key, "links a blob that does not exist");
            self.damaged_blobs.insert(digest.clone());
            return;
        };
        if link.size != blob.size {
            self.damage(
                key,
                format!(
                    "says that the blob has {} bytes, but the blob's record says {}",
                    link.size, blob.size
                ),
            );
        }
        if blob.state == BlobState::Dying {
            self.damage(key, "links a blob that is being removed");
            self.damaged_blobs.insert(digest.clone());
            return;
        }
        if blob.generation == name {
            return;
        }
        if blob.trash.contains(&name)
            || matches!(self.registry.bytes.open(&name).await, Err(Failure::Missing))
        {
            // The old bytes were lost or damaged, and a collector may have removed them. Readers get the new
            // ones.
            self.leftover(key, "names bytes that were replaced");
        } else {
            self.damage(
                key,
                format!(
                    "names the bytes {name}, but the blob's bytes are {}",
                    blob.generation
                ),
            );
        }
    }
}

//! The bytes of blobs, which are checked while they are copied.

use super::Copying;
use super::error::{NotCopied, of_target};
use crate::oci::Digest;
use crate::registry::Error;
use crate::registry::hashing::{Hasher, Hashing};
use crate::registry::keys::{self, Key};
use crate::registry::records;
use crate::registry::states::blob::BlobState;
use crate::registry::states::link::LinkRecord;
use crate::registry::suspecting::Damage;
use crate::storage::{BlobFile, Failure, Resume};
use bytes::Bytes;
use std::sync::Arc;

/// How much is read at once.
const READ: usize = 1 << 20;

/// The name of bytes, and what they must be.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    digest: &'a Digest,
    name: &'a str,
    size: u64,
    /// Whether they may be in the target already.
    again: bool,
}

impl Copying {
    /// Copies the bytes of the blob. Returns the blob's record in the target: it is marked if the bytes are damaged.
    pub(super) async fn blob(&self, digest: &Digest, value: Bytes, again: bool) -> Result<Bytes, NotCopied> {
        let key = keys::blob(digest);
        let blob = match records::decode(&key, &value) {
            Ok((blob, _)) => blob,
            Err(why) => {
                self.unreadable(why).await?;
                return Ok(value);
            }
        };
        if blob.state == BlobState::Dying {
            return Ok(value);
        }
        let wanted = Wanted {
            digest,
            name: &blob.generation,
            size: blob.size,
            again,
        };
        let brought = self.bring(wanted).await?;
        self.progress.count_file();
        let Err(damage) = brought else {
            return Ok(value);
        };
        self.progress.count_bytes(blob.size);
        let repositories = self.from.repositories_with(digest).await;
        let place = if repositories.is_empty() {
            "no repository".to_owned()
        } else {
            repositories
        };
        let name = &blob.generation;
        self.damage(format!(
            "the blob {digest} in {place}: its bytes, {name}, {damage}"
        ))
        .await;
        records::rewritten(&key, &value, |blob| blob.suspect = true).map_err(NotCopied::Source)
    }

    /// If the blob's record cannot be read, the link alone names bytes. They may be gone or replaced.
    pub(super) async fn spare_bytes(
        &self,
        digest: &Digest,
        key: &Key<LinkRecord>,
        value: &Bytes,
        again: bool,
    ) -> Result<(), NotCopied> {
        match self.from.records.read(&keys::blob(digest)).await {
            Err(Error::Unreadable { .. }) => {}
            Err(why) => return Err(NotCopied::Source(why)),
            Ok(_) => return Ok(()),
        }
        if let Ok((link, _)) = records::decode(key, value)
            && let Some((name, size)) = link.bytes()
        {
            let wanted = Wanted {
                digest,
                name: &name,
                size,
                again,
            };
            drop(self.bring(wanted).await?);
        }
        Ok(())
    }

    async fn bring(&self, wanted: Wanted<'_>) -> Result<Result<(), Damage>, NotCopied> {
        let Wanted {
            name, size, again, ..
        } = wanted;
        let _turn = self.moving.acquire().await;
        if again {
            if self.has(wanted).await? {
                self.progress.count_bytes(size);
                let mut done = self.done();
                done.blobs += 1;
                done.bytes += size;
                done.kept += 1;
                return Ok(Ok(()));
            }
            // An earlier run may have sent parts.
            if self.to.bytes.least_chunk().is_some_and(|least| size > least) {
                self.clear(name).await?;
            }
        }
        let file = match self.open(wanted).await? {
            Ok(file) => file,
            Err(damage) => return Ok(Err(damage)),
        };
        let mut sent = 0;
        match self.send(wanted, &*file, &mut sent).await {
            Ok(Ok(())) => {}
            failed => {
                self.progress.take_back(sent);
                let cleared = self.clear(name).await;
                if failed.is_ok() {
                    cleared?;
                }
                return failed;
            }
        }
        let mut done = self.done();
        done.blobs += 1;
        done.bytes += size;
        done.copied_bytes += size;
        Ok(Ok(()))
    }

    /// Whether the target has these bytes, by their name and size.
    async fn has(&self, Wanted { name, size, .. }: Wanted<'_>) -> Result<bool, NotCopied> {
        match self.to.bytes.open(name).await {
            Ok(file) => Ok(file.size() == size),
            Err(Failure::Missing) => Ok(false),
            Err(why) => Err(of_target(why)),
        }
    }

    async fn clear(&self, name: &str) -> Result<(), NotCopied> {
        let removed = self.to.bytes.remove(name, &Resume::default()).await;
        removed.map_err(of_target)
    }

    async fn open(
        &self,
        Wanted { name, size, .. }: Wanted<'_>,
    ) -> Result<Result<Arc<dyn BlobFile>, Damage>, NotCopied> {
        match self.from.bytes.open(name).await {
            Ok(file) if file.size() == size => Ok(Ok(file)),
            Ok(file) => Ok(Err(Damage::Size {
                found: file.size(),
                expected: size,
            })),
            Err(Failure::Missing) => Ok(Err(Damage::Missing)),
            Err(why) if why.shows_damage() => Ok(Err(Damage::Unopened(why))),
            Err(why) => Err(NotCopied::Source(why.into())),
        }
    }

    async fn send(
        &self,
        Wanted {
            digest, name, size, ..
        }: Wanted<'_>,
        file: &dyn BlobFile,
        sent: &mut u64,
    ) -> Result<Result<(), Damage>, NotCopied> {
        let mut hasher = Hasher::new(digest.algorithm());
        let begun = Resume::default();
        loop {
            let most = usize::try_from(size - *sent).map_or(READ, |left| left.min(READ));
            let chunk = match file.read_once(*sent, most).await {
                Ok(chunk) if chunk.is_empty() && *sent < size => {
                    return Ok(Err(Damage::Size {
                        found: *sent,
                        expected: size,
                    }));
                }
                Ok(chunk) => chunk,
                Err(why) if why.shows_damage() => return Ok(Err(Damage::Unreadable { at: *sent, why })),
                Err(why) => return Err(NotCopied::Source(why.into())),
            };
            let length = chunk.len() as u64;
            let hashing = Hashing::new(hasher);
            let bytes = &self.to.bytes;
            let written = bytes.write(name, *sent, &begun, vec![chunk], hashing.look());
            written.await.map_err(of_target)?;
            hasher = hashing.end().ok_or(NotCopied::Source(Error::Internal))?;
            self.progress.count_bytes(length);
            *sent += length;
            if *sent >= size {
                break;
            }
        }
        let found = hasher.digest();
        if found != *digest {
            return Ok(Err(Damage::Digest(found)));
        }
        let sealed = self.to.bytes.seal(name, size, &begun).await;
        sealed.map(Ok).map_err(of_target)
    }
}

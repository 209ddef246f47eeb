//! Blobs, their links, and uploads.

use super::super::hashing::Hasher;
use super::super::marks::LISTED;
use super::super::records::{BlobRecord, BlobState, LinkRecord};
use super::super::uploads::{Session, SessionState};
use super::super::{Error, keys};
use super::Check;
use crate::oci::Digest;

/// How much is read at once.
const READ: usize = 1 << 20;

impl Check<'_> {
    pub(super) async fn blobs(&mut self) -> Result<(), Error> {
        let of = self.all_bytes().await?;
        let mut after = String::new();
        loop {
            let page = self.registry.records.list(keys::BLOBS, &after, LISTED).await?;
            let Some(last) = page.last().cloned() else { return Ok(()) };
            for key in &page {
                let Some(digest) = keys::spread_digest_of(key, keys::BLOBS) else {
                    self.damage(key, "is not the key of a blob");
                    continue;
                };
                let Some(blob) = self.read::<BlobRecord>(key).await else { continue };
                self.checked.blobs += 1;
                self.named.extend(blob.trash.iter().cloned());
                self.named.insert(blob.generation.clone());
                if blob.state == BlobState::Dying {
                    self.leftover(key, "waits for the collector");
                } else {
                    self.hash(key, &digest, &blob, of).await?;
                }
            }
            after = last;
        }
    }

    async fn all_bytes(&mut self) -> Result<u64, Error> {
        let (mut sum, mut after) = (0, String::new());
        loop {
            let page = self.registry.records.list(keys::BLOBS, &after, LISTED).await?;
            let Some(last) = page.last().cloned() else { return Ok(sum) };
            for key in &page {
                sum += self.look::<BlobRecord>(key).await.map_or(0, |blob| blob.size);
            }
            after = last;
        }
    }

    async fn hash(&mut self, key: &str, digest: &Digest, blob: &BlobRecord, of: u64) -> Result<(), Error> {
        let file = match self.registry.bytes.open(&blob.generation).await {
            Ok(file) => file,
            Err(why) => {
                self.damage(key, format!("its bytes {} cannot be opened: {why}", blob.generation));
                return Ok(());
            }
        };
        if file.size() != blob.size {
            self.damage(key, format!("its bytes {} are {} long, not {}", blob.generation, file.size(), blob.size));
            return Ok(());
        }
        let (mut hasher, mut offset) = (Hasher::new(digest.algorithm()), 0);
        while offset < blob.size {
            match file.read(offset, READ).await {
                Ok(bytes) if !bytes.is_empty() => {
                    offset += bytes.len() as u64;
                    hasher = self.registry.absorb(None, hasher, vec![bytes]).await?;
                }
                Ok(_) => break,
                Err(why) => {
                    self.damage(key, format!("its bytes {} cannot be read at {offset}: {why}", blob.generation));
                    return Ok(());
                }
            }
            self.progress.hashed(self.checked.bytes + offset, of);
        }
        self.checked.bytes += offset;
        let found = hasher.digest();
        if found != *digest {
            self.damage(key, format!("its bytes {} have the digest {found}", blob.generation));
        }
        Ok(())
    }

    pub(super) async fn links(&mut self) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let page = self.registry.records.list(keys::LINKS, &after, LISTED).await?;
            let Some(last) = page.last().cloned() else { return Ok(()) };
            for key in &page {
                let Some((digest, _)) = keys::link_of(key) else {
                    self.damage(key, "is not the key of a link");
                    continue;
                };
                let Some(link) = self.read::<LinkRecord>(key).await else { continue };
                self.checked.links += 1;
                let Some(name) = link.generation else {
                    self.leftover(key, "a push that was cut short");
                    continue;
                };
                match self.look::<BlobRecord>(&keys::blob(&digest)).await {
                    Some(blob) if blob.state == BlobState::Dying => self.damage(key, "links a blob that is being removed"),
                    Some(blob) if blob.generation == name => {}
                    // Replaced after they had been lost; readers find the new ones.
                    Some(blob) if blob.trash.contains(&name) => self.leftover(key, "names bytes that were replaced"),
                    Some(blob) => self.damage(key, format!("names the bytes {name}, and the blob has {}", blob.generation)),
                    None => self.damage(key, "links a blob that does not exist"),
                }
            }
            after = last;
        }
    }

    pub(super) async fn uploads(&mut self) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let page = self.registry.records.list(keys::UPLOADS, &after, LISTED).await?;
            let Some(last) = page.last().cloned() else { return Ok(()) };
            for key in &page {
                let Some(session) = self.read::<Session>(key).await else { continue };
                self.checked.uploads += 1;
                let name = key.strip_prefix(keys::UPLOADS).unwrap_or_default();
                self.named.insert(name.to_owned());
                match session.state {
                    SessionState::Open if session.offset > 0 => match self.registry.bytes.open(name).await {
                        Ok(file) if file.size() >= session.offset => {}
                        Ok(file) => self.damage(key, format!("has {} of {} bytes", file.size(), session.offset)),
                        Err(why) => self.damage(key, format!("its bytes cannot be opened: {why}")),
                    },
                    SessionState::Open => {}
                    SessionState::Closed | SessionState::Aborting => self.leftover(key, "an end that was cut short"),
                }
            }
            after = last;
        }
    }
}

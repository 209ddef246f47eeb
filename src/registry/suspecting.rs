//! Damaged bytes. If a blob's bytes are missing or wrong, the blob's record is marked. From then on the
//! registry reports the blob as missing to clients that push. So they push it again, and that push replaces
//! the bytes.

use super::states::blob::{BlobRecord, Own};
use super::typed_store::Found;
use super::upload_id::UploadId;
use super::{Error, Registry, keys};
use crate::oci::{Digest, RepositoryName};
use crate::secret::Secret;
use crate::storage::{Answer, BlobFile, Failure};
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How much of two files is compared at once.
const PIECE: usize = 64 << 10;

/// What is wrong with a blob's bytes.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("are missing")]
    Missing,
    #[error("are {found} long, not {expected}")]
    Size { found: u64, expected: u64 },
    #[error("cannot be opened: {0}")]
    Unopened(Failure),
    #[error("cannot be read at byte {at}: {why}")]
    Unreadable { at: u64, why: Failure },
    #[error("differ, between byte {from} and byte {to}, from the bytes just pushed under the same digest")]
    Differs { from: u64, to: u64 },
    #[error("have the digest {0}")]
    Digest(Digest),
}

/// What happened to a blob's damage mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marking {
    /// The blob is now marked.
    Set,
    /// The bytes are good, and the blob is no longer marked.
    Cleared,
    /// The mark did not change, or the blob has other bytes by now.
    Kept,
    /// The blob was not marked. Its bytes could not be opened or read, but that does not prove that they are
    /// damaged.
    Uncertain,
}

impl Registry {
    /// Marks the blob as suspect because its bytes `name` are damaged, and writes one line to the log. It
    /// does nothing if the blob has other bytes by now.
    pub(super) async fn mark_suspect(
        &self,
        digest: &Digest,
        name: &str,
        damage: &Damage,
    ) -> Result<Marking, Error> {
        if !self.is_certain(name, damage).await {
            return Ok(Marking::Uncertain);
        }
        let step = |found: Option<Found<BlobRecord>>| {
            Ok(BlobRecord::suspected(found.map(|found| found.record), name))
        };
        // A full disk must not keep damaged bytes in use.
        let (marked, _) = self.records.freeing().change(&keys::blob(digest), step).await?;
        if !marked {
            return Ok(Marking::Kept);
        }
        metrics::counter!("wharfinger_blobs_suspected_total").increment(1);
        let repositories = self.repositories_with(digest).await;
        tracing::error!(blob.digest = %digest, blob.bytes = name, repo.name = repositories, "the bytes of a blob {damage}; the next push of the blob replaces them");
        Ok(Marking::Set)
    }

    /// Clears the mark because the bytes `name` have the right digest.
    pub(super) async fn clear_suspicion(&self, digest: &Digest, name: &str) -> Result<Marking, Error> {
        let step =
            |found: Option<Found<BlobRecord>>| Ok(BlobRecord::cleared(found.map(|found| found.record), name));
        let (cleared, _) = self.records.freeing().change(&keys::blob(digest), step).await?;
        Ok(if cleared { Marking::Cleared } else { Marking::Kept })
    }

    /// Marks the blob. Returns whether its bytes are certainly damaged. For a caller that continues without
    /// the bytes: a failure to write the mark is only logged.
    pub(super) async fn suspect(&self, digest: &Digest, name: &str, damage: &Damage) -> bool {
        match self.mark_suspect(digest, name, damage).await {
            Ok(Marking::Uncertain) => {
                tracing::error!(blob.digest = %digest, blob.bytes = name, "the bytes of a blob {damage}; the blob is not marked as damaged, because the error may be temporary");
                return false;
            }
            Ok(_) => {}
            Err(why) => {
                tracing::error!(blob.digest = %digest, blob.bytes = name, "the bytes of a blob {damage}, and the blob cannot be marked as damaged: {why}");
            }
        }
        true
    }

    /// A disk error proves damage only if it occurs again while the rest of the disk works.
    async fn is_certain(&self, name: &str, damage: &Damage) -> bool {
        let (at, why) = match damage {
            Damage::Unopened(why) => (None, why),
            Damage::Unreadable { at, why } => (Some(*at), why),
            _ => return true,
        };
        if matches!(why, Failure::Missing) {
            return true;
        }
        why.shows_damage() && self.bytes.probe().await.is_ok() && self.fails_again(name, at).await
    }

    async fn fails_again(&self, name: &str, at: Option<u64>) -> bool {
        let again = match (self.bytes.open(name).await, at) {
            (Ok(file), Some(at)) => file.read(at, PIECE).await.map(drop),
            (opened, _) => opened.map(drop),
        };
        again.is_err_and(|why| why.shows_damage())
    }

    /// Opens the bytes `name` if they exist and have this size. Otherwise marks the blob if these are its
    /// bytes. If they cannot be opened but may be good, returns an error.
    pub(super) async fn open_whole(
        &self,
        digest: &Digest,
        name: &str,
        size: u64,
    ) -> Result<Option<Arc<dyn BlobFile>>, Error> {
        self.open_whole_at(digest, name, size, None).await
    }

    /// The same for a reader that begins at `first`, if that is known.
    pub(super) async fn open_whole_at(
        &self,
        digest: &Digest,
        name: &str,
        size: u64,
        first: Option<u64>,
    ) -> Result<Option<Arc<dyn BlobFile>>, Error> {
        let opened = match first.filter(|first| *first < size) {
            Some(first) => self.bytes.open_at(name, first),
            None => self.bytes.open(name),
        };
        let damage = match opened.await {
            Ok(file) if file.size() == size => return Ok(Some(file)),
            Ok(file) => Damage::Size {
                found: file.size(),
                expected: size,
            },
            Err(Failure::Missing) => Damage::Missing,
            Err(failure) => Damage::Unopened(failure),
        };
        match (self.suspect(digest, name, &damage).await, damage) {
            (false, Damage::Unopened(failure)) => Err(failure.into()),
            _ => Ok(None),
        }
    }

    /// Whether the bytes `name` exist and are the same as those that this push has `brought`, if any.
    pub(super) async fn are_whole(
        &self,
        digest: &Digest,
        name: &str,
        size: u64,
        brought: Option<&Brought>,
    ) -> Result<bool, Error> {
        let Some(file) = self.open_whole(digest, name, size).await? else {
            return Ok(false);
        };
        let Some(brought) = brought.filter(|brought| !brought.is_same(name)) else {
            return Ok(true);
        };
        match self.difference(&*file, brought).await? {
            None => {
                brought.note_same(name);
                Ok(true)
            }
            Some(Damage::Unreadable { why, .. }) if !why.shows_damage() => Err(why.into()),
            Some(damage) => {
                self.suspect(digest, name, &damage).await;
                Ok(false)
            }
        }
    }

    /// How the file differs from the brought bytes, whose digest was verified.
    async fn difference(&self, file: &dyn BlobFile, brought: &Brought) -> Result<Option<Damage>, Error> {
        let Own { name, size } = &brought.own;
        if file.size() != *size {
            return Ok(Some(Damage::Size {
                found: file.size(),
                expected: *size,
            }));
        }
        let own = match self.bytes.open(name).await {
            // They were published earlier, and have been replaced and removed since.
            Err(Failure::Missing) if brought.is_published() => return Ok(None),
            own => own?,
        };
        let mut at = 0;
        while at < *size {
            tokio::task::consume_budget().await;
            let good = part(&*own, at, PIECE).await?;
            if good.is_empty() {
                return Err(Failure::Missing.into());
            }
            if let Some(damage) = differs(file, at, &good).await {
                return Ok(Some(damage));
            }
            at += good.len() as u64;
        }
        Ok(None)
    }
}

/// Names the session of a closed upload.
pub(super) struct ClosedUpload {
    pub repository: RepositoryName,
    pub id: UploadId,
}

/// The bytes that a push has written. They are published at most once, and compared with the bytes that the
/// blob already has.
pub(super) struct Brought {
    own: Own,
    new: bool,
    published: AtomicBool,
    /// Whether a record has named the bytes, so that they must not be published any more.
    used_up: AtomicBool,
    guessed: AtomicBool,
    /// On a shared store, the closed upload. The bytes may be published while it stays closed.
    upload: Option<ClosedUpload>,
    /// The name of bytes that turned out to be the same.
    same: Mutex<Option<String>>,
}

impl Brought {
    pub(super) fn new(own: Own, upload: Option<ClosedUpload>) -> Self {
        Self {
            own,
            new: true,
            published: AtomicBool::new(false),
            used_up: AtomicBool::new(false),
            guessed: AtomicBool::new(false),
            upload,
            same: Mutex::default(),
        }
    }

    /// Bytes of an earlier request, which may have published them.
    pub(super) fn published(own: Own) -> Self {
        Self {
            new: false,
            published: AtomicBool::new(true),
            ..Self::new(own, None)
        }
    }

    pub(super) const fn size(&self) -> u64 {
        self.own.size
    }

    /// Whether these are the bytes of this request.
    pub(super) const fn is_new(&self) -> bool {
        self.new
    }

    pub(super) const fn own(&self) -> &Own {
        &self.own
    }

    /// The bytes, if they have not been published.
    pub(super) fn unpublished(&self) -> Option<&Own> {
        (!self.is_published() && !self.used_up.load(Ordering::SeqCst)).then_some(&self.own)
    }

    /// Whether to guess that the store does not have the blob. Only the first call returns true.
    pub(super) fn guesses(&self) -> bool {
        !self.guessed.swap(true, Ordering::SeqCst)
    }

    pub(super) fn use_up(&self) {
        self.used_up.store(true, Ordering::SeqCst);
    }

    pub(super) const fn upload(&self) -> Option<&ClosedUpload> {
        self.upload.as_ref()
    }

    pub(super) fn is_published(&self) -> bool {
        self.published.load(Ordering::SeqCst)
    }

    pub(super) fn note_published(&self, name: &str) {
        if self.own.name == name {
            self.published.store(true, Ordering::SeqCst);
        }
    }

    fn is_same(&self, name: &str) -> bool {
        self.own.name == name
            || self
                .same
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_deref()
                == Some(name)
    }

    fn note_same(&self, name: &str) {
        *self.same.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
    }
}

/// An open blob. If its bytes cannot be read, or are shorter than when they were opened, its record is
/// marked.
pub(super) struct Watched {
    pub registry: Registry,
    pub digest: Digest,
    pub name: String,
    pub file: Arc<dyn BlobFile>,
}

impl BlobFile for Watched {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn url(&self, lifetime: Duration) -> Answer<'_, Option<Secret>> {
        self.file.url(lifetime)
    }

    fn at_hand(&self, offset: u64, most: usize) -> Option<Bytes> {
        self.file.at_hand(offset, most)
    }

    fn read(&self, offset: u64, most: usize) -> Answer<'_, Bytes> {
        Box::pin(async move {
            let read = self.file.read(offset, most).await;
            if let Err(why) = &read {
                let damage = Damage::Unreadable {
                    at: offset,
                    why: why.clone(),
                };
                self.registry.suspect(&self.digest, &self.name, &damage).await;
            }
            read
        })
    }
}

/// At most `most` bytes from `at` on. If they are in the page cache, no thread is needed.
pub(super) async fn part(file: &dyn BlobFile, at: u64, most: usize) -> Result<Bytes, Failure> {
    match file.at_hand(at, most) {
        Some(bytes) => Ok(bytes),
        None => file.read(at, most).await,
    }
}

/// How the file differs from `bytes`, which should lie at `at`.
pub(super) async fn differs(file: &dyn BlobFile, mut at: u64, mut bytes: &[u8]) -> Option<Damage> {
    while !bytes.is_empty() {
        let found = match part(file, at, bytes.len().min(PIECE)).await {
            Ok(found) if found.is_empty() => {
                return Some(Damage::Size {
                    found: file.size(),
                    expected: at + bytes.len() as u64,
                });
            }
            Ok(found) => found,
            Err(why) => return Some(Damage::Unreadable { at, why }),
        };
        let (here, rest) = bytes.split_at(found.len().min(bytes.len()));
        let to = at + here.len() as u64;
        if !found.starts_with(here) {
            return Some(Damage::Differs { from: at, to });
        }
        (at, bytes) = (to, rest);
    }
    None
}

//! Hashes stored bytes again, to check whether they still have their digest.

use super::hashing::Hasher;
use super::large::worked;
use super::states::blob::BlobRecord;
use super::suspecting::Damage;
use super::{Error, Marking, Registry, to_its_end};
use crate::oci::{Algorithm, Digest};
use crate::recent::Recent;
use crate::storage::{BlobFile, Failure};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Observes a hash that is being computed.
pub(super) trait Follower: Send {
    /// Called after each read. Hashing continues when the future ends.
    fn has_read(&mut self, bytes: u64) -> impl Future<Output = ()> + Send;
}

impl Follower for () {
    async fn has_read(&mut self, _: u64) {}
}

impl Registry {
    /// Hashes the blob's bytes, and returns their damage if there is any. Changes nothing.
    pub(super) async fn rehash(
        &self,
        digest: &Digest,
        blob: &BlobRecord,
        follower: &mut impl Follower,
    ) -> Result<Result<(), Damage>, Error> {
        let file = match self.bytes.open(&blob.generation).await {
            Ok(file) => file,
            Err(Failure::Missing) => return Ok(Err(Damage::Missing)),
            Err(why) => return Ok(Err(Damage::Unopened(why))),
        };
        if file.size() != blob.size {
            return Ok(Err(Damage::Size {
                found: file.size(),
                expected: blob.size,
            }));
        }
        let hashed = self
            .hash_file(&*file, blob.size, digest.algorithm(), follower)
            .await?;
        let found = match hashed {
            Ok(hasher) => hasher.digest(),
            Err(damage) => return Ok(Err(damage)),
        };
        Ok(if found == *digest {
            Ok(())
        } else {
            Err(Damage::Digest(found))
        })
    }

    /// Hashes the first `size` bytes.
    pub(super) async fn hash_file(
        &self,
        file: &dyn BlobFile,
        size: u64,
        algorithm: Algorithm,
        follower: &mut impl Follower,
    ) -> Result<Result<Hasher, Damage>, Error> {
        let mut hasher = Hasher::new(algorithm);
        let mut offset = 0;
        while offset < size {
            let most = usize::try_from(size - offset).map_or(READ, |left| left.min(READ));
            let bytes = match file.read_once(offset, most).await {
                Ok(bytes) if !bytes.is_empty() => bytes,
                Ok(_) => break,
                Err(why) => return Ok(Err(Damage::Unreadable { at: offset, why })),
            };
            let length = bytes.len() as u64;
            hasher = worked(bytes.len(), move || {
                hasher.update(&bytes);
                hasher
            })
            .await?;
            offset += length;
            follower.has_read(length).await;
        }
        Ok(Ok(hasher))
    }

    /// Whether the bytes of a blob that is marked as damaged turn out to be good. If so, clears the mark, and
    /// the caller can serve them. Damaged bytes are hashed only once in the life of the process, even if many
    /// clients ask for them.
    pub(super) async fn is_good_after_all(&self, digest: &Digest, blob: &BlobRecord) -> Result<bool, Error> {
        let registry = self.clone();
        let digest = digest.clone();
        let blob = blob.clone();
        // If the client disconnects, the work continues, so that the next client need not repeat it.
        to_its_end(async move {
            let _turn = registry.rechecks.turn.lock().await;
            if registry.rechecks.has_failed(&blob.generation) {
                return Ok(false);
            }
            if let Err(damage) = registry.rehash(&digest, &blob, &mut ()).await? {
                let certain = registry.suspect(&digest, &blob.generation, &damage).await;
                // Other damage is found without hashing, and it may be temporary.
                if certain && matches!(damage, Damage::Digest(_) | Damage::Unreadable { .. }) {
                    registry.rechecks.failed(&blob.generation);
                }
                return Ok(false);
            }
            match registry.clear_suspicion(&digest, &blob.generation).await {
                Ok(Marking::Cleared) => tracing::info!(blob.digest = %digest, blob.bytes = blob.generation, "a blob was marked as damaged, but its bytes are good; the mark is cleared"),
                Ok(_) => {}
                Err(why) => tracing::warn!(blob.digest = %digest, blob.bytes = blob.generation, "a blob is marked as damaged, but its bytes are good; the mark cannot be cleared: {why}"),
            }
            Ok(true)
        })
        .await
    }
}

/// The marked blobs whose bytes were hashed again because a client asked for them.
pub(super) struct Rechecks {
    /// Only one blob at a time is hashed for clients.
    turn: tokio::sync::Mutex<()>,
    /// The names of the bytes that turned out to be damaged.
    failed: Mutex<Recent<String, ()>>,
}

impl Rechecks {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            turn: tokio::sync::Mutex::default(),
            failed: Mutex::new(Recent::new(REMEMBERED)),
        })
    }

    fn has_failed(&self, name: &str) -> bool {
        self.names().get(name).is_some()
    }

    fn failed(&self, name: &str) {
        self.names().put(name.to_owned(), (), 1);
    }

    fn names(&self) -> MutexGuard<'_, Recent<String, ()>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much is read at once.
const READ: usize = 1 << 20;
/// How many names of damaged bytes are remembered.
const REMEMBERED: usize = 8192;

//! Hashes all blobs and manifests again while pushes and pulls continue, one after the other in the order of
//! their keys. A blob with damaged bytes is marked, and a damaged manifest is no longer served from memory.
//! The next push replaces either. `docs/design/protocol.md` (Damaged bytes) has the steps.
//!
//! The walk keeps its position in a record, so that it continues after a restart.

mod position;
mod rate;

pub use rate::Rate;

use super::keys::{self, Entry, Key};
use super::rehashing::Follower;
use super::states::blob::{BlobRecord, BlobState};
use super::states::manifest::ManifestRecord;
use super::states::scrub::{ScrubCounts, ScrubRecord};
use super::{Error, Marking, Registry};
use crate::access::Maintenance;
use crate::clock::Timestamp;
use crate::oci::{Digest, RepositoryName};
use crate::storage::Show;
use rate::Bucket;
use std::time::Duration;
use tokio::time::Instant;

/// What a complete walk has checked, including the part before a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrubbed {
    pub blobs: u64,
    pub manifests: u64,
    pub bytes: u64,
    /// Blobs and manifests that are damaged, including those that an earlier walk found.
    pub damaged: u64,
    /// The time from the beginning of the walk to its end.
    pub took: Duration,
}

/// What the check of one blob found.
pub(super) enum Found {
    /// The blob is gone, or has other bytes by now.
    Nothing,
    Good,
    /// The bytes are damaged. The blob is marked, unless the damage is uncertain.
    Damaged,
}

impl Registry {
    /// Hashes every blob and manifest at this rate. If an earlier walk was interrupted, hashes the rest of
    /// them. If the future fails or is dropped, the next walk continues near that place.
    pub async fn scrub(&self, _: &Maintenance, rate: Rate) -> Result<Scrubbed, Error> {
        let last = self.scrub_position().await.unwrap_or_default();
        let position = match last.after {
            Some(_) => last,
            None => ScrubRecord {
                began: self.records.now().as_secs(),
                after: Some(String::new()),
                completed: last.completed,
                checked: ScrubCounts::default(),
            },
        };
        let walk = Walk {
            registry: self,
            hand: Hand(Bucket::new(rate)),
            position,
            kept: Instant::now(),
            since: 0,
        };
        walk.run().await
    }

    /// Hashes the bytes of a blob. Marks the blob if they are damaged, and clears the mark if they are good.
    pub(super) async fn scrub_blob(
        &self,
        digest: &Digest,
        blob: &BlobRecord,
        follower: &mut impl Follower,
    ) -> Result<Found, Error> {
        let name = &blob.generation;
        let Err(damage) = self.rehash(digest, blob, follower).await? else {
            if blob.suspect && self.clear_suspicion(digest, name).await? == Marking::Cleared {
                tracing::info!(blob.digest = %digest, blob.bytes = name, "a blob was marked as damaged, but its bytes are good; the mark is cleared");
            }
            return Ok(Found::Good);
        };
        // The blob may have been collected or replaced while it was read.
        let now = self.records.read(&keys::blob(digest)).await?;
        let has = |blob: &BlobRecord| blob.state != BlobState::Dying && blob.generation == *name;
        if !now.is_some_and(|now| has(&now.record)) {
            return Ok(Found::Nothing);
        }
        self.suspect(digest, name, &damage).await;
        Ok(Found::Damaged)
    }
}

struct Walk<'a> {
    registry: &'a Registry,
    hand: Hand,
    position: ScrubRecord,
    /// When the position was last recorded, and how many records were checked since.
    kept: Instant,
    since: usize,
}

impl Walk<'_> {
    async fn run(mut self) -> Result<Scrubbed, Error> {
        let records = &self.registry.records;
        let after = self.position.after.clone().unwrap_or_default();
        let mut blobs = records.keys_after(keys::blobs(), after.clone(), Show::All);
        while let Some(key) = blobs.next().await? {
            if let Some(Entry::Blob(digest)) = Entry::parse(key.as_str()) {
                self.blob(&key, &digest).await?;
                self.passed(key.as_str()).await?;
            }
        }
        let manifests = keys::all_of_repositories::<ManifestRecord>();
        let mut manifests = records.keys_after(manifests, after, Show::Visible);
        while let Some(key) = manifests.next().await? {
            if let Some(Entry::Manifest(repository, digest)) = Entry::parse(key.as_str()) {
                self.manifest(&key, &repository, &digest).await?;
                self.passed(key.as_str()).await?;
            }
        }
        self.end().await
    }

    async fn blob(&mut self, key: &Key<BlobRecord>, digest: &Digest) -> Result<(), Error> {
        let blob = match self.registry.records.read_stored(key).await {
            Ok(Some((blob, _))) if blob.state != BlobState::Dying => blob,
            Ok(_) => return Ok(()),
            Err(why @ Error::Unreadable { .. }) => {
                self.damaged("blob");
                tracing::error!(blob.digest = %digest, "the scrubber cannot read the record of a blob: {why}");
                return Ok(());
            }
            Err(why) => return Err(why),
        };
        match self.registry.scrub_blob(digest, &blob, &mut self.hand).await? {
            Found::Nothing => return Ok(()),
            Found::Good => {}
            Found::Damaged => {
                self.damaged("blob");
                if blob.suspect {
                    let repositories = self.registry.repositories_with(digest).await;
                    tracing::error!(blob.digest = %digest, blob.bytes = blob.generation, repo.name = repositories, "a blob is still damaged: push an image that needs it again; `wharfinger fsck` names the images");
                }
            }
        }
        self.position.checked.blobs += 1;
        self.position.checked.bytes += blob.size;
        Ok(())
    }

    async fn manifest(
        &mut self,
        key: &Key<ManifestRecord>,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), Error> {
        match self.registry.records.read_stored(key).await {
            Ok(None) => return Ok(()),
            Ok(Some((_, length))) => {
                self.position.checked.bytes += length;
                self.hand.has_read(length).await;
            }
            Err(why @ Error::Unreadable { .. }) => {
                self.damaged("manifest");
                tracing::error!(repo.name = %repository, manifest.digest = %digest, "the scrubber found a damaged manifest; the next push of the manifest repairs it: {why}");
            }
            Err(why) => return Err(why),
        }
        self.position.checked.manifests += 1;
        Ok(())
    }

    fn damaged(&mut self, what: &'static str) {
        self.position.checked.damaged += 1;
        metrics::counter!("wharfinger_scrub_damaged_total", "what" => what).increment(1);
    }

    /// Records the position from time to time.
    async fn passed(&mut self, key: &str) -> Result<(), Error> {
        self.since += 1;
        if self.since < KEPT_AFTER && self.kept.elapsed() < KEPT_EVERY {
            return Ok(());
        }
        self.position.after = Some(key.to_owned());
        self.registry.keep_scrub_position(&self.position).await?;
        self.kept = Instant::now();
        self.since = 0;
        Ok(())
    }

    async fn end(mut self) -> Result<Scrubbed, Error> {
        let now = self.registry.records.now();
        self.position.after = None;
        self.position.completed = Some(now.as_secs());
        self.registry.keep_scrub_position(&self.position).await?;
        let ScrubCounts {
            blobs,
            manifests,
            bytes,
            damaged,
        } = self.position.checked;
        Ok(Scrubbed {
            blobs,
            manifests,
            bytes,
            damaged,
            took: now.since(Timestamp::from_secs(self.position.began)),
        })
    }
}

/// Counts the bytes that are read, and limits their rate.
struct Hand(Bucket);

impl Follower for Hand {
    async fn has_read(&mut self, bytes: u64) {
        metrics::counter!("wharfinger_scrub_bytes_total").increment(bytes);
        self.0.take(bytes).await;
    }
}

/// The position is recorded after this many records, and after this time.
const KEPT_AFTER: usize = 500;
const KEPT_EVERY: Duration = Duration::from_secs(60);

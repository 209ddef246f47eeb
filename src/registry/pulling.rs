//! When each manifest was last pulled. A pull only notes its time in memory. The times are written to records
//! later, many at once, so a killed process loses those of its last minutes.

use super::keys;
use super::states::pulls::{PullRecord, PullsBegan};
use super::typed_store::{Changed, Found};
use super::{Error, Registry};
use crate::access::{Maintenance, Permit, Read};
use crate::clock::Timestamp;
use crate::oci::{Digest, RepositoryName};
use crate::storage::Change;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How many manifests are remembered between two writes. Each takes about 200 bytes.
const MOST: usize = 64 * 1024;
const SHARDS: usize = 16;
/// How many records are written with one commit.
const AT_ONCE: usize = 100;
/// On a shared store a record is written at most this often, so its time may be that much too early.
const APART: Duration = Duration::from_secs(60 * 60);

/// The pulls that are not written yet.
#[derive(Default)]
pub(super) struct Pulls {
    shards: [Mutex<Shard>; SHARDS],
    /// How many manifests the shards hold.
    held: AtomicUsize,
    /// How many pulls were dropped because there was no room.
    dropped: AtomicUsize,
    /// Notified when half of the room is used.
    crowded: Notify,
    /// When this store's pulls began to be recorded.
    since: OnceLock<Timestamp>,
}

/// The last pull of each manifest.
type Shard = HashMap<RepositoryName, HashMap<Digest, Timestamp>>;

impl Pulls {
    /// Notes a pull. Most pulls are of a manifest that is already noted, and allocate nothing.
    fn note(&self, repository: &RepositoryName, digest: &Digest, now: Timestamp) {
        let mut shard = self.shard(digest);
        if let Some(last) = shard.get_mut(repository).and_then(|all| all.get_mut(digest)) {
            *last = now.max(*last);
            return;
        }
        let held = self.held.fetch_add(1, Ordering::Relaxed);
        if held >= MOST {
            self.held.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            shard
                .entry(repository.clone())
                .or_default()
                .insert(digest.clone(), now);
        }
        drop(shard);
        if held >= MOST / 2 {
            self.crowded.notify_one();
        }
    }

    fn last(&self, repository: &RepositoryName, digest: &Digest) -> Option<Timestamp> {
        self.shard(digest).get(repository)?.get(digest).copied()
    }

    fn snapshot(&self, shard: usize) -> Vec<(RepositoryName, Digest, Timestamp)> {
        let Some(shard) = self.shards.get(shard) else {
            return Vec::new();
        };
        let shard = lock(shard);
        let of_one = |(repository, all): (&RepositoryName, &HashMap<Digest, Timestamp>)| {
            let repository = repository.clone();
            let each = all.iter();
            each.map(|(digest, last)| (repository.clone(), digest.clone(), *last))
                .collect::<Vec<_>>()
        };
        shard.iter().flat_map(of_one).collect()
    }

    /// Forgets a pull that was written, unless the manifest was pulled again since.
    fn written(&self, repository: &RepositoryName, digest: &Digest, last: Timestamp) {
        let mut shard = self.shard(digest);
        let Some(all) = shard.get_mut(repository) else {
            return;
        };
        if all.get(digest) == Some(&last) {
            all.remove(digest);
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
        if all.is_empty() {
            shard.remove(repository);
        }
    }

    fn shard(&self, digest: &Digest) -> MutexGuard<'_, Shard> {
        let place = digest.hex().bytes().next_back().unwrap_or_default();
        let place = char::from(place).to_digit(16).unwrap_or_default();
        let shards = &self.shards;
        lock(
            usize::try_from(place)
                .ok()
                .and_then(|place| shards.get(place))
                .unwrap_or(&shards[0]),
        )
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// Notes that a client pulled the manifest. Writes nothing.
    pub fn note_pull(&self, permit: &Permit<Read>, digest: &Digest) {
        self.pulls.note(permit.repository(), digest, self.records.now());
    }

    /// Records when pulls began to be recorded. Before that time, any manifest may have been pulled.
    pub async fn begin_recording_pulls(&self) -> Result<(), Error> {
        let key = keys::pulls_began();
        self.records.create(&key, &PullsBegan::default()).await?;
        self.pulls_recorded_since().await.map(drop)
    }

    /// When pulls began to be recorded. The present time if they are not recorded yet.
    async fn pulls_recorded_since(&self) -> Result<Timestamp, Error> {
        if let Some(since) = self.pulls.since.get() {
            return Ok(*since);
        }
        let found = self.records.read(&keys::pulls_began()).await?;
        Ok(match found {
            Some(found) => *self.pulls.since.get_or_init(|| found.record.began(found.written)),
            None => self.records.now(),
        })
    }

    /// When the manifest was last pulled. If no pull is known, the time at which pulls began to be recorded,
    /// because there may have been one before it. If the record of the pulls cannot be read, the present time.
    pub(super) async fn last_pull(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Timestamp, Error> {
        let noted = self.pulls.last(repository, digest);
        let found = match self.records.read(&keys::pulls(repository, digest)).await {
            // It may have been pulled just now.
            Err(Error::Unreadable { .. }) => return Ok(self.records.now()),
            found => found?.map(|found| Timestamp::from_millis(found.record.last)),
        };
        let since = self.pulls_recorded_since().await?;
        Ok(since.max(noted.unwrap_or(since)).max(found.unwrap_or(since)))
    }

    /// Resolves when pulls should be written early, because half of the room is used.
    pub async fn pulls_are_crowded(&self) {
        self.pulls.crowded.notified().await;
    }

    /// How many pulls were dropped for lack of room since the last call.
    pub fn take_dropped_pulls(&self) -> usize {
        self.pulls.dropped.swap(0, Ordering::Relaxed)
    }

    /// Writes the times of all noted pulls. Waits for `pause` after each commit. If it fails or is dropped,
    /// the next call writes the rest. Returns how many records were written.
    pub async fn write_pulls<F>(&self, _: &Maintenance, pause: impl Fn() -> F) -> Result<usize, Error>
    where
        F: Future<Output = ()>,
    {
        let mut written = 0;
        for shard in 0..SHARDS {
            for page in self.pulls.snapshot(shard).chunks(AT_ONCE) {
                written += self.write_page(page).await?;
                pause().await;
            }
        }
        Ok(written)
    }

    async fn write_page(&self, page: &[(RepositoryName, Digest, Timestamp)]) -> Result<usize, Error> {
        let apart = if self.settings.shared {
            APART
        } else {
            Duration::ZERO
        };
        let mut changes = Vec::with_capacity(page.len());
        let mut written = Vec::with_capacity(page.len());
        for one in page {
            let (repository, digest, last) = one;
            let key = keys::pulls(repository, digest);
            let found = match self.records.read(&key).await {
                // The record is damaged. Nothing depends on it, and every later write would fail on it.
                Err(why) if why.is_damage() => {
                    self.records.delete_damaged(&key).await?;
                    None
                }
                // A later version wrote the record. It must not keep the other pulls from being written.
                Err(why @ Error::Unreadable { .. }) => {
                    tracing::warn!("a pull is not recorded: {why}");
                    self.pulls.written(repository, digest, *last);
                    continue;
                }
                found => found?,
            };
            match PullRecord::pulled(found.as_ref().map(|found| &found.record), *last, apart) {
                Some(record) => {
                    changes.push(self.records.planned(
                        &key,
                        found.as_ref().map(Found::base).as_ref(),
                        Some(&record),
                    )?);
                    written.push(one);
                }
                None => self.pulls.written(repository, digest, *last),
            }
        }
        let done = self.records.change_each(changes).await?;
        let mut count = 0;
        for ((repository, digest, last), done) in written.into_iter().zip(done) {
            if done == Changed::Lost {
                continue;
            }
            count += 1;
            self.pulls.written(repository, digest, *last);
            // The manifest may have been deleted meanwhile, by a deletion that did not see this record.
            if !self
                .protects_references(&keys::manifest(repository, digest))
                .await?
            {
                let forgetting = self.forgetting_pulls(repository, digest).await?;
                self.records.change_all(forgetting.into_iter().collect()).await?;
            }
        }
        Ok(count)
    }

    /// The change that deletes the pull record of a manifest that is dying or gone. If pulls are written at
    /// the same moment, the change may fail. The writer of the pulls then deletes the record.
    pub(super) async fn forgetting_pulls(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Change>, Error> {
        let key = keys::pulls(repository, digest);
        match self.records.read(&key).await {
            Err(why) if why.is_damage() => {
                self.records.delete_damaged(&key).await?;
                Ok(None)
            }
            // A later version wrote the record, and nothing depends on it.
            Err(Error::Unreadable { .. }) => Ok(None),
            found => found?
                .map(|found| self.records.planned(&key, Some(&found.base()), None))
                .transpose(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;
    use crate::registry::hashing::digest_of;

    fn digest(n: usize) -> Digest {
        digest_of(Algorithm::Sha256, &n.to_le_bytes())
    }

    #[test]
    fn pulls_of_one_manifest_take_one_place_and_the_memory_is_bounded() {
        let pulls = Pulls::default();
        let repository: RepositoryName = "a".parse().unwrap();
        let at = Timestamp::from_millis;
        for time in [5, 9, 7] {
            pulls.note(&repository, &digest(0), at(time));
        }
        assert_eq!(pulls.held.load(Ordering::Relaxed), 1);
        assert_eq!(pulls.last(&repository, &digest(0)), Some(at(9)));
        for n in 0..MOST + 10 {
            pulls.note(&repository, &digest(n), at(20));
        }
        assert_eq!(pulls.held.load(Ordering::Relaxed), MOST);
        assert_eq!(pulls.dropped.load(Ordering::Relaxed), 10);
        let kept: usize = (0..SHARDS).map(|shard| pulls.snapshot(shard).len()).sum();
        assert_eq!(kept, MOST);
        pulls.note(&repository, &digest(0), at(30));
        assert_eq!(
            pulls.last(&repository, &digest(0)),
            Some(at(30)),
            "this manifest is already noted"
        );
    }

    #[test]
    fn a_pull_during_a_write_is_kept() {
        let pulls = Pulls::default();
        let repository: RepositoryName = "a".parse().unwrap();
        let at = Timestamp::from_millis;
        pulls.note(&repository, &digest(0), at(1));
        pulls.note(&repository, &digest(0), at(2));
        pulls.written(&repository, &digest(0), at(1));
        assert_eq!(pulls.last(&repository, &digest(0)), Some(at(2)));
        pulls.written(&repository, &digest(0), at(2));
        assert_eq!(pulls.last(&repository, &digest(0)), None);
        assert_eq!(pulls.held.load(Ordering::Relaxed), 0);
        assert!(pulls.snapshot(0).is_empty());
    }

    #[tokio::test]
    async fn many_pulled_manifests_cause_an_early_write() {
        let pulls = Pulls::default();
        let repository: RepositoryName = "a".parse().unwrap();
        for n in 0..=MOST / 2 {
            pulls.note(&repository, &digest(n), Timestamp::from_millis(1));
        }
        pulls.crowded.notified().await;
    }
}

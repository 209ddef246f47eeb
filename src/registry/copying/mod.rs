//! Copies a store into an empty one, such as a folder's into a bucket. Nothing else uses either store meanwhile.
//!
//! 1. The target gets a mark (`claim`), and nothing but the copy uses a store that has one.
//! 2. Each record is copied with its exact bytes. A blob's record follows its bytes, which are hashed on the way.
//!    So bytes whose record is in the target are complete, and a later run continues.
//! 3. The mark is removed.
//!
//! A later run reads both stores' records, and writes those that differ. The source may have been used in between.
//! Bytes are copied unless the target has them, by name and size. Only some records, and the bytes of some blobs,
//! are in memory at any time.
//!
//! Not copied: uploads under way, whose clients start again, and the position of the collector's pass.

mod blobs;
mod claim;
mod error;

pub use error::NotCopied;

use super::keys::{self, Entry, Key, Prefix};
use super::records::{self, Stored};
use super::states::blob::BlobState;
use super::states::manifest::ManifestRecord;
use super::states::pulls::PullsBegan;
use super::{Error, Registry};
use crate::access::Maintenance;
use crate::storage::{Failure, Progress, Record, Show, Value};
use bytes::Bytes;
use claim::Claim;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};

/// How many records are copied at the same time.
const RECORDS: usize = 16;
/// How many blobs are.
const BLOBS: usize = 8;
/// How often one record with its bytes is tried while the target fails.
const TRIES: u32 = 5;
/// The pause after the first failure. Later ones are twice as long each.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1000 });
/// What a store has for itself: its ID and format, the mark of a copy, and the processes that use it.
const OWN: &str = "i/";

/// The parameters of a copy.
#[derive(Debug)]
pub struct Copy {
    /// The ID of the source, which the copy gets too.
    pub id: String,
    pub progress: Arc<Progress>,
    /// Gets a line for each damage of the source. The copy waits for the receiver.
    pub damages: mpsc::Sender<String>,
}

/// The result of a complete copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopiedStore {
    pub records: u64,
    /// Of these, records that an earlier run had copied.
    pub kept_records: u64,
    pub blobs: u64,
    pub bytes: u64,
    /// Of these, blobs that an earlier run had copied.
    pub kept: u64,
    /// The bytes of the others.
    pub copied_bytes: u64,
    /// Records of an earlier run that the source does not have any more.
    pub removed: u64,
    /// How many records and blobs of the source are damaged.
    pub damages: u64,
}

impl Registry {
    /// Copies this store into the one of `to`. Damage does not stop the copy of the rest. A blob that is damaged
    /// here is marked there, so the next push of it replaces it. If this future is dropped, the copy stops.
    pub async fn copy_to(
        &self,
        _: &Maintenance,
        to: &Self,
        Copy {
            id,
            progress,
            damages,
        }: Copy,
    ) -> Result<CopiedStore, NotCopied> {
        let claim = Claim::of(to, &id).await?;
        let copying = Copying {
            from: self.clone(),
            to: to.clone(),
            again: claim.is_continued(),
            progress,
            damages,
            moving: Semaphore::new(BLOBS),
            done: Mutex::default(),
        };
        let copying = Arc::new(copying);
        copying.announce().await?;
        if copying.again {
            copying.remove_others().await?;
        }
        for show in [Show::Visible, Show::Hidden] {
            copying.copy_all(show).await?;
        }
        claim.end(to).await?;
        let done = *copying.done();
        Ok(done)
    }
}

struct Copying {
    from: Registry,
    to: Registry,
    /// Whether an earlier run may have copied something.
    again: bool,
    progress: Arc<Progress>,
    damages: mpsc::Sender<String>,
    /// Turns for copying bytes.
    moving: Semaphore,
    done: Mutex<CopiedStore>,
}

impl Copying {
    /// Counts what there is to do.
    async fn announce(&self) -> Result<(), NotCopied> {
        let records = &self.from.records;
        let mut keys = records.keys(keys::blobs(), Show::All);
        while let Some(key) = keys.next().await.map_err(NotCopied::Source)? {
            // If it cannot be read, the copy reports that.
            if let Ok(Some(found)) = records.read(&key).await
                && found.record.state != BlobState::Dying
            {
                self.progress.expect(1, found.record.size);
            }
        }
        Ok(())
    }

    /// Removes records that an earlier run copied and the source does not have any more.
    async fn remove_others(&self) -> Result<(), NotCopied> {
        let from = self.from.records.raw();
        let to = self.to.records.raw();
        let mut pages = self.to.records.pages(everything(), String::new(), Show::All);
        while let Some(page) = pages.next().await.map_err(NotCopied::Target)? {
            for key in page {
                let key = key.as_str();
                if key.starts_with(OWN) {
                    continue;
                }
                let is_wanted = match from.get_stored(key).await {
                    Ok(found) => found.is_some() && !is_left_out(key),
                    Err(Failure::Lost { .. }) => true,
                    Err(why) => return Err(NotCopied::Source(why.into())),
                };
                let version = match to.get_stored(key).await {
                    _ if is_wanted => continue,
                    Ok(found) => found.map(|found| found.version),
                    Err(Failure::Lost { version, .. }) => Some(version),
                    Err(why) => return Err(NotCopied::Target(why.into())),
                };
                if let Some(version) = version {
                    let deleted = to.delete(key, &version).await;
                    deleted.map_err(|why| NotCopied::Target(why.into()))?;
                    self.done().removed += 1;
                }
            }
        }
        Ok(())
    }

    async fn copy_all(self: &Arc<Self>, show: Show) -> Result<(), NotCopied> {
        let mut pages = self.from.records.pages(everything(), String::new(), show);
        let mut tasks = JoinSet::new();
        while let Some(page) = pages.next().await.map_err(NotCopied::Source)? {
            for key in page.into_iter().filter(|key| !is_left_out(key.as_str())) {
                if tasks.len() >= RECORDS {
                    ended(tasks.join_next().await)?;
                }
                let this = self.clone();
                tasks.spawn(async move { this.copy(key.as_str(), show == Show::Hidden).await });
            }
        }
        while let Some(task) = tasks.join_next().await {
            ended(Some(task))?;
        }
        Ok(())
    }

    /// Copies a record with its bytes. Tries again if the target fails, which may pass.
    async fn copy(&self, key: &str, hidden: bool) -> Result<(), NotCopied> {
        let mut pause = PAUSE;
        let mut again = self.again;
        for _ in 1..TRIES {
            match self.copy_once(key, hidden, again).await {
                Err(why) if why.may_pass() => {
                    tracing::warn!(
                        record.key = key,
                        "the copy of a record failed and is tried again: {why}"
                    );
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    again = true;
                }
                done => return done,
            }
        }
        self.copy_once(key, hidden, again).await
    }

    /// `again` says that an earlier try may have copied something.
    async fn copy_once(&self, key: &str, hidden: bool, again: bool) -> Result<(), NotCopied> {
        let record = match self.from.records.raw().get_stored(key).await {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(()),
            Err(Failure::Lost { what, .. }) => {
                self.damage(format!("{key}: {what}")).await;
                return Ok(());
            }
            Err(why) => return Err(NotCopied::Source(why.into())),
        };
        let value = Value {
            bytes: self.value(key, record, again).await?,
            hidden,
            frees: false,
        };
        let kept = self.put(key, value).await?;
        let mut done = self.done();
        done.records += 1;
        done.kept_records += u64::from(kept);
        Ok(())
    }

    /// What the record is in the target, after everything that it needs there.
    async fn value(&self, key: &str, record: Record, again: bool) -> Result<Bytes, NotCopied> {
        match Entry::parse(key) {
            Some(Entry::Blob(digest)) => self.blob(&digest, record.value, again).await,
            Some(Entry::Link(digest, repository)) => {
                let key = keys::link(&digest, &repository);
                self.spare_bytes(&digest, &key, &record.value, again).await?;
                Ok(record.value)
            }
            Some(Entry::Manifest(repository, digest)) => {
                self.with_time(&keys::manifest(&repository, &digest), record)
                    .await
            }
            Some(Entry::Own) if key == keys::pulls_began().as_str() => {
                self.with_time(&keys::pulls_began(), record).await
            }
            _ => Ok(record.value),
        }
    }

    /// The time of a record's last write is lost, so the record gets what follows from that.
    async fn with_time<T: Timed>(&self, key: &Key<T>, record: Record) -> Result<Bytes, NotCopied> {
        let Record { value, written, .. } = record;
        match records::rewritten(key, &value, |record| record.fill_in(written)) {
            Ok(filled) => Ok(filled),
            Err(why) => {
                self.unreadable(why).await?;
                Ok(value)
            }
        }
    }

    /// Returns whether the target had the record already.
    async fn put(&self, key: &str, value: Value) -> Result<bool, NotCopied> {
        let to = self.to.records.raw();
        let failed = |why: Failure| NotCopied::Target(why.into());
        if !self.again {
            match to.create(key, value.clone()).await {
                Ok(_) => return Ok(false),
                Err(Failure::Conflict) => {}
                Err(why) => return Err(failed(why)),
            }
        }
        let version = match to.get_stored(key).await {
            Ok(Some(found)) if found.value == value.bytes => return Ok(true),
            Ok(found) => found.map(|found| found.version),
            Err(Failure::Lost { version, .. }) => Some(version),
            Err(why) => return Err(failed(why)),
        };
        let written = match version {
            Some(version) => to.swap(key, &version, value).await,
            None => to.create(key, value).await,
        };
        written.map(|_| false).map_err(failed)
    }

    async fn unreadable(&self, why: Error) -> Result<(), NotCopied> {
        match why {
            Error::Unreadable {
                key,
                why,
                newer: false,
            } => {
                self.damage(format!("{key}: {why}")).await;
                Ok(())
            }
            why => Err(NotCopied::Source(why)),
        }
    }

    async fn damage(&self, what: String) {
        self.done().damages += 1;
        // If nobody receives it any more, the number is still right.
        drop(self.damages.send(what).await);
    }

    fn done(&self) -> MutexGuard<'_, CopiedStore> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record of which a part follows from the time of its last write.
trait Timed: Stored + Clone + PartialEq {}

impl Timed for ManifestRecord {}
impl Timed for PullsBegan {}

fn everything() -> Prefix<()> {
    Prefix::new(String::new())
}

/// Whether the record is not copied.
fn is_left_out(key: &str) -> bool {
    key == keys::pass().as_str()
        || [OWN, keys::all_uploads().as_str()]
            .iter()
            .any(|prefix| key.starts_with(prefix))
}

fn ended(task: Option<Result<Result<(), NotCopied>, JoinError>>) -> Result<(), NotCopied> {
    task.unwrap_or(Ok(Ok(())))?
}

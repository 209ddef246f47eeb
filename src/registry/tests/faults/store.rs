//! A store that misbehaves as far as the contract allows, and no further.

use super::super::super::keys::Key;
use super::super::super::records;
use super::super::super::states::blob::{BlobRecord, BlobState};
use super::super::*;
use crate::storage::{Answer, BlobFile, Failure, Look, Range, Record, Resume, Value, Version, Written};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Out of a thousand operations.
#[derive(Clone, Copy)]
pub(super) struct Odds {
    /// Nothing happens, and the answer is an error.
    pub fails: u32,
    /// It happens, and the answer is an error.
    pub loses_the_answer: u32,
    /// The answer is an error, and it happens later, unless the record has been changed by then.
    pub comes_late: u32,
    /// It happens, and arrives once more later.
    pub comes_twice: u32,
    /// The process dies.
    pub dies: u32,
}

impl Odds {
    pub(super) const NONE: Self = Self { fails: 0, loses_the_answer: 0, comes_late: 0, comes_twice: 0, dies: 0 };
    pub(super) const ALL: Self = Self { fails: 15, loses_the_answer: 15, comes_late: 15, comes_twice: 100, dies: 10 };
}

/// What all processes share.
pub(super) struct World {
    pub store: Arc<Memory>,
    dice: Mutex<fastrand::Rng>,
    /// How often each record was changed: what a bucket has in the entity tags of its tombstones, so that a request that comes late
    /// finds out that the record was there and is gone again.
    changes: Mutex<HashMap<String, u64>>,
    /// How often each name of bytes was published.
    published: Mutex<HashMap<String, u64>>,
    odds: Odds,
}

#[derive(Clone)]
enum Change {
    Create(Value),
    Swap(Version, Value),
    Delete(Version),
}

enum Fate {
    Good,
    Fails,
    LosesTheAnswer,
    ComesLate,
    ComesTwice,
}

#[derive(Debug, thiserror::Error)]
#[error("injected")]
struct Injected;

fn injected() -> Failure {
    Failure::Io(Arc::new(Injected))
}

impl World {
    pub(super) fn new(seed: u64, odds: Odds, clock: Clock) -> Arc<Self> {
        let dice = Mutex::new(fastrand::Rng::with_seed(seed));
        Arc::new(Self { store: Arc::new(Memory::with_clock(clock)), dice, changes: Mutex::default(), published: Mutex::default(), odds })
    }

    pub(super) fn roll(&self, below: u32) -> u32 {
        self.dice.lock().unwrap().u32(0..below)
    }

    /// Lets the others run, mostly for a moment and now and then for long.
    async fn pause(&self) {
        let turns = if self.roll(30) == 0 { self.roll(300) } else { self.roll(5) };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    fn fate(&self) -> Fate {
        let Odds { fails, loses_the_answer, comes_late, comes_twice, .. } = self.odds;
        match self.roll(1000) {
            roll if roll < fails => Fate::Fails,
            roll if roll < fails + loses_the_answer => Fate::LosesTheAnswer,
            roll if roll < fails + loses_the_answer + comes_late => Fate::ComesLate,
            roll if roll < fails + loses_the_answer + comes_late + comes_twice => Fate::ComesTwice,
            _ => Fate::Good,
        }
    }

    fn changes(&self, key: &str) -> u64 {
        self.changes.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    async fn apply(&self, key: &str, change: Change, seen: u64) -> Result<Option<Version>, Failure> {
        if self.changes(key) != seen {
            return Err(Failure::Conflict);
        }
        let published = self.publishes(key, &change).await;
        let applied = match change {
            Change::Create(value) => self.store.create(key, value).await.map(Some),
            Change::Swap(version, value) => self.store.swap(key, &version, value).await.map(Some),
            Change::Delete(version) => self.store.delete(key, &version).await.map(|()| None),
        };
        if applied.is_ok() {
            *self.changes.lock().unwrap().entry(key.to_owned()).or_default() += 1;
            if let Some(name) = published {
                *self.published.lock().unwrap().entry(name).or_default() += 1;
            }
        }
        applied
    }

    /// The name of bytes that become the blob's by this change.
    async fn publishes(&self, key: &str, change: &Change) -> Option<String> {
        let (Change::Create(value) | Change::Swap(_, value)) = change else { return None };
        if !key.starts_with("b/") {
            return None;
        }
        let decode = |value: &Bytes| records::decode(&Key::<BlobRecord>::new(key.to_owned()), value).unwrap().0;
        let new = decode(&value.bytes);
        let old = self.store.get(key).await.unwrap().map(|record| decode(&record.value));
        let was_alive = old.is_some_and(|old| old.state != BlobState::Dying && old.generation == new.generation);
        (new.state == BlobState::Live && !was_alive).then_some(new.generation)
    }

    /// Names of bytes that became a blob's more than once.
    pub(super) fn published_twice(&self) -> Vec<String> {
        let published = self.published.lock().unwrap();
        published.iter().filter(|(_, times)| **times > 1).map(|(name, _)| name.clone()).collect()
    }

    fn later(self: &Arc<Self>, key: &str, change: Change, seen: u64) {
        let (world, key) = (self.clone(), key.to_owned());
        tokio::spawn(async move {
            for _ in 0..world.roll(400) {
                tokio::task::yield_now().await;
            }
            drop(world.apply(&key, change, seen).await);
        });
    }

    async fn change(self: &Arc<Self>, key: &str, change: Change) -> Result<Option<Version>, Failure> {
        self.pause().await;
        // What a swap and a delete saw is in their version; a creation saw that there is nothing.
        let seen = self.changes(key);
        match self.fate() {
            Fate::Good => self.apply(key, change, seen).await,
            Fate::Fails => Err(injected()),
            Fate::LosesTheAnswer => {
                drop(self.apply(key, change, seen).await);
                Err(injected())
            }
            Fate::ComesLate => {
                self.later(key, change, seen);
                Err(injected())
            }
            Fate::ComesTwice => {
                self.later(key, change.clone(), seen);
                self.apply(key, change, seen).await
            }
        }
    }
}

/// The store as one process sees it. When the process dies, nothing that it began goes on.
pub(super) struct Process {
    pub world: Arc<World>,
    dead: AtomicBool,
    /// For those that wait for the process's end.
    died: tokio::sync::Notify,
    mortal: bool,
}

impl Process {
    pub(super) fn new(world: &Arc<World>, mortal: bool) -> Arc<Self> {
        Arc::new(Self { world: world.clone(), dead: AtomicBool::new(false), died: tokio::sync::Notify::new(), mortal })
    }

    /// `None` if the process dies first.
    pub(super) async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.died.notified() => None,
            done = work => Some(done),
        }
    }

    /// Comes back only to the living.
    async fn live(&self) {
        if self.mortal && !self.dead.load(Ordering::SeqCst) && self.world.roll(1000) < self.world.odds.dies {
            self.dead.store(true, Ordering::SeqCst);
            self.died.notify_one();
        }
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    async fn change(&self, key: &str, change: Change) -> Result<Option<Version>, Failure> {
        self.live().await;
        let changed = self.world.change(key, change).await;
        self.live().await;
        changed
    }

    /// For what is not a change of a record: it may fail, before or after it was done.
    async fn around<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.live().await;
        self.world.pause().await;
        match self.world.fate() {
            Fate::Fails | Fate::ComesLate => return Err(injected()),
            Fate::LosesTheAnswer => {
                drop(work.await);
                return Err(injected());
            }
            Fate::Good | Fate::ComesTwice => {}
        }
        let done = work.await;
        self.live().await;
        done
    }
}

impl RecordStore for Process {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        Box::pin(self.around(self.world.store.get(key)))
    }

    fn create<'a>(&'a self, key: &'a str, value: Value) -> Answer<'a, Version> {
        Box::pin(async move { self.change(key, Change::Create(value)).await?.ok_or(Failure::Conflict) })
    }

    fn swap<'a>(&'a self, key: &'a str, expected: &'a Version, value: Value) -> Answer<'a, Version> {
        Box::pin(async move { self.change(key, Change::Swap(expected.clone(), value)).await?.ok_or(Failure::Conflict) })
    }

    fn delete<'a>(&'a self, key: &'a str, expected: &'a Version) -> Answer<'a, ()> {
        Box::pin(async move { self.change(key, Change::Delete(expected.clone())).await.map(drop) })
    }

    fn list<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<String>> {
        Box::pin(self.around(self.world.store.list(range)))
    }

    fn list_written<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<Written>> {
        Box::pin(self.around(self.world.store.list_written(range)))
    }

    fn now(&self) -> Timestamp {
        self.world.store.now()
    }
}

impl BlobStore for Process {
    fn write<'a>(&'a self, name: &'a str, offset: u64, resume: &'a Resume, chunks: Vec<Bytes>, look: Look) -> Answer<'a, ()> {
        Box::pin(self.around(self.world.store.write(name, offset, resume, chunks, look)))
    }

    fn keep<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, Resume> {
        Box::pin(self.around(self.world.store.keep(name, size, resume)))
    }

    fn seal<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, ()> {
        Box::pin(self.around(self.world.store.seal(name, size, resume)))
    }

    fn open<'a>(&'a self, name: &'a str) -> Answer<'a, Arc<dyn BlobFile>> {
        Box::pin(self.around(self.world.store.open(name)))
    }

    /// Comes late and twice at will: a name is never used again.
    fn remove<'a>(&'a self, name: &'a str, resume: &'a Resume) -> Answer<'a, ()> {
        Box::pin(async move {
            let (world, again) = (self.world.clone(), name.to_owned());
            self.around(self.world.store.remove(name, resume)).await?;
            tokio::spawn(async move {
                world.pause().await;
                drop(world.store.remove(&again, &Resume::default()).await);
            });
            Ok(())
        })
    }

    fn list_bytes<'a>(&'a self, after: &'a str, limit: usize) -> Answer<'a, Vec<Written>> {
        self.world.store.list_bytes(after, limit)
    }
}

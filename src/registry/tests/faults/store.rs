//! A store that misbehaves, but only as far as the contract allows.

use super::super::super::keys::Key;
use super::super::super::records;
use super::super::super::states::blob::{BlobRecord, BlobState};
use super::super::*;
use crate::storage::{
    Answer, BlobFile, Change, Failure, Look, Range, Record, Resume, Value, Version, Written,
};
use futures_util::future::BoxFuture;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The number of operations in a thousand that fail, by kind of failure.
#[derive(Clone, Copy)]
pub(super) struct Odds {
    /// The operation does not happen, and the answer is an error.
    pub fails: u32,
    /// The operation happens, but the answer is an error.
    pub loses_the_answer: u32,
    /// The answer is an error, and the operation happens later, unless the record has changed by then.
    pub comes_late: u32,
    /// The operation happens, and arrives a second time later.
    pub comes_twice: u32,
    /// The process dies.
    pub dies: u32,
}

impl Odds {
    pub(super) const NONE: Self = Self {
        fails: 0,
        loses_the_answer: 0,
        comes_late: 0,
        comes_twice: 0,
        dies: 0,
    };
    pub(super) const ALL: Self = Self {
        fails: 15,
        loses_the_answer: 15,
        comes_late: 15,
        comes_twice: 100,
        dies: 10,
    };
}

/// The state that all processes share.
pub(super) struct World {
    pub store: Arc<Memory>,
    /// Advances the store's clock.
    pub hand: ManualClock,
    dice: Mutex<fastrand::Rng>,
    /// How often each record was changed. A bucket has this in the entity tags of its tombstones, so a late
    /// request learns that the record existed and is gone.
    changes: Mutex<HashMap<String, u64>>,
    /// How often each name of bytes was published.
    published: Mutex<HashMap<String, u64>>,
    /// Names of bytes that were changed.
    damaged: Mutex<HashSet<String>>,
    /// How many minutes the clock has advanced since the start.
    waited: AtomicU64,
    odds: Odds,
    /// Whether several changes in one call are one commit, as in a folder, or separate requests, as in a
    /// bucket.
    pub commits_at_once: bool,
}

type Changed = Result<Option<Version>, Failure>;

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
    pub(super) fn new(seed: u64, odds: Odds) -> Arc<Self> {
        let (clock, hand) = Clock::manual(Timestamp::from_secs(1_800_000_000));
        let mut dice = fastrand::Rng::with_seed(seed);
        let commits_at_once = dice.bool();
        Arc::new(Self {
            store: Arc::new(Memory::with_clock(clock)),
            hand,
            dice: Mutex::new(dice),
            changes: Mutex::default(),
            published: Mutex::default(),
            damaged: Mutex::default(),
            waited: AtomicU64::new(0),
            odds,
            commits_at_once,
        })
    }

    pub(super) fn roll(&self, below: u32) -> u32 {
        self.dice.lock().unwrap().u32(0..below)
    }

    /// Lets other tasks run, mostly for a moment and sometimes for long.
    async fn pause(&self) {
        let turns = if self.roll(30) == 0 {
            self.roll(300)
        } else {
            self.roll(5)
        };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    /// Lets time pass, less than half a day in all.
    pub(super) fn wait(&self) {
        let minutes = u64::from(self.roll(8 * 60));
        let waited = self.waited.fetch_add(minutes, Ordering::SeqCst);
        if waited + minutes < 12 * 60 {
            self.hand.advance(Duration::from_secs(60 * minutes));
        } else {
            self.waited.fetch_sub(minutes, Ordering::SeqCst);
        }
    }

    fn fate(&self) -> Fate {
        let Odds {
            fails,
            loses_the_answer,
            comes_late,
            comes_twice,
            ..
        } = self.odds;
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

    /// Applies all changes without an interruption.
    async fn apply(&self, changes: Vec<(Change, u64)>) -> Vec<Changed> {
        let mut applied = Vec::new();
        for (change, seen) in changes {
            applied.push(self.apply_one(change, seen).await);
        }
        applied
    }

    async fn apply_one(&self, change: Change, seen: u64) -> Changed {
        let key = change.key.clone();
        if self.changes(&key) != seen {
            return Err(Failure::Conflict);
        }
        let published = self.publishes(&change).await;
        let applied = self.store.change_all(vec![change]).await.pop().unwrap();
        if applied.is_ok() {
            *self.changes.lock().unwrap().entry(key).or_default() += 1;
            if let Some(name) = published {
                *self.published.lock().unwrap().entry(name).or_default() += 1;
            }
        }
        applied
    }

    /// The name of bytes that this change gives to the blob.
    async fn publishes(&self, Change { key, value, .. }: &Change) -> Option<String> {
        let value = value.as_ref().filter(|_| key.starts_with("b/"))?;
        let decode = |value: &Bytes| {
            records::decode(&Key::<BlobRecord>::new(key.clone()), value)
                .unwrap()
                .0
        };
        let new = decode(&value.bytes);
        let old = self
            .store
            .get(key)
            .await
            .unwrap()
            .map(|record| decode(&record.value));
        let was_alive =
            old.is_some_and(|old| old.state != BlobState::Dying && old.generation == new.generation);
        (new.state == BlobState::Live && !was_alive).then_some(new.generation)
    }

    /// Names of bytes that were given to a blob more than once.
    pub(super) fn published_twice(&self) -> Vec<String> {
        let published = self.published.lock().unwrap();
        published
            .iter()
            .filter(|(_, times)| **times > 1)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The blob's record, if there is one.
    pub(super) async fn blob(&self, digest: &Digest) -> Option<BlobRecord> {
        let key = keys::blob(digest);
        let found = self.store.get(key.as_str()).await.unwrap()?;
        Some(records::decode(&key, &found.value).unwrap().0)
    }

    /// Replaces the bytes by others of the same length.
    pub(super) async fn damage(&self, name: &str) {
        let Ok(file) = self.store.open(name).await else {
            return;
        };
        let damaged = vec![b'?'; usize::try_from(file.size()).unwrap()];
        self.damaged.lock().unwrap().insert(name.to_owned());
        // It is unknown here how many of them were kept before they were complete.
        for kept in 0..=damaged.len() {
            let resume = if kept == 0 {
                String::new()
            } else {
                kept.to_string()
            };
            let resume: Resume = serde_json::from_value(json!(resume)).unwrap();
            let written = self
                .store
                .write(name, 0, &resume, vec![damaged.clone().into()], Box::new(|_| ()))
                .await;
            if written.is_ok() {
                return;
            }
        }
        panic!("the bytes {name} were not damaged");
    }

    pub(super) fn is_damaged(&self, name: &str) -> bool {
        self.damaged.lock().unwrap().contains(name)
    }

    fn later(self: &Arc<Self>, changes: Vec<(Change, u64)>) {
        let world = self.clone();
        tokio::spawn(async move {
            for _ in 0..world.roll(400) {
                tokio::task::yield_now().await;
            }
            drop(world.apply(changes).await);
        });
    }

    async fn change(self: &Arc<Self>, changes: Vec<Change>) -> Vec<Changed> {
        self.pause().await;
        // The version of a swap or a deletion says what it saw. A creation saw no record.
        let changes: Vec<(Change, u64)> = changes
            .into_iter()
            .map(|change| (change.clone(), self.changes(&change.key)))
            .collect();
        let failed = vec![Err(injected()); changes.len()];
        match self.fate() {
            Fate::Good => self.apply(changes).await,
            Fate::Fails => failed,
            Fate::LosesTheAnswer => {
                drop(self.apply(changes).await);
                failed
            }
            Fate::ComesLate => {
                self.later(changes);
                failed
            }
            Fate::ComesTwice => {
                self.later(changes.clone());
                self.apply(changes).await
            }
        }
    }
}

/// The store as one process sees it. If the process dies, everything that it began stops.
pub(super) struct Process {
    pub world: Arc<World>,
    dead: AtomicBool,
    /// Notifies tasks that wait for the process to end.
    died: tokio::sync::Notify,
    mortal: bool,
}

impl Process {
    pub(super) fn new(world: &Arc<World>, mortal: bool) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            dead: AtomicBool::new(false),
            died: tokio::sync::Notify::new(),
            mortal,
        })
    }

    /// `None` if the process dies first.
    pub(super) async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.died.notified() => None,
            done = work => Some(done),
        }
    }

    /// Returns only if the process is alive.
    async fn live(&self) {
        if self.mortal && !self.dead.load(Ordering::SeqCst) && self.world.roll(1000) < self.world.odds.dies {
            self.dead.store(true, Ordering::SeqCst);
            self.died.notify_one();
        }
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// Applies the changes in one commit.
    async fn change(&self, changes: Vec<Change>) -> Vec<Changed> {
        self.live().await;
        let changed = self.world.change(changes).await;
        self.live().await;
        changed
    }

    async fn change_one(&self, key: &str, expected: Option<&Version>, value: Option<Value>) -> Changed {
        self.change(vec![Change {
            key: key.to_owned(),
            expected: expected.cloned(),
            value,
        }])
        .await
        .pop()
        .unwrap()
    }

    /// For operations that are not a change of a record. They may fail before or after they take effect.
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
        Box::pin(async move {
            self.change_one(key, None, Some(value))
                .await?
                .ok_or(Failure::Conflict)
        })
    }

    fn swap<'a>(&'a self, key: &'a str, expected: &'a Version, value: Value) -> Answer<'a, Version> {
        Box::pin(async move {
            self.change_one(key, Some(expected), Some(value))
                .await?
                .ok_or(Failure::Conflict)
        })
    }

    fn delete<'a>(&'a self, key: &'a str, expected: &'a Version) -> Answer<'a, ()> {
        Box::pin(async move { self.change_one(key, Some(expected), None).await.map(drop) })
    }

    /// In a bucket each change succeeds or fails alone, and the process may die in between.
    fn change_all(&self, changes: Vec<Change>) -> BoxFuture<'_, Vec<Changed>> {
        Box::pin(async move {
            if self.world.commits_at_once {
                return self.change(changes).await;
            }
            let mut changed = Vec::new();
            for change in changes {
                changed.append(&mut self.change(vec![change]).await);
            }
            changed
        })
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
    fn write<'a>(
        &'a self,
        name: &'a str,
        offset: u64,
        resume: &'a Resume,
        chunks: Vec<Bytes>,
        look: Look,
    ) -> Answer<'a, ()> {
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

    fn open_unsealed<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Arc<dyn BlobFile>>> {
        Box::pin(self.around(self.world.store.open_unsealed(name)))
    }

    /// May be applied late and twice, since a name is never used again.
    fn remove<'a>(&'a self, name: &'a str, resume: &'a Resume) -> Answer<'a, ()> {
        Box::pin(async move {
            let world = self.world.clone();
            let again = name.to_owned();
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

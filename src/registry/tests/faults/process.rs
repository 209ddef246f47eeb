//! The store as one process sees it. Each request waits in the table until a scheduler picks it.

use super::super::super::upload_id::Ids;
use super::super::parts::Writers;
use super::super::*;
use super::store::{Changed, Store, now};
use super::table::{Cause, Fate, What};
use super::world::World;
use crate::storage::{
    Answer, BlobFile, BlobStore, Change, Failure, Look, Record, RecordStore, Resume, Value, Version, Written,
};
use futures_util::future::{BoxFuture, ready};
use std::sync::Mutex;
use tokio::sync::{Notify, oneshot};

#[derive(Debug, thiserror::Error)]
#[error("injected")]
struct Injected;

fn injected() -> Failure {
    Failure::Io(Arc::new(Injected))
}

/// If the process dies, everything that it began stops.
pub(super) struct Process {
    line: Line,
    died: Arc<Notify>,
    /// Decides what the process's actor does.
    dice: Mutex<fastrand::Rng>,
    writers: Writers,
    cause: Mutex<Cause>,
}

/// Sends the requests of one process to the store.
#[derive(Clone)]
struct Line {
    world: Arc<World>,
    process: usize,
}

impl Line {
    /// Sends a request and waits until it arrives. Never returns if the process dies.
    async fn ask<T: Send + 'static>(
        &self,
        what: What,
        work: impl FnOnce(&Store) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, answer) = oneshot::channel();
        let settle = move |store: &Store, fate| {
            let answer = match fate {
                Fate::Good | Fate::ComesTwice => work(store),
                Fate::Fails | Fate::ComesLate => Err(injected()),
                Fate::LosesTheAnswer => work(store).and(Err(injected())),
            };
            drop(sender.send(answer));
        };
        {
            let mut table = self.world.table();
            if !table.life(self.process).is_dead {
                table.send(self.process, what, Box::new(settle));
            }
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Process {
    pub(super) fn new(world: &Arc<World>, is_mortal: bool) -> Arc<Self> {
        let (process, died) = world.table().add_process(is_mortal);
        let line = Line {
            world: world.clone(),
            process,
        };
        let dice = Mutex::new(fastrand::Rng::with_seed(line.seed()));
        Arc::new(Self {
            line,
            died,
            dice,
            writers: Writers::default(),
            cause: Mutex::default(),
        })
    }

    /// The requests from now on belong to this change of the history.
    pub(super) fn begins(&self, event: usize) {
        *self.cause.lock().unwrap() = Some(event);
    }

    /// Applies the changes in one commit.
    async fn change(&self, changes: Vec<Change>) -> Vec<Changed> {
        let count = changes.len();
        let cause = *self.cause.lock().unwrap();
        let what = What::Change(changes.clone(), cause);
        let apply = move |store: &Store| Ok(store.apply(changes, cause));
        let changed = self.line.ask(what, apply).await;
        changed.unwrap_or_else(|failure| vec![Err(failure); count])
    }

    pub(super) fn world(&self) -> &Arc<World> {
        &self.line.world
    }

    /// New names that this process gives.
    pub(super) fn ids(&self) -> Ids {
        Ids::seeded(!self.line.seed())
    }

    pub(super) fn roll(&self, below: u32) -> u32 {
        self.dice.lock().unwrap().u32(0..below)
    }

    /// `None` if the process dies first.
    pub(super) async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.died.notified() => None,
            done = work => Some(done),
        }
    }

    /// Waits until the scheduler lets the process begin.
    pub(super) async fn begin(&self) {
        // An actor whose beginning fails begins all the same.
        drop(self.line.ask(What::Begin, |_| Ok(())).await);
    }

    async fn change_one(&self, key: &str, expected: Option<&Version>, value: Option<Value>) -> Changed {
        let change = Change {
            key: key.to_owned(),
            expected: expected.cloned(),
            value,
        };
        self.change(vec![change]).await.pop().unwrap()
    }

    /// A request about the bytes `name`.
    async fn bytes<T: Send + 'static>(
        &self,
        operation: &'static str,
        name: &str,
        work: impl FnOnce(&Memory, &str) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let what = What::Bytes(operation, name.to_owned());
        let name = name.to_owned();
        self.line.ask(what, move |store| work(&store.memory, &name)).await
    }

    /// Sends what was written since `resume`, as a bucket does.
    async fn send_part(&self, name: &str, size: u64, resume: &Resume) -> Result<Resume, Failure> {
        let sent = self.writers.take(name, size, resume)?;
        let world = self.world().clone();
        self.bytes("part", name, move |_, _| world.parts.put(sent)).await
    }

    fn opened(&self, name: &str, file: Arc<dyn BlobFile>) -> Arc<dyn BlobFile> {
        Arc::new(Opened {
            line: self.line.clone(),
            name: name.to_owned(),
            file,
        })
    }
}

impl Line {
    /// Differs between the processes of a run, and between runs.
    fn seed(&self) -> u64 {
        self.world.seed.rotate_left(32) ^ self.process as u64
    }
}

impl RecordStore for Process {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        let key = key.to_owned();
        Box::pin(
            self.line
                .ask(What::Get(key.clone()), move |store| now(store.memory.get(&key))),
        )
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
            if !self.world().store.nature.is_bucket {
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
        Box::pin(async move {
            let listed = self.list_written(range).await?;
            Ok(listed.into_iter().map(|one| one.key).collect())
        })
    }

    fn list_written<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<Written>> {
        let Range {
            prefix,
            after,
            limit,
            show,
        } = range;
        let what = What::List(prefix.to_owned());
        let prefix = prefix.to_owned();
        let after = after.to_owned();
        let list = move |store: &Store| {
            now(store.memory.list_written(Range {
                prefix: &prefix,
                after: &after,
                limit,
                show,
            }))
        };
        Box::pin(self.line.ask(what, list))
    }

    fn now(&self) -> Timestamp {
        self.world().store.memory.now()
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
        if self.world().store.nature.is_shared {
            return Box::pin(ready(self.writers.write(name, offset, resume, &chunks, look)));
        }
        let resume = resume.clone();
        Box::pin(self.bytes("write", name, move |memory, name| {
            now(memory.write(name, offset, &resume, chunks, look))
        }))
    }

    fn keep<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, Resume> {
        if self.world().store.nature.is_shared {
            return Box::pin(self.send_part(name, size, resume));
        }
        let resume = resume.clone();
        Box::pin(self.bytes("keep", name, move |memory, name| {
            now(memory.keep(name, size, &resume))
        }))
    }

    fn seal<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, ()> {
        if self.world().store.nature.is_shared {
            return Box::pin(async move {
                let resume = self.send_part(name, size, resume).await?;
                let world = self.world().clone();
                let complete =
                    move |memory: &Memory, name: &str| world.parts.complete(memory, name, size, &resume);
                self.bytes("complete", name, complete).await
            });
        }
        let resume = resume.clone();
        Box::pin(self.bytes("seal", name, move |memory, name| {
            now(memory.seal(name, size, &resume))
        }))
    }

    fn open<'a>(&'a self, name: &'a str) -> Answer<'a, Arc<dyn BlobFile>> {
        Box::pin(async move {
            let file = self.bytes("open", name, |memory, name| now(memory.open(name)));
            Ok(self.opened(name, file.await?))
        })
    }

    fn open_unsealed<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Arc<dyn BlobFile>>> {
        Box::pin(async move {
            let file = self.bytes("open", name, |memory, name| now(memory.open_unsealed(name)));
            Ok(file.await?.map(|file| self.opened(name, file)))
        })
    }

    /// May arrive late and twice, since a name is never used again.
    fn remove<'a>(&'a self, name: &'a str, resume: &'a Resume) -> Answer<'a, ()> {
        let name = name.to_owned();
        let resume = resume.clone();
        let world = self.world().clone();
        Box::pin(self.line.ask(What::Remove(name.clone()), move |store| {
            if store.nature.is_shared {
                world.parts.remove(&store.memory, &name);
                return Ok(());
            }
            now(store.memory.remove(&name, &resume))
        }))
    }

    fn list_bytes<'a>(&'a self, after: &'a str, limit: usize) -> Answer<'a, Vec<Written>> {
        Box::pin(self.bytes("list bytes after", after, move |memory, after| {
            now(memory.list_bytes(after, limit))
        }))
    }
}

/// An open blob. Each read is a request too.
struct Opened {
    line: Line,
    name: String,
    file: Arc<dyn BlobFile>,
}

impl BlobFile for Opened {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn at_hand(&self, _: u64, _: usize) -> Option<Bytes> {
        None
    }

    /// A folder keeps the bytes of an open file. In a bucket they may be gone.
    fn read(&self, offset: u64, most: usize) -> Answer<'_, Bytes> {
        let file = self.file.clone();
        let name = self.name.clone();
        let what = What::Bytes("read", name.clone());
        Box::pin(self.line.ask(what, move |store| {
            if store.nature.is_bucket {
                now(now(store.memory.open_unsealed(&name))?
                    .unwrap()
                    .read(offset, most))
            } else {
                now(file.read(offset, most))
            }
        }))
    }
}

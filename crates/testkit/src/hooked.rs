//! A store that runs a test's hook around each request. The hook can look at a request, delay it, make it fail,
//! or replace it and its answer.

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use std::sync::Arc;
use wharfinger_base::clock::Timestamp;
use wharfinger_storage::{
    Answer, BlobFile, BlobStore, Change, Failure, Look, Range, Record, RecordStore, Resume, Value, Version,
    Written,
};

/// A request to a store, with the names that it touches.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// This many changes in one commit. Each of them is a [`Request::Change`] as well, so a hook can end a
    /// commit part way, as a crash does. The commit itself has no reply.
    Commit(usize),
    Change(&'a Change),
    Get(&'a str),
    /// A read that the store may answer from a short cache.
    GetRecent(&'a str),
    List(Range<'a>),
    ListWritten(Range<'a>),
    Write(&'a str),
    Keep(&'a str),
    Seal(&'a str),
    Open(&'a str),
    OpenUnsealed(&'a str),
    /// A read of the bytes with this name, which are open.
    Read(&'a str),
    Probe,
    Remove(&'a str),
    ListBytes,
}

/// The answer to a request. A hook may replace it.
pub enum Reply<'a> {
    /// The answer to a write, a seal, a probe or a removal.
    Done(&'a mut Result<(), Failure>),
    Changed(&'a mut Result<Option<Version>, Failure>),
    Record(&'a mut Result<Option<Record>, Failure>),
    Keys(&'a mut Result<Vec<String>, Failure>),
    Written(&'a mut Result<Vec<Written>, Failure>),
    Kept(&'a mut Result<Resume, Failure>),
    Opened(&'a mut Result<Arc<dyn BlobFile>, Failure>),
    OpenedUnsealed(&'a mut Result<Option<Arc<dyn BlobFile>>, Failure>),
    Bytes(&'a mut Result<Bytes, Failure>),
}

/// What a test does around each request.
pub trait Hook: Send + Sync {
    /// Runs before the request. If it fails, the store does not get the request, and the failure is the answer.
    fn before(&self, _request: Request<'_>) -> impl Future<Output = Result<(), Failure>> + Send {
        ready(Ok(()))
    }

    /// Runs after the request, also after one that failed.
    fn after(&self, _request: Request<'_>, _reply: Reply<'_>) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// A hook that the test can use too.
impl<H: Hook> Hook for Arc<H> {
    fn before(&self, request: Request<'_>) -> impl Future<Output = Result<(), Failure>> + Send {
        (**self).before(request)
    }

    fn after(&self, request: Request<'_>, reply: Reply<'_>) -> impl Future<Output = ()> + Send {
        (**self).after(request, reply)
    }
}

/// A store with a hook. `S` is a store of records, of bytes, or of both. Its changes go to the store one by
/// one. Every read of open bytes is a request: `at_hand` returns nothing.
pub struct Hooked<S: ?Sized, H> {
    pub store: Arc<S>,
    pub hook: Arc<H>,
}

impl<S: ?Sized, H: Hook> Hooked<S, H> {
    pub fn over(store: Arc<S>, hook: H) -> Arc<Self> {
        let hook = Arc::new(hook);
        Arc::new(Self { store, hook })
    }

    async fn ask<T>(
        &self,
        request: Request<'_>,
        reply: fn(&mut Result<T, Failure>) -> Reply<'_>,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        around(&*self.hook, request, reply, answer).await
    }
}

async fn around<H: Hook, T>(
    hook: &H,
    request: Request<'_>,
    reply: fn(&mut Result<T, Failure>) -> Reply<'_>,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut answer = match hook.before(request).await {
        Ok(()) => answer.await,
        Err(failure) => Err(failure),
    };
    hook.after(request, reply(&mut answer)).await;
    answer
}

impl<S: RecordStore + ?Sized, H: Hook> Hooked<S, H> {
    async fn change(&self, change: Change) -> Result<Option<Version>, Failure> {
        let asked = change.clone();
        let answer = async move {
            let answers = self.store.change_all(vec![change]).await;
            answers.into_iter().next().expect("one change has one answer")
        };
        self.ask(Request::Change(&asked), |answer| Reply::Changed(answer), answer)
            .await
    }

    async fn changes(&self, changes: Vec<Change>) -> Vec<Result<Option<Version>, Failure>> {
        let begun = self.hook.before(Request::Commit(changes.len())).await;
        let mut stopped = begun.err();
        let mut answers = Vec::new();
        for change in changes {
            let answer = match &stopped {
                Some(failure) => Err(failure.clone()),
                None => self.change(change).await,
            };
            stopped = answer.as_ref().err().filter(|failure| failure.stops()).cloned();
            answers.push(answer);
        }
        answers
    }

    async fn one(
        &self,
        key: &str,
        expected: Option<&Version>,
        value: Option<Value>,
    ) -> Result<Option<Version>, Failure> {
        let change = Change {
            key: key.to_owned(),
            expected: expected.cloned(),
            value,
        };
        let answers = self.changes(vec![change]).await;
        answers.into_iter().next().expect("one change has one answer")
    }
}

fn written(version: Option<Version>) -> Result<Version, Failure> {
    version.ok_or(Failure::Missing)
}

impl<S: RecordStore + ?Sized, H: Hook> RecordStore for Hooked<S, H> {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        Box::pin(self.ask(
            Request::Get(key),
            |answer| Reply::Record(answer),
            self.store.get(key),
        ))
    }

    fn get_stored<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        Box::pin(self.ask(
            Request::Get(key),
            |answer| Reply::Record(answer),
            self.store.get_stored(key),
        ))
    }

    fn get_recent<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        Box::pin(self.ask(
            Request::GetRecent(key),
            |answer| Reply::Record(answer),
            self.store.get_recent(key),
        ))
    }

    fn create<'a>(&'a self, key: &'a str, value: Value) -> Answer<'a, Version> {
        Box::pin(async move { written(self.one(key, None, Some(value)).await?) })
    }

    fn swap<'a>(&'a self, key: &'a str, expected: &'a Version, value: Value) -> Answer<'a, Version> {
        Box::pin(async move { written(self.one(key, Some(expected), Some(value)).await?) })
    }

    fn delete<'a>(&'a self, key: &'a str, expected: &'a Version) -> Answer<'a, ()> {
        Box::pin(async move { self.one(key, Some(expected), None).await.map(drop) })
    }

    fn change_all(&self, changes: Vec<Change>) -> BoxFuture<'_, Vec<Result<Option<Version>, Failure>>> {
        Box::pin(self.changes(changes))
    }

    fn list<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<String>> {
        Box::pin(self.ask(
            Request::List(range),
            |answer| Reply::Keys(answer),
            self.store.list(range),
        ))
    }

    fn list_written<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<Written>> {
        let answer = self.store.list_written(range);
        Box::pin(self.ask(
            Request::ListWritten(range),
            |answer| Reply::Written(answer),
            answer,
        ))
    }

    fn now(&self) -> Timestamp {
        self.store.now()
    }
}

impl<S: BlobStore + ?Sized, H: Hook + 'static> BlobStore for Hooked<S, H> {
    fn write<'a>(
        &'a self,
        name: &'a str,
        offset: u64,
        resume: &'a Resume,
        chunks: Vec<Bytes>,
        look: Look,
    ) -> Answer<'a, ()> {
        let answer = self.store.write(name, offset, resume, chunks, look);
        Box::pin(self.ask(Request::Write(name), |answer| Reply::Done(answer), answer))
    }

    fn keep<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, Resume> {
        let answer = self.store.keep(name, size, resume);
        Box::pin(self.ask(Request::Keep(name), |answer| Reply::Kept(answer), answer))
    }

    fn seal<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, ()> {
        let answer = self.store.seal(name, size, resume);
        Box::pin(self.ask(Request::Seal(name), |answer| Reply::Done(answer), answer))
    }

    fn open<'a>(&'a self, name: &'a str) -> Answer<'a, Arc<dyn BlobFile>> {
        let answer = async move { Ok(self.file(name, self.store.open(name).await?)) };
        Box::pin(self.ask(Request::Open(name), |answer| Reply::Opened(answer), answer))
    }

    fn open_unsealed<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Arc<dyn BlobFile>>> {
        let answer = async move {
            let file = self.store.open_unsealed(name).await?;
            Ok(file.map(|file| self.file(name, file)))
        };
        Box::pin(self.ask(
            Request::OpenUnsealed(name),
            |answer| Reply::OpenedUnsealed(answer),
            answer,
        ))
    }

    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(self.ask(Request::Probe, |answer| Reply::Done(answer), self.store.probe()))
    }

    fn remove<'a>(&'a self, name: &'a str, resume: &'a Resume) -> Answer<'a, ()> {
        let answer = self.store.remove(name, resume);
        Box::pin(self.ask(Request::Remove(name), |answer| Reply::Done(answer), answer))
    }

    fn list_bytes<'a>(&'a self, after: &'a str, limit: usize) -> Answer<'a, Vec<Written>> {
        let answer = self.store.list_bytes(after, limit);
        Box::pin(self.ask(Request::ListBytes, |answer| Reply::Written(answer), answer))
    }
}

struct File<H> {
    name: String,
    file: Arc<dyn BlobFile>,
    hook: Arc<H>,
}

impl<S: BlobStore + ?Sized, H: Hook + 'static> Hooked<S, H> {
    fn file(&self, name: &str, file: Arc<dyn BlobFile>) -> Arc<dyn BlobFile> {
        let name = name.to_owned();
        let hook = self.hook.clone();
        Arc::new(File { name, file, hook })
    }
}

impl<H: Hook> File<H> {
    async fn ask(&self, answer: Answer<'_, Bytes>) -> Result<Bytes, Failure> {
        around(
            &*self.hook,
            Request::Read(&self.name),
            |answer| Reply::Bytes(answer),
            answer,
        )
        .await
    }
}

impl<H: Hook> BlobFile for File<H> {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn at_hand(&self, _: u64, _: usize) -> Option<Bytes> {
        None
    }

    fn read(&self, offset: u64, most: usize) -> Answer<'_, Bytes> {
        Box::pin(self.ask(self.file.read(offset, most)))
    }

    fn read_once(&self, offset: u64, most: usize) -> Answer<'_, Bytes> {
        Box::pin(self.ask(self.file.read_once(offset, most)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use wharfinger_storage::memory::Memory;

    /// Rejects the change of `second`, replaces the value of `first`, and loses the answer of a removal.
    #[derive(Default)]
    struct Meddling(Mutex<Vec<String>>);

    impl Hook for Meddling {
        async fn before(&self, request: Request<'_>) -> Result<(), Failure> {
            self.0.lock().unwrap().push(match request {
                Request::Change(change) => format!("change {}", change.key),
                other => format!("{other:?}"),
            });
            match request {
                Request::Change(change) if change.key == "second" => Err(Failure::Busy),
                _ => Ok(()),
            }
        }

        async fn after(&self, _: Request<'_>, reply: Reply<'_>) {
            match reply {
                Reply::Record(Ok(Some(record))) => record.value = "replaced".into(),
                Reply::Done(answer) => *answer = Err(Failure::Stopped),
                _ => {}
            }
        }
    }

    #[tokio::test]
    async fn a_hook_sees_stops_and_replaces_requests() {
        let memory = Arc::new(Memory::new());
        let store = Hooked::over(memory.clone(), Meddling::default());
        let create = |key: &str| Change {
            key: key.to_owned(),
            expected: None,
            value: Some(Bytes::from("written").into()),
        };
        let done = store
            .change_all(vec![create("first"), create("second"), create("third")])
            .await;
        assert!(matches!(
            done[..],
            [Ok(Some(_)), Err(Failure::Busy), Err(Failure::Busy)]
        ));
        assert_eq!(store.get("first").await.unwrap().unwrap().value, "replaced");
        assert_eq!(memory.get("first").await.unwrap().unwrap().value, "written");
        let name = "0".repeat(32);
        assert!(matches!(
            store.remove(&name, &Resume::default()).await,
            Err(Failure::Stopped)
        ));
        let seen = std::mem::take(&mut *store.hook.0.lock().unwrap());
        let removal = format!("Remove({name:?})");
        assert_eq!(
            seen,
            [
                "Commit(3)",
                "change first",
                "change second",
                "Get(\"first\")",
                &removal
            ]
        );
    }
}

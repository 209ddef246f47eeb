//! A store that records its requests and can be made to reject changes.

use super::*;
use crate::storage::{Answer, Failure, Record, Value, Version, Written};
use futures_util::future::ready;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Get(String),
    List {
        prefix: String,
        limit: usize,
        found: usize,
    },
    Change(String),
}

pub(super) struct Watched {
    pub store: Arc<Memory>,
    asked: Mutex<Vec<Asked>>,
    /// The answer to every change of a key with this prefix.
    refuses: Mutex<Option<(&'static str, Failure)>>,
    /// The number of changes that do not free space before it is full.
    room: AtomicUsize,
}

impl Watched {
    pub(super) fn new(store: Arc<Memory>) -> Arc<Self> {
        Arc::new(Self {
            store,
            asked: Mutex::default(),
            refuses: Mutex::default(),
            room: AtomicUsize::new(usize::MAX),
        })
    }

    pub(super) fn refuses(&self, failure: Option<Failure>) {
        *self.refuses.lock().unwrap() = failure.map(|failure| ("", failure));
    }

    pub(super) fn refuses_changes_of(&self, prefix: &'static str, failure: Failure) {
        *self.refuses.lock().unwrap() = Some((prefix, failure));
    }

    /// After this many changes only the reserve is left, for changes that free space.
    pub(super) fn has_room_for(&self, changes: usize) {
        self.room.store(changes, Ordering::SeqCst);
    }

    fn takes(&self, frees: bool) -> bool {
        frees
            || self
                .room
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| room.checked_sub(1))
                .is_ok()
    }

    /// The requests since the last call.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn ask(&self, asked: Asked) {
        self.asked.lock().unwrap().push(asked);
    }

    fn change<'a, T: Send + 'a>(
        &'a self,
        key: &str,
        frees: bool,
        done: impl FnOnce() -> Answer<'a, T>,
    ) -> Answer<'a, T> {
        self.ask(Asked::Change(key.to_owned()));
        match self.refuses.lock().unwrap().clone() {
            Some((prefix, failure)) if key.starts_with(prefix) => Box::pin(ready(Err(failure))),
            _ if self.takes(frees) => done(),
            _ => Box::pin(ready(Err(Failure::Full))),
        }
    }
}

impl RecordStore for Watched {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        self.ask(Asked::Get(key.to_owned()));
        self.store.get(key)
    }

    fn create<'a>(&'a self, key: &'a str, value: Value) -> Answer<'a, Version> {
        self.change(key, value.frees, || self.store.create(key, value))
    }

    fn swap<'a>(&'a self, key: &'a str, expected: &'a Version, value: Value) -> Answer<'a, Version> {
        self.change(key, value.frees, || self.store.swap(key, expected, value))
    }

    fn delete<'a>(&'a self, key: &'a str, expected: &'a Version) -> Answer<'a, ()> {
        self.change(key, true, || self.store.delete(key, expected))
    }

    fn list<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<String>> {
        Box::pin(async move {
            let keys = self.store.list(range).await?;
            self.ask(Asked::List {
                prefix: range.prefix.to_owned(),
                limit: range.limit,
                found: keys.len(),
            });
            Ok(keys)
        })
    }

    fn list_written<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<Written>> {
        Box::pin(async move {
            let keys = self.store.list_written(range).await?;
            self.ask(Asked::List {
                prefix: range.prefix.to_owned(),
                limit: range.limit,
                found: keys.len(),
            });
            Ok(keys)
        })
    }

    fn now(&self) -> Timestamp {
        self.store.now()
    }
}

impl Bench {
    /// The same store, watched.
    pub(super) fn watched(&self) -> (Registry, Arc<Watched>) {
        let watched = Watched::new(self.store.clone());
        (
            Registry::new(watched.clone(), self.store.clone()).with(any_sizes()),
            watched,
        )
    }
}

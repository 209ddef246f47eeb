//! A store that counts what is read from it and written to it.

use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wharfinger::clock::Timestamp;
use wharfinger::storage::local::Local;
use wharfinger::storage::{Answer, Change, Failure, Range, Record, RecordStore, Value, Version, Written};

pub(crate) struct Counted {
    store: Arc<Local>,
    /// Records that were read.
    pub(crate) read: AtomicU64,
    /// Keys in lists.
    pub(crate) listed: AtomicU64,
    /// Changes of records, whether they succeeded or not.
    pub(crate) changed: AtomicU64,
}

impl Counted {
    pub(crate) fn new(store: Arc<Local>) -> Self {
        Self {
            store,
            read: AtomicU64::new(0),
            listed: AtomicU64::new(0),
            changed: AtomicU64::new(0),
        }
    }
}

fn add(counter: &AtomicU64, number: usize) {
    counter.fetch_add(number as u64, Ordering::Relaxed);
}

impl RecordStore for Counted {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        add(&self.read, 1);
        self.store.get(key)
    }

    fn create<'a>(&'a self, key: &'a str, value: Value) -> Answer<'a, Version> {
        add(&self.changed, 1);
        self.store.create(key, value)
    }

    fn swap<'a>(&'a self, key: &'a str, expected: &'a Version, value: Value) -> Answer<'a, Version> {
        add(&self.changed, 1);
        self.store.swap(key, expected, value)
    }

    fn delete<'a>(&'a self, key: &'a str, expected: &'a Version) -> Answer<'a, ()> {
        add(&self.changed, 1);
        self.store.delete(key, expected)
    }

    fn list<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<String>> {
        Box::pin(async move {
            let found = self.store.list(range).await?;
            add(&self.listed, found.len());
            Ok(found)
        })
    }

    fn list_written<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<Written>> {
        Box::pin(async move {
            let found = self.store.list_written(range).await?;
            add(&self.listed, found.len());
            Ok(found)
        })
    }

    fn now(&self) -> Timestamp {
        self.store.now()
    }

    fn change_all(&self, changes: Vec<Change>) -> BoxFuture<'_, Vec<Result<Option<Version>, Failure>>> {
        add(&self.changed, changes.len());
        self.store.change_all(changes)
    }
}

//! Whether the store works, as readiness asks.

use super::*;
use crate::storage::{Answer, Failure, Range, Record, Show, Value, Version, Written};
use std::sync::atomic::{AtomicBool, Ordering};

/// Reads, and takes no changes while it is broken.
#[derive(Default)]
struct Breakable {
    store: Memory,
    broken: AtomicBool,
}

impl RecordStore for Breakable {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        self.store.get(key)
    }

    fn create<'a>(&'a self, key: &'a str, value: Value) -> Answer<'a, Version> {
        if self.broken.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(Failure::Stopped)));
        }
        self.store.create(key, value)
    }

    fn swap<'a>(&'a self, key: &'a str, expected: &'a Version, value: Value) -> Answer<'a, Version> {
        self.store.swap(key, expected, value)
    }

    fn delete<'a>(&'a self, key: &'a str, expected: &'a Version) -> Answer<'a, ()> {
        self.store.delete(key, expected)
    }

    fn list<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<String>> {
        self.store.list(range)
    }

    fn list_written<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<Written>> {
        self.store.list_written(range)
    }

    fn now(&self) -> Timestamp {
        self.store.now()
    }
}

#[tokio::test]
async fn a_store_that_takes_no_changes_does_not_work() {
    let store = Arc::new(Breakable::default());
    let registry = Registry::new(store.clone(), Arc::new(Memory::new()));
    for _ in 0..2 {
        registry.check_storage().await.unwrap();
    }
    store.broken.store(true, Ordering::SeqCst);
    assert!(matches!(registry.check_storage().await, Err(Error::Storage(Failure::Stopped))));
    store.broken.store(false, Ordering::SeqCst);
    registry.check_storage().await.unwrap();
    assert_eq!(
        store.list(Range { prefix: "", after: "", limit: 10, show: Show::All }).await.unwrap(),
        ["h/probe"],
        "asking leaves one record, however often"
    );
}

//! The records of a shared store, for a process that may have to stop writing.

use super::member::Member;
use crate::Answer;
use crate::contract::{Change, Failure, Range, Record, RecordStore, Value, Version, Written};
use futures_util::future::BoxFuture;
use std::fmt;
use std::future::ready;
use std::sync::Arc;
use wharfinger_base::clock::Timestamp;

/// Makes no change while this process must not write.
#[derive(Clone)]
pub struct Guarded {
    records: Arc<dyn RecordStore>,
    member: Arc<Member>,
}

impl Guarded {
    #[must_use]
    pub fn new(records: Arc<dyn RecordStore>, member: Arc<Member>) -> Self {
        Self { records, member }
    }

    fn changing<'a, T: Send + 'a>(&'a self, change: impl FnOnce() -> Answer<'a, T>) -> Answer<'a, T> {
        match self.member.check() {
            Ok(()) => change(),
            Err(barred) => Box::pin(ready(Err(barred))),
        }
    }
}

impl RecordStore for Guarded {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        self.records.get(key)
    }

    fn get_stored<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        self.records.get_stored(key)
    }

    fn get_recent<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        self.records.get_recent(key)
    }

    fn create<'a>(&'a self, key: &'a str, value: Value) -> Answer<'a, Version> {
        self.changing(|| self.records.create(key, value))
    }

    fn swap<'a>(&'a self, key: &'a str, expected: &'a Version, value: Value) -> Answer<'a, Version> {
        self.changing(|| self.records.swap(key, expected, value))
    }

    fn delete<'a>(&'a self, key: &'a str, expected: &'a Version) -> Answer<'a, ()> {
        self.changing(|| self.records.delete(key, expected))
    }

    fn list<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<String>> {
        self.records.list(range)
    }

    fn list_written<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<Written>> {
        self.records.list_written(range)
    }

    fn now(&self) -> Timestamp {
        self.records.now()
    }

    fn may_change(&self) -> Result<(), Failure> {
        self.member.check()?;
        self.records.may_change()
    }

    fn change_all(&self, changes: Vec<Change>) -> BoxFuture<'_, Vec<Result<Option<Version>, Failure>>> {
        match self.member.check() {
            Ok(()) => self.records.change_all(changes),
            Err(barred) => refuse_all(&changes, &barred),
        }
    }

    fn change_each(&self, changes: Vec<Change>) -> BoxFuture<'_, Vec<Result<Option<Version>, Failure>>> {
        match self.member.check() {
            Ok(()) => self.records.change_each(changes),
            Err(barred) => refuse_all(&changes, &barred),
        }
    }

    fn sweep<'a>(&'a self, position: &'a str) -> Answer<'a, Option<String>> {
        self.changing(|| self.records.sweep(position))
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}

fn refuse_all<'a>(
    changes: &[Change],
    barred: &Failure,
) -> BoxFuture<'a, Vec<Result<Option<Version>, Failure>>> {
    let refused = changes.iter().map(|_| Err(barred.clone())).collect();
    Box::pin(ready(refused))
}

//! A store that records its requests and can be made to reject changes.

use super::*;
use crate::storage::Failure;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use wharfinger_testkit::{Hook, Hooked, Reply, Request};

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
    asked: Mutex<Vec<Asked>>,
    /// The answer to every change of a key with this prefix.
    refuses: Mutex<Option<(&'static str, Failure)>>,
    /// The number of changes that do not free space before it is full.
    room: AtomicUsize,
}

impl Watched {
    fn new() -> Arc<Self> {
        Arc::new(Self {
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
}

impl Hook for Watched {
    async fn before(&self, request: Request<'_>) -> Result<(), Failure> {
        if let Request::Get(key) = request {
            self.ask(Asked::Get(key.to_owned()));
        }
        let Request::Change(change) = request else {
            return Ok(());
        };
        self.ask(Asked::Change(change.key.clone()));
        match &*self.refuses.lock().unwrap() {
            Some((prefix, failure)) if change.key.starts_with(prefix) => return Err(failure.clone()),
            _ => {}
        }
        let frees = change.value.as_ref().is_none_or(|value| value.frees);
        if self.takes(frees) {
            Ok(())
        } else {
            Err(Failure::Full)
        }
    }

    async fn after(&self, request: Request<'_>, reply: Reply<'_>) {
        let found = match &reply {
            Reply::Keys(Ok(keys)) => keys.len(),
            Reply::Written(Ok(keys)) => keys.len(),
            _ => return,
        };
        if let Request::List(range) | Request::ListWritten(range) = request {
            self.ask(Asked::List {
                prefix: range.prefix.to_owned(),
                limit: range.limit,
                found,
            });
        }
    }
}

impl Bench {
    /// The same store, watched.
    pub(super) fn watched(&self) -> (Registry, Arc<Watched>) {
        let watched = Watched::new();
        (self.watched_by(&watched), watched)
    }

    /// A new process on the same store.
    pub(super) fn watched_by(&self, watched: &Arc<Watched>) -> Registry {
        let records = Hooked::over(self.store.clone(), watched.clone());
        Registry::new(records, self.store.clone()).with(any_sizes())
    }
}

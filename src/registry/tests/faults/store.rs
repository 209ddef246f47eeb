//! The store in memory, with what the runs know about it beyond the records: how often each was changed, and
//! which bytes were published or damaged.

use super::super::super::keys;
use super::super::super::records;
use super::super::super::states::blob::{BlobRecord, BlobState};
use super::super::*;
use super::raw::{self, Raw};
use super::table::Cause;
use crate::storage::{BlobStore, Change, Failure, RecordStore, Resume, Version};
use futures_util::FutureExt;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard};

/// How a store that several processes share differs from one in memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nature {
    /// Several changes in one call are separate requests, as in a bucket. In a folder they are one commit.
    pub is_bucket: bool,
    /// Uploads are claimed in their records, and their bytes are parts of a bucket.
    pub is_shared: bool,
    /// The planted fault of a bucket: all tombstones are equal. So a late creation of a record succeeds
    /// although the record has existed since the request was sent.
    pub has_plain_tombstones: bool,
}

pub(super) struct Store {
    pub memory: Arc<Memory>,
    pub nature: Nature,
    raw: Mutex<Raw>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How often each record was changed. A bucket has this in the entity tags of its tombstones, so a late
    /// request learns that the record existed and is gone.
    changes: BTreeMap<String, u64>,
    /// How many changes were applied.
    count: u64,
    /// How often each name of bytes was published.
    published: BTreeMap<String, u64>,
    /// Names of bytes that were changed.
    damaged: HashSet<String>,
}

pub(super) type Changed = Result<Option<Version>, Failure>;

impl Store {
    pub(super) fn new(memory: Memory, nature: Nature) -> Self {
        Self {
            memory: Arc::new(memory),
            nature,
            raw: Mutex::default(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Lets `look` see the present records.
    pub(super) fn raw<T>(&self, look: impl FnOnce(&Raw) -> T) -> T {
        look(&self.raw.lock().unwrap())
    }

    /// Looks for records that were changed directly in the memory.
    pub(super) fn reload(&self) {
        let everything = Range {
            prefix: "",
            after: "",
            limit: usize::MAX,
            show: Show::All,
        };
        let mut raw = self.raw.lock().unwrap();
        let present = now(self.memory.list(everything)).unwrap();
        let mut differ = raw.keys_beside(&present);
        for key in present {
            let record = now(self.memory.get(&key)).unwrap().unwrap();
            if !raw.is(&key, &record.value) {
                differ.push((key, Some(record.value)));
            }
        }
        if !differ.is_empty() {
            self.state().count += 1;
        }
        for (key, value) in differ {
            raw.note(keys::Entry::parse(&key).unwrap(), &key, value.as_ref(), None);
        }
    }

    /// How often the record was changed.
    pub(super) fn changes(&self, key: &str) -> u64 {
        self.state().changes.get(key).copied().unwrap_or_default()
    }

    /// Applies all changes without an interruption.
    pub(super) fn apply(&self, changes: Vec<Change>, cause: Cause) -> Vec<Changed> {
        let changes = changes.into_iter();
        changes.map(|change| self.apply_one(change, cause)).collect()
    }

    /// Applies changes that were sent when the records had been changed this often.
    pub(super) fn apply_late(&self, changes: Vec<(Change, u64)>, cause: Cause) {
        for (change, seen) in changes {
            let is_fooled = self.nature.has_plain_tombstones && change.expected.is_none();
            if is_fooled || self.changes(&change.key) == seen {
                drop(self.apply_one(change, cause));
            }
        }
    }

    fn apply_one(&self, change: Change, cause: Cause) -> Changed {
        let key = change.key.clone();
        let value = change.value.as_ref().map(|value| value.bytes.clone());
        let applied = now(self.memory.change_all(vec![change])).pop().unwrap();
        if applied.is_ok() {
            let entry = keys::Entry::parse(&key).unwrap();
            let mut state = self.state();
            let mut raw = self.raw.lock().unwrap();
            if let (keys::Entry::Blob(digest), Some(value)) = (&entry, &value) {
                state.note_blob(&raw, digest, value);
            }
            raw.note(entry, &key, value.as_ref(), cause);
            *state.changes.entry(key).or_default() += 1;
            state.count += 1;
        }
        applied
    }

    pub(super) fn remove(&self, name: &str) {
        now(self.memory.remove(name, &Resume::default())).unwrap();
    }

    /// How many changes were applied.
    pub(super) fn count(&self) -> u64 {
        self.state().count
    }

    /// Names of bytes that were given to a blob more than once.
    pub(super) fn published_twice(&self) -> Option<String> {
        let state = self.state();
        let twice = state.published.iter().find(|(_, times)| **times > 1);
        twice.map(|(name, _)| name.clone())
    }

    pub(super) fn blob(&self, digest: &Digest) -> Option<BlobRecord> {
        let key = keys::blob(digest);
        let found = now(self.memory.get(key.as_str())).unwrap()?;
        Some(raw::decode(key.as_str(), &found))
    }

    /// The names of all bytes.
    pub(super) fn names(&self) -> Vec<String> {
        let listed = now(self.memory.list_bytes("", usize::MAX)).unwrap();
        listed.into_iter().map(|one| one.key).collect()
    }

    pub(super) fn has_bytes(&self, name: &str) -> bool {
        now(self.memory.open(name)).is_ok()
    }

    /// Replaces the bytes by others of the same length.
    pub(super) fn damage(&self, name: &str) {
        let Ok(file) = now(self.memory.open(name)) else {
            return;
        };
        let damaged = vec![b'?'; usize::try_from(file.size()).unwrap()];
        self.state().damaged.insert(name.to_owned());
        // It is unknown here how many of them were kept before they were complete.
        for kept in 0..=damaged.len() {
            let resume = if kept == 0 {
                String::new()
            } else {
                kept.to_string()
            };
            let resume: Resume = serde_json::from_value(json!(resume)).unwrap();
            let chunks = vec![damaged.clone().into()];
            if now(self.memory.write(name, 0, &resume, chunks, Box::new(|_| ()))).is_ok() {
                return;
            }
        }
        panic!("the bytes {name} were not damaged");
    }

    pub(super) fn is_damaged(&self, name: &str) -> bool {
        self.state().damaged.contains(name)
    }
}

impl State {
    /// Counts how often bytes are given to a blob.
    fn note_blob(&mut self, raw: &Raw, digest: &Digest, value: &Bytes) {
        let new = records::decode(&keys::blob(digest), value).unwrap().0;
        let had_it = raw
            .blobs
            .get(digest)
            .is_some_and(|old| old.state != BlobState::Dying && old.generation == new.generation);
        if new.state != BlobState::Dying && !had_it {
            *self.published.entry(new.generation).or_default() += 1;
        }
    }
}

/// The answer of the memory, which never waits.
pub(super) fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().unwrap()
}

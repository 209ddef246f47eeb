//! A store that lasts as long as its process, for tests and for trying things out. It keeps the whole
//! contract except durability.

use super::Answer;
use super::contract::{
    self, BlobFile, BlobStore, Failure, Look, Range, Record, RecordStore, Resume, Show, Token, Value,
    Version, Written,
};
use bytes::Bytes;
use futures_util::future::{FutureExt, ready};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wharfinger_base::clock::{Clock, Timestamp};

/// Records and bytes in memory.
pub struct Memory {
    state: Mutex<State>,
    clock: Clock,
}

#[derive(Default)]
struct State {
    records: BTreeMap<String, Kept>,
    /// How many versions were issued.
    versions: u64,
    blobs: BTreeMap<String, Blob>,
}

struct Kept {
    record: Record,
    hidden: bool,
}

struct Blob {
    /// An open blob shares the bytes, and keeps them when a writer continues or the blob is removed, as an
    /// open file does.
    bytes: Arc<Vec<u8>>,
    written: Timestamp,
    /// The sizes at which the bytes were kept, including 0. A writer may continue only from one of these.
    kept: BTreeSet<usize>,
    /// The size that the present writer continued from.
    from: usize,
    sealed: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Clock::system())
    }

    /// A store whose time is that of `clock`.
    #[must_use]
    pub fn with_clock(clock: Clock) -> Self {
        Self {
            state: Mutex::default(),
            clock,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `expected: None` requires that there is no record. `value: None` deletes it.
    fn change(
        &self,
        key: &str,
        expected: Option<&Version>,
        value: Option<Value>,
    ) -> Result<Version, Failure> {
        let mut state = self.state();
        let written = self.clock.now();
        if state.records.get(key).map(|kept| &kept.record.version) != expected {
            return Err(Failure::Conflict);
        }
        state.versions += 1;
        let version = Version(Token::Text(format!("\"{:x}\"", state.versions).into()));
        match value {
            Some(Value {
                bytes: value,
                hidden,
                frees: _,
            }) => {
                let record = Record {
                    version: version.clone(),
                    value,
                    written,
                };
                state.records.insert(key.to_owned(), Kept { record, hidden })
            }
            None => state.records.remove(key),
        };
        Ok(version)
    }
}

impl State {
    fn write(
        &mut self,
        name: &str,
        offset: u64,
        resume: &Resume,
        chunks: &[Bytes],
        now: Timestamp,
    ) -> Result<(), Failure> {
        contract::check_name(name)?;
        let offset = usize::try_from(offset).map_err(|_| Failure::Missing)?;
        let from = kept_size(resume)?;
        let blob = match self.blobs.get_mut(name) {
            Some(blob) => blob,
            None if (offset, from) == (0, 0) => self
                .blobs
                .entry(name.to_owned())
                .or_insert_with(|| Blob::new(now)),
            None => return Err(Failure::Missing),
        };
        blob.go_on(offset, from)?;
        blob.written = now;
        let bytes = Arc::make_mut(&mut blob.bytes);
        chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
        Ok(())
    }

    /// The blob, if it has this size and `resume` is the one its writer continues from.
    fn blob_of(&mut self, name: &str, size: u64, resume: &Resume) -> Result<&mut Blob, Failure> {
        contract::check_name(name)?;
        let from = kept_size(resume)?;
        self.blobs
            .get_mut(name)
            .filter(|blob| blob.bytes.len() as u64 == size && blob.from == from)
            .ok_or(Failure::Missing)
    }

    fn open(&self, name: &str, sealed: bool) -> Result<Arc<dyn BlobFile>, Failure> {
        contract::check_name(name)?;
        let blob = self
            .blobs
            .get(name)
            .filter(|blob| blob.sealed || !sealed)
            .ok_or(Failure::Missing)?;
        Ok(Arc::new(OpenBlob(blob.bytes.clone())))
    }

    fn list(
        &self,
        Range {
            prefix,
            after,
            limit,
            show,
        }: Range<'_>,
    ) -> impl Iterator<Item = (&String, &Record)> {
        let from = if after < prefix {
            Bound::Included(prefix)
        } else {
            Bound::Excluded(after)
        };
        let records = self
            .records
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix));
        let shown = records.filter(move |(_, kept)| match show {
            Show::All => true,
            Show::Visible => !kept.hidden,
            Show::Hidden => kept.hidden,
        });
        shown.take(limit).map(|(key, kept)| (key, &kept.record))
    }
}

impl Blob {
    fn new(written: Timestamp) -> Self {
        Self {
            bytes: Arc::default(),
            written,
            kept: BTreeSet::from([0]),
            from: 0,
            sealed: false,
        }
    }

    /// Continues at the end, or at a kept size. Then everything behind it is cut off, and later [`Resume`]s
    /// become invalid.
    fn go_on(&mut self, offset: usize, from: usize) -> Result<(), Failure> {
        if offset == from && self.kept.contains(&from) {
            self.kept.retain(|kept| *kept <= from);
            self.from = from;
            Arc::make_mut(&mut self.bytes).truncate(offset);
            return Ok(());
        }
        if offset == self.bytes.len() && from == self.from {
            Ok(())
        } else {
            Err(Failure::Missing)
        }
    }
}

/// The size that a [`Resume`] of this store names.
fn kept_size(Resume(token): &Resume) -> Result<usize, Failure> {
    if token.is_empty() {
        Ok(0)
    } else {
        token.parse().map_err(|_| Failure::Missing)
    }
}

impl RecordStore for Memory {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        async move { Ok(self.state().records.get(key).map(|kept| kept.record.clone())) }.boxed()
    }

    fn create<'a>(&'a self, key: &'a str, value: Value) -> Answer<'a, Version> {
        async move { self.change(key, None, Some(value)) }.boxed()
    }

    fn swap<'a>(&'a self, key: &'a str, expected: &'a Version, value: Value) -> Answer<'a, Version> {
        async move { self.change(key, Some(expected), Some(value)) }.boxed()
    }

    fn delete<'a>(&'a self, key: &'a str, expected: &'a Version) -> Answer<'a, ()> {
        async move { self.change(key, Some(expected), None).map(drop) }.boxed()
    }

    fn list<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<String>> {
        async move { Ok(self.state().list(range).map(|(key, _)| key.clone()).collect()) }.boxed()
    }

    fn list_written<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<Written>> {
        async move {
            let state = self.state();
            Ok(state
                .list(range)
                .map(|(key, record)| Written {
                    key: key.clone(),
                    written: record.written,
                })
                .collect())
        }
        .boxed()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl BlobStore for Memory {
    fn write<'a>(
        &'a self,
        name: &'a str,
        offset: u64,
        resume: &'a Resume,
        chunks: Vec<Bytes>,
        mut look: Look,
    ) -> Answer<'a, ()> {
        async move {
            chunks.iter().for_each(|chunk| look(chunk));
            self.state()
                .write(name, offset, resume, &chunks, self.clock.now())
        }
        .boxed()
    }

    /// Returns the size that was kept, so that a caller that continues with the wrong [`Resume`] fails.
    fn keep<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, Resume> {
        async move {
            let mut state = self.state();
            let blob = state.blob_of(name, size, resume)?;
            blob.from = blob.bytes.len();
            blob.kept.insert(blob.from);
            Ok(Resume(blob.from.to_string()))
        }
        .boxed()
    }

    fn seal<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, ()> {
        async move {
            self.state()
                .blob_of(name, size, resume)
                .map(|blob| blob.sealed = true)
        }
        .boxed()
    }

    /// Rejects bytes that are not sealed, so that a caller that relies on reading them fails.
    fn open<'a>(&'a self, name: &'a str) -> Answer<'a, Arc<dyn BlobFile>> {
        async move { self.state().open(name, true) }.boxed()
    }

    fn open_unsealed<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Arc<dyn BlobFile>>> {
        async move { self.state().open(name, false).map(Some) }.boxed()
    }

    fn remove<'a>(&'a self, name: &'a str, _: &'a Resume) -> Answer<'a, ()> {
        async move {
            contract::check_name(name)?;
            self.state().blobs.remove(name);
            Ok(())
        }
        .boxed()
    }

    fn list_bytes<'a>(&'a self, after: &'a str, limit: usize) -> Answer<'a, Vec<Written>> {
        async move {
            let state = self.state();
            let behind = state
                .blobs
                .range::<str, _>((Bound::Excluded(after), Bound::Unbounded))
                .take(limit);
            Ok(behind
                .map(|(name, blob)| Written {
                    key: name.clone(),
                    written: blob.written,
                })
                .collect())
        }
        .boxed()
    }
}

/// Shows how much the store holds, not what.
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Memory")
            .field("records", &state.records.len())
            .field("blobs", &state.blobs.len())
            .finish()
    }
}

struct OpenBlob(Arc<Vec<u8>>);

impl OpenBlob {
    fn part(&self, offset: u64, most: usize) -> Bytes {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.0.get(offset..))
            .unwrap_or_default();
        let bytes = rest.get(..most).unwrap_or(rest);
        Bytes::copy_from_slice(bytes)
    }
}

impl BlobFile for OpenBlob {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn at_hand(&self, offset: u64, most: usize) -> Option<Bytes> {
        Some(self.part(offset, most)).filter(|part| !part.is_empty())
    }

    fn read(&self, offset: u64, most: usize) -> Answer<'_, Bytes> {
        ready(Ok(self.part(offset, most))).boxed()
    }
}

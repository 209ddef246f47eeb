//! A store that lives as long as its process: for tests and for trying things out. Keeps the whole contract but for durability.

use super::Answer;
use super::contract::{self, BlobFile, BlobStore, Failure, Look, Record, RecordStore, Version};
use bytes::Bytes;
use futures_util::future::{FutureExt, ready};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Records and bytes in memory.
#[derive(Default)]
pub struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    records: BTreeMap<String, Record>,
    /// The last version given out.
    last: i64,
    /// An open blob shares the bytes and keeps them when a writer goes on or the blob is removed, as an open file does.
    blobs: HashMap<String, Arc<Vec<u8>>>,
}

impl Memory {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// `expected: None` demands that there is no such record; `value: None` deletes.
    fn change(&mut self, key: &str, expected: Option<Version>, value: Option<Bytes>) -> Result<Version, Failure> {
        if self.records.get(key).map(|record| record.version) != expected {
            return Err(Failure::Conflict);
        }
        self.last += 1;
        let version = Version(self.last);
        match value {
            Some(value) => self.records.insert(key.to_owned(), Record { version, value }),
            None => self.records.remove(key),
        };
        Ok(version)
    }

    fn write(&mut self, name: &str, offset: u64, chunks: &[Bytes]) -> Result<(), Failure> {
        contract::check_name(name)?;
        let offset = usize::try_from(offset).map_err(|_| Failure::Missing)?;
        let bytes = match self.blobs.get_mut(name) {
            Some(bytes) => bytes,
            None if offset == 0 => self.blobs.entry(name.to_owned()).or_default(),
            None => return Err(Failure::Missing),
        };
        if bytes.len() < offset {
            return Err(Failure::Missing);
        }
        let bytes = Arc::make_mut(bytes);
        bytes.truncate(offset);
        chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
        Ok(())
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Vec<String> {
        let from = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let keys = self.records.range::<str, _>((from, Bound::Unbounded)).map(|(key, _)| key);
        keys.take_while(|key| key.starts_with(prefix)).take(limit).cloned().collect()
    }
}

impl RecordStore for Memory {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        async move { Ok(self.state().records.get(key).cloned()) }.boxed()
    }

    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> Answer<'a, Version> {
        async move { self.state().change(key, None, Some(value)) }.boxed()
    }

    fn swap<'a>(&'a self, key: &'a str, expected: Version, value: Bytes) -> Answer<'a, Version> {
        async move { self.state().change(key, Some(expected), Some(value)) }.boxed()
    }

    fn delete<'a>(&'a self, key: &'a str, expected: Version) -> Answer<'a, ()> {
        async move { self.state().change(key, Some(expected), None).map(drop) }.boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Answer<'a, Vec<String>> {
        async move { Ok(self.state().list(prefix, after, limit)) }.boxed()
    }
}

impl BlobStore for Memory {
    fn write<'a>(&'a self, name: &'a str, offset: u64, chunks: Vec<Bytes>, mut look: Look) -> Answer<'a, ()> {
        async move {
            chunks.iter().for_each(|chunk| look(chunk));
            self.state().write(name, offset, &chunks)
        }
        .boxed()
    }

    fn seal<'a>(&'a self, name: &'a str, size: u64) -> Answer<'a, ()> {
        async move {
            contract::check_name(name)?;
            match self.state().blobs.get(name) {
                Some(bytes) if bytes.len() as u64 == size => Ok(()),
                _ => Err(Failure::Missing),
            }
        }
        .boxed()
    }

    fn open<'a>(&'a self, name: &'a str) -> Answer<'a, Arc<dyn BlobFile>> {
        async move {
            contract::check_name(name)?;
            let bytes = self.state().blobs.get(name).cloned().ok_or(Failure::Missing)?;
            Ok(Arc::new(OpenBlob(bytes)) as Arc<dyn BlobFile>)
        }
        .boxed()
    }

    fn remove<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        async move {
            contract::check_name(name)?;
            self.state().blobs.remove(name);
            Ok(())
        }
        .boxed()
    }

    fn names<'a>(&'a self, begin: [u8; 2]) -> Answer<'a, Vec<String>> {
        async move { Ok(self.state().blobs.keys().filter(|name| name.as_bytes().starts_with(&begin)).cloned().collect()) }.boxed()
    }
}

/// Says how much is in it, not what.
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Memory").field("records", &state.records.len()).field("blobs", &state.blobs.len()).finish()
    }
}

struct OpenBlob(Arc<Vec<u8>>);

impl OpenBlob {
    fn part(&self, offset: u64, most: usize) -> Bytes {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)).unwrap_or_default();
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

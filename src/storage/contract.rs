//! The contract of a store. `storage::tests` holds every implementation to it.

use super::Answer;
use bytes::Bytes;
use std::sync::Arc;

/// Names one state of one record. Never used twice, not after a delete and a new create either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub(in crate::storage) i64);

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub version: Version,
    pub value: Bytes,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The record is not in the state that the caller expected. Nothing changed.
    #[error("the record has changed meanwhile")]
    Conflict,
    /// The bytes that a record names are not there.
    #[error("the bytes are missing from the store")]
    Missing,
    /// The store is out of space. Nothing was acknowledged.
    #[error("the store is full")]
    Full,
    /// Another program holds the store's records. Nothing happened.
    #[error("another program holds the store's records locked: only this one should use them")]
    Busy,
    /// The operation failed; after a crash it may turn out that it was done all the same.
    #[error("the store failed: {0}")]
    Io(Arc<dyn std::error::Error + Send + Sync>),
    /// An earlier failure of the disk stopped all writing; only a restart can tell what is really there.
    #[error("the store stopped writing after an earlier failure of the disk: restart to find out what is really there")]
    Stopped,
}

/// Values of up to some MiB under ordered keys. What a store promises, and all that the registry's protocol relies on:
///
/// * A record changes only by compare-and-swap, and of several who try from one state one succeeds. A [`Version`] names one state and no
///   other, also over a deletion and a new creation.
/// * An answer that acknowledges a change means that the change survives a power cut.
/// * [`Failure::Conflict`], [`Failure::Full`] and [`Failure::Busy`] mean that nothing happened. A store that repeats a request by itself looks whether its
///   first attempt was the one that won before it says so.
/// * After [`Failure::Io`] the change may have happened, or may happen later, but once at most, and not if the record was changed in
///   between. That holds for a creation too: a record that was made and deleted since is not made again. (A bucket keeps tombstones with
///   a nonce for this; they are its own affair.)
/// * A reader, and a list, sees every change that was acknowledged before it began. A list of several pages is no snapshot.
/// * Keys are ordered by their bytes.
pub trait RecordStore: Send + Sync {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>>;
    /// [`Failure::Conflict`] if the key exists.
    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> Answer<'a, Version>;
    /// [`Failure::Conflict`] unless the record is in state `expected`.
    fn swap<'a>(&'a self, key: &'a str, expected: Version, value: Bytes) -> Answer<'a, Version>;
    /// [`Failure::Conflict`] unless the record is in state `expected`.
    fn delete<'a>(&'a self, key: &'a str, expected: Version) -> Answer<'a, ()>;
    /// At most `limit` keys that begin with `prefix`, in order, the first one after `after` (a whole key, or empty).
    fn list<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Answer<'a, Vec<String>>;
}

/// Bytes under unique names that are never reused. A name is `[a-z0-9]{32}`. Since no name comes back, a removal may be repeated, or come
/// late, and harms nobody.
pub trait BlobStore: Send + Sync {
    /// Writes `chunks` at `offset`, cutting off whatever lay behind it; creates the blob when `offset` is 0.
    /// [`Failure::Missing`] if fewer than `offset` bytes are there. Not durable until [`BlobStore::seal`]. After a failure nothing behind
    /// what was sealed last can be relied on: it must be written again.
    ///
    /// `look` sees each chunk once and in order, unless the write fails: in the job that writes them and just before it does, so that
    /// they pass through the processor's caches once.
    fn write<'a>(&'a self, name: &'a str, offset: u64, chunks: Vec<Bytes>, look: Look) -> Answer<'a, ()>;
    /// Returns when the bytes and the name survive a power cut. `size` must be the blob's size ([`Failure::Missing`] if not).
    fn seal<'a>(&'a self, name: &'a str, size: u64) -> Answer<'a, ()>;
    /// For reading. [`Failure::Missing`] if there is no such blob.
    fn open<'a>(&'a self, name: &'a str) -> Answer<'a, Arc<dyn BlobFile>>;
    /// Removes the bytes; not an error if they are gone.
    fn remove<'a>(&'a self, name: &'a str) -> Answer<'a, ()>;
    /// The names that begin with these two characters, in no order. For checkers and collectors.
    fn names<'a>(&'a self, begin: [u8; 2]) -> Answer<'a, Vec<String>>;
}

/// What looks at bytes on their way: the registry's hash. It may take its time, and what it captured is dropped when it is done.
pub type Look = Box<dyn FnMut(&[u8]) + Send>;

/// An open blob.
pub trait BlobFile: Send + Sync {
    fn size(&self) -> u64;
    /// What can be had without waiting: at most `most` bytes from `offset` on, and `None` if not even one, or at the end. To be
    /// called from anywhere; [`BlobFile::read`] finds out what is the matter.
    fn at_hand(&self, offset: u64, most: usize) -> Option<Bytes>;
    /// At most `most` bytes from `offset` on; empty only at the end. Takes a thread that may wait for the disk.
    fn read(&self, offset: u64, most: usize) -> Answer<'_, Bytes>;
}

/// The shape of a blob's name, checked before it becomes part of a path or of a request.
pub(in crate::storage) fn check_name(name: &str) -> Result<(), Failure> {
    let fits = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if fits { Ok(()) } else { Err(Failure::Io(Arc::new(NotABlobName))) }
}

#[derive(Debug, thiserror::Error)]
#[error("not the name of a blob: expected 32 characters of a-z and 0-9")]
struct NotABlobName;

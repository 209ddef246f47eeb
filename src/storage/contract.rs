//! The contract of a store. `storage::tests` holds every implementation to it.

use super::Answer;
use crate::clock::Timestamp;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Names one state of one record: a number, or text such as an entity tag. Never used twice, not after a delete and a new create either.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub(in crate::storage) Token);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::storage) enum Token {
    Number(i64),
    Text(Arc<str>),
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub version: Version,
    pub value: Bytes,
    /// When the store took this state of the record, by [`RecordStore::now`].
    pub written: Timestamp,
}

/// What a record says from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub bytes: Bytes,
    /// Lists leave the record out unless they are asked for hidden ones. Everything else treats it as any other.
    pub hidden: bool,
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, hidden: false }
    }
}

/// A compare-and-swap: `expected` is `None` where there must be no record, `value` is `None` to delete it.
#[derive(Clone, Debug)]
pub struct Change {
    pub key: String,
    pub expected: Option<Version>,
    pub value: Option<Value>,
}

/// A part of the keys, in the order of their bytes.
#[derive(Clone, Copy, Debug)]
pub struct Range<'a> {
    /// What each key begins with.
    pub prefix: &'a str,
    /// A whole key, which need not exist: the first one in the range comes behind it. Empty for the beginning.
    pub after: &'a str,
    /// How many keys at most.
    pub limit: usize,
    pub show: Show,
}

/// Which records a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    Visible,
    Hidden,
    All,
}

/// A key, and when the store took the present state of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub key: String,
    pub written: Timestamp,
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
/// * [`Failure::Conflict`], [`Failure::Full`] and [`Failure::Busy`] mean that nothing happened. A store that repeats a request by itself
///   looks whether its first attempt was the one that won before it says so.
/// * After [`Failure::Io`] the change may have happened, or may happen later, but once at most, and not if the record was changed in
///   between. That holds for a creation too: a record that was made and deleted since is not made again.
/// * A reader, and a list, sees every change that was acknowledged before it began. A list of several pages is no snapshot, but a record
///   that does not change between its first page and its last is in it exactly once if the list shows it.
/// * Keys are ordered by their bytes. A deleted record is in no list.
/// * Times are the store's own: [`Record::written`] and [`RecordStore::now`] come from one clock, which is no process's where several
///   processes share the store. Whoever judges an age takes the difference of these two.
///
/// # For who implements it on a bucket
///
/// * A [`Version`] is the object's entity tag or generation. Equal bytes have equal entity tags: the registry writes a fresh nonce into
///   every value, so that no two states of a record are the same bytes. A store adds nothing for that, and may resolve a request of
///   unknown outcome by reading the object again and comparing bytes.
/// * A deletion leaves a tombstone of exactly 16 random bytes, written by compare-and-swap; every value is longer. A late creation must
///   meet it and fail, so it stays until no request can be that late. Lists tell a tombstone by its size.
/// * A hidden value is told by its size too, without reading it: for instance padded to a multiple of 16 bytes when it is hidden and to
///   anything else when it is not, behind the value, with the length of the padding in the last byte.
/// * [`RecordStore::now`] is the `Date` of the last answer plus the time that a monotonic clock counted since, never the wall clock.
pub trait RecordStore: Send + Sync {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>>;
    /// [`Failure::Conflict`] if the key exists.
    fn create<'a>(&'a self, key: &'a str, value: Value) -> Answer<'a, Version>;
    /// [`Failure::Conflict`] unless the record is in state `expected`.
    fn swap<'a>(&'a self, key: &'a str, expected: &'a Version, value: Value) -> Answer<'a, Version>;
    /// [`Failure::Conflict`] unless the record is in state `expected`.
    fn delete<'a>(&'a self, key: &'a str, expected: &'a Version) -> Answer<'a, ()>;
    /// The keys of the range that there are.
    fn list<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<String>>;
    /// The same with times. May cost more.
    fn list_written<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<Written>>;
    /// The store's present time.
    fn now(&self) -> Timestamp;

    /// Several changes of different records, between which no decision lies: each is done or refused for itself, in this order, and a
    /// conflict stops no other one. A version is `None` after a deletion. A store that can does all of it with one commit.
    fn change_all(&self, changes: Vec<Change>) -> BoxFuture<'_, Vec<Result<Option<Version>, Failure>>> {
        Box::pin(async move {
            let mut done = Vec::with_capacity(changes.len());
            for Change { key, expected, value } in changes {
                done.push(match (expected, value) {
                    (None, Some(value)) => self.create(&key, value).await.map(Some),
                    (Some(expected), Some(value)) => self.swap(&key, &expected, value).await.map(Some),
                    (Some(expected), None) => self.delete(&key, &expected).await.map(|()| None),
                    (None, None) => Err(Failure::Conflict),
                });
            }
            done
        })
    }
}

/// Bytes under unique names that are never reused. A name is `[a-z0-9]{32}`. Since no name comes back, a removal may be repeated, or come
/// late, and harms nobody.
///
/// Bytes are written front to back: [`BlobStore::write`], now and then [`BlobStore::keep`], in the end [`BlobStore::seal`]. Between
/// requests, and on another process, the writer goes on from what was kept last, with the [`Resume`] that it was told then.
///
/// # For who implements it on a bucket
///
/// A multipart upload straight to the final name: [`BlobStore::write`] cuts parts and holds the rest in memory, [`BlobStore::keep`] makes
/// the rest an object beside it and tells the upload's id and its parts in the [`Resume`], and [`BlobStore::seal`] completes the upload,
/// which copies nothing. The names of parts and rest must hold the nonce of the session's claim: a writer that lost its claim and comes
/// late then changes nothing that is published.
pub trait BlobStore: Send + Sync {
    /// Writes `chunks` at `offset`; creates the blob when `offset` is 0. `offset` is where the last write of this process ended, or where
    /// the bytes were kept last; what lies behind it is cut off. [`Failure::Missing`] if fewer than `offset` bytes are there. Not durable
    /// until [`BlobStore::keep`] or [`BlobStore::seal`]. After a failure nothing behind what was kept last can be relied on: it must be
    /// written again.
    ///
    /// `look` sees each chunk once and in order, unless the write fails: in the job that writes them and just before it does, so that
    /// they pass through the processor's caches once.
    fn write<'a>(&'a self, name: &'a str, offset: u64, resume: &'a Resume, chunks: Vec<Bytes>, look: Look) -> Answer<'a, ()>;
    /// Returns when the first `size` bytes survive a power cut, and says what a writer must be told to go on from there, here or on another
    /// process. `size` must be what was written ([`Failure::Missing`] if not).
    fn keep<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, Resume>;
    /// Returns when the bytes and the name survive a power cut, and can be opened. `size` must be the blob's size ([`Failure::Missing`] if
    /// not). Sealing again is no error. A sealed blob is not written any more.
    fn seal<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, ()>;
    /// For reading. [`Failure::Missing`] if there is no such blob. Whether unsealed bytes can be read is the store's own affair, but for
    /// those that were kept.
    fn open<'a>(&'a self, name: &'a str) -> Answer<'a, Arc<dyn BlobFile>>;
    /// Removes the bytes, whether sealed or not; not an error if they are gone.
    fn remove<'a>(&'a self, name: &'a str, resume: &'a Resume) -> Answer<'a, ()>;
    /// The names that there are, in order, the first one behind `after` (empty for the beginning), as many as `limit` at most; with
    /// the store's time of their last change. For checkers and collectors.
    fn list_bytes<'a>(&'a self, after: &'a str, limit: usize) -> Answer<'a, Vec<Written>>;
}

/// What a store must be told to go on with bytes that are not sealed. Kept in the upload's record, and nobody else's to read. A folder
/// needs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Resume(pub(in crate::storage) String);

impl Resume {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
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

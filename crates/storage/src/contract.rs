//! The contract of a store. `storage::tests` holds every implementation to it.

use super::Answer;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use wharfinger_base::clock::Timestamp;
use wharfinger_base::secret::Secret;

/// Names one state of one record: a number, or text such as an entity tag. A version is
/// never reused, even after the record was deleted and created again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub(crate) Token);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Token {
    Number(i64),
    Text(Arc<str>),
}

/// A record as read from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub version: Version,
    pub value: Bytes,
    /// When the store wrote this state of the record, by [`RecordStore::now`].
    pub written: Timestamp,
}

/// The new state of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub bytes: Bytes,
    /// Whether lists leave the record out unless the caller asks for hidden ones. All other operations ignore
    /// this.
    pub hidden: bool,
    /// Whether the write is part of an operation that frees space. A store then accepts it even where only
    /// its reserve is left. See [`RecordStore`].
    pub frees: bool,
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self {
            bytes,
            hidden: false,
            frees: false,
        }
    }
}

/// A compare-and-swap. `expected: None` requires that there is no record. `value: None` deletes the record.
#[derive(Clone, Debug)]
pub struct Change {
    pub key: String,
    pub expected: Option<Version>,
    pub value: Option<Value>,
}

/// A range of keys, in byte order.
#[derive(Clone, Copy, Debug)]
pub struct Range<'a> {
    /// Only keys with this prefix are listed.
    pub prefix: &'a str,
    /// Only keys greater than this one are listed. It is a whole key, and need not exist. Empty to start at
    /// the beginning.
    pub after: &'a str,
    /// The largest number of keys to return.
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

/// A key, and when the store wrote the present state of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub key: String,
    pub written: Timestamp,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The record is not in the state that the caller expected. Nothing changed.
    #[error("the record has changed since it was read")]
    Conflict,
    /// The bytes that a record refers to are not in the store.
    #[error("the bytes are missing from the store")]
    Missing,
    /// The record exists, but its value cannot be read. It can still be swapped and deleted in the state
    /// `version`.
    #[error("the record's value is lost: {what}")]
    Lost { version: Version, what: Arc<str> },
    /// The store is out of space. Nothing was written.
    #[error("the store is full")]
    Full,
    /// Another program keeps a read transaction open, so the log could only grow. Only deletions are
    /// accepted. Nothing was written.
    #[error(
        "another program keeps a read of the store's records (records.sqlite3) open, so their log has grown too large: stop that program"
    )]
    LogHeld,
    /// Another program has locked the records. Nothing was written.
    #[error(
        "another program has locked the store's records (records.sqlite3): only the registry should use them"
    )]
    Busy,
    /// A folder of the store is missing or not writable. Nothing was written.
    #[error("the folder {folder} of the store cannot be written to: {why}")]
    NotWritable {
        folder: &'static str,
        why: Arc<std::io::Error>,
    },
    /// The operation failed. After a crash it may still turn out to have been done.
    #[error("the store failed: {0}")]
    Io(Arc<dyn std::error::Error + Send + Sync>),
    /// A disk failure stopped all writing. Only a restart can find out what is on the disk.
    #[error("the store stopped writing after a disk failure: check the disk, then restart the registry")]
    Stopped,
    /// This process must not change the shared store now. Nothing was written.
    #[error("this process makes no changes to the store: {0}")]
    Barred(Arc<str>),
}

/// A list of names stopped early, because a folder that may hold some of them cannot be read. The names
/// before that folder are in `found`, and the list can continue after `next`.
#[derive(Debug, thiserror::Error)]
#[error("{place} cannot be listed: {source}")]
pub struct Unlisted {
    pub found: Vec<Written>,
    pub place: String,
    pub next: String,
    pub source: std::io::Error,
}

impl Failure {
    /// What the list had found before it failed, if the list can continue.
    #[must_use]
    pub fn unlisted(&self) -> Option<&Unlisted> {
        match self {
            Self::Io(why) => why.downcast_ref(),
            _ => None,
        }
    }

    /// Whether the process or the machine has run out of file descriptors.
    #[must_use]
    pub fn lacks_descriptors(&self) -> bool {
        self.comes_from(wharfinger_base::descriptors::are_lacking)
    }

    /// Whether this failure, met while opening or reading bytes, means that the bytes are damaged: they are
    /// missing, or the disk or the file system cannot return them. Other failures say nothing about the
    /// bytes, such as a missing permission, too many open files, too little memory, or a network disk that
    /// does not answer.
    #[must_use]
    pub fn shows_damage(&self) -> bool {
        matches!(self, Self::Missing)
            || self.comes_from(|why| why.raw_os_error().is_some_and(|code| DAMAGE.contains(&code)))
    }

    fn comes_from(&self, such: impl Fn(&std::io::Error) -> bool) -> bool {
        let Self::Io(why) = self else { return false };
        let first: &(dyn std::error::Error + 'static) = &**why;
        std::iter::successors(Some(first), |why| why.source())
            .any(|why| why.downcast_ref().is_some_and(&such))
    }

    /// Whether the changes after this one must not be tried either. Only a conflict does not stop them.
    #[must_use]
    pub const fn stops(&self) -> bool {
        !matches!(self, Self::Conflict)
    }

    /// Whether only deletions are accepted for lack of room.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full | Self::LogHeld)
    }
}

/// Values of up to a few MiB under ordered keys. A store promises the following, and the registry's protocol
/// relies on nothing else:
///
/// * A record changes only by compare-and-swap. If several callers try from the same state, one of them
///   succeeds. A [`Version`] names one state and no other, even after a deletion and a new creation.
/// * A change that was acknowledged survives a power cut.
/// * [`Failure::Conflict`], [`Failure::Full`], [`Failure::LogHeld`] and [`Failure::Busy`] mean that nothing
///   changed. A store that retries a request by itself must check whether its own first attempt succeeded
///   before it reports a conflict.
/// * After [`Failure::Io`] the change may have happened, or may happen later. It happens at most once, and
///   not if the record was changed in between. The same holds for a creation: a record that was created and
///   deleted since is not created again.
/// * A read or a list sees every change that was acknowledged before it began. A list of several pages is not
///   a snapshot. But a record that the list shows, and that does not change between the first page and the
///   last, appears exactly once.
/// * Keys are ordered by their bytes. A list never shows a deleted record.
/// * A store on a disk keeps a reserve of space, so that a full disk can be emptied. Where only the reserve
///   is left, the store accepts deletions, values that [free](Value::frees) space, and the removal of bytes.
///   Any other change fails with [`Failure::Full`].
/// * Times come from the store: [`Record::written`] and [`RecordStore::now`] use one clock. If several
///   processes share the store, this is the store's clock and not that of a process. It may be limited to
///   whole seconds.
///   [`Record::written`] may lie a little after `now`; the age is zero then. To compute an age, subtract
///   these two.
///
/// # Implementing this on a bucket
///
/// * A record is one object under its key. It changes only by a conditional request: `If-None-Match: *` or
///   `If-Match` with an entity tag. Google's service ignores these on writes and needs conditions on a
///   generation instead. Some services accept such a header and do not honour it. So at startup, try what is
///   needed with many concurrent requests, and refuse to start unless exactly one of each succeeds.
/// * A [`Version`] is the entity tag or the generation. Equal bytes have equal entity tags, so no two states of a
///   record may have the same bytes. The padding of a value holds 8 random bytes. So the store need not rely on
///   the nonces that the registry writes.
/// * Some services keep keys in folders and list them folder by folder, with `a/b` before `a!`. So the name of an
///   object has no `/` of the key, and names keep the order of keys: `bucket::records::names`.
/// * A deletion swaps in a tombstone of exactly 16 random bytes; every value is longer. Two tombstones must
///   differ, or a late swap that expects one would match the next. A creation first tries `If-None-Match: *`,
///   since most keys are new. If it is refused, the object is read, and a creation over a tombstone is a swap
///   from it. A late `If-None-Match: *` meets the tombstone and fails. So the tombstone stays until no request
///   can be that late (signed S3 requests expire after 15 minutes, and keeping tombstones for days is cheap).
///   Then [`RecordStore::sweep`] removes it by a conditional deletion, or it stays for good where the service
///   has none. Lists recognize a tombstone by its size.
/// * The size also marks a hidden value, so that a list need not read it. The value is padded at its end: to
///   a multiple of 16 bytes if it is hidden, and to any other size if it is not. The last byte holds the
///   length of the padding.
/// * If a request times out or its connection breaks, the outcome is unknown, and the request may be applied
///   later. Read the object. If its bytes are those that were to be written, the change is done, since no
///   other writer has its random bytes. If the version is still the expected one, send the same request again;
///   at most one of the two succeeds. Otherwise answer [`Failure::Io`], also if the next request is rejected:
///   the first one may have been applied, and another writer may have changed the record since.
/// * A rejection is ambiguous where a client library or a proxy retries by itself: a 412 may be due to its own
///   first attempt. Read, and compare the bytes. S3's 409 (`ConditionalRequestConflict`) means that another
///   request was in progress and says nothing about the record: send the request again. Some libraries report
///   it as "already exists" for a creation, so there, too, only reading gives the answer.
/// * [`RecordStore::now`] is the `Date` of the last answer plus the time that a monotonic clock has measured
///   since, never the wall clock. To have a time from the beginning, opening the store makes one request. A
///   caching proxy must not stand in front of the bucket, since its `Date` is old. [`Record::written`] is the
///   object's `Last-Modified`, in whole seconds.
/// * A bucket is never full, so it ignores [`Value::frees`].
/// * Only [`RecordStore::get_recent`] may be answered from a cache without a request. The cache holds what was
///   read or written in the last few seconds and no absent records. A change by this process replaces or drops
///   the record's entry before the change is acknowledged, also if its outcome is unknown. A read that began
///   before the change does not bring the old state back.
/// * Lists continue after a key, in byte order. A service that cannot start after a key (Azure) or lists in
///   no order (S3 Express) needs a store that makes up for it, since every page of the registry relies on
///   both.
/// * Services accept between about one change per second of a single key (Google) and some dozens (S3). No
///   record of the registry is changed by all writers, and a store must not introduce one.
pub trait RecordStore: Send + Sync {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>>;
    /// Like [`RecordStore::get`], for a check of what is stored: reads past every cache of the store, and
    /// drops what a cache has of the record.
    fn get_stored<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        self.get(key)
    }
    /// Like [`RecordStore::get`], for a client's read: the store may answer with the state that it had at most a
    /// few seconds ago. Two things are never old. `None` is the store's present answer, because a record that a
    /// client has just pushed through another process must be found. And a record that this process changed is
    /// returned as this process left it, or newer. The registry makes no change and no promise because of such an
    /// answer.
    fn get_recent<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        self.get(key)
    }
    /// [`Failure::Conflict`] if the key exists.
    fn create<'a>(&'a self, key: &'a str, value: Value) -> Answer<'a, Version>;
    /// [`Failure::Conflict`] unless the record is in state `expected`.
    fn swap<'a>(&'a self, key: &'a str, expected: &'a Version, value: Value) -> Answer<'a, Version>;
    /// [`Failure::Conflict`] unless the record is in state `expected`.
    fn delete<'a>(&'a self, key: &'a str, expected: &'a Version) -> Answer<'a, ()>;
    /// The existing keys of the range.
    fn list<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<String>>;
    /// Like [`RecordStore::list`], with times. May cost more.
    fn list_written<'a>(&'a self, range: Range<'a>) -> Answer<'a, Vec<Written>>;
    /// The store's present time.
    fn now(&self) -> Timestamp;
    /// Fails with [`Failure::Barred`] if this process must not change records now. Makes no request.
    fn may_change(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Makes several changes in this order. Each succeeds or fails by itself, and a conflict does not stop
    /// the others. Any other failure stops those after it: they answer with the same failure and do not
    /// happen. So a later change is never written where an earlier one could not be. After a crash, any
    /// number of the first ones may have been done. A version is `None` after a deletion. A store that can
    /// makes all changes in one commit.
    fn change_all(&self, changes: Vec<Change>) -> BoxFuture<'_, Vec<Result<Option<Version>, Failure>>> {
        Box::pin(async move {
            let mut done = Vec::with_capacity(changes.len());
            let mut stopped = None;
            for Change { key, expected, value } in changes {
                let one = match (&stopped, expected, value) {
                    (Some(failure), ..) => Err(Failure::clone(failure)),
                    (None, None, Some(value)) => self.create(&key, value).await.map(Some),
                    (None, Some(expected), Some(value)) => self.swap(&key, &expected, value).await.map(Some),
                    (None, Some(expected), None) => self.delete(&key, &expected).await.map(|()| None),
                    (None, None, None) => Err(Failure::Conflict),
                };
                stopped = one.as_ref().err().filter(|failure| failure.stops()).cloned();
                done.push(one);
            }
            done
        })
    }

    /// Makes several changes of different records in any order, perhaps at the same time. Each succeeds or fails
    /// by itself, also if another one fails. After a crash, any of them may have been done.
    fn change_each(&self, changes: Vec<Change>) -> BoxFuture<'_, Vec<Result<Option<Version>, Failure>>> {
        self.change_all(changes)
    }

    /// Removes what the store has for its own use and needs no more, such as old tombstones. Looks at a bounded
    /// part of the store, from `position` on, and returns the next position. The first is empty, and `None` is
    /// the end. Collectors of several processes may call it at the same time.
    fn sweep<'a>(&'a self, _position: &'a str) -> Answer<'a, Option<String>> {
        Box::pin(async { Ok(None) })
    }
}

/// Bytes under unique names that are never reused. A name is `[a-z0-9]{32}`. Since no name is used again, a
/// removal may be repeated or come late without harm.
///
/// Bytes are written front to back with [`BlobStore::write`], saved now and then with [`BlobStore::keep`],
/// and completed with [`BlobStore::seal`]. A later request, or another process, continues from what was kept
/// last, with the [`Resume`] that `keep` returned. A writer that did not receive an answer continues with the
/// [`Resume`] it had before. A [`Resume`] stays valid until a writer has continued from an earlier one.
///
/// The registry, not the store, makes sure that there is one writer at a time: a writer claims the upload's
/// session.
///
/// # Implementing this on a bucket
///
/// Use a multipart upload straight to the final name. [`BlobStore::write`] cuts parts and holds the rest in
/// memory. [`BlobStore::keep`] writes the rest, which is too small for a part, as an object of its own, and
/// returns a [`Resume`] with the upload's ID, its parts with their entity tags, and the name of the rest.
/// [`BlobStore::seal`] completes the upload with exactly the parts that the [`Resume`] lists, and copies
/// nothing. A small blob may be one object, written by `seal`. Some services require that all parts but the
/// last have the same size.
///
/// Several processes share a bucket, and a writer may lose its claim to another process at any moment,
/// without noticing. Four rules make that harmless. None depends on time:
///
/// 1. A claim swaps the session's record and puts a fresh nonce into it. Every later write of the record
///    starts from the version that the claim or the writer's own last write returned. A conflict ends the
///    request. It is never retried from a newer version.
/// 2. [`BlobStore::keep`] gives each rest a new random name, which the [`Resume`] holds, so the store need
///    not know the claim. A writer that lost its claim may replace a part by another of the same number.
///    Completion names the entity tag of each part, so it is rejected then: [`BlobStore::seal`] answers
///    [`Failure::Missing`], the upload ends, and its client starts again. Nothing wrong is published.
/// 3. Parts belong to the upload only once the session's record is swapped: those in its [`Resume`] do, and
///    no others.
/// 4. Closing comes first: the record says that the upload is closed, and from then on only the request that
///    wrote this seals the bytes, with those that it has not kept, and publishes them. So nothing replaces them
///    later. Completing twice is harmless: the second attempt finds the object and compares its size. A blob
///    that is one object is made only if there is none. If there is one, its bytes decide whether it is the
///    same. If the process dies in between, the upload ends, and its client starts again.
///
/// [`BlobStore::remove`] aborts the multipart upload as well. Until the first [`BlobStore::keep`], only the
/// process that began an upload knows its ID. If that process crashes before, no [`Resume`] names the upload.
/// So removing a name lists the multipart uploads under it, and a rule of the bucket aborts uploads that are
/// older than any session.
pub trait BlobStore: Send + Sync {
    /// Writes `chunks` at `offset`, and creates the blob when `offset` is 0. `offset` is where this process's
    /// last write ended, or where the bytes were kept, with the same `resume`. Bytes behind it are cut off.
    /// Fails with [`Failure::Missing`] if the bytes before `offset` are not there, or if the store needs a
    /// `resume` that covers them and did not get one. The bytes are durable only after [`BlobStore::keep`] or
    /// [`BlobStore::seal`]. After a failure, everything behind what was kept last must be written again.
    ///
    /// `look` sees each chunk once and in order, unless the write fails. It runs just before the chunk is
    /// written, on the same thread, so that the bytes pass through the processor's caches once.
    fn write<'a>(
        &'a self,
        name: &'a str,
        offset: u64,
        resume: &'a Resume,
        chunks: Vec<Bytes>,
        look: Look,
    ) -> Answer<'a, ()>;
    /// Returns when the first `size` bytes survive a power cut, with what a writer needs to continue from
    /// there, in this process or another. `size` must be what was written ([`Failure::Missing`] if not).
    /// Keeping twice is not an error. [`Failure::Full`] from here or from [`BlobStore::seal`] means that the
    /// bytes kept before may be gone too, so the registry ends the upload.
    fn keep<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, Resume>;
    /// Returns when the bytes and the name survive a power cut and can be opened. `size` must be the blob's
    /// size ([`Failure::Missing`] if not). Sealing again is not an error. A sealed blob is never written
    /// again.
    fn seal<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, ()>;
    /// Opens sealed bytes for reading. Fails with [`Failure::Missing`] if there is no such blob. Callers must
    /// not read bytes before they are sealed: a bucket cannot do that.
    fn open<'a>(&'a self, name: &'a str) -> Answer<'a, Arc<dyn BlobFile>>;
    /// Like [`BlobStore::open`], for a reader that takes the bytes in order from `first` on, which is not behind
    /// their end. A store may fetch them with the same request.
    fn open_at<'a>(&'a self, name: &'a str, _first: u64) -> Answer<'a, Arc<dyn BlobFile>> {
        self.open(name)
    }
    /// Opens bytes that may not be sealed, for checkers. `None` if the store cannot read those.
    fn open_unsealed<'a>(&'a self, _name: &'a str) -> Answer<'a, Option<Arc<dyn BlobFile>>> {
        Box::pin(async { Ok(None) })
    }
    /// Checks whether bytes could be written now, as far as that can be known without writing any.
    /// [`Failure::NotWritable`] names the folder where they cannot.
    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
    /// Removes the bytes, whether sealed or not. Not an error if they are gone. `resume` may be any that was
    /// returned for them, or empty: it only helps to find what belongs to them.
    fn remove<'a>(&'a self, name: &'a str, resume: &'a Resume) -> Answer<'a, ()>;
    /// Lists up to `limit` names in order, starting behind `after` (empty for the beginning), with the
    /// store's time of their last change. Foreign files are skipped. For checkers and collectors. All sealed
    /// bytes are listed. Unsealed ones may be, even if only a part of them is there. A failure that is [`Unlisted`] says how to
    /// continue.
    fn list_bytes<'a>(&'a self, after: &'a str, limit: usize) -> Answer<'a, Vec<Written>>;
    /// Lists up to `limit` names of sealed bytes in order, starting behind `after`, of whose making something is
    /// left that nothing needs, with the time of its last change. For collectors.
    fn list_remains<'a>(&'a self, _after: &'a str, _limit: usize) -> Answer<'a, Vec<Written>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    /// Removes what is left of the making of these sealed bytes, and not the bytes.
    fn remove_remains<'a>(&'a self, _name: &'a str) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
    /// The size of the smallest chunk, unless it is the last, that the store need not write twice. `None` if
    /// any size will do.
    fn least_chunk(&self) -> Option<u64> {
        None
    }
}

/// What a store needs to continue with bytes that are not sealed. The upload's record holds it, and only the
/// store reads it. A folder needs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Resume(pub(crate) String);

impl Resume {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Sees bytes on their way to the store: the registry's hash. It may take its time, and is dropped as soon as
/// it is done.
pub type Look = Box<dyn FnMut(&[u8]) + Send>;

/// An open blob.
pub trait BlobFile: Send + Sync {
    fn size(&self) -> u64;
    /// Returns at most `most` bytes from `offset` on, if they are available without waiting for the disk.
    /// `None` if there are none, at the end, or on an error, which [`BlobFile::read`] then reports. May be
    /// called from any thread.
    fn at_hand(&self, offset: u64, most: usize) -> Option<Bytes>;
    /// Returns at most `most` bytes from `offset` on, and nothing only at the end. Waits for the disk on a
    /// blocking thread.
    fn read(&self, offset: u64, most: usize) -> Answer<'_, Bytes>;
    /// Like [`BlobFile::read`], for a check of the whole blob. The bytes do not take the place of others in a
    /// cache.
    fn read_once(&self, offset: u64, most: usize) -> Answer<'_, Bytes> {
        self.read(offset, most)
    }
    /// A URL that reads the whole blob for this time or less, without another credential. It is as secret as one.
    /// `None` if the store has no such URLs, or none that works long enough.
    fn url(&self, _lifetime: Duration) -> Answer<'_, Option<Secret>> {
        Box::pin(async { Ok(None) })
    }
}

/// Checks the form of a blob's name before it becomes part of a path or of a request.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let fits = name.len() == 32
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if fits {
        Ok(())
    } else {
        Err(Failure::Io(Arc::new(NotABlobName)))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("not the name of a blob: expected 32 characters of a-z and 0-9")]
struct NotABlobName;

/// The errors of the system for a file that it cannot return: the disk or the file system has lost it, or it
/// is not a file.
const DAMAGE: &[i32] = &[
    Errno::IO.raw_os_error(),
    Errno::BADMSG.raw_os_error(),
    Errno::ILSEQ.raw_os_error(),
    Errno::LOOP.raw_os_error(),
    Errno::NOTDIR.raw_os_error(),
    Errno::ISDIR.raw_os_error(),
    #[cfg(target_os = "linux")]
    Errno::UCLEAN.raw_os_error(),
    #[cfg(target_os = "linux")]
    Errno::NODATA.raw_os_error(),
    #[cfg(target_os = "linux")]
    Errno::REMOTEIO.raw_os_error(),
];

//! The contract of a store. `storage::tests` holds every implementation to it.

use super::Answer;
use crate::clock::Timestamp;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Names one state of one record: a number, or text such as an entity tag. A version is
/// never reused, even after the record was deleted and created again.
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
    /// Lists leave the record out unless they are asked for hidden ones. Everything else treats it as any
    /// other.
    pub hidden: bool,
    /// The write is a step of something that frees space: a store writes it even where only its reserve is
    /// left. See [`RecordStore`].
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
    /// Only keys greater than this one are listed. It is a whole key, and it need not exist. Empty for the
    /// beginning.
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
    /// The record is there and its value is not. It can still be swapped and deleted in the state `version`.
    #[error("the record's value is lost: {what}")]
    Lost { version: Version, what: Arc<str> },
    /// The store is out of space. Nothing was acknowledged.
    #[error("the store is full")]
    Full,
    /// Another program reads the store's records without an end, so the store could only grow. It takes
    /// deletions. Nothing was acknowledged.
    #[error(
        "another program reads the store's records (records.sqlite3) without an end, and their log has become too large: stop that program"
    )]
    LogHeld,
    /// Another program holds the store's records. Nothing happened.
    #[error("another program holds the store's records locked: only this one should use them")]
    Busy,
    /// A folder of the store is gone, or cannot be written to. Nothing happened.
    #[error("the folder {folder} of the store cannot be written to: {why}")]
    NotWritable {
        folder: &'static str,
        why: Arc<std::io::Error>,
    },
    /// The operation failed; after a crash it may turn out that it was done all the same.
    #[error("the store failed: {0}")]
    Io(Arc<dyn std::error::Error + Send + Sync>),
    /// An earlier failure of the disk stopped all writing; only a restart can tell what is really there.
    #[error(
        "the store stopped writing after an earlier failure of the disk: restart to find out what is really there"
    )]
    Stopped,
}

/// Where a list of names had to stop: something that may hold some of them cannot be read. The names before
/// it are here, and the list goes on behind `next`.
#[derive(Debug, thiserror::Error)]
#[error("{place} cannot be listed: {source}")]
pub struct Unlisted {
    pub found: Vec<Written>,
    pub place: String,
    pub next: String,
    pub source: std::io::Error,
}

impl Failure {
    /// What a list that failed with this had found, if it can go on.
    #[must_use]
    pub fn unlisted(&self) -> Option<&Unlisted> {
        match self {
            Self::Io(why) => why.downcast_ref(),
            _ => None,
        }
    }

    /// Whether the process, or the machine, has no file descriptors left.
    #[must_use]
    pub fn lacks_descriptors(&self) -> bool {
        self.comes_from(crate::descriptors::are_lacking)
    }

    /// Whether bytes that could not be opened or read because of this are damaged: they are missing, or the
    /// disk or the file system says that it cannot give them back. Other failures say nothing about the
    /// bytes: a missing permission, too many open files, too little memory, a disk on a network that does not
    /// answer.
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

    /// Whether what was to come next is not to be done either. A conflict is an answer, and the others are
    /// not.
    pub(in crate::storage) const fn stops(&self) -> bool {
        !matches!(self, Self::Conflict)
    }

    /// Whether there is no room for anything but deletions.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full | Self::LogHeld)
    }
}

/// Values of up to some MiB under ordered keys. What a store promises, and all that the registry's protocol
/// relies on:
///
/// * A record changes only by compare-and-swap, and of several who try from one state one succeeds. A
///   [`Version`] names one state and no other, also over a deletion and a new creation.
/// * An answer that acknowledges a change means that the change survives a power cut.
/// * [`Failure::Conflict`], [`Failure::Full`], [`Failure::LogHeld`] and [`Failure::Busy`] mean that nothing
///   happened. A store that repeats a request by itself looks whether its first attempt was the one that won
///   before it says so.
/// * After [`Failure::Io`] the change may have happened, or may happen later, but once at most, and not if
///   the record was changed in between. That holds for a creation too: a record that was made and deleted
///   since is not made again.
/// * A reader, and a list, sees every change that was acknowledged before it began. A list of several pages
///   is no snapshot, but a record that does not change between its first page and its last is in it exactly
///   once if the list shows it.
/// * Keys are ordered by their bytes. A deleted record is in no list.
/// * A store on a disk keeps a reserve of space, so that a full disk can be emptied. Where only the reserve
///   is left, every deletion and every value that [frees](Value::frees) space is written all the same, and
///   any other change is [`Failure::Full`]. Bytes can be removed too.
/// * Times are the store's own: [`Record::written`] and [`RecordStore::now`] come from one clock. If several
///   processes share the store, it is not the clock of any of them. It may have whole seconds only, and
///   [`Record::written`] may lie a little after `now`: the age is zero then. Whoever judges an age takes the
///   difference of these two.
///
/// # Implementing this on a bucket
///
/// * A record is one object under its key. It changes only by a conditional request: `If-None-Match: *` and
///   `If-Match` with an entity tag, or the conditions on a generation where the service ignores those
///   (Google's does, on writing). Not every service that takes such a header keeps to it, so at the start try
///   what is needed with many requests at once, and refuse to go on unless exactly one of each wins.
/// * A [`Version`] is the entity tag or the generation. Equal bytes have equal entity tags: the registry
///   writes a fresh nonce into every value, so that no two states of a record are the same bytes. A store
///   adds nothing for that.
/// * A deletion swaps in a tombstone of exactly 16 random bytes; every value is longer. Two tombstones must
///   differ, or a late swap that expects one would take the next for it. A creation on top of a tombstone is
///   a swap from it. A late `If-None-Match: *` meets the tombstone and fails. So it stays until no request
///   can be that late (signed requests of S3 expire after 15 minutes; days are cheap), and then goes by a
///   conditional deletion, or stays for good where the service has none. Lists tell a tombstone by its size.
/// * The size also marks a hidden value, so that nobody need read it: the value is padded to a multiple of 16
///   bytes when it is hidden and to anything else when it is not, behind the value, with the length of the
///   padding in the last byte.
/// * The outcome of a request that timed out, or whose connection broke, is unknown, and it may be applied
///   later. Read the object: if its bytes are those that were to be written, the change is done, since their
///   nonce is nobody else's. If the version is still the expected one, the same request may be sent again: of
///   the two one wins at most. In any other case the answer is [`Failure::Io`].
/// * A refusal is ambiguous where a client library repeats requests by itself: a 412 may be due to its own
///   first attempt. Read, and compare the bytes. S3's 409 (`ConditionalRequestConflict`) says that another
///   request was under way, and nothing about the record: send it again. Some libraries turn it into "exists
///   already" for a creation, so there, too, only reading tells.
/// * [`RecordStore::now`] is the `Date` of the last answer plus the time that a monotonic clock counted
///   since, never the wall clock. To open the store asks once, so that there is a time from the beginning. A
///   proxy that caches must not stand before the bucket, since its `Date` is old. [`Record::written`] is the
///   object's `Last-Modified`, in whole seconds.
/// * A bucket is never full, so it ignores [`Value::frees`].
/// * Lists go on after a key, in the order of bytes. A service that has no such start (Azure) or lists in no
///   order (S3 Express) needs a store that makes up for it, since every page of the registry relies on both.
/// * Services take about one change of a single key in a second (Google) to some dozens (S3). Nothing in the
///   registry makes all writers change one record; a store must not, either.
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

    /// Several changes between which no decision lies, in this order. Each is done or refused for itself: a
    /// conflict stops no other one. Any other failure stops those behind it, which answer with the same
    /// failure and did not happen; so what comes later never stands where what comes first could not be
    /// written. After a crash any number of the first ones may have been done. A version is `None` after a
    /// deletion. A store that can does all of it with one commit.
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
}

/// Bytes under unique names that are never reused. A name is `[a-z0-9]{32}`. Since no name comes back, a
/// removal may be repeated, or come late, and harms nobody.
///
/// Bytes are written front to back: [`BlobStore::write`], now and then [`BlobStore::keep`], in the end
/// [`BlobStore::seal`]. Between requests, and on another process, the writer goes on from what was kept last,
/// with the [`Resume`] that it was told then. Whoever did not hear an answer goes on with what it was told
/// before: a [`Resume`] is good until the writer has gone on from an earlier one.
///
/// One writer at a time is the registry's affair, not the store's: it claims the upload's session.
///
/// # Implementing this on a bucket
///
/// A multipart upload straight to the final name: [`BlobStore::write`] cuts parts and holds the rest in
/// memory, [`BlobStore::keep`] makes the rest, too small for a part, an object beside it and tells the
/// upload's id, its parts with their entity tags, and the rest's name in the [`Resume`], and
/// [`BlobStore::seal`] completes the upload with exactly the parts that it is told, which copies nothing.
/// What few bytes there are in all may be one object, written by `seal`. Some services want parts of one
/// size, but for the last.
///
/// Several processes share a bucket, and a claim may be lost at any moment to another process, without the
/// loser noticing. Four rules make that harmless, and none depends on time:
///
/// 1. A claim swaps the session's record and puts a fresh nonce into it. Every later write of the record goes
///    from the version that the claim, or its own last write, gave. One that conflicts ends the request; it
///    is never tried again from a newer version.
/// 2. [`BlobStore::keep`] gives each rest a new random name, and the [`Resume`] tells it; the store need not
///    know the claim. A writer who lost its claim may replace a part by another of the same number.
///    Completion names the entity tag of each part, so that it is refused then: [`BlobStore::seal`] answers
///    [`Failure::Missing`], the upload ends, and its client begins anew. Nothing wrong is published.
/// 3. Only the swap of the session's record makes parts count: those in its [`Resume`] do, and no others.
/// 4. Closing freezes them first: all bytes are kept, the record says that the upload is closing, with the
///    last [`Resume`]; only then is it sealed; then the record says that it is closed; and then its bytes are
///    published, once. Completing twice is harmless: the second attempt finds the object, and compares its
///    size. The record has no such state yet: an upload whose close was cut off between sealing and the next
///    swap ends with [`Failure::Missing`] there.
///
/// [`BlobStore::remove`] aborts the multipart upload as well. Only the process that began one knows its id
/// until the first [`BlobStore::keep`]; if it crashes before that, no [`Resume`] names the upload. Whoever
/// removes a name therefore lists the multipart uploads under it, and a rule of the bucket aborts those that
/// are older than any session.
pub trait BlobStore: Send + Sync {
    /// Writes `chunks` at `offset`; creates the blob when `offset` is 0. `offset` is where the last write of
    /// this process ended, or where the bytes were kept, by the same `resume`; what lies behind it is cut
    /// off. [`Failure::Missing`] if the bytes before `offset` are not there, or if `resume` does not tell of
    /// them and the store needs that. Not durable until [`BlobStore::keep`] or [`BlobStore::seal`]. After a
    /// failure nothing behind what was kept last can be relied on: it must be written again.
    ///
    /// `look` sees each chunk once and in order, unless the write fails: in the job that writes them and just
    /// before it does, so that they pass through the processor's caches once.
    fn write<'a>(
        &'a self,
        name: &'a str,
        offset: u64,
        resume: &'a Resume,
        chunks: Vec<Bytes>,
        look: Look,
    ) -> Answer<'a, ()>;
    /// Returns when the first `size` bytes survive a power cut, and says what a writer must be told to go on
    /// from there, here or on another process. `size` must be what was written ([`Failure::Missing`] if not).
    /// To keep what is kept already is no error. [`Failure::Full`] from here and from [`BlobStore::seal`]
    /// means that the bytes kept before may be gone too: the registry ends the upload.
    fn keep<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, Resume>;
    /// Returns when the bytes and the name survive a power cut, and can be opened. `size` must be the blob's
    /// size ([`Failure::Missing`] if not). Sealing again is no error. A sealed blob is not written any more.
    fn seal<'a>(&'a self, name: &'a str, size: u64, resume: &'a Resume) -> Answer<'a, ()>;
    /// For reading what was sealed. [`Failure::Missing`] if there is no such blob. Nobody may rely on reading
    /// bytes before they are sealed: a bucket cannot.
    fn open<'a>(&'a self, name: &'a str) -> Answer<'a, Arc<dyn BlobFile>>;
    /// The bytes that are not sealed, for checkers. `None` if the store cannot read those.
    fn open_unsealed<'a>(&'a self, _name: &'a str) -> Answer<'a, Option<Arc<dyn BlobFile>>> {
        Box::pin(async { Ok(None) })
    }
    /// Whether bytes could be written now, as far as that can be told without writing some.
    /// [`Failure::NotWritable`] says where they cannot.
    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
    /// Removes the bytes, whether sealed or not; not an error if they are gone. `resume` may be any that was
    /// told, or none: it only helps to find what lies beside them.
    fn remove<'a>(&'a self, name: &'a str, resume: &'a Resume) -> Answer<'a, ()>;
    /// The names that there are, in order, the first one behind `after` (empty for the beginning), as many as
    /// `limit` at most; with the store's time of their last change. What somebody else put beside them is
    /// skipped. For checkers and collectors. Sealed bytes are all shown. Whether unsealed ones are is the
    /// store's own affair; rests are not. A failure that is [`Unlisted`] says how to go on.
    fn list_bytes<'a>(&'a self, after: &'a str, limit: usize) -> Answer<'a, Vec<Written>>;
}

/// What a store must be told to go on with bytes that are not sealed. Kept in the upload's record, and nobody
/// else's to read. A folder needs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Resume(pub(in crate::storage) String);

impl Resume {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What looks at bytes on their way: the registry's hash. It may take its time, and what it captured is
/// dropped when it is done.
pub type Look = Box<dyn FnMut(&[u8]) + Send>;

/// An open blob.
pub trait BlobFile: Send + Sync {
    fn size(&self) -> u64;
    /// What can be had without waiting: at most `most` bytes from `offset` on, and `None` if not even one, or
    /// at the end. To be called from anywhere; [`BlobFile::read`] finds out what is the matter.
    fn at_hand(&self, offset: u64, most: usize) -> Option<Bytes>;
    /// At most `most` bytes from `offset` on; empty only at the end. Takes a thread that may wait for the
    /// disk.
    fn read(&self, offset: u64, most: usize) -> Answer<'_, Bytes>;
}

/// The shape of a blob's name, checked before it becomes part of a path or of a request.
pub(in crate::storage) fn check_name(name: &str) -> Result<(), Failure> {
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

/// What the system says of a file that it cannot give back: the disk or the file system has lost it, or it is
/// no file.
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

//! The errors of the registry core. `http` decides which HTTP status and code a client gets for each.

use super::usage::QuotaExceeded;
use crate::access::{ImmutableTag, Unmovable};
use crate::file_error::FileError;
use crate::oci::{Digest, InvalidManifest};
use crate::storage;
use std::fmt;
use std::path::PathBuf;

/// An error lists this many missing digests and gives the number of the rest, because a manifest can refer to
/// tens of thousands.
pub const NAMED_DIGESTS: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this repository does not have this blob")]
    BlobUnknown,
    /// The bytes are missing or have the wrong size.
    #[error(
        "the registry's copy of the blob {0} is damaged: push the blob again, or restore the store from a backup"
    )]
    BlobDamaged(Digest),
    /// Also returned for an upload of another caller or repository, and for an expired upload.
    #[error("there is no such upload: start a new one")]
    UploadUnknown,
    #[error(
        "you have {most} open uploads, which is the limit (http.openUploads): finish them with PUT or cancel them with DELETE on their locations; \
         uploads also expire 24 hours after their last request"
    )]
    TooManyUploads { most: usize },
    #[error(
        "the registry has {most} repositories, which is the limit (storage.maxRepos): delete a repository, or ask the registry's operator for more"
    )]
    TooManyRepositories { most: usize },
    #[error(transparent)]
    QuotaExceeded(#[from] QuotaExceeded),
    #[error(
        "another request is writing to this upload: wait until it ends, get the upload's offset, and continue from there"
    )]
    UploadBusy,
    #[error(
        "another request has taken over this upload, and the bytes of this one were discarded: the upload has {offset} bytes, so continue from there"
    )]
    UploadTakenOver { offset: u64 },
    #[error("the chunk must begin at byte {offset}: this upload has received the bytes before it")]
    RangeMismatch { offset: u64 },
    #[error("the body, Content-Length and Content-Range differ in length; the chunk was discarded")]
    SizeMismatch,
    #[error("expected content with digest {expected}, found {found}")]
    DigestMismatch { expected: Digest, found: Digest },
    #[error("this repository does not have this manifest")]
    ManifestUnknown,
    #[error("there is no such repository")]
    RepositoryUnknown,
    #[error(transparent)]
    InvalidManifest(#[from] InvalidManifest),
    #[error("the manifest refers to content that this repository does not have; push this first: {}", List(.0))]
    MissingReferences(Vec<Digest>),
    #[error(
        "the manifest is too large: the limit is {} bytes",
        crate::limits::MANIFEST_BYTES
    )]
    TooLarge,
    #[error(
        "the tag already points to other content, and moving it needs the right `update` in this repository"
    )]
    TagExists,
    #[error(
        "the tag or manifest does not exist yet, and pushing it needs the right `create` in this repository"
    )]
    TagMissing,
    #[error(transparent)]
    TagImmutable(Box<ImmutableTag>),
    /// `If-Match` or `If-None-Match`. `found` is the current digest.
    #[error("the condition in If-Match or If-None-Match does not hold: {}", current(.found.as_ref()))]
    ConditionFailed { found: Option<Digest> },
    #[error("a manifest of this repository needs the blob: delete the manifest first")]
    Referenced,
    #[error(
        "the manifest {manifest} of this repository cannot be read, so it may need the blob: push that manifest again, or delete it, and then delete the blob"
    )]
    Undecided { manifest: Digest },
    #[error("the index {index} lists this manifest: delete the index first")]
    Listed { index: Digest },
    #[error(
        "the index {index} of this repository cannot be read, so it may list this manifest: push that index again, or delete it, and then delete \
         this manifest"
    )]
    MayBeListed { index: Digest },
    #[error(
        "two or more tags point to this manifest, and detectManifestCollision forbids deleting them together: delete the tags one by one"
    )]
    SeveralTags,
    #[error("the request's body ended early: get the upload's offset and continue from there")]
    Interrupted,
    #[error("the request's body stopped or came too slowly: get the upload's offset and continue from there")]
    Stalled,
    #[error("an internal error stopped the request; the log has the reason")]
    Internal,
    #[error("the record {key} {}: {why}; {}", state(*.newer), advice(*.newer))]
    Unreadable {
        key: String,
        why: String,
        /// A later version of the program wrote it, so it must not be replaced.
        newer: bool,
    },
    /// The store could not return the record, which says nothing about its content. Only collectors tell this
    /// from other failures of the store.
    #[error(
        "the record {key} could not be read: {why}; check that the registry's user may read all files of the store"
    )]
    Unread { key: String, why: storage::Failure },
    /// Only a check of the store needs such files.
    #[error("cannot keep temporary files in stateDirectory ({}): {why}", .folder.display())]
    Scratch { folder: PathBuf, why: FileError },
    #[error(transparent)]
    Storage(#[from] storage::Failure),
}

impl Error {
    /// Whether the disk is full. The store then still accepts deletions.
    pub(super) const fn is_full(&self) -> bool {
        matches!(self, Self::Storage(failure) if failure.is_full())
    }

    /// The folder of the store that cannot be written to.
    #[must_use]
    pub const fn unwritable_folder(&self) -> Option<&'static str> {
        match self {
            Self::Storage(storage::Failure::NotWritable { folder, .. }) => Some(*folder),
            _ => None,
        }
    }

    /// Whether a record is damaged, so that it may be replaced.
    pub(super) const fn is_damage(&self) -> bool {
        matches!(self, Self::Unreadable { newer: false, .. })
    }
}

const fn state(newer: bool) -> &'static str {
    if newer {
        "was written by another version of Wharfinger"
    } else {
        "is damaged"
    }
}

const fn advice(newer: bool) -> &'static str {
    if newer {
        "serve this store with that version"
    } else {
        "push the content again or delete it; `wharfinger fsck` lists all damage"
    }
}

impl From<ImmutableTag> for Error {
    fn from(rule: ImmutableTag) -> Self {
        Self::TagImmutable(Box::new(rule))
    }
}

impl From<Unmovable> for Error {
    fn from(why: Unmovable) -> Self {
        match why {
            Unmovable::NoUpdate => Self::TagExists,
            Unmovable::Immutable(rule) => rule.into(),
        }
    }
}

/// Why a request's body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body ended early")]
    Interrupted,
    /// The client stopped sending, or was slower than an anonymous caller may be.
    #[error("the body stopped or came too slowly")]
    Stalled,
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Interrupted => Self::Interrupted,
            BodyError::Stalled => Self::Stalled,
        }
    }
}

fn current(found: Option<&Digest>) -> String {
    found.map_or_else(
        || "nothing exists there".to_owned(),
        |digest| format!("the current digest is {digest}"),
    )
}

struct List<'a>(&'a [Digest]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, digest) in self.0.iter().take(NAMED_DIGESTS).enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            digest.fmt(f)?;
        }
        match self.0.len().saturating_sub(NAMED_DIGESTS) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

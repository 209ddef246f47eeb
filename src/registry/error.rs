//! Why the registry core refuses. Which HTTP status and code goes with a variant is decided in `http`.

use crate::oci::{Digest, InvalidManifest};
use crate::storage;
use std::fmt;

/// As many missing digests are named, and the others counted: a manifest can name tens of thousands.
pub const NAMED_DIGESTS: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this repository holds no such blob")]
    BlobUnknown,
    /// Its bytes are missing or have another size.
    #[error(
        "the registry's copy of the blob {0} is damaged: push the blob again, or restore the store from a backup"
    )]
    BlobDamaged(Digest),
    /// Also for an upload of somebody else, of another repository, or one that has expired.
    #[error("there is no such upload: start a new one")]
    UploadUnknown,
    #[error(
        "you have {most} uploads open, as many as http.openUploads allows: finish them with PUT or end them with DELETE on their locations; \
         they also expire 24 hours after their last request"
    )]
    TooManyUploads { most: usize },
    #[error(
        "another request is writing to this upload: wait for it, ask for the upload's offset, and go on from there"
    )]
    UploadBusy,
    #[error("the chunk must begin at byte {offset}, where this upload stands")]
    RangeMismatch { offset: u64 },
    #[error("the body, Content-Length and Content-Range differ in length; nothing of the chunk was kept")]
    SizeMismatch,
    #[error("expected content with digest {expected}, found {found}")]
    DigestMismatch { expected: Digest, found: Digest },
    #[error("this repository holds no such manifest")]
    ManifestUnknown,
    #[error("there is no such repository")]
    RepositoryUnknown,
    #[error(transparent)]
    InvalidManifest(#[from] InvalidManifest),
    #[error("the manifest needs content that this repository does not hold: push first {}", List(.0))]
    MissingReferences(Vec<Digest>),
    #[error("a manifest has at most {} bytes", crate::limits::MANIFEST_BYTES)]
    TooLarge,
    #[error("the tag exists with other content, and policy gives no `update` here")]
    TagExists,
    #[error("the tag or manifest does not exist, and policy gives no `create` here")]
    TagMissing,
    /// `If-Match` or `If-None-Match`. With what is there instead.
    #[error("the condition of the request does not hold: {}", there(.found.as_ref()))]
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
        "two or more tags lead to this manifest, and detectManifestCollision refuses to delete them all: delete them by tag"
    )]
    SeveralTags,
    #[error("the request's body ended early: ask for the upload's offset, and go on from there")]
    Interrupted,
    #[error(
        "the request's body stopped or came too slowly: ask for the upload's offset, and go on from there"
    )]
    Stalled,
    #[error("an internal error stopped the request before its end; the log has the reason")]
    Internal,
    #[error("the record {key} {}: {why}; {}", said(*.newer), advice(*.newer))]
    Unreadable {
        key: String,
        why: String,
        /// A later version of the program wrote it. Nothing may replace it.
        newer: bool,
    },
    #[error(transparent)]
    Storage(#[from] storage::Failure),
}

impl Error {
    /// Whether the store has room for deletions only.
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

    /// A record that may be replaced, since nobody can read it.
    pub(super) const fn is_damage(&self) -> bool {
        matches!(self, Self::Unreadable { newer: false, .. })
    }
}

const fn said(newer: bool) -> &'static str {
    if newer {
        "is of another version"
    } else {
        "is damaged"
    }
}

const fn advice(newer: bool) -> &'static str {
    if newer {
        "serve this store with the version of Wharfinger that wrote it"
    } else {
        "push what it is about again, or delete it; `wharfinger fsck` finds all damage"
    }
}

/// Why a request's body gave no more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body ended early")]
    Interrupted,
    /// Its client went silent, or was slower than a caller may be who has not logged in.
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

fn there(found: Option<&Digest>) -> String {
    found.map_or_else(
        || "there is nothing".to_owned(),
        |digest| format!("it is at {digest}"),
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

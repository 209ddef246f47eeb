//! Why a store was not copied. The caller names the source and the target.

use crate::registry::Error;
use crate::storage::Failure;
use tokio::task::JoinError;

/// Why a store was not copied.
#[derive(Debug, thiserror::Error)]
pub enum NotCopied {
    #[error("the target holds another store, {found}, and this one is {expected}: name an empty target")]
    OtherStore { found: String, expected: String },
    #[error(
        "the target already holds a complete copy of this store, and a registry may have used it since, so nothing was changed: to copy again, name an empty target"
    )]
    Complete,
    #[error(
        "the target holds the unfinished copy of another store, {found}, and this one is {expected}: finish that copy, or name an empty target"
    )]
    OtherCopy { found: String, expected: String },
    #[error("the target holds {what} of a store that has no ID, so it is damaged: name an empty target")]
    NotEmpty { what: &'static str },
    #[error(
        "a registry began to use the target while the copy began, so nothing was copied: stop it and name an empty target"
    )]
    Taken,
    #[error("another `wharfinger copy` continued this one: only one at a time may run")]
    Overtaken,
    #[error("the source cannot be read: {0}")]
    Source(#[source] Error),
    #[error("the target failed: {0}. Run the same command again to copy the rest")]
    Target(#[source] Error),
    #[error("the copy panicked, which is a bug; please report it: {0}")]
    Panicked(#[from] JoinError),
}

impl NotCopied {
    /// Whether another attempt may succeed.
    pub(super) const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Target(Error::Storage(Failure::Io(_) | Failure::Conflict))
        )
    }
}

pub(super) fn of_target(why: impl Into<Error>) -> NotCopied {
    NotCopied::Target(why.into())
}

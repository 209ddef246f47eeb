//! Asking a source for newer keys.

use crate::clock::Timestamp;
use futures_util::future::BoxFuture;

/// A source that can be asked to fetch. Implemented by `source`.
pub trait Refetch: Send + Sync {
    /// Returns when a fetch that began at or after this call has ended, or at once if the source's limits
    /// forbid one now. Calls are merged: many waiters, one fetch. The outcome is in the slot.
    fn refetch(&self) -> BoxFuture<'_, ()>;

    /// Waits for a fetch that begins at or after `asked`, and begins it as soon as the source's limits allow
    /// one, if they do by `deadline`. Returns earlier if a fetch ends that had begun before. All who wait
    /// share one fetch.
    fn next(&self, asked: Timestamp, deadline: Timestamp) -> BoxFuture<'_, Next>;
}

/// What came of asking a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A fetch that began after the request came has ended well: the source has no newer keys than these.
    Answered,
    /// A fetch that had begun before the request came has ended. It may have brought the key; if not, ask
    /// again.
    Earlier,
    /// No fetch could tell, and why.
    Failed(String),
}

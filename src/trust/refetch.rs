//! Fetching newer keys from a source.

use crate::clock::Timestamp;
use futures_util::future::BoxFuture;

/// A source that can be fetched on request. Implemented in `refresh`.
pub trait Refetch: Send + Sync {
    /// Returns when a fetch that began at or after this call has ended, or at once if the source's limits
    /// forbid a fetch now. Concurrent calls share one fetch. The outcome is in the slot.
    fn refetch(&self) -> BoxFuture<'_, ()>;

    /// Waits for a fetch that begins at or after `asked`, and begins it as soon as the source's limits allow,
    /// if that is before `deadline`. Returns early if a fetch ends that had begun before `asked`. Concurrent
    /// calls share one fetch.
    fn next(&self, asked: Timestamp, deadline: Timestamp) -> BoxFuture<'_, Next>;
}

/// The outcome of a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A fetch that began after the request arrived has succeeded. The source has no newer keys.
    Answered,
    /// A fetch that began before the request arrived has ended. If it did not bring the key, call again.
    Earlier,
    /// The fetch failed, with the reason.
    Failed(String),
}

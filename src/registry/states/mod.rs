//! The states of the records and the steps between them. Each step is a pure function of the record as it was
//! read. The caller writes the result by compare-and-swap, and starts again if the record has changed.
//!
//! The states are those of the collector's protocol. A writer announces itself (`pend`). A collector condemns
//! a record (`cond`) before it checks and decides. A writer that meets a condemned record rescues it.

pub(super) mod blob;
pub(super) mod lease;
pub(super) mod link;
pub(super) mod manifest;
pub(super) mod mark;
pub(super) mod pass;
pub(super) mod probe;
pub(super) mod pulls;
pub(super) mod scrub;
pub(super) mod session;
pub(super) mod tag;
pub(super) mod usage;

use std::time::Duration;

/// Half of the shortest grace period of a collector. An older record is written again before a client learns
/// of it, so the client can rely on it for at least this long.
pub(super) const FRESH: Duration = Duration::from_secs(12 * 60 * 60);

/// What to do with a record, and the result for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next<T, R> {
    /// It stays as it is.
    Keep(R),
    Write(T, R),
    Delete(R),
    /// Write it, then read it again and decide again.
    Again(T),
}

/// A record that is condemned before a collector checks whether anything needs it.
pub(super) trait Condemnable: Sized {
    fn is_condemned(&self) -> bool;
    fn condemned(&self) -> Self;
    /// Restores the state that it had before it was condemned.
    fn rescued(&self) -> Self;
}

//! The states of the records and the steps between them. Each step is a pure function of what was read; who calls it writes the result by
//! compare-and-swap, or reads again and asks once more.
//!
//! The states are those of the collector's protocol: a writer announces itself (`pend`), a collector condemns (`cond`) before it looks and
//! decides, and a writer who meets a condemned record rescues it.

pub(super) mod blob;
pub(super) mod link;
pub(super) mod manifest;
pub(super) mod mark;
pub(super) mod session;
pub(super) mod tag;

use std::time::Duration;

/// Half of the time after which a collector takes what nothing refers to: so long, at least, somebody may rely on a record that they were
/// told of. One that is older is written again before it is relied on.
pub(super) const FRESH: Duration = Duration::from_secs(12 * 60 * 60);

/// What is to happen to a record, and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next<T, R> {
    /// It stays as it is.
    Keep(R),
    Write(T, R),
    Delete(R),
    /// It is written, and then read and decided anew.
    Again(T),
}

/// A record that a collector condemns before it looks whether somebody needs it.
pub(super) trait Condemnable: Sized {
    fn is_condemned(&self) -> bool;
    fn condemned(&self) -> Self;
    /// In the state in which it was condemned.
    fn rescued(&self) -> Self;
}

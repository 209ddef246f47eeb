//! The state of a source that a result depends on.

use std::sync::atomic::{AtomicU64, Ordering};

/// Identifies one state of one source. A generation is never used twice in a process, so it also changes if
/// another source takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation(u64);

impl Generation {
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

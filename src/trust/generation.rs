//! Which state of a source something rests on.

use std::sync::atomic::{AtomicU64, Ordering};

/// Names one state of one source of identities. Never used twice in a process, so another source taking over
/// is another generation too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation(u64);

impl Generation {
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

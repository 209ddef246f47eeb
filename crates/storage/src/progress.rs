//! The progress of a copy of a store, which also stops it.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The progress of a copy. It can also stop the copy.
#[derive(Debug, Default)]
pub struct Progress {
    files: AtomicU64,
    of_files: AtomicU64,
    bytes: AtomicU64,
    of_bytes: AtomicU64,
    stopped: AtomicBool,
}

/// How much is done, of how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    pub files: u64,
    pub of_files: u64,
    pub bytes: u64,
    pub of_bytes: u64,
}

impl Progress {
    /// Ends the copy at the next file.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    #[must_use]
    pub fn now(&self) -> Copied {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Copied {
            files: read(&self.files),
            of_files: read(&self.of_files),
            bytes: read(&self.bytes),
            of_bytes: read(&self.of_bytes),
        }
    }

    /// So much more must be done.
    pub fn expect(&self, files: u64, bytes: u64) {
        self.of_files.fetch_add(files, Ordering::Relaxed);
        self.of_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn count_file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many of the bytes that were counted must be copied again.
    pub fn take_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

//! What a source tells of itself: for `wharfinger trust`, metrics and logs. Nothing here decides anything,
//! and nothing is secret.

use super::generation::Generation;
use super::keys::KeyStatus;
use super::skipped::Skipped;
use crate::clock::Timestamp;
use std::sync::Arc;

/// One source's state for one kind of key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// As in logs: `file prod.bundle.json`, `https://issuer.example.org`.
    pub source: Arc<str>,
    pub kind: SourceKind,
    /// Those that are held, whether or not they are still fresh.
    pub keys: Vec<KeyStatus>,
    /// Absent as long as the source never answered; so are the next two.
    pub generation: Option<Generation>,
    pub as_of: Option<Timestamp>,
    /// From then on the keys count for nothing. [`Timestamp::MAX`] for what does not grow stale.
    pub usable_until: Option<Timestamp>,
    /// `spiffe_sequence` of what is held.
    pub sequence: Option<u64>,
    pub next_refresh: Option<Timestamp>,
    /// Answers and failures, and the failures among them.
    pub attempts: u64,
    pub failures: u64,
    /// Why the latest attempt failed; absent if it did not.
    pub last_error: Option<String>,
    /// Elements of what is held that cannot be used.
    pub skipped: Vec<Skipped>,
    /// What is held was said to an earlier process, and the source has not answered since.
    pub from_disk: bool,
}

/// Where keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    Inline,
    File,
    WorkloadApi,
    Federation,
    Oidc,
}

impl SourceKind {
    /// One word, for tables and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::File => "file",
            Self::WorkloadApi => "workload-api",
            Self::Federation => "federation",
            Self::Oidc => "oidc",
        }
    }
}

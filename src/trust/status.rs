//! The status of a source, for `wharfinger trust`, metrics and logs. It is only shown, and contains no
//! secret.

use super::generation::Generation;
use super::keys::KeyStatus;
use super::skipped::Skipped;
use crate::clock::Timestamp;
use std::sync::Arc;

/// The status of one source for one kind of key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// As in logs: `file prod.bundle.json`, `https://issuer.example.org`.
    pub source: Arc<str>,
    pub kind: SourceKind,
    /// The current keys, even if they are stale.
    pub keys: Vec<KeyStatus>,
    /// Absent if the source never answered. The same holds for the next two fields.
    pub generation: Option<Generation>,
    pub as_of: Option<Timestamp>,
    /// From then on the keys are not used. [`Timestamp::MAX`] if they do not become stale.
    pub usable_until: Option<Timestamp>,
    /// The `spiffe_sequence` of the current bundle.
    pub sequence: Option<u64>,
    pub next_refresh: Option<Timestamp>,
    /// The number of attempts, and how many of them failed.
    pub attempts: u64,
    pub failures: u64,
    /// Why the latest attempt failed. Absent if it did not.
    pub last_error: Option<String>,
    /// Elements of the current document that cannot be used.
    pub skipped: Vec<Skipped>,
    /// The keys come from the copy on disk, and the source has not answered since.
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
    /// Returns one word, for tables and labels.
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

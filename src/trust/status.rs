//! What a source tells of itself: for `wharfinger trust`, metrics and logs. Nothing here decides anything,
//! and nothing is secret.

use super::jwks::Skipped;
use super::slot::Generation;
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

/// One key or X.509 authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    pub kind: KeyKind,
    /// The `kid` of a JWT key, if it has one; the subject of an X.509 authority.
    pub id: Option<String>,
    /// The signature algorithms that a JWT key verifies; what kind of key an X.509 authority has.
    pub algorithms: Vec<&'static str>,
    /// Of an X.509 authority. JWT keys carry no dates.
    pub not_after: Option<Timestamp>,
    /// Of a JWT key that the latest key set of an OIDC issuer lacks: until then it verifies.
    pub withdrawn_until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    X509,
    Jwt,
}

impl KeyKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X509 => "x509",
            Self::Jwt => "jwt",
        }
    }
}

/// Keys that can be listed.
pub trait Keys {
    fn describe(&self) -> Vec<KeyStatus>;

    /// The fingerprint of each public key, with what people call the key.
    fn prints(&self) -> Vec<(&str, String)>;

    /// The same without the keys of these fingerprints.
    #[must_use]
    fn without(&self, gone: &dyn Fn(&str) -> bool) -> Self
    where
        Self: Sized;
}

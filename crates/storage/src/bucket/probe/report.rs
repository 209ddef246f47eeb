//! What a probe found.

use serde::Serialize;

/// The findings about one store.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// As in `s3://bucket/root`.
    pub bucket: String,
    pub endpoints: Vec<String>,
    /// The version of the probe.
    pub version: u32,
    pub findings: Vec<Finding>,
}

/// One ability of a store.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub name: &'static str,
    pub verdict: Verdict,
    pub need: Need,
    /// What was seen, or what to do.
    pub details: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Yes,
    No,
    /// The probe could not find out.
    Unknown,
}

/// What an ability is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Without it, the registry does not run on the store.
    Always,
    /// Without it, writes of replicas may overtake each other. A single replica can keep them in order itself.
    Replicas,
    /// The registry does without it.
    Nothing,
}

impl Report {
    /// Whether any number of replicas may share the bucket.
    #[must_use]
    pub fn is_fit_for_replicas(&self) -> bool {
        self.has(&[Need::Always, Need::Replicas])
    }

    /// Whether a single replica may use the bucket.
    #[must_use]
    pub fn is_fit_for_one(&self) -> bool {
        self.has(&[Need::Always])
    }

    fn has(&self, needs: &[Need]) -> bool {
        let mut needed = self.findings.iter().filter(|one| needs.contains(&one.need));
        !self.findings.is_empty() && needed.all(|one| one.verdict == Verdict::Yes)
    }
}

impl Finding {
    pub(super) fn new(name: &'static str, need: Need, found: (Verdict, String)) -> Self {
        let (verdict, details) = found;
        Self {
            name,
            verdict,
            need,
            details,
        }
    }
}

/// The result of one check: what was seen, or why the store lacks the ability, or why that is not known.
pub(super) type Found = (Verdict, String);

pub(super) fn yes(details: impl Into<String>) -> Found {
    (Verdict::Yes, details.into())
}

pub(super) fn no(details: impl Into<String>) -> Found {
    (Verdict::No, details.into())
}

pub(super) fn unknown(details: impl Into<String>) -> Found {
    (Verdict::Unknown, details.into())
}

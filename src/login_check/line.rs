//! A line of the report: a finding, what it means for clients, and what to change.

use crate::workload::printable;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// Not a fault, but perhaps not intended.
    Note,
    Bad,
    /// Not tried.
    Skipped,
}

/// A line of the report. It never contains a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub verdict: Verdict,
    /// What was tried, with the clients that do it in brackets.
    pub what: String,
    /// What the registry answered.
    pub found: String,
    /// What to change, if there is a fault.
    pub fix: Option<String>,
}

impl Line {
    pub(super) fn good(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Good,
            what: what.into(),
            found: found.into(),
            fix: None,
        }
    }

    pub(super) fn note(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Note,
            what: what.into(),
            found: found.into(),
            fix: None,
        }
    }

    pub(super) fn bad(what: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Bad,
            what: what.into(),
            found: found.into(),
            fix: Some(fix.into()),
        }
    }

    /// Replaces the fix by a more specific one, if the credential itself was rejected.
    pub(super) fn fixed_by(mut self, fix: Option<&str>) -> Self {
        if self.found.starts_with("401") && self.fix.is_some() {
            self.fix = fix.map(str::to_owned).or(self.fix);
        }
        self
    }

    pub(super) fn skipped(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Skipped,
            what: what.into(),
            found: found.into(),
            fix: None,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Good => "ok  ",
            Verdict::Note => "note",
            Verdict::Bad => "FAIL",
            Verdict::Skipped => "skip",
        };
        write!(
            f,
            "{verdict}  {}: {}",
            printable(&self.what),
            printable(&self.found)
        )?;
        self.fix
            .iter()
            .try_for_each(|fix| write!(f, "\n      fix: {}", printable(fix)))
    }
}

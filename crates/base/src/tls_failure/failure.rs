//! What is wrong with a connection, and the fix.

use std::fmt;

/// What is wrong, and what to change if that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    pub what: String,
    pub fix: Option<String>,
}

impl Failure {
    /// A failure whose fix is known.
    #[must_use]
    pub fn fixable(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: Some(fix.into()),
        }
    }
}

impl From<String> for Failure {
    fn from(what: String) -> Self {
        Self { what, fix: None }
    }
}

impl From<&str> for Failure {
    fn from(what: &str) -> Self {
        what.to_owned().into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.fix.iter().try_for_each(|fix| write!(f, "; {fix}"))
    }
}

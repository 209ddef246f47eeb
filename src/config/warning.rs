//! What a file may say, and its author may not have meant.

use super::Mistake;
use std::fmt;

/// The target of lines that are written whatever the level is.
pub const ALWAYS_LOGGED: &str = "wharfinger::serving";

/// One warning: where it is, what it means and what to do. The registry serves in spite of it, logs it at
/// each start and reload, and `verify` lists it. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// As in `http.auth.bearer.oidc[0].issuer`; empty for the file as a whole.
    pub key: String,
    pub what: String,
    /// Whether the log has it whatever its level is.
    pub loud: bool,
}

impl Warning {
    pub(crate) fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            what: what.into(),
            loud: false,
        }
    }

    /// One that the log has whatever its level is.
    pub(crate) fn loud(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            loud: true,
            ..Self::new(key, what)
        }
    }

    /// To the log.
    pub(crate) fn log(&self) {
        if self.loud {
            tracing::warn!(target: ALWAYS_LOGGED, { config.key = self.key }, "{self}");
        } else {
            tracing::warn!(config.key = self.key, "{self}");
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, what, .. } = self.clone();
        Mistake { key, what }.fmt(f)
    }
}

//! Settings that are valid but probably not intended.

use super::Mistake;
use std::fmt;

/// The target of lines that are logged at every level.
pub const ALWAYS_LOGGED: &str = "wharfinger::serving";

/// One warning: its place, its meaning and the fix. The registry still serves. It logs the warning at each
/// start and reload, and `verify` lists it. It never contains a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key, such as `http.auth.bearer.oidc[0].issuer`. Empty for the whole file.
    pub key: String,
    pub what: String,
    /// Whether it is logged at every level.
    pub always_logged: bool,
}

impl Warning {
    pub(crate) fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            what: what.into(),
            always_logged: false,
        }
    }

    /// A warning that is logged at every level.
    pub(crate) fn always_logged(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            always_logged: true,
            ..Self::new(key, what)
        }
    }

    /// Writes the warning to the log.
    pub(crate) fn log(&self) {
        if self.always_logged {
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

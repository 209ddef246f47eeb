//! The environment variables that the AWS SDKs read.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The variables, read once.
#[derive(Clone, Default)]
pub(in crate::bucket) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Returns the variables of this process. Those that are not valid UTF-8 are ignored.
    pub(in crate::bucket) fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// Returns a variable without spaces at its ends. An empty one is treated as not set.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?.trim();
        (!value.is_empty()).then_some(value)
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from)
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        owned.into_iter().collect()
    }
}

/// Shows only the names, since values may be secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

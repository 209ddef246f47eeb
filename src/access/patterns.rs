//! A set of repositories, given by patterns as in `accessControl.repositories`. It grants nothing: it says
//! where a rule of the registry applies.

use super::glob::{Glob, InvalidGlob};
use crate::oci::RepositoryName;

/// A set of repositories. It is empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repositories(Vec<Glob>);

impl Repositories {
    pub fn parse(pattern: &str) -> Result<Self, InvalidGlob> {
        Ok(Self(vec![Glob::parse(pattern)?]))
    }

    /// Returns the union of both.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    #[must_use]
    pub fn contain(&self, repository: &RepositoryName) -> bool {
        self.0.iter().any(|glob| glob.matches(repository.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_the_patterns_may_match() {
        let mirrors = Repositories::parse("mirror/**")
            .unwrap()
            .or(Repositories::parse("cache").unwrap());
        for (name, expected) in [
            ("mirror/a/b", true),
            ("mirror", true),
            ("cache", true),
            ("cache/a", false),
            ("app", false),
        ] {
            assert_eq!(mirrors.contain(&name.parse().unwrap()), expected, "{name}");
            assert!(!Repositories::default().contain(&name.parse().unwrap()), "{name}");
        }
        assert!(matches!(
            Repositories::parse("mirror/["),
            Err(InvalidGlob::UnclosedClass)
        ));
    }
}

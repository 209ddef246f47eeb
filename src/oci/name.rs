//! Repository names (distribution-spec, Pulling manifests: `<name>`).

use crate::limits::REPOSITORY_NAME_BYTES;
use std::fmt;
use std::str::FromStr;

/// A name in the specification's grammar: components of lower-case letters and digits, with single `.`, `_`,
/// `__` or runs of `-` between them, joined by `/`. It is at most [`REPOSITORY_NAME_BYTES`] long.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

impl RepositoryName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        if name.len() > REPOSITORY_NAME_BYTES {
            return Err(InvalidName::TooLong);
        }
        if !name.split('/').all(is_component) {
            return Err(InvalidName::Grammar);
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("a repository name has at most {REPOSITORY_NAME_BYTES} characters")]
    TooLong,
    #[error(
        "a repository name is made of lower-case letters and digits, with `.`, `_`, `__` or `-` between them, and `/` between its parts"
    )]
    Grammar,
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let edges =
        bytes.first().copied().is_some_and(alphanumeric) && bytes.last().copied().is_some_and(alphanumeric);
    edges
        && bytes
            .chunk_by(|a, b| alphanumeric(*a) == alphanumeric(*b))
            .all(|run| {
                run.iter().all(|b| alphanumeric(*b))
                    || matches!(run, b"." | b"_" | b"__")
                    || run.iter().all(|b| *b == b'-')
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_grammar() {
        for good in [
            "a",
            "0",
            "library/alpine",
            "a.b_c__d---e/f",
            "v2/manifests/blobs/tags/token",
        ] {
            assert_eq!(
                good.parse::<RepositoryName>().map(|name| name.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", ".a", "a.", "-a", "a-", "a b", "ä",
            "a%2fb", "..", "a/../b", "a!",
        ] {
            assert_eq!(
                bad.parse::<RepositoryName>(),
                Err(InvalidName::Grammar),
                "{bad:?}"
            );
        }
        assert!(
            "a".repeat(REPOSITORY_NAME_BYTES)
                .parse::<RepositoryName>()
                .is_ok()
        );
        assert_eq!(
            "a".repeat(REPOSITORY_NAME_BYTES + 1).parse::<RepositoryName>(),
            Err(InvalidName::TooLong)
        );
    }
}

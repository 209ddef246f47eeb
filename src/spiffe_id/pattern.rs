//! The prefix match with a trailing slash that Flux and others use: `path/` matches every ID below the path.

use super::{InvalidSpiffeId, SCHEME, SpiffeId};
use std::fmt;
use std::str::FromStr;

/// An exact SPIFFE ID (`spiffe://td/ns/a`), everything below a path (`spiffe://td/ns/a/`) or a whole trust
/// domain (`spiffe://td/`).
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SpiffePattern {
    Exact(SpiffeId),
    /// Matches the IDs that continue this one with `/`.
    Below(SpiffeId),
}

impl SpiffePattern {
    #[must_use]
    pub fn matches(&self, id: &SpiffeId) -> bool {
        match self {
            Self::Exact(exact) => exact == id,
            Self::Below(prefix) => id
                .as_str()
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.starts_with('/')),
        }
    }

    /// Whether `text` is meant as a pattern and not as a username.
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with(SCHEME)
    }
}

impl FromStr for SpiffePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        match text.strip_suffix('/') {
            Some(prefix) => Ok(Self::Below(prefix.parse()?)),
            None => {
                let id: SpiffeId = text.parse()?;
                if id.is_workload() {
                    Ok(Self::Exact(id))
                } else {
                    Err(InvalidPattern::BareTrustDomain)
                }
            }
        }
    }
}

impl fmt::Display for SpiffePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(id) => id.fmt(f),
            Self::Below(id) => write!(f, "{id}/"),
        }
    }
}

impl fmt::Debug for SpiffePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    #[error(transparent)]
    Id(#[from] InvalidSpiffeId),
    #[error(
        "a trust domain alone does not name a workload; add a trailing `/` to match every workload in it"
    )]
    BareTrustDomain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_on_a_segment() {
        for (pattern, id, matches) in [
            ("spiffe://td/ns/a", "spiffe://td/ns/a", true),
            ("spiffe://td/ns/a", "spiffe://td/ns/a/b", false),
            ("spiffe://td/ns/a/", "spiffe://td/ns/a/b", true),
            ("spiffe://td/ns/a/", "spiffe://td/ns/a", false),
            ("spiffe://td/ns/a/", "spiffe://td/ns/ab", false),
            ("spiffe://td/ns/a/", "spiffe://td/ns/A/b", false),
            ("spiffe://td/", "spiffe://td/x", true),
            ("spiffe://td/", "spiffe://td.evil/x", false),
        ] {
            let parsed: SpiffePattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(&id.parse().unwrap()), matches, "{pattern} {id}");
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn an_invalid_pattern_is_rejected() {
        assert_eq!(
            "spiffe://td".parse::<SpiffePattern>(),
            Err(InvalidPattern::BareTrustDomain)
        );
        assert_eq!(
            "spiffe://td//".parse::<SpiffePattern>(),
            Err(InvalidPattern::Id(InvalidSpiffeId::EmptySegment))
        );
        assert_eq!(
            "spiffe://td/*".parse::<SpiffePattern>(),
            Err(InvalidPattern::Id(InvalidSpiffeId::PathCharacter))
        );
    }
}

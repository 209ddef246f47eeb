//! Policies, as they are configured.

use crate::access::Repositories;
use crate::expr;
use crate::oci::{RepositoryName, Tag};
use std::fmt;
use std::time::Duration;

/// `storage.retention`. By default there is no policy, and everything is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The policies only report, and delete nothing.
    pub dry_run: bool,
    /// An untagged manifest, or a referrer whose subject is gone, is kept for this long after it was pushed or
    /// pulled. `None` means the grace period of the collector.
    pub delay: Option<Duration>,
    /// The largest share of a repository that a pass may delete. Above it, the repository is left alone.
    pub max_share: Share,
    pub policies: Vec<Policy>,
}

impl Retention {
    /// A pass may delete this many manifests of a repository whatever their share is. A tag that moves often
    /// leaves only such manifests behind, and some images consist of three or more. There is no such number
    /// for tags, because a wrong pattern would then empty small repositories.
    pub const FREE_MANIFESTS: u64 = 100;

    /// The policy that applies to the repository: the first that matches, and its position in the list.
    #[must_use]
    pub fn policy(&self, repository: &RepositoryName) -> Option<(usize, &Policy)> {
        let mut policies = self.policies.iter().enumerate();
        policies.find(|(_, policy)| policy.repositories.contain(repository))
    }

    /// Whether a policy keeps immutable tags.
    #[must_use]
    pub fn keeps_immutable(&self) -> bool {
        self.policies.iter().any(|policy| policy.keep_immutable)
    }

    /// The largest share of the repository that a scheduled pass may delete.
    #[must_use]
    pub fn max_share(&self, policy: &Policy) -> Share {
        policy.max_share.unwrap_or(self.max_share)
    }
}

/// One of `storage.retention.policies`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub repositories: Repositories,
    /// If it is empty, every tag is kept. Otherwise the first entry that matches a tag decides about it, and
    /// a tag that no entry matches is deleted.
    pub keep_tags: Vec<KeepTags>,
    /// Whether tags stay that `accessControl` makes immutable.
    pub keep_immutable: bool,
    /// Untagged manifests to keep although `delete_untagged` is set.
    pub keep_untagged: Keep,
    pub delete_untagged: bool,
    pub delete_referrers: bool,
    /// Replaces [`Retention::max_share`].
    pub max_share: Option<Share>,
}

impl Policy {
    /// Whether the policy can delete anything.
    #[must_use]
    pub const fn gives_up(&self) -> bool {
        !self.keep_tags.is_empty() || self.delete_untagged || self.delete_referrers
    }
}

/// One of `keepTags`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepTags {
    /// The tags to which the entry applies.
    pub patterns: Patterns,
    pub keep: Keep,
}

/// Regular expressions for tags. Without any, every tag matches.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Vec<regex::Regex>);

impl Patterns {
    /// Adds a pattern in RE2's syntax. As in zot, it matches any part of a tag unless it is anchored.
    pub fn add(&mut self, pattern: &str) -> Result<(), expr::InvalidRegex> {
        self.0.push(expr::regex(pattern)?);
        Ok(())
    }

    #[must_use]
    pub fn match_every_tag(&self) -> bool {
        self.0.is_empty() || self.texts().any(|text| EVERY_TAG.contains(&text))
    }

    #[must_use]
    pub fn matches(&self, tag: &Tag) -> bool {
        self.match_every_tag() || self.0.iter().any(|pattern| pattern.is_match(tag.as_str()))
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(regex::Regex::as_str)
    }
}

/// The usual regular expressions that match every tag. A tag is never empty.
const EVERY_TAG: [&str; 10] = ["", ".", ".*", ".+", "^.*", "^.+", ".*$", ".+$", "^.*$", "^.+$"];

impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        self.texts().eq(other.texts())
    }
}

impl Eq for Patterns {}

/// What to keep among the candidates of an entry. A candidate is kept if one rule keeps it. Without rules, an
/// entry of `keepTags` keeps all its tags, and `keepUntagged` keeps nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    pub most_recently_pulled: Option<usize>,
    pub most_recently_pushed: Option<usize>,
    /// Also keeps a candidate that was pushed within this time.
    pub pulled_within: Option<Duration>,
    pub pushed_within: Option<Duration>,
}

impl Keep {
    #[must_use]
    pub fn has_rules(&self) -> bool {
        *self != Self::default()
    }
}

/// A share of a repository, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    const WHOLE: u32 = 1_000_000;

    /// `None` unless the fraction is between 0 and 1.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the bounds were checked on the line above"
    )]
    pub fn of(fraction: f64) -> Option<Self> {
        (0.0..=1.0)
            .contains(&fraction)
            .then(|| Self((fraction * f64::from(Self::WHOLE)).round() as u32))
    }

    /// Whether no number can exceed the share.
    #[must_use]
    pub const fn is_all(self) -> bool {
        self.0 == Self::WHOLE
    }

    /// Whether this many of `all` exceed the share.
    #[must_use]
    pub fn is_exceeded(self, taken: u64, all: u64) -> bool {
        u128::from(taken) * u128::from(Self::WHOLE) > u128::from(all) * u128::from(self.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / f64::from(Self::WHOLE))
    }
}

impl Default for Share {
    /// One half.
    fn default() -> Self {
        Self(Self::WHOLE / 2)
    }
}

//! Whether a tag or a manifest is kept or deleted, and why.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Keep(Kept),
    GiveUp(GivenUp),
}

impl Verdict {
    #[must_use]
    pub const fn gives_up(self) -> bool {
        matches!(self, Self::GiveUp(_))
    }
}

/// Whether the repository has the manifest that another one refers to, or that a tag is named after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// There is no subject.
    None,
    /// The repository has it.
    There,
    Gone,
}

/// A rule that keeps a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    MostRecentlyPulled,
    MostRecentlyPushed,
    PulledWithin,
    PushedWithin,
}

/// Why something is kept. Positions of policies and entries count from 0, as in messages about the
/// configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// The policy has no `keepTags`.
    EveryTag { policy: usize },
    /// The policy keeps immutable tags.
    Immutable { policy: usize },
    /// An entry of `keepTags` that has no rules.
    Pattern { policy: usize, entry: usize },
    /// A rule of an entry of `keepTags`.
    TagRule { policy: usize, entry: usize, rule: Rule },
    /// The tag is named after a manifest, as a signature's is. It is kept as long as that manifest exists,
    /// and after that unless the policy deletes referrers.
    NamedAfterManifest { policy: usize },
    /// The policy does not delete untagged manifests.
    EveryUntagged { policy: usize },
    /// A rule of `keepUntagged`.
    UntaggedRule { policy: usize, rule: Rule },
    /// A referrer whose subject exists.
    Referrer,
    /// The policy does not delete referrers.
    EveryReferrer { policy: usize },
    /// It was pushed or pulled within `delay`.
    Recent,
}

/// Why a policy deletes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GivenUp {
    /// No entry of `keepTags` matches the tag.
    NoPattern { policy: usize },
    /// This entry of `keepTags` matches the tag, and none of its rules keeps it.
    NoTagRule { policy: usize, entry: usize },
    /// `deleteUntagged` is set, and no rule of `keepUntagged` keeps the manifest.
    Untagged { policy: usize },
    /// `deleteReferrers` is set.
    SubjectGone { policy: usize },
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MostRecentlyPulled => "mostRecentlyPulledCount",
            Self::MostRecentlyPushed => "mostRecentlyPushedCount",
            Self::PulledWithin => "pulledWithin",
            Self::PushedWithin => "pushedWithin",
        })
    }
}

/// Begins with the configuration key that decided.
impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EveryTag { policy } => write!(f, "{}: it has no keepTags", key(*policy)),
            Self::Immutable { policy } => write!(f, "{}.keepImmutable: the tag is immutable", key(*policy)),
            Self::Pattern { policy, entry } => {
                write!(f, "{}.keepTags[{entry}]: its patterns match", key(*policy))
            }
            Self::TagRule { policy, entry, rule } => {
                write!(f, "{}.keepTags[{entry}].{rule}", key(*policy))
            }
            Self::NamedAfterManifest { policy } => write!(
                f,
                "{}.deleteReferrers: the tag is named after a manifest",
                key(*policy)
            ),
            Self::EveryUntagged { policy } => write!(f, "{}.deleteUntagged: it is false", key(*policy)),
            Self::UntaggedRule { policy, rule } => write!(f, "{}.keepUntagged.{rule}", key(*policy)),
            Self::Referrer => f.write_str("its subject exists"),
            Self::EveryReferrer { policy } => write!(f, "{}.deleteReferrers: it is not set", key(*policy)),
            Self::Recent => f.write_str("storage.retention.delay: it was pushed or pulled within that time"),
        }
    }
}

/// Begins with the configuration key that decided.
impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPattern { policy } => write!(f, "{}.keepTags: no entry matches the tag", key(*policy)),
            Self::NoTagRule { policy, entry } => write!(
                f,
                "{}.keepTags[{entry}]: none of its rules keeps the tag",
                key(*policy)
            ),
            Self::Untagged { policy } => write!(f, "{}.deleteUntagged: it has no tag", key(*policy)),
            Self::SubjectGone { policy } => {
                write!(f, "{}.deleteReferrers: its subject is gone", key(*policy))
            }
        }
    }
}

fn key(policy: usize) -> String {
    format!("storage.retention.policies[{policy}]")
}

//! The settings of access control, as in zot's `accessControl`. They are plain data, which
//! [`super::Policy::compile`] checks.

use super::Action;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Patterns over repository names. If several match a name, only the longest applies.
    pub repositories: Vec<(String, PatternRules)>,
    /// `adminPolicy`: its actions are granted on every repository, even if no pattern matches.
    pub admin: Option<Grant>,
    /// Additional groups by name, with the users in each.
    pub groups: BTreeMap<String, Vec<String>>,
    /// `metrics`: who may read them on the registry's own address. With `None` no caller may.
    pub metrics: Option<Metrics>,
}

/// Who may read the metrics. A user is written as in a [`Grant`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    pub users: Vec<String>,
    /// Whether anonymous callers may read them too.
    pub anonymous: bool,
}

/// What one pattern grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatternRules {
    pub policies: Vec<Grant>,
    /// `defaultPolicy`: for every authenticated caller, not for anonymous ones.
    pub default: Vec<Action>,
    /// `anonymousPolicy`: for anonymous callers, not for authenticated ones.
    pub anonymous: Vec<Action>,
    /// `immutableTags`: patterns over tags. One that begins with `!` is an exception.
    pub immutable_tags: Vec<String>,
}

/// Actions for the listed users and groups.
///
/// A user that starts with `spiffe://` is a verified SPIFFE ID, or with a trailing slash every ID below it.
/// It is never compared with usernames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    pub users: Vec<String>,
    pub groups: Vec<String>,
    pub actions: Vec<Action>,
}

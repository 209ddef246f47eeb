//! The settings of access control, as zot's `accessControl` writes them. Plain data:
//! [`super::Policy::compile`] checks it.

use super::Action;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Patterns over repository names. Of those that match a name only the longest counts.
    pub repositories: Vec<(String, PatternRules)>,
    /// `adminPolicy`: what it lists is granted on every repository, those that no pattern matches included.
    pub admin: Option<Grant>,
    /// Further groups, by name, and the users in each.
    pub groups: BTreeMap<String, Vec<String>>,
    /// `metrics`: who may read them on the registry's own address. `None` is nobody.
    pub metrics: Option<Metrics>,
}

/// Who may read the metrics. A user is written as in a [`Grant`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    pub users: Vec<String>,
    /// Those who presented no credential may too.
    pub anonymous: bool,
}

/// What one pattern grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatternRules {
    pub policies: Vec<Grant>,
    /// `defaultPolicy`: for everyone who is authenticated, and for nobody else.
    pub default: Vec<Action>,
    /// `anonymousPolicy`: for those who presented no credential, and for nobody else.
    pub anonymous: Vec<Action>,
}

/// Actions for the users and groups named.
///
/// A user that starts with `spiffe://` is a verified SPIFFE ID, or with a trailing slash everything below it;
/// it is never a username.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    pub users: Vec<String>,
    pub groups: Vec<String>,
    pub actions: Vec<Action>,
}

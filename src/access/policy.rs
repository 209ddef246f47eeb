//! Compiled access rules: patterns and SPIFFE IDs are parsed, and the order of precedence is fixed.

use super::actions::Actions;
use super::glob::{Glob, InvalidGlob};
use super::immutable::{ImmutableTags, InvalidTagPattern};
use super::{Grant, PatternRules, Rules};
use crate::identity::Identity;
use crate::oci::RepositoryName;
use crate::spiffe_id::{InvalidPattern, SpiffePattern};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// The access policy. Immutable: a reload makes a new one.
#[derive(Clone, Debug)]
pub struct Policy {
    /// In order of precedence: the first entry that matches applies.
    entries: Vec<Entry>,
    admin: Option<CompiledGrant>,
    groups: BTreeMap<String, Users>,
    metrics: Readers,
    /// No rules are configured, and a default entry stands for them.
    unwritten: bool,
}

/// Who may read the metrics.
#[derive(Clone, Debug)]
enum Readers {
    Everyone,
    Authenticated,
    Listed { users: Users, anonymous: bool },
}

/// One pattern with what it grants.
#[derive(Clone, Debug)]
struct Entry {
    pattern: String,
    glob: Glob,
    policies: Vec<CompiledGrant>,
    default: Actions,
    anonymous: Actions,
    immutable: Option<Arc<ImmutableTags>>,
}

#[derive(Clone, Debug)]
struct CompiledGrant {
    users: Users,
    groups: BTreeSet<String>,
    actions: Actions,
}

#[derive(Clone, Debug, Default)]
struct Users {
    names: BTreeSet<String>,
    spiffe: Vec<SpiffePattern>,
}

impl Policy {
    /// Checks and compiles the rules. On failure it returns every mistake.
    pub fn compile(rules: Rules) -> Result<Self, Vec<InvalidPolicy>> {
        let mut invalid = Vec::new();
        let mut entries = Vec::new();
        let mut seen = BTreeSet::new();
        for (pattern, grants) in rules.repositories {
            let key = format!("repositories[{pattern:?}]");
            if !seen.insert(pattern.clone()) {
                invalid.push(InvalidPolicy {
                    key: key.clone(),
                    why: WhyInvalid::PatternTwice,
                });
            }
            let glob = Glob::parse(&pattern).map_err(|why| {
                invalid.push(InvalidPolicy {
                    key: key.clone(),
                    why: why.into(),
                })
            });
            let entry = glob.map(|glob| Entry::compile(pattern, glob, &grants, &key, &mut invalid));
            entries.extend(entry);
        }
        // The longest pattern in bytes comes first. Ties are in the order of the bytes; in zot their order is
        // random.
        entries.sort_by(|a, b| {
            b.pattern
                .len()
                .cmp(&a.pattern.len())
                .then_with(|| a.pattern.cmp(&b.pattern))
        });
        let admin = rules
            .admin
            .map(|admin| CompiledGrant::compile(&admin, "adminPolicy", &mut invalid));
        let groups = rules
            .groups
            .into_iter()
            .map(|(name, users)| {
                let users = Users::compile(&users, &format!("groups[{name:?}].users"), &mut invalid);
                (name, users)
            })
            .collect();
        let metrics = rules.metrics.unwrap_or_default();
        let users = Users::compile(&metrics.users, "metrics.users", &mut invalid);
        let metrics = Readers::Listed {
            users,
            anonymous: metrics.anonymous,
        };
        if invalid.is_empty() {
            Ok(Self {
                entries,
                admin,
                groups,
                metrics,
                unwritten: false,
            })
        } else {
            Err(invalid)
        }
    }

    /// The policy without `accessControl`, as in zot: every authenticated caller may do everything.
    #[must_use]
    pub fn everything_to_authenticated() -> Self {
        Self::without_rules(Actions::default(), Readers::Authenticated)
    }

    /// The policy without `accessControl` and without authentication, as in zot: every caller may do
    /// everything.
    #[must_use]
    pub fn everything_to_everybody() -> Self {
        Self::without_rules(Actions::ALL, Readers::Everyone)
    }

    fn without_rules(anonymous: Actions, metrics: Readers) -> Self {
        let entry = Entry {
            pattern: "**".to_owned(),
            glob: Glob::any(),
            policies: Vec::new(),
            default: Actions::ALL,
            anonymous,
            immutable: None,
        };
        Self {
            entries: vec![entry],
            admin: None,
            groups: BTreeMap::new(),
            metrics,
            unwritten: true,
        }
    }

    /// The rules for immutable tags of the pattern that applies to the repository.
    #[must_use]
    pub fn immutable_tags(&self, repository: &RepositoryName) -> Option<&Arc<ImmutableTags>> {
        let any = self.entries.iter().any(|entry| entry.immutable.is_some());
        self.entry(repository).filter(|_| any)?.immutable.as_ref()
    }

    fn entry(&self, repository: &RepositoryName) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.glob.matches(repository.as_str()))
    }

    /// Whether anonymous callers may do anything.
    #[must_use]
    pub fn serves_anonymous(&self) -> bool {
        self.entries.iter().any(|entry| !entry.anonymous.is_empty())
    }

    /// Returns the actions that this identity is granted on this repository, and the pattern that applies, if
    /// any.
    pub(super) fn granted(
        &self,
        identity: &Identity,
        repository: &RepositoryName,
    ) -> (Actions, Option<&str>) {
        let mut all = Actions::default();
        let mut admin = false;
        let pattern = self.each_rule(identity, repository, |rule, actions| {
            all = all.union(actions);
            admin |= rule == Rule::Admin;
        });
        // As in zot, an admin may always delete by digest.
        (
            if admin {
                all.without(Actions::BEHAVIOURS)
            } else {
                all
            },
            pattern,
        )
    }

    /// Calls `rule` for every rule that names this identity, with the actions that it grants on this
    /// repository. Returns the pattern that applies. Decisions and explanations both use this function, so
    /// that they cannot differ.
    pub(super) fn each_rule(
        &self,
        identity: &Identity,
        repository: &RepositoryName,
        mut rule: impl FnMut(Rule, Actions),
    ) -> Option<&str> {
        let entry = self.entry(repository);
        if identity.is_anonymous() {
            let entry = entry?;
            rule(Rule::Anonymous, entry.anonymous);
            return Some(&entry.pattern);
        }
        let groups = self.groups_of(identity);
        for (index, grant) in entry.iter().flat_map(|entry| &entry.policies).enumerate() {
            if grant.names(identity, &groups) {
                rule(Rule::Policy(index), grant.actions);
            }
        }
        if let Some(entry) = entry {
            rule(
                if self.unwritten {
                    Rule::NoRules
                } else {
                    Rule::Default
                },
                entry.default,
            );
        }
        if let Some(admin) = self.admin.as_ref().filter(|admin| admin.names(identity, &groups)) {
            rule(Rule::Admin, admin.actions);
        }
        entry.map(|entry| entry.pattern.as_str())
    }

    pub(super) fn shows_metrics_to(&self, identity: &Identity) -> bool {
        match &self.metrics {
            Readers::Everyone => true,
            Readers::Authenticated => !identity.is_anonymous(),
            Readers::Listed { anonymous, .. } if identity.is_anonymous() => *anonymous,
            Readers::Listed { users, .. } => users.name(identity),
        }
    }

    /// Returns the groups of the mapping and those of `accessControl.groups`.
    fn groups_of<'a>(&'a self, identity: &'a Identity) -> BTreeSet<&'a str> {
        let ours = self
            .groups
            .iter()
            .filter(|(_, users)| users.name(identity))
            .map(|(name, _)| name.as_str());
        identity.groups().iter().map(String::as_str).chain(ours).collect()
    }
}

impl Entry {
    fn compile(
        pattern: String,
        glob: Glob,
        rules: &PatternRules,
        key: &str,
        invalid: &mut Vec<InvalidPolicy>,
    ) -> Self {
        let policies = rules.policies.iter().enumerate();
        let key_of_tags = format!("{key}.immutableTags");
        let immutable = ImmutableTags::compile(&pattern, &rules.immutable_tags).unwrap_or_else(|mistakes| {
            invalid.extend(mistakes.into_iter().map(|(place, why)| InvalidPolicy {
                key: place.map_or_else(|| key_of_tags.clone(), |n| format!("{key_of_tags}[{n}]")),
                why: why.into(),
            }));
            None
        });
        Self {
            policies: policies
                .map(|(n, grant)| CompiledGrant::compile(grant, &format!("{key}.policies[{n}]"), invalid))
                .collect(),
            default: rules.default.iter().collect(),
            anonymous: rules.anonymous.iter().collect(),
            immutable: immutable.map(Arc::new),
            pattern,
            glob,
        }
    }
}

impl CompiledGrant {
    fn compile(grant: &Grant, key: &str, invalid: &mut Vec<InvalidPolicy>) -> Self {
        Self {
            users: Users::compile(&grant.users, &format!("{key}.users"), invalid),
            groups: grant.groups.iter().cloned().collect(),
            actions: grant.actions.iter().collect(),
        }
    }

    fn names(&self, identity: &Identity, groups: &BTreeSet<&str>) -> bool {
        self.users.name(identity) || groups.iter().any(|group| self.groups.contains(*group))
    }
}

impl Users {
    fn compile(users: &[String], key: &str, invalid: &mut Vec<InvalidPolicy>) -> Self {
        let mut compiled = Self::default();
        for (n, user) in users.iter().enumerate() {
            if !SpiffePattern::is_meant_by(user) {
                compiled.names.insert(user.clone());
                continue;
            }
            match user.parse() {
                Ok(pattern) => compiled.spiffe.push(pattern),
                Err(why) => invalid.push(InvalidPolicy {
                    key: format!("{key}[{n}] ({user})"),
                    why: WhyInvalid::SpiffeId(why),
                }),
            }
        }
        compiled
    }

    /// Names are compared with names, and SPIFFE IDs with verified SPIFFE IDs, so that a mapped username
    /// never matches as a SPIFFE ID.
    fn name(&self, identity: &Identity) -> bool {
        !identity.is_anonymous()
            && (self.names.contains(identity.username())
                || identity
                    .spiffe_id()
                    .is_some_and(|id| self.spiffe.iter().any(|pattern| pattern.matches(id))))
    }
}

/// A place in `accessControl` that grants actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `policies[n]` of the pattern.
    Policy(usize),
    /// `defaultPolicy` of the pattern.
    Default,
    /// `anonymousPolicy` of the pattern.
    Anonymous,
    /// `adminPolicy`.
    Admin,
    /// There is no `accessControl`, so every authenticated caller may do everything.
    NoRules,
}

impl Rule {
    pub(super) const fn is_of_a_pattern(self) -> bool {
        matches!(self, Self::Policy(_) | Self::Default | Self::Anonymous)
    }
}

/// Shows the key in the configuration, without the pattern.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(index) => write!(f, "policies[{index}]"),
            Self::Default => f.write_str("defaultPolicy"),
            Self::Anonymous => f.write_str("anonymousPolicy"),
            Self::Admin => f.write_str("adminPolicy"),
            Self::NoRules => f.write_str("no accessControl"),
        }
    }
}

/// A mistake in the rules, and its place below `accessControl`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct InvalidPolicy {
    pub key: String,
    pub why: WhyInvalid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhyInvalid {
    #[error(transparent)]
    Pattern(#[from] InvalidGlob),
    #[error("this pattern appears twice; merge the two entries")]
    PatternTwice,
    #[error(
        "a user that starts with `spiffe://` must be a SPIFFE ID, or one with a trailing `/` for everything below it: {0}"
    )]
    SpiffeId(InvalidPattern),
    #[error(transparent)]
    Tag(#[from] InvalidTagPattern),
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;

//! `accessControl`, at the top level or, as in zot, inside `http`.

use super::Interpreter;
use super::open::{EMPTY, Reach};
use crate::access::{Action, Grant, Metrics, PatternRules, Policy, Repositories, Rules};
use crate::config::raw;
use crate::config::settings::Opened;
use std::collections::BTreeSet;

impl Interpreter<'_> {
    /// The patterns of the list at `key`, such as `storage.sparse`.
    pub(super) fn repositories(&mut self, key: &str, patterns: &[String]) -> Repositories {
        let mut all = Repositories::default();
        for (index, pattern) in patterns.iter().enumerate() {
            match Repositories::parse(pattern) {
                Ok(repositories) => all = all.or(repositories),
                Err(why) => self.mistake(format!("{key}[{index}]"), why.to_string()),
            }
        }
        all
    }

    /// As in zot, without `accessControl` every authenticated identity may do everything. If there is also no
    /// way to log in, the registry is open, provided that the file looks as if this is intended.
    pub(super) fn access(
        &mut self,
        own: Option<raw::AccessControl>,
        zots: Option<raw::AccessControl>,
        identifies: bool,
        reach: &Reach<'_>,
    ) -> (Policy, Option<Opened>) {
        if own.is_some() && zots.is_some() {
            self.mistake(
                "http.accessControl",
                "appears in addition to accessControl: keep one of them",
            );
        }
        let key = if zots.is_some() {
            "http.accessControl"
        } else {
            "accessControl"
        };
        // A present but empty key grants nothing, because its content may have been lost.
        let empty = || {
            self.around
                .mentions
                .access_control
                .then(raw::AccessControl::default)
        };
        let Some(access) = own.or(zots).or_else(empty) else {
            let opened = if identifies {
                None
            } else {
                self.open(&self.around.mentions, reach)
            };
            let policy = if opened.is_some() {
                Policy::everything_to_everybody()
            } else {
                Policy::everything_to_authenticated()
            };
            return (policy, opened);
        };
        self.empty_rules(key, &access, identifies);
        self.doubtful_tags(key, &access);
        let policy = Policy::compile(rules(access)).unwrap_or_else(|mistakes| {
            for mistake in mistakes {
                self.mistake(format!("{key}.{}", mistake.key), mistake.why.to_string());
            }
            Policy::everything_to_authenticated()
        });
        (policy, None)
    }

    /// Finds rules that grant nothing to any possible caller.
    fn empty_rules(&mut self, key: &str, access: &raw::AccessControl, identifies: bool) {
        let raw::AccessControl {
            repositories,
            admin_policy,
            groups,
            metrics,
        } = access;
        let serves_anonymous = repositories
            .values()
            .flat_map(|repository| &repository.anonymous_policy)
            .any(|action| action.permits());
        let ruled =
            !repositories.is_empty() || admin_policy.is_some() || !groups.is_empty() || metrics.is_some();
        let shows_metrics = metrics
            .as_ref()
            .is_some_and(|metrics| !metrics.anonymous_policy.is_empty());
        match () {
            () if ruled && (identifies || serves_anonymous) => {}
            () if identifies => self.warn(key, EMPTY),
            () if !ruled => self.mistake(key, EMPTY),
            () if repositories.is_empty() && admin_policy.is_none() && shows_metrics => {
                self.warn(
                    key,
                    "no login is configured, so callers can only read the metrics",
                );
            }
            () => self.mistake(
                "http.auth",
                "is missing: no login is configured, and no repository has an anonymousPolicy",
            ),
        }
        for (pattern, repository) in repositories {
            if repository.policies.is_empty()
                && repository.default_policy.is_empty()
                && repository.anonymous_policy.is_empty()
            {
                self.warn(
                    format!("{key}.repositories[{pattern:?}]"),
                    "grants nothing; zot ignores an empty entry and uses a shorter pattern instead",
                );
            }
        }
    }

    /// Finds tag patterns that look like regular expressions. Most of these are mistakes, but `.*` is also a
    /// glob.
    fn doubtful_tags(&mut self, key: &str, access: &raw::AccessControl) {
        for (pattern, repository) in &access.repositories {
            for (n, tags) in repository.immutable_tags.iter().enumerate() {
                if tags.contains(".*") {
                    self.warn(
                        format!("{key}.repositories[{pattern:?}].immutableTags[{n}]"),
                        "`.*` means a dot and any text after it, because tag patterns are globs; write `*` for any text, or `.?*` if the dot \
                         is meant",
                    );
                }
            }
        }
    }

    /// zot's reader converts every key to lower case, including patterns and the names of groups.
    pub(super) fn in_lower_case(&mut self, key: &str, access: &mut raw::AccessControl) {
        for (pattern, repository) in std::mem::take(&mut access.repositories) {
            let lower = pattern.to_lowercase();
            let key = format!("{key}.repositories[{pattern:?}]");
            if lower != pattern {
                self.warn(
                    key.clone(),
                    format!("is read as {lower:?}, as in zot: repository names are in lower case"),
                );
            }
            if access.repositories.insert(lower, repository).is_some() {
                self.mistake(
                    key,
                    "this pattern appears twice, in different case; merge the entries",
                );
            }
        }
        let named = |access: &raw::AccessControl| {
            let policies = access
                .repositories
                .values()
                .flat_map(|repository| &repository.policies)
                .chain(&access.admin_policy);
            policies
                .flat_map(|grant| grant.groups.clone())
                .collect::<BTreeSet<String>>()
        };
        let named = named(access);
        let mut seen = BTreeSet::new();
        for (name, group) in std::mem::take(&mut access.groups) {
            let lower = name.to_lowercase();
            let key = format!("{key}.groups[{name:?}]");
            if !seen.insert(lower.clone()) {
                self.mistake(
                    key.clone(),
                    "this group appears twice, in different case; merge the entries",
                );
            }
            let spellings = named
                .iter()
                .filter(|other| other.to_lowercase() == lower && **other != name);
            if lower != name || spellings.clone().next().is_some() {
                self.warn(
                    key,
                    format!("means the group {lower:?}, because zot's keys ignore case; write it in lower case, here and in policies"),
                );
            }
            // Adds the group under each spelling in policies. Groups from a mapping are still compared
            // exactly.
            for spelling in spellings.chain([&name]) {
                access.groups.insert(
                    spelling.clone(),
                    raw::Group {
                        users: group.users.clone(),
                    },
                );
            }
        }
    }
}

fn rules(access: raw::AccessControl) -> Rules {
    let pattern = |repository: raw::Repository| PatternRules {
        policies: repository.policies.into_iter().map(grant).collect(),
        default: actions(&repository.default_policy),
        anonymous: actions(&repository.anonymous_policy),
        immutable_tags: repository.immutable_tags,
    };
    Rules {
        repositories: access
            .repositories
            .into_iter()
            .map(|(text, repository)| (text, pattern(repository)))
            .collect(),
        admin: access.admin_policy.map(grant),
        groups: access
            .groups
            .into_iter()
            .map(|(name, group)| (name, group.users))
            .collect(),
        metrics: access.metrics.map(metrics),
    }
}

fn metrics(metrics: raw::Metrics) -> Metrics {
    let anonymous = metrics
        .anonymous_policy
        .iter()
        .any(|action| matches!(action, raw::Action::Read));
    Metrics {
        users: metrics.users,
        anonymous,
    }
}

fn grant(grant: raw::Grant) -> Grant {
    Grant {
        users: grant.users,
        groups: grant.groups,
        actions: actions(&grant.actions),
    }
}

fn actions(actions: &[raw::Action]) -> Vec<Action> {
    let action = |action: &raw::Action| match action {
        raw::Action::Read => Action::Read,
        raw::Action::Create => Action::Create,
        raw::Action::Update => Action::Update,
        raw::Action::Delete => Action::Delete,
        raw::Action::DetectManifestCollision => Action::DetectManifestCollision,
        raw::Action::Override => Action::Override,
    };
    actions.iter().map(action).collect()
}

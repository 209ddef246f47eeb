//! `accessControl`, beside `http` or, as zot has it, in it.

use super::Build;
use crate::access::{Action, Grant, Metrics, PatternRules, Policy, Repositories, Rules};
use crate::config::raw;

impl Build<'_> {
    /// `storage.sparse`
    pub(super) fn sparse(&mut self, patterns: &[String]) -> Repositories {
        let mut sparse = Repositories::default();
        for (index, pattern) in patterns.iter().enumerate() {
            match Repositories::parse(pattern) {
                Ok(repositories) => sparse = sparse.or(repositories),
                Err(why) => self.mistake(format!("storage.sparse[{index}]"), why.to_string()),
            }
        }
        sparse
    }

    /// Without `accessControl` every authenticated identity may do everything, as in zot; without a way to log in as well there
    /// would be nothing to decide by, and everyone would be let in.
    pub(super) fn access(&mut self, own: Option<raw::AccessControl>, zots: Option<raw::AccessControl>, identifies: bool) -> Policy {
        if own.is_some() && zots.is_some() {
            self.mistake("http.accessControl", "is given beside accessControl: keep one of them");
        }
        let key = if own.is_some() { "accessControl" } else { "http.accessControl" };
        let Some(access) = own.or(zots) else {
            if !identifies {
                self.mistake("http.auth", "is missing: nobody could log in, and without accessControl with an anonymousPolicy nobody may do anything; add an issuer or a trust domain");
            }
            return Policy::everything_to_authenticated();
        };
        let serves_anonymous =
            access.repositories.values().flat_map(|repository| &repository.anonymous_policy).any(|action| action.permits());
        if !identifies && !serves_anonymous {
            self.mistake("http.auth", "is missing: nobody could log in, and no repository has an anonymousPolicy");
        }
        Policy::compile(rules(access)).unwrap_or_else(|mistakes| {
            for mistake in mistakes {
                self.mistake(format!("{key}.{}", mistake.key), mistake.why.to_string());
            }
            Policy::everything_to_authenticated()
        })
    }
}

fn rules(access: raw::AccessControl) -> Rules {
    let pattern = |repository: raw::Repository| PatternRules {
        policies: repository.policies.into_iter().map(grant).collect(),
        default: actions(&repository.default_policy),
        anonymous: actions(&repository.anonymous_policy),
    };
    Rules {
        repositories: access.repositories.into_iter().map(|(text, repository)| (text, pattern(repository))).collect(),
        admin: access.admin_policy.map(grant),
        groups: access.groups.into_iter().map(|(name, group)| (name, group.users)).collect(),
        metrics: access.metrics.map(metrics),
    }
}

fn metrics(metrics: raw::Metrics) -> Metrics {
    let anonymous = metrics.anonymous_policy.iter().any(|action| matches!(action, raw::Action::Read));
    Metrics { users: metrics.users, anonymous }
}

fn grant(grant: raw::Grant) -> Grant {
    Grant { users: grant.users, groups: grant.groups, actions: actions(&grant.actions) }
}

fn actions(actions: &[raw::Action]) -> Vec<Action> {
    let action = |action: &raw::Action| match action {
        raw::Action::Read => Action::Read,
        raw::Action::Create => Action::Create,
        raw::Action::Update => Action::Update,
        raw::Action::Delete => Action::Delete,
        raw::Action::DetectManifestCollision => Action::DetectManifestCollision,
    };
    actions.iter().map(action).collect()
}

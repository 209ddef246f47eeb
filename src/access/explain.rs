//! Explains which rule decides: what [`super::decide()`] would return for each action, and why. It is only
//! for messages and permits nothing.

use super::decide::taken_away;
use super::{Action, DeniedBy, ImmutableTags, Policy, Rule};
use crate::identity::Identity;
use crate::oci::RepositoryName;
use std::sync::Arc;

/// Explains the policy for one identity and one repository.
#[must_use]
pub fn explain(policy: &Policy, identity: &Identity, repository: &RepositoryName) -> Explanation {
    let explained = |action| Explained {
        action,
        granted_by: None,
        taken_by: taken_away(action, identity, repository),
    };
    let mut actions = Action::ALL.map(explained);
    let pattern = policy.each_rule(identity, repository, |rule, granted| {
        for explained in &mut actions {
            if granted.contains(explained.action) {
                explained.granted_by.get_or_insert(rule);
            }
        }
    });
    Explanation {
        repository: repository.clone(),
        pattern: pattern.map(str::to_owned),
        actions,
        immutable: policy.immutable_tags(repository).cloned(),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub repository: RepositoryName,
    /// The pattern that applies. `None` if no pattern matches the repository.
    pub pattern: Option<String>,
    /// Each action once, in the order of [`Action::ALL`].
    pub actions: [Explained; 5],
    /// The repository's rules for immutable tags, if it has any.
    pub immutable: Option<Arc<ImmutableTags>>,
}

/// One action, and the first rule that grants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    pub action: Action,
    /// `None` if no rule grants it.
    pub granted_by: Option<Rule>,
    /// What denies it nevertheless: the credential's cap, or the token's scope.
    pub taken_by: Option<DeniedBy>,
}

impl Explained {
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.granted_by.is_some() && self.taken_by.is_none()
    }
}

impl Explanation {
    /// The actions that make a difference. Without immutable tags `override` makes none, unless it is
    /// `wanted`.
    pub fn relevant(&self, wanted: Option<Action>) -> impl Iterator<Item = &Explained> {
        let relevant =
            move |action| action != Action::Override || self.immutable.is_some() || wanted == Some(action);
        self.actions
            .iter()
            .filter(move |explained| relevant(explained.action))
    }

    /// As [`Self::reason`], for the caller. It names a pattern only if that pattern grants the caller
    /// something.
    #[must_use]
    pub fn reason_for_caller(&self, action: Action) -> String {
        let by_pattern = |explained: &Explained| explained.granted_by.is_some_and(Rule::is_of_a_pattern);
        let granted = |explained: &Explained| explained.action == action && explained.granted_by.is_some();
        if self.actions.iter().any(by_pattern) || self.actions.iter().any(granted) {
            self.reason(action)
        } else {
            format!(
                "no rule of accessControl grants {} to this caller",
                action.as_str()
            )
        }
    }

    /// Returns why an action is allowed or denied, with the place in the configuration.
    #[must_use]
    pub fn reason(&self, action: Action) -> String {
        let explained = self.actions.iter().find(|explained| explained.action == action);
        let granted_by = explained.and_then(|explained| explained.granted_by);
        let rule = match (granted_by, &self.pattern) {
            (Some(Rule::Admin), _) => "accessControl.adminPolicy".to_owned(),
            (Some(Rule::NoRules), _) => {
                "there is no accessControl: every authenticated caller may do everything".to_owned()
            }
            (Some(rule), Some(pattern)) => format!("accessControl.repositories[{pattern:?}].{rule}"),
            (None, Some(pattern)) => format!(
                "accessControl.repositories[{pattern:?}] applies and does not grant {}",
                action.as_str()
            ),
            (_, None) => "no pattern of accessControl.repositories matches".to_owned(),
        };
        match explained
            .and_then(|explained| explained.taken_by)
            .filter(|_| granted_by.is_some())
        {
            Some(DeniedBy::Scope) => format!("{rule}, but the token's scope does not include it"),
            Some(_) => format!("{rule}, but the credential was issued for another repository"),
            None => rule,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Grant, PatternRules, Read, Rules, decide};
    use crate::identity::{Principal, Scope};
    use Action::{Create, Delete, Read as R, Update};

    fn user(name: &str) -> Identity {
        Identity::for_test(
            name,
            &[],
            Principal::Oidc {
                issuer: "https://i".into(),
                entry: None,
                subject: name.into(),
            },
        )
    }

    fn policy() -> Policy {
        let grant = |user: &str, actions: &[Action]| Grant {
            users: vec![user.into()],
            groups: vec![],
            actions: actions.to_vec(),
        };
        let rules = PatternRules {
            policies: vec![
                grant("ann", &[Create]),
                grant("ann", &[Create, Update]),
                grant("root", &[R]),
            ],
            default: vec![R],
            anonymous: vec![R],
            ..PatternRules::default()
        };
        let repositories = vec![
            ("app/**".to_owned(), rules),
            ("shut".to_owned(), PatternRules::default()),
        ];
        Policy::compile(Rules {
            repositories,
            admin: Some(grant("root", &[R, Delete])),
            ..Rules::default()
        })
        .unwrap()
    }

    #[test]
    fn the_first_rule_that_grants_is_named_with_its_place() {
        let policy = policy();
        let anonymous = Identity::anonymous();
        for (who, repository, action, reason) in [
            (
                user("ann"),
                "app/x",
                R,
                r#"accessControl.repositories["app/**"].defaultPolicy"#,
            ),
            (
                user("ann"),
                "app/x",
                Create,
                r#"accessControl.repositories["app/**"].policies[0]"#,
            ),
            (
                user("ann"),
                "app/x",
                Update,
                r#"accessControl.repositories["app/**"].policies[1]"#,
            ),
            (
                user("ann"),
                "app/x",
                Delete,
                r#"accessControl.repositories["app/**"] applies and does not grant delete"#,
            ),
            (
                user("ann"),
                "shut",
                R,
                r#"accessControl.repositories["shut"] applies and does not grant read"#,
            ),
            (
                user("ann"),
                "elsewhere",
                R,
                "no pattern of accessControl.repositories matches",
            ),
            (
                user("root"),
                "app/x",
                R,
                r#"accessControl.repositories["app/**"].policies[2]"#,
            ),
            (user("root"), "app/x", Delete, "accessControl.adminPolicy"),
            (user("root"), "elsewhere", R, "accessControl.adminPolicy"),
            (
                anonymous.clone(),
                "app/x",
                R,
                r#"accessControl.repositories["app/**"].anonymousPolicy"#,
            ),
            (
                anonymous,
                "app/x",
                Create,
                r#"accessControl.repositories["app/**"] applies and does not grant create"#,
            ),
        ] {
            let explanation = explain(&policy, &who, &repository.parse().unwrap());
            assert_eq!(explanation.reason(action), reason, "{who:?} {repository}");
        }
        let open = explain(
            &Policy::everything_to_authenticated(),
            &user("ann"),
            &"a".parse().unwrap(),
        );
        assert!(open.reason(Delete).starts_with("there is no accessControl"));
    }

    #[test]
    fn a_caller_sees_a_pattern_only_if_it_grants_them_something() {
        let policy = policy();
        let nothing = |action: &str| format!("no rule of accessControl grants {action} to this caller");
        for (who, repository, action, reason) in [
            (
                "ann",
                "app/x",
                R,
                r#"accessControl.repositories["app/**"].defaultPolicy"#.to_owned(),
            ),
            (
                "ann",
                "app/x",
                Delete,
                r#"accessControl.repositories["app/**"] applies and does not grant delete"#.to_owned(),
            ),
            ("ann", "shut", R, nothing("read")),
            ("ann", "elsewhere", R, nothing("read")),
            ("root", "shut", R, "accessControl.adminPolicy".to_owned()),
            ("root", "shut", Create, nothing("create")),
        ] {
            let explanation = explain(&policy, &user(who), &repository.parse().unwrap());
            assert_eq!(
                explanation.reason_for_caller(action),
                reason,
                "{who} {repository}"
            );
        }
        let open = explain(
            &Policy::everything_to_authenticated(),
            &user("ann"),
            &"a".parse().unwrap(),
        );
        assert!(
            open.reason_for_caller(Delete)
                .starts_with("there is no accessControl")
        );
    }

    #[test]
    fn an_explanation_grants_what_a_decision_does() {
        let policy = policy();
        let scoped = || user("ann").scoped(Scope::asked(["repository:app/x:pull"]));
        let capped = user("ann").capped_for_test(Scope::asked(["repository:app:pull"]));
        let said = explain(&policy, &scoped(), &"app".parse().unwrap()).reason(R);
        assert_eq!(
            said,
            r#"accessControl.repositories["app/**"].defaultPolicy, but the token's scope does not include it"#
        );
        for who in [
            user("ann"),
            user("root"),
            user("eve"),
            Identity::anonymous(),
            scoped(),
            capped,
        ] {
            for repository in ["app", "app/x", "shut", "elsewhere"] {
                let repository = repository.parse().unwrap();
                let explained = explain(&policy, &who, &repository).actions[0].is_allowed();
                assert_eq!(
                    explained,
                    decide::<Read>(&policy, &who, &repository).is_ok(),
                    "{who:?} {repository}"
                );
            }
        }
    }
}

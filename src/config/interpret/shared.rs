//! Issuers whose tokens anyone in the world can get. Without a validation every stranger would be an
//! authenticated caller, so such an entry is refused where that grants a stranger something.

use super::Interpreter;
use super::expressions::{Expressions, constants};
use crate::config::raw;
use std::collections::BTreeSet;

/// What `accessControl` grants, as far as a stranger with a good token could get it.
pub(super) struct Granted {
    /// There is no `accessControl`, so everyone authenticated may do everything.
    everything: bool,
    /// The first pattern with a `defaultPolicy`.
    default_policy: Option<String>,
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
}

impl Granted {
    pub(super) fn of(access: Option<&raw::AccessControl>) -> Self {
        let Some(access) = access else {
            return Self {
                everything: true,
                default_policy: None,
                users: BTreeSet::new(),
                groups: BTreeSet::new(),
            };
        };
        let by_default = access
            .repositories
            .iter()
            .find(|(_, repository)| repository.default_policy.iter().any(|action| action.permits()));
        let grants = || {
            access
                .repositories
                .values()
                .flat_map(|repository| &repository.policies)
                .chain(&access.admin_policy)
        };
        let in_groups = access.groups.values().flat_map(|group| &group.users);
        let of_metrics = access.metrics.iter().flat_map(|metrics| &metrics.users);
        Self {
            everything: false,
            default_policy: by_default.map(|(pattern, _)| pattern.clone()),
            users: grants()
                .flat_map(|grant| &grant.users)
                .chain(in_groups)
                .chain(of_metrics)
                .cloned()
                .collect(),
            groups: grants().flat_map(|grant| &grant.groups).cloned().collect(),
        }
    }

    /// How a stranger, mapped by these expressions, could get something. An expression that is not constant
    /// could yield any name: many claims, such as the name of a workflow or an environment, have the value
    /// that their author chooses.
    fn to_strangers(&self, mapping: &Expressions<'_>) -> Option<String> {
        if self.everything {
            return Some("there is no accessControl, so they may do everything".to_owned());
        }
        if let Some(pattern) = &self.default_policy {
            return Some(format!("the defaultPolicy of {pattern:?} is for them too"));
        }
        let could_be = |expression: &str, granted: &BTreeSet<String>| match constants(expression) {
            Some(constants) => constants.into_iter().find(|constant| granted.contains(constant)),
            None => granted.first().cloned(),
        };
        if let Some(group) = mapping.groups.and_then(|groups| could_be(groups, &self.groups)) {
            return Some(format!(
                "claimMapping.groups could put them into the group {group:?}, which accessControl grants something"
            ));
        }
        let username = mapping.username.filter(|username| !is_by_subject(username))?;
        let user = could_be(username, &self.users)?;
        Some(format!(
            "claimMapping.username could name them {user:?}, which accessControl grants something"
        ))
    }
}

/// Whether an expression yields the subject, or what is the username without an expression. Each issuer gives
/// a subject to one account or project alone.
fn is_by_subject(username: &str) -> bool {
    let text: String = username
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| if c == '"' { '\'' } else { c })
        .collect();
    matches!(text.as_str(), "claims.sub" | "claims.iss+'/'+claims.sub")
}

impl Interpreter<'_> {
    pub(super) fn shared_issuer(&mut self, key: &str, entry: &raw::Oidc, granted: &Granted) {
        let issuer = entry.issuer.as_deref().unwrap_or_default();
        if !is_shared(issuer) || entry.accept_everyone == Some(true) {
            return;
        }
        let mapping = Expressions::of(entry.claim_mapping.as_ref());
        if !mapping.validations.is_empty() {
            return;
        }
        let Some(how) = granted.to_strangers(&mapping) else {
            return;
        };
        let strangers = format!("anyone in the world can get a token of {issuer}, and {how}");
        if self.around.environment.open {
            self.warn(
                key,
                format!("{strangers}; accepted because of --open or WHARFINGER_OPEN"),
            );
            return;
        }
        self.mistake(
            format!("{key}.claimMapping.validations"),
            format!(
                "is missing: {strangers}; add a validation that names your organisation, or leave username and groups out and grant rights to users by their issuer and subject, or set acceptEveryone: true in this entry, or start with --open"
            ),
        );
    }
}

/// CircleCI's is not among them: each organisation has an issuer of its own.
pub(super) fn is_shared(issuer: &str) -> bool {
    SHARED.contains(&issuer.trim_end_matches('/'))
}

pub(super) const GITHUB: &str = "https://token.actions.githubusercontent.com";
pub(super) const GITLAB: &str = "https://gitlab.com";

const SHARED: [&str; 9] = [
    GITHUB,
    GITLAB,
    "https://agent.buildkite.com",
    "https://accounts.google.com",
    "https://app.terraform.io",
    "https://oidc.vercel.com",
    "https://codeberg.org/api/actions",
    "https://codeberg.org",
    "https://oauth2.sigstore.dev/auth",
];

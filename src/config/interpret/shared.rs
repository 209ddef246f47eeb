//! Issuers that issue tokens to anyone. Without a validation every stranger would be an authenticated caller,
//! so such an entry is refused if a stranger would get access.

use super::Interpreter;
use super::expressions::{Expressions, constants};
use crate::config::raw;
use std::collections::BTreeSet;

/// The permissions in `accessControl` that a stranger with a valid token could get.
pub(super) struct Granted {
    /// There is no `accessControl`, so every authenticated caller may do everything.
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

    /// How a stranger could get access through these expressions. An expression that is not constant could
    /// yield any name, because the author of a workflow or an environment chooses the value of many claims.
    fn to_strangers(&self, mapping: &Expressions<'_>) -> Option<String> {
        if self.everything {
            return Some("there is no accessControl, so such callers may do everything".to_owned());
        }
        if let Some(pattern) = &self.default_policy {
            return Some(format!("the defaultPolicy of {pattern:?} applies to them too"));
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

/// Whether an expression yields the subject or the default username. An issuer gives each subject to only one
/// account or project.
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
        let strangers = format!("anyone can get a token from {issuer}, and {how}");
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
                "is missing: {strangers}; add a validation for your organisation, or remove username and groups and grant permissions by issuer and subject, or set acceptEveryone: true in this entry, or start with --open"
            ),
        );
    }
}

/// The shared public issuers. CircleCI is not one of them, because each organisation has its own issuer.
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

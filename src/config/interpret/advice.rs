//! Warnings about settings that are valid but rarely intended.

use super::Interpreter;
use super::expressions::Expressions;
use super::shared::{GITHUB, GITLAB};
use crate::config::raw;
use std::net::IpAddr;
use std::time::Duration;

impl Interpreter<'_> {
    /// Warnings about an OIDC issuer's entry.
    pub(super) fn advise_issuer(&mut self, key: &str, entry: &raw::Oidc) {
        let issuer = entry.issuer.as_deref().unwrap_or_default();
        for (i, audience) in entry.audiences.iter().enumerate() {
            if API_SERVERS.contains(&audience.trim_end_matches('/'))
                || (!issuer.is_empty() && audience == issuer)
            {
                self.warn(
                    format!("{key}.audiences[{i}]"),
                    format!(
                        "{audience:?} is the audience of an API server's own tokens: the registry would accept every pod's default token, and a token sent here could be replayed there; use this registry's name, and project a token for it"
                    ),
                );
            }
        }
        if issuer.contains(['{', '}']) {
            self.warn(
                format!("{key}.issuer"),
                format!("{issuer:?} is a template and never a token's `iss`: write your own tenant's ID"),
            );
        }
        self.advise_numeric_ids(key, issuer, entry);
    }

    /// Names of accounts and projects can be released and taken by others. Numeric IDs cannot.
    fn advise_numeric_ids(&mut self, key: &str, issuer: &str, entry: &raw::Oidc) {
        let ids: &[&str] = match issuer.trim_end_matches('/') {
            GITHUB => &["repository_owner_id", "repository_id", "enterprise_id"],
            GITLAB => &["namespace_id", "project_id"],
            _ => return,
        };
        let mapping = Expressions::of(entry.claim_mapping.as_ref());
        let everyone = entry.accept_everyone == Some(true) || self.around.environment.open;
        let pins = !mapping.validations.is_empty() || !everyone;
        if pins && !ids.iter().any(|id| mapping.read(id)) {
            self.warn(
                format!("{key}.claimMapping.validations"),
                format!(
                    "the mapping compares only names, and a new owner of a released name would be accepted as the old one: compare claims.{} as well",
                    ids.first().copied().unwrap_or_default()
                ),
            );
        }
    }

    /// Warnings about any mapping.
    pub(super) fn advise_mapping(&mut self, key: &str, mapping: Option<&raw::ClaimMapping>) {
        let expressions = Expressions::of(mapping);
        if expressions.read("email") && !expressions.read("email_verified") {
            self.warn(
                format!("{key}.claimMapping"),
                "claims.email is used without claims.email_verified: with some issuers, an account can claim any address; add the validation claims.email_verified == true",
            );
        }
        for (name, expression) in expressions.all() {
            if let Some(pattern) = unanchored(expression) {
                self.warn(
                    format!("{key}.claimMapping.{name}"),
                    format!("matches({pattern:?}) finds its pattern anywhere in the text: write ^ before it and $ after it"),
                );
            }
        }
    }

    pub(super) fn advise_access(&mut self, access: Option<&raw::AccessControl>) {
        let Some(access) = access else { return };
        let policies = access.repositories.iter().flat_map(|(pattern, repository)| {
            let numbered = repository.policies.iter().enumerate();
            numbered.map(move |(i, grant)| {
                (
                    format!("accessControl.repositories[{pattern:?}].policies[{i}].users"),
                    &grant.users,
                )
            })
        });
        let admin = access
            .admin_policy
            .iter()
            .map(|grant| ("accessControl.adminPolicy.users".to_owned(), &grant.users));
        let groups = access
            .groups
            .iter()
            .map(|(name, group)| (format!("accessControl.groups[{name:?}].users"), &group.users));
        let metrics = access
            .metrics
            .iter()
            .map(|metrics| ("accessControl.metrics.users".to_owned(), &metrics.users));
        let stars: Vec<_> = policies
            .chain(admin)
            .chain(groups)
            .chain(metrics)
            .filter(|(_, users)| users.iter().any(|user| user == "*"))
            .collect();
        for (key, _) in stars {
            self.warn(
                key,
                "\"*\" is a user whose name is *, not every user: for authenticated callers use defaultPolicy, for all others anonymousPolicy",
            );
        }
    }

    pub(super) fn advise_passwords(
        &mut self,
        has_passwords: bool,
        has_tls: bool,
        has_proxies: bool,
        address: &str,
    ) {
        let loopback = address == "localhost"
            || address
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        if has_passwords && !has_tls && !has_proxies && !loopback {
            self.warn(
                "http.auth.htpasswd",
                format!(
                    "passwords are sent in clear text to {address}: add http.tls, or list the proxy that terminates TLS in http.trustedProxies"
                ),
            );
        }
    }

    pub(super) fn advise_session(&mut self, lifetime: Duration) {
        if lifetime > LONG_SESSION {
            self.warn(
                "http.auth.token.sessionLifetime",
                "a stolen refresh token is valid for more than a day, unless its keys are withdrawn; use 24h or less",
            );
        }
    }

    /// The size of the largest private network.
    pub(super) fn advise_proxy(&mut self, index: usize, text: &str) {
        let Some((address, bits)) = text.split_once('/') else {
            return;
        };
        let least = if address.contains(':') { 7 } else { 8 };
        if bits.parse::<u32>().is_ok_and(|bits| bits < least) {
            self.warn(
                format!("http.trustedProxies[{index}]"),
                format!(
                    "{text} contains clients as well as proxies, and each of them could pretend to be any client: list only the proxies' addresses"
                ),
            );
        }
    }
}

/// The first pattern of `matches` that need not match the whole text. A pattern that is not a literal is
/// unknown.
fn unanchored(expression: &str) -> Option<String> {
    let mut rest = expression;
    while let Some(at) = rest.find("matches(") {
        rest = rest.get(at + "matches(".len()..).unwrap_or_default();
        let argument = rest.trim_start();
        let quoted = argument.trim_start_matches(['r', 'R']);
        let pattern = if quoted.starts_with(['\'', '"']) {
            super::expressions::literals(argument).into_iter().next()
        } else {
            None
        };
        if let Some(pattern) = pattern.filter(|pattern| !is_anchored(pattern)) {
            return Some(pattern);
        }
    }
    None
}

fn is_anchored(pattern: &str) -> bool {
    let pattern = pattern.strip_prefix("(?i)").unwrap_or(pattern);
    let starts = pattern.starts_with('^') || pattern.starts_with(r"\A");
    let ends = (pattern.ends_with('$') && !pattern.ends_with(r"\$")) || pattern.ends_with(r"\z");
    let mut depth = 0_usize;
    let mut escaped = false;
    let mut parts = false;
    for character in pattern.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            // `^a|b$` matches text that begins with a, or ends with b.
            '|' if depth == 0 => parts = true,
            _ => {}
        }
    }
    starts && ends && !parts
}

/// The default `--api-audiences` of Kubernetes distributions.
const API_SERVERS: [&str; 6] = [
    "https://kubernetes.default.svc.cluster.local",
    "https://kubernetes.default.svc",
    "https://kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes",
    "k3s",
];
const LONG_SESSION: Duration = Duration::from_secs(24 * 60 * 60);

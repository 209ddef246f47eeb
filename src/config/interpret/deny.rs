//! `http.auth.deny`

use super::Interpreter;
use crate::clock::Timestamp;
use crate::config::raw;
use crate::config::settings::{DomainConfig, IssuerConfig};
use crate::identity::{DenyList, DenyRule};
use std::fmt::Display;
use std::str::FromStr;

/// The other ways to identify callers, to warn about rules that cannot match.
pub(super) struct Configured<'a> {
    pub(super) issuers: &'a [IssuerConfig],
    pub(super) domains: &'a [DomainConfig],
    pub(super) certificates: bool,
    pub(super) token_server: bool,
    pub(super) passwords: bool,
}

impl Interpreter<'_> {
    pub(super) fn deny(&mut self, entries: Vec<raw::Deny>, configured: &Configured<'_>) -> DenyList {
        let rules = entries.into_iter().enumerate().filter_map(|(i, entry)| {
            let key = format!("http.auth.deny[{i}]");
            let rule = self.deny_rule(&key, entry)?;
            if let Some(why) = configured.matches_nothing(&rule) {
                self.warn(key.clone(), format!("matches nothing: {why}"));
            }
            Some((key, rule))
        });
        rules.collect()
    }

    fn deny_rule(&mut self, key: &str, entry: raw::Deny) -> Option<DenyRule> {
        let raw::Deny {
            spiffe_id,
            issuer,
            name,
            subject,
            jti,
            issued_before,
            authority,
            serial,
            key_thumbprint,
            certificate_thumbprint,
            htpasswd,
            token,
        } = entry;
        let kinds = [
            ("spiffeID", &spiffe_id),
            ("issuer", &issuer),
            ("authority", &authority),
            ("keyThumbprint", &key_thumbprint),
            ("certificateThumbprint", &certificate_thumbprint),
            ("htpasswd", &htpasswd),
            ("token", &token),
        ];
        let given: Vec<_> = kinds
            .iter()
            .filter(|(_, value)| value.is_some())
            .map(|(name, _)| *name)
            .collect();
        if given.len() != 1 {
            let found = if given.is_empty() {
                "none of them".to_owned()
            } else {
                given.join(", ")
            };
            let all = kinds.map(|(name, _)| name).join(", ");
            self.mistake(key, format!("expected exactly one of {all}, found {found}"));
            return None;
        }
        if let Some((name, _)) = kinds
            .iter()
            .find(|(_, value)| value.as_ref().is_some_and(String::is_empty))
        {
            self.mistake(format!("{key}.{name}"), "must not be empty");
            return None;
        }
        let before = self.mistakes.len();
        for (name, misplaced, needs) in [
            ("name", name.is_some() && issuer.is_none(), "issuer"),
            ("subject", subject.is_some() && issuer.is_none(), "issuer"),
            ("jti", jti.is_some() && issuer.is_none(), "issuer"),
            ("serial", serial.is_some() && authority.is_none(), "authority"),
            (
                "issuedBefore",
                issued_before.is_some() && issuer.is_none() && spiffe_id.is_none(),
                "issuer or spiffeID",
            ),
        ] {
            if misplaced {
                self.mistake(format!("{key}.{name}"), format!("needs {needs} in the same rule"));
            }
        }
        let issued_before: Option<Timestamp> =
            self.parsed(&format!("{key}.issuedBefore"), issued_before.as_deref());
        let rule = if let Some(ids) = spiffe_id {
            self.parsed(&format!("{key}.spiffeID"), Some(&ids))
                .map(|ids| DenyRule::Spiffe { ids, issued_before })
        } else if let Some(issuer) = issuer {
            if subject.is_none() && jti.is_none() && issued_before.is_none() && self.mistakes.len() == before
            {
                let what = "needs a subject, a jti or issuedBefore; to reject all tokens of an issuer, remove it from http.auth.bearer.oidc";
                self.mistake(format!("{key}.issuer"), what);
            }
            Some(DenyRule::Issuer {
                issuer,
                name,
                subject,
                id: jti,
                issued_before,
            })
        } else if let Some(authority) = authority {
            if serial.is_none() {
                self.mistake(
                    format!("{key}.serial"),
                    "is missing: it identifies a certificate of the authority",
                );
            }
            self.parsed(&format!("{key}.serial"), serial.as_deref())
                .map(|serial| DenyRule::Certificate { authority, serial })
        } else if let Some(thumbprint) = key_thumbprint {
            self.parsed(&format!("{key}.keyThumbprint"), Some(&thumbprint))
                .map(DenyRule::Key)
        } else if let Some(thumbprint) = certificate_thumbprint {
            self.parsed(&format!("{key}.certificateThumbprint"), Some(&thumbprint))
                .map(DenyRule::CertificateThumbprint)
        } else if let Some(user) = htpasswd {
            Some(DenyRule::Htpasswd { user })
        } else {
            token.map(|id| DenyRule::Token { id })
        };
        rule.filter(|_| self.mistakes.len() == before)
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, key: &str, text: Option<&str>) -> Option<T> {
        let text = text?;
        text.parse()
            .map_err(|why| self.mistake(key, format!("{text:?}: {why}")))
            .ok()
    }
}

impl Configured<'_> {
    /// The reason, if no configured credential could match the rule.
    fn matches_nothing(&self, rule: &DenyRule) -> Option<&'static str> {
        let any_tokens = self.token_server
            || !self.domains.is_empty()
            || self.issuers.iter().any(|issuer| issuer.rules.skip_issuer);
        match rule {
            DenyRule::Spiffe { .. }
                if self.domains.is_empty() && self.issuers.is_empty() && !self.certificates =>
            {
                Some("no trust domain, issuer or authority is configured")
            }
            DenyRule::Issuer {
                issuer,
                name: Some(name),
                ..
            } if !self
                .issuers
                .iter()
                .any(|one| one.rules.issuer == *issuer && one.name.as_ref() == Some(name)) =>
            {
                Some("no entry of this issuer has this name")
            }
            DenyRule::Issuer { issuer, .. }
                if !any_tokens && self.issuers.iter().all(|one| one.rules.issuer != *issuer) =>
            {
                Some("no configured issuer has this name; compare them byte for byte")
            }
            DenyRule::Certificate { .. } | DenyRule::CertificateThumbprint(_)
                if self.domains.is_empty() && !self.certificates =>
            {
                Some("certificates are not accepted")
            }
            DenyRule::Htpasswd { .. } if !self.passwords => Some("there is no http.auth.htpasswd"),
            _ => None,
        }
    }
}

//! Reads the token as its holder may. Its claims explain most rejections, which the registry explains only in
//! its log.

use super::line::Line;
use crate::client::Challenge;
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::workload::{Audiences, RegistryHost, Token};

pub(super) struct Held {
    line: Line,
    /// What to change if the registry rejects the token.
    fix: Option<String>,
}

impl Held {
    /// Reads a token. A registry accepts tokens for its host or for the service in its challenge. Its
    /// configuration may list other audiences, which it does not publish.
    pub(super) fn read(
        token: &Secret,
        host: &RegistryHost,
        challenge: Option<&Challenge>,
        now: Timestamp,
    ) -> Self {
        let what = "the token";
        let Ok(Token {
            audiences, expires, ..
        }) = Token::read(token.expose(), what)
        else {
            return Self {
                line: Line::note(
                    what,
                    "it is not a JWT, so it does not say which registry it is for",
                ),
                fix: None,
            };
        };
        let wanted = host.audience();
        let service = challenge
            .map(Challenge::service)
            .filter(|service| !service.is_empty());
        let for_host = audiences.iter().any(|audience| host.is_audience(audience));
        let fits = for_host
            || audiences
                .iter()
                .any(|audience| Some(audience.as_str()) == service);
        let found = Audiences(&audiences);
        let end = expires
            .map(|at| format!(", {} {at}", if at <= now { "expired at" } else { "until" }))
            .unwrap_or_default();
        let expired = expires
            .filter(|at| *at <= now)
            .map(|at| format!("present a token that is still valid: this one expired at {at}"));
        let other = format!(
            "the token is for {found}, and this registry is {wanted}: request a token with the audience {wanted}, or add {found} to \
             `audiences` in the registry's configuration"
        );
        let line = if fits {
            format!("it is for {found}{end}")
        } else {
            format!("it is for {found}, not for {wanted}{end}")
        };
        Self {
            line: Line::note(what, line),
            fix: expired.or_else(|| (!for_host).then_some(other)),
        }
    }

    pub(super) fn line(&self) -> Line {
        self.line.clone()
    }

    pub(super) fn fix(&self) -> Option<&str> {
        self.fix.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use wharfinger_testkit::unsigned_token;

    #[test]
    fn a_tokens_audience_is_compared_with_those_that_the_registry_accepts() {
        let host: RegistryHost = "r.example:5000".parse().unwrap();
        let challenge =
            Challenge::parse(r#"Bearer realm="https://r.example:5000/v2/token",service="harbor""#).unwrap();
        let read = |claims| {
            Held::read(
                &Secret::new(unsigned_token(&claims)),
                &host,
                Some(&challenge),
                Timestamp::from_secs(100),
            )
        };
        for (claims, said, fix) in [
            (
                json!({"aud": "r.example:5000", "exp": 200}),
                "it is for r.example:5000, until 1970-01-01T00:03:20Z",
                None,
            ),
            (
                json!({"aud": ["x", "oci://r.example:5000/a"]}),
                "it is for x, oci://r.example:5000/a",
                None,
            ),
            (
                json!({"aud": "harbor"}),
                "it is for harbor",
                Some("add harbor to `audiences`"),
            ),
            (
                json!({"aud": "r.example"}),
                "it is for r.example, not for r.example:5000",
                Some("request a token with the audience r.example:5000"),
            ),
            (
                json!({}),
                "it is for no audience, not for r.example:5000",
                Some("the token is for no audience"),
            ),
            (
                json!({"aud": "r.example", "exp": 50}),
                "not for r.example:5000, expired at 1970-01-01T00:00:50Z",
                Some("still valid"),
            ),
        ] {
            let held = read(claims.clone());
            assert!(held.line().found.contains(said), "{claims}: {}", held.line());
            assert_eq!(held.fix().is_some(), fix.is_some(), "{claims}");
            assert!(
                fix.is_none_or(|fix| held.fix().unwrap().contains(fix)),
                "{claims}: {:?}",
                held.fix()
            );
        }
        let password = Held::read(&Secret::new("password"), &host, None, Timestamp::from_secs(100));
        assert!(password.line().found.contains("not a JWT") && password.fix().is_none());
    }
}

//! The challenge of a 401, parsed as clients parse it (RFC 9110, 11.6.1).

use reqwest::Url;

/// A valid `Bearer` challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    realm: Url,
    service: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidChallenge {
    #[error("the scheme is not Bearer")]
    Scheme,
    #[error("it has no realm")]
    NoRealm,
    #[error("its realm is not an absolute URL")]
    Realm,
    #[error("its service is empty")]
    EmptyService,
}

impl Challenge {
    /// Parses the value of a `WWW-Authenticate` header.
    pub fn parse(value: &str) -> Result<Self, InvalidChallenge> {
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(InvalidChallenge::Scheme);
        }
        let parameters = parameters(rest);
        let get = |wanted: &str| {
            parameters
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.as_str())
        };
        let realm = get("realm").ok_or(InvalidChallenge::NoRealm)?;
        let realm = Url::parse(realm)
            .ok()
            .filter(Url::has_host)
            .ok_or(InvalidChallenge::Realm)?;
        let service = get("service").map(str::to_owned);
        if service.as_deref() == Some("") {
            return Err(InvalidChallenge::EmptyService);
        }
        Ok(Self { realm, service })
    }

    /// The address of the token endpoint.
    #[must_use]
    pub const fn realm(&self) -> &Url {
        &self.realm
    }

    /// Returns why a client of `origin` should not send a credential to the realm, if so.
    #[must_use]
    pub fn distrusted_by(&self, origin: &Url) -> Option<&'static str> {
        if origin.scheme() == "https" && self.realm.scheme() != "https" {
            Some("not sent: the realm is not https, so anyone on the network path could read it")
        } else if origin.host_str() != self.realm.host_str() {
            Some(
                "not sent: the realm is on another host, which may belong to anyone; if it is yours, log in there by hand",
            )
        } else {
            None
        }
    }

    /// Returns the service, or an empty text if there is none.
    #[must_use]
    pub fn service(&self) -> &str {
        self.service.as_deref().unwrap_or_default()
    }

    /// Returns the realm's URL with the service and these parameters.
    pub(super) fn token_url(&self, parameters: &[(&str, &str)]) -> Url {
        let mut url = self.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            self.service
                .iter()
                .for_each(|service| _ = query.append_pair("service", service));
            parameters
                .iter()
                .for_each(|(name, value)| _ = query.append_pair(name, value));
        }
        url
    }
}

/// Parses `name="value"` or `name=value`, separated by commas. A quoted value may contain commas.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.push((name.trim().to_owned(), value.trim().to_owned()));
        rest = next.trim_start_matches([' ', ',']);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_challenge_is_read_with_commas_in_its_scope() {
        let value = r#"Bearer realm="https://r.example/v2/token",service="r",scope="repository:a:pull,push",error=invalid_token"#;
        let challenge = Challenge::parse(value).unwrap();
        assert_eq!(
            (challenge.realm().as_str(), challenge.service()),
            ("https://r.example/v2/token", "r")
        );
        assert_eq!(
            challenge.token_url(&[("a", "b c")]).as_str(),
            "https://r.example/v2/token?service=r&a=b+c"
        );
        assert_eq!(parameters(r#"scope="a:pull,push", error=x"#).len(), 2);
    }

    #[test]
    fn each_answer_that_breaks_clients_is_named() {
        for (value, expected) in [
            (r#"Basic realm="r""#, InvalidChallenge::Scheme),
            ("Bearer", InvalidChallenge::NoRealm),
            (r#"Bearer service="r""#, InvalidChallenge::NoRealm),
            (r#"Bearer realm="zot",service="r""#, InvalidChallenge::Realm),
            (
                r#"Bearer realm="https://r.example/token",service="""#,
                InvalidChallenge::EmptyService,
            ),
        ] {
            assert_eq!(Challenge::parse(value), Err(expected), "{value}");
        }
    }
}

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
    /// Parses the value of a `WWW-Authenticate` header. If it has several challenges, the first `Bearer` one is
    /// used.
    pub fn parse(value: &str) -> Result<Self, InvalidChallenge> {
        let offered = offered(value);
        let bearer = offered
            .iter()
            .find(|offered| offered.scheme.eq_ignore_ascii_case("bearer"))
            .ok_or(InvalidChallenge::Scheme)?;
        let get = |wanted: &str| {
            bearer
                .parameters
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

    /// Counts the challenges of all schemes in such a value.
    #[must_use]
    pub fn count(value: &str) -> usize {
        offered(value).len()
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
        } else if origin.origin() != self.realm.origin() {
            Some(
                "not sent: the realm has another scheme, host or port, which may belong to anyone; if it is yours, log in there by hand",
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

    /// Returns the service as a parameter for the token endpoint, if there is one.
    pub(super) fn service_parameter(&self) -> Option<(&str, &str)> {
        self.service.as_deref().map(|service| ("service", service))
    }
}

/// A challenge of any scheme.
#[derive(Debug, PartialEq, Eq)]
struct Offered {
    scheme: String,
    /// Names with values.
    parameters: Vec<(String, String)>,
}

/// Splits a header into its challenges. A comma separates challenges as well as their parameters: a word that no
/// `=` follows is a scheme. Text that fits nowhere is skipped.
fn offered(text: &str) -> Vec<Offered> {
    let mut found: Vec<Offered> = Vec::new();
    let mut rest = text;
    loop {
        let next = rest.trim_start_matches([' ', '\t', ',']);
        if next.is_empty() {
            return found;
        }
        let after_comma = rest
            .strip_suffix(next)
            .is_some_and(|skipped| skipped.contains(','));
        let (word, after) = next.split_at(next.find([' ', '\t', ',', '=', '"']).unwrap_or(next.len()));
        if let Some(given) = after.trim_start_matches(SPACE).strip_prefix('=') {
            let (value, after) = parameter_value(given.trim_start_matches(SPACE));
            if let Some(challenge) = found.last_mut() {
                challenge.parameters.push((word.to_owned(), value));
            }
            rest = after;
        } else {
            // A word directly after a scheme is its token68 (RFC 9110, 11.2), which no client of registries uses.
            if !word.is_empty() && (after_comma || found.is_empty()) {
                found.push(Offered {
                    scheme: word.to_owned(),
                    parameters: Vec::new(),
                });
            }
            rest = after.strip_prefix('"').unwrap_or(after);
        }
    }
}

/// Returns the value that the text begins with, and the text after it. A quoted value may contain commas and
/// escaped characters (RFC 9110, 5.6.4).
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = text.split_at(text.find(',').unwrap_or(text.len()));
        return (value.trim().to_owned(), after);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    (value, chars.as_str())
}

const SPACE: [char; 2] = [' ', '\t'];

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
    }

    #[test]
    fn challenges_are_found_beside_others_with_tabs_and_escaped_quotes() {
        for value in [
            r#"Basic realm="a, b", Bearer realm="https://r.example/token", service="r""#,
            r#"Bearer realm="https://r.example/token",service=r, Basic realm="x""#,
            "\tBearer\trealm = \"https://r.example/token\"\t,\tservice=\"r\"",
            r#"Negotiate, Bearer realm="https://r.example/token", service="r""#,
            r#"Negotiate a87421000492aa==, BEARER realm="https://r.example/token", service="r""#,
            r#"Bearer realm="https://r.example/token",service="\r""#,
        ] {
            let challenge = Challenge::parse(value).unwrap();
            assert_eq!(
                (challenge.realm().as_str(), challenge.service()),
                ("https://r.example/token", "r"),
                "{value}"
            );
        }
        let quoted = offered(r#"Bearer error="a \"b\", c\\", scope="d"#);
        let expected = [("error", r#"a "b", c\"#), ("scope", "d")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(quoted[0].parameters, expected);
        for (value, count) in [
            ("", 0),
            (r#"="x" "y" ,"#, 1),
            ("Bearer", 1),
            ("Negotiate abc/+", 1),
            (r#"Basic realm="a, b", Bearer realm="c", Digest"#, 3),
        ] {
            assert_eq!(Challenge::count(value), count, "{value}");
        }
    }

    #[test]
    fn each_answer_that_breaks_clients_is_named() {
        for (value, expected) in [
            (r#"Basic realm="r""#, InvalidChallenge::Scheme),
            ("", InvalidChallenge::Scheme),
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

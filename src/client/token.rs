//! The token endpoint that a challenge names: its requests and what it issues.

use super::answer::Answer;
use super::challenge::Challenge;
use super::request::Request;
use crate::secret::Secret;
use serde_json::Value;

impl Challenge {
    /// The request of docker's token protocol.
    #[must_use]
    pub fn get_token(&self, parameters: &[(&str, &str)]) -> Request {
        let mut url = self.realm().clone();
        let all = self.service_parameter().into_iter();
        let mut all = all.chain(parameters.iter().copied()).peekable();
        // A URL without parameters must not end in `?`.
        if all.peek().is_some() {
            url.query_pairs_mut().extend_pairs(all);
        }
        Request::get(url)
    }

    /// The OAuth request for a grant, with its other parameters.
    #[must_use]
    pub fn post_token(&self, grant: &str, parameters: &[(&str, &str)]) -> Request {
        let mut all = vec![("grant_type", grant)];
        all.extend(self.service_parameter());
        all.extend(parameters);
        Request::form(self.realm().clone(), &all)
    }
}

/// A token that an endpoint issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedToken {
    pub token: Secret,
    /// Its lifetime in seconds, if the endpoint sent it.
    pub expires_in: Option<i64>,
}

impl IssuedToken {
    /// Reads the body of a successful answer. Returns `None` if it contains no token.
    #[must_use]
    pub fn read(answer: &Answer) -> Option<Self> {
        let body = answer.json();
        let token = body
            .get("token")
            .or_else(|| body.get("access_token"))
            .and_then(Value::as_str)
            .filter(|token| !token.is_empty())?;
        Some(Self {
            token: Secret::new(token),
            expires_in: body.get("expires_in").and_then(Value::as_i64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_sent_once_in_the_query_of_a_get_or_in_the_form_of_a_post() {
        for (service, get, post) in [
            (
                r#",service="r""#,
                "?service=r&a=b+c",
                "grant_type=g&service=r&a=b+c",
            ),
            ("", "?a=b+c", "grant_type=g&a=b+c"),
        ] {
            let value = format!("Bearer realm=\"https://r.example/token\"{service}");
            let challenge = Challenge::parse(&value).unwrap();
            let parameters = [("a", "b c")];
            assert_eq!(
                challenge.get_token(&parameters).url.as_str(),
                format!("https://r.example/token{get}")
            );
            let form = challenge.post_token("g", &parameters);
            assert_eq!(form.url.as_str(), "https://r.example/token");
            assert_eq!(form.body, post.as_bytes());
        }
        let bare = Challenge::parse(r#"Bearer realm="https://r.example/token""#).unwrap();
        assert_eq!(bare.get_token(&[]).url.as_str(), "https://r.example/token");
    }
}

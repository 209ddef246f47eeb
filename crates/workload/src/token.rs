//! A token as its holder sees it. Its claims say whether it is worth presenting. The registry verifies it.

use super::source_error::SourceError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use wharfinger_base::clock::Timestamp;
use wharfinger_base::secret::Secret;

#[derive(Debug)]
pub struct Token {
    pub secret: Secret,
    pub audiences: Vec<String>,
    pub expires: Option<Timestamp>,
}

impl Token {
    /// Parses a token. `place` is its source, for error messages.
    pub fn read(text: &str, place: &str) -> Result<Self, SourceError> {
        let text = text.trim();
        let claims = claims(text).ok_or_else(|| SourceError::NotAToken {
            place: place.to_owned(),
        })?;
        let audiences = match claims.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let expires = claims
            .get("exp")
            .and_then(Value::as_f64)
            .and_then(Timestamp::from_numeric_date);
        Ok(Self {
            secret: Secret::new(text),
            audiences,
            expires,
        })
    }

    /// Returns the token if it has not expired. Otherwise its renewal has failed.
    pub(super) fn fresh(self, place: &str, now: Timestamp) -> Result<Self, SourceError> {
        match self.expires.filter(|expires| *expires <= now) {
            Some(at) => Err(SourceError::Expired {
                place: place.to_owned(),
                at,
            }),
            None => Ok(self),
        }
    }
}

fn claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use wharfinger_testkit::unsigned_token;

    #[test]
    fn the_audiences_and_the_expiry_are_read() {
        let token = Token::read(
            &format!(" {}\n", unsigned_token(&json!({"aud": "a", "exp": 100.5}))),
            "here",
        )
        .unwrap();
        assert_eq!(
            (token.audiences, token.expires),
            (vec!["a".to_owned()], Some(Timestamp::from_millis(100_500)))
        );
        assert!(!token.secret.expose().contains(char::is_whitespace));
        let token = Token::read(&unsigned_token(&json!({"aud": ["a", "b"]})), "here").unwrap();
        assert_eq!((token.audiences.len(), token.expires), (2, None));
        for bad in ["", "password", "a.b", "a.b.c", "a.b.c.d"] {
            assert_eq!(
                Token::read(bad, "here").map(drop),
                Err(SourceError::NotAToken { place: "here".into() }),
                "{bad}"
            );
        }
    }

    #[test]
    fn an_expired_token_is_reported_with_its_source_and_time() {
        let token = || Token::read(&unsigned_token(&json!({"exp": 100})), "file /t").unwrap();
        assert!(token().fresh("file /t", Timestamp::from_secs(99)).is_ok());
        let why = token()
            .fresh("file /t", Timestamp::from_secs(100))
            .unwrap_err()
            .to_string();
        assert!(
            why.contains("file /t") && why.contains("1970-01-01T00:01:40Z"),
            "{why}"
        );
    }
}

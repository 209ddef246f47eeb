//! The challenge of a 401. There is exactly one, `Bearer`, and its realm has the address that the client
//! used. `Basic` is accepted but not advertised: with two challenges clients choose by their order, and
//! anonymous clients fail.
//!
//! RFC 6750, 3 and <https://distribution.github.io/distribution/spec/auth/token/>

use super::authority::Origin;
use super::fault::ChallengeError;

/// Where clients get tokens: at an external token server, or here at the address that they used.
pub(super) fn realm(external: Option<&str>, origin: &Origin) -> String {
    external.map_or_else(|| format!("{origin}/v2/token"), str::to_owned)
}

/// The value of `WWW-Authenticate`. It has no empty parameters.
pub(super) fn bearer(
    realm: &str,
    service: &str,
    scope: Option<&str>,
    error: Option<ChallengeError>,
) -> String {
    // A quote would end the quoted string. The other parameters cannot have one.
    let service: String = service
        .chars()
        .filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\'))
        .collect();
    let service = if service.is_empty() {
        "wharfinger"
    } else {
        &service
    };
    let mut value = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
    if let Some(scope) = scope {
        value.push_str(",scope=\"");
        value.push_str(scope);
        value.push('"');
    }
    value.push_str(match error {
        None => "",
        Some(ChallengeError::InvalidToken) => ",error=\"invalid_token\"",
        Some(ChallengeError::InsufficientScope) => ",error=\"insufficient_scope\"",
    });
    value
}

#[cfg(test)]
mod tests {
    use super::super::authority;
    use super::*;

    fn origin() -> Origin {
        let request = http::Request::builder()
            .uri("https://r.example:5000/v2/")
            .body(())
            .unwrap();
        authority::origin(
            &request.into_parts().0,
            true,
            &super::super::proxies::Forwarded::default(),
            &[],
        )
        .unwrap()
    }

    #[test]
    fn there_is_one_challenge_without_empty_parameters() {
        assert_eq!(
            bearer(&realm(None, &origin()), "r", None, None),
            r#"Bearer realm="https://r.example:5000/v2/token",service="r""#
        );
        assert_eq!(
            bearer(
                &realm(None, &origin()),
                "a\"b",
                Some("repository:x/y:pull"),
                Some(ChallengeError::InvalidToken)
            ),
            r#"Bearer realm="https://r.example:5000/v2/token",service="ab",scope="repository:x/y:pull",error="invalid_token""#
        );
        assert!(bearer(&realm(None, &origin()), "", None, None).contains(r#"service="wharfinger""#));
    }
}

//! The challenge of a 401: exactly one, `Bearer`, with a realm on the address that the client used. `Basic`
//! is accepted and never advertised, since beside it clients choose by order and the anonymous ones break.
//!
//! RFC 6750, 3 and <https://distribution.github.io/distribution/spec/auth/token/>

use super::answer::ChallengeError;
use super::authority::Origin;
use super::route::Route;
use http::Method;

/// The one scope that would have been needed, as in `repository:app/web:pull`; `None` where no repository is
/// asked for.
pub(super) fn scope(route: &Route, method: &Method) -> Option<String> {
    if *route == Route::Catalog {
        return Some("registry:catalog:*".to_owned());
    }
    let actions = match (route, method) {
        // Of an upload only who may push hears anything.
        (Route::Uploads(..) | Route::Upload(..), _) => "pull,push",
        (_, &Method::GET | &Method::HEAD) => "pull",
        (Route::Manifest(..) | Route::Blob(..), &Method::DELETE) => "delete",
        _ => "pull,push",
    };
    route
        .repository()
        .map(|name| format!("repository:{name}:{actions}"))
}

/// Where clients ask for tokens: at an external token server, or here under the address that they used.
pub(super) fn realm(external: Option<&str>, origin: &Origin) -> String {
    external.map_or_else(|| format!("{origin}/v2/token"), str::to_owned)
}

/// The value of `WWW-Authenticate`. No parameter is ever empty.
pub(super) fn bearer(
    realm: &str,
    service: &str,
    scope: Option<&str>,
    error: Option<ChallengeError>,
) -> String {
    // A quoted string ends at a quote; the rest of the parameters are ours and have none.
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
    fn one_challenge_with_nothing_empty() {
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

    #[test]
    fn the_scope_is_what_the_request_needs() {
        let name = "x/y";
        let digest = format!("sha256:{}", "a".repeat(64));
        for (method, path, expected) in [
            (Method::GET, "/v2/".to_owned(), None),
            (Method::GET, "/v2/token".to_owned(), None),
            (Method::GET, "/v2/_catalog".to_owned(), Some("registry:catalog:*")),
            (
                Method::GET,
                format!("/v2/{name}/manifests/v1"),
                Some("repository:x/y:pull"),
            ),
            (
                Method::HEAD,
                format!("/v2/{name}/blobs/{digest}"),
                Some("repository:x/y:pull"),
            ),
            (
                Method::PUT,
                format!("/v2/{name}/manifests/v1"),
                Some("repository:x/y:pull,push"),
            ),
            (
                Method::POST,
                format!("/v2/{name}/blobs/uploads/"),
                Some("repository:x/y:pull,push"),
            ),
            (
                Method::GET,
                format!("/v2/{name}/blobs/uploads/1"),
                Some("repository:x/y:pull,push"),
            ),
            (
                Method::DELETE,
                format!("/v2/{name}/blobs/uploads/1"),
                Some("repository:x/y:pull,push"),
            ),
            (
                Method::DELETE,
                format!("/v2/{name}/manifests/v1"),
                Some("repository:x/y:delete"),
            ),
        ] {
            assert_eq!(
                scope(&Route::parse(&path).unwrap(), &method).as_deref(),
                expected,
                "{method} {path}"
            );
        }
    }
}

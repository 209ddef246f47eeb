//! Paths and the routes that they name.

use super::super::path::InvalidEncoding;
use super::*;
use crate::limits::REPOSITORY_NAME_BYTES;
use crate::oci::{InvalidDigest, InvalidName, InvalidReference};
use http::Method;

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

#[test]
fn every_endpoint_of_the_specification_has_a_route() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let parsed: Digest = digest.parse().unwrap();
    for (path, expected) in [
        ("/".to_owned(), Route::Public(Public::Welcome)),
        ("/v2/".to_owned(), Route::Resource(Resource::Base)),
        ("/v2".to_owned(), Route::Resource(Resource::Base)),
        ("/v2/_catalog".to_owned(), Route::Resource(Resource::Catalog)),
        (
            "/v2/_oci/ext/discover".to_owned(),
            Route::Resource(Resource::Extensions),
        ),
        ("/v2/token".to_owned(), Route::Public(Public::Token)),
        ("/token".to_owned(), Route::Public(Public::Token)),
        ("/zot/auth/token".to_owned(), Route::Public(Public::Token)),
        ("/v2/_wharfinger/jwks".to_owned(), Route::Resource(Resource::Jwks)),
        ("/metrics".to_owned(), Route::Resource(Resource::Metrics)),
        (
            "/v2/_wharfinger/whoami".to_owned(),
            Route::Resource(Resource::Whoami),
        ),
        ("/livez".to_owned(), Route::Probe(Probe::Live)),
        ("/readyz".to_owned(), Route::Probe(Probe::Ready)),
        ("/startupz".to_owned(), Route::Probe(Probe::Startup)),
    ] {
        assert_eq!(Route::parse(&path), Ok(expected), "{path}");
    }
    for (path, expected) in [
        (
            "/v2/a/b/manifests/v1".to_owned(),
            Resource::Manifest(name("a/b"), "v1".parse().unwrap()),
        ),
        (
            format!("/v2/a/manifests/{digest}"),
            Resource::Manifest(name("a"), Reference::Digest(parsed.clone())),
        ),
        (
            format!("/v2/a/blobs/{digest}"),
            Resource::Blob(name("a"), parsed.clone()),
        ),
        ("/v2/a/blobs/uploads/".to_owned(), Resource::Uploads(name("a"))),
        ("/v2/a/blobs/uploads".to_owned(), Resource::Uploads(name("a"))),
        (
            "/v2/a/blobs/uploads/x1".to_owned(),
            Resource::Upload(name("a"), "x1".into()),
        ),
        ("/v2/a/tags/list".to_owned(), Resource::Tags(name("a"))),
        (
            format!("/v2/a/referrers/{digest}"),
            Resource::Referrers(name("a"), parsed),
        ),
    ] {
        assert_eq!(Route::parse(&path), Ok(Route::Resource(expected)), "{path}");
    }
}

#[test]
fn d_24_names_may_have_the_components_that_paths_are_made_of() {
    let latest: Reference = "latest".parse().unwrap();
    for (path, expected) in [
        (
            "/v2/v2/manifests/latest",
            Resource::Manifest(name("v2"), latest.clone()),
        ),
        (
            "/v2/token/manifests/latest",
            Resource::Manifest(name("token"), latest.clone()),
        ),
        (
            "/v2/manifests/manifests/manifests",
            Resource::Manifest(name("manifests"), "manifests".parse().unwrap()),
        ),
        (
            "/v2/a/blobs/uploads/manifests/latest",
            Resource::Manifest(name("a/blobs/uploads"), latest),
        ),
        (
            "/v2/blobs/uploads/blobs/uploads/",
            Resource::Uploads(name("blobs/uploads")),
        ),
        (
            "/v2/blobs/blobs/uploads/uploads",
            Resource::Upload(name("blobs"), "uploads".into()),
        ),
        ("/v2/tags/tags/list", Resource::Tags(name("tags"))),
        (
            "/v2/v2/manifests/blobs/tags/token/tags/list",
            Resource::Tags(name("v2/manifests/blobs/tags/token")),
        ),
    ] {
        assert_eq!(Route::parse(path), Ok(Route::Resource(expected)), "{path}");
    }
}

#[test]
fn bad_names_are_rejected_before_policy_sees_them() {
    let grammar = Err(InvalidPath::Name(InvalidName::Grammar));
    for path in [
        "/v2/%41/manifests/v1",
        "/v2/a%2F%2E%2E%2Fb/manifests/v1",
        "/v2/a%5Cb/manifests/v1",
        "/v2/%C3%A4/manifests/v1",
        "/v2/../manifests/v1",
        "/v2/a/../b/manifests/v1",
        "/v2/a/./b/tags/list",
        "/v2//manifests/v1",
        "/v2/a//tags/list",
        "/v2/A/blobs/uploads/",
        "/v2/a\\b/tags/list",
    ] {
        assert_eq!(Route::parse(path), grammar, "{path}");
    }
    let long = format!("/v2/{}/tags/list", "a".repeat(REPOSITORY_NAME_BYTES + 1));
    assert_eq!(Route::parse(&long), Err(InvalidPath::Name(InvalidName::TooLong)));
}

#[test]
fn every_character_is_decoded_once() {
    let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let encoded = digest.as_str().replace(':', "%3a");
    let every: String = "/v2/a/tags/list"
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    for (path, expected) in [
        (
            "/v2/a%2Fb/manifests/v1".to_owned(),
            Resource::Manifest(name("a/b"), "v1".parse().unwrap()),
        ),
        (
            "/v2/%61/manifests/v%31".to_owned(),
            Resource::Manifest(name("a"), "v1".parse().unwrap()),
        ),
        (
            format!("/v2/a/blobs/{encoded}"),
            Resource::Blob(name("a"), digest),
        ),
        (
            "/v2/a/blobs%2fuploads%2f".to_owned(),
            Resource::Uploads(name("a")),
        ),
        (every, Resource::Tags(name("a"))),
    ] {
        assert_eq!(Route::parse(&path), Ok(Route::Resource(expected)), "{path}");
    }
    for (path, expected) in [
        ("/v2/a%252Fb/manifests/v1", InvalidEncoding::Percent),
        ("/v2/a%/manifests/v1", InvalidEncoding::Percent),
        ("/v2/a%zz/manifests/v1", InvalidEncoding::Percent),
        ("/v2/a%00/manifests/v1", InvalidEncoding::Control),
        ("/v2/a/manifests/v1%0d%0a", InvalidEncoding::Control),
        ("/v2/a/tags/list%7F", InvalidEncoding::Control),
        ("/v2/a%ff/manifests/v1", InvalidEncoding::Text),
    ] {
        assert_eq!(Route::parse(path), Err(InvalidPath::Encoding(expected)), "{path}");
    }
}

#[test]
fn malformed_references_and_digests_are_rejected() {
    assert!(matches!(
        Route::parse("/v2/a/manifests/.x"),
        Err(InvalidPath::Reference(InvalidReference::Tag(_)))
    ));
    assert!(matches!(
        Route::parse("/v2/a/manifests/v%20"),
        Err(InvalidPath::Reference(InvalidReference::Tag(_)))
    ));
    assert!(matches!(
        Route::parse("/v2/a/manifests/sha256:bad"),
        Err(InvalidPath::Reference(InvalidReference::Digest(_)))
    ));
    assert_eq!(
        Route::parse("/v2/a/blobs/latest"),
        Err(InvalidPath::Digest(InvalidDigest::Encoded))
    );
    assert_eq!(
        Route::parse("/v2/a/referrers/sha256:bad"),
        Err(InvalidPath::Digest(InvalidDigest::Encoded))
    );
}

#[test]
fn other_paths_are_unknown() {
    for path in [
        "",
        "*",
        "/v1/",
        "/v2/a",
        "/v2/tags/list",
        "/v2/a/tags/all",
        "/v2/a/uploads/x",
        "/v2/a/b/c",
        "/V2/",
        "/v2/_catalog/",
        "//v2/",
    ] {
        assert_eq!(Route::parse(path), Err(InvalidPath::Unknown), "{path}");
    }
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
            Route::parse(&path).unwrap().row().scope(&method).as_deref(),
            expected,
            "{method} {path}"
        );
    }
}

#[test]
fn a_route_allows_the_methods_of_its_row() {
    let digest = format!("sha256:{}", "a".repeat(64));
    for (path, methods) in [
        ("/livez".to_owned(), "GET, HEAD"),
        ("/v2/token".to_owned(), "GET, POST"),
        ("/v2/a/blobs/uploads/".to_owned(), "POST"),
        (
            "/v2/a/blobs/uploads/1".to_owned(),
            "GET, HEAD, PATCH, PUT, DELETE",
        ),
        (format!("/v2/a/blobs/{digest}"), "GET, HEAD, DELETE"),
    ] {
        let route = Route::parse(&path).unwrap();
        let allowed: Vec<_> = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PATCH,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
        ]
        .into_iter()
        .filter(|method| route.row().allows(method))
        .collect();
        let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
        assert_eq!(names.join(", "), methods, "{path}");
    }
}

#[test]
fn metrics_can_be_at_any_path_that_is_no_other_route() {
    for path in [
        "/",
        "/v2",
        "/v2/",
        "/token",
        "/zot/auth/token",
        "/livez",
        "/readyz",
        "/startupz",
    ] {
        assert!(is_route(path), "{path}");
    }
    for path in ["/metrics", "/prometheus", "/a/metrics", "/livez/a"] {
        assert!(!is_route(path), "{path}");
    }
}

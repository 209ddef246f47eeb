//! From a raw request path to a route. Each `%XX` is decoded once, before anything else is read, since some
//! clients encode what need not be encoded: the Azure SDKs write `%2F` and `%3A`. So what policy judges is
//! the decoded name. The path is then read from the right, since a repository may be called
//! `v2/manifests/blobs`.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#endpoints>

use crate::oci::{Digest, InvalidDigest, InvalidName, InvalidReference, Reference, RepositoryName};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// What a path names. Parsed parts are as the grammar wants them; which methods there are is the handlers'
/// business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/`, for people with a browser.
    Welcome,
    Base,
    Catalog,
    Extensions,
    Token,
    Metrics,
    Whoami,
    /// The public keys of our own tokens.
    Jwks,
    Health(Probe),
    Manifest(RepositoryName, Reference),
    Blob(RepositoryName, Digest),
    /// Where uploads begin.
    Uploads(RepositoryName),
    /// One upload. Its identifier is read by the handler: one that is malformed is just unknown.
    Upload(RepositoryName, String),
    Tags(RepositoryName),
    Referrers(RepositoryName, Digest),
}

/// The three questions of an orchestrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Live,
    Ready,
    Startup,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidPath {
    #[error("there is nothing at this path")]
    Unknown,
    #[error(transparent)]
    Encoding(#[from] InvalidEncoding),
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

/// What no name, tag or digest has in it, however it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidEncoding {
    #[error(
        "a % remains after percent-encoding was decoded once: encode each character once, as %XX, or not at all"
    )]
    Percent,
    #[error("there is a NUL or control character: names, tags and digests have none")]
    Control,
    #[error("percent-encoding yields no UTF-8")]
    Text,
}

/// Decodes each `%XX` once.
fn decoded(raw: &str) -> Result<Cow<'_, str>, InvalidEncoding> {
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let text = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| InvalidEncoding::Text)?;
    clean(&text)?;
    Ok(text)
}

/// Whether decoded text can stand in a name, a tag or a digest at all.
pub(super) fn clean(text: &str) -> Result<(), InvalidEncoding> {
    if text.contains('%') {
        return Err(InvalidEncoding::Percent);
    }
    if text.chars().any(char::is_control) {
        Err(InvalidEncoding::Control)
    } else {
        Ok(())
    }
}

impl Route {
    /// `path` as it came, without the query.
    pub(super) fn parse(path: &str) -> Result<Self, InvalidPath> {
        let path = &*decoded(path)?;
        match path {
            "/" => return Ok(Self::Welcome),
            "/livez" => return Ok(Self::Health(Probe::Live)),
            "/readyz" => return Ok(Self::Health(Probe::Ready)),
            "/startupz" => return Ok(Self::Health(Probe::Startup)),
            "/metrics" => return Ok(Self::Metrics),
            "/v2" | "/v2/" => return Ok(Self::Base),
            "/v2/_catalog" => return Ok(Self::Catalog),
            "/v2/_oci/ext/discover" => return Ok(Self::Extensions),
            // The last is zot's.
            "/v2/token" | "/token" | "/zot/auth/token" => return Ok(Self::Token),
            "/v2/_wharfinger/whoami" => return Ok(Self::Whoami),
            "/v2/_wharfinger/jwks" => return Ok(Self::Jwks),
            _ => {}
        }
        let path = path.strip_prefix("/v2/").ok_or(InvalidPath::Unknown)?;
        let (before, last) = cut(path)?;
        let (name, kind) = cut(before)?;
        match (kind, last) {
            ("manifests", reference) => Ok(Self::Manifest(name.parse()?, reference.parse()?)),
            ("tags", "list") => Ok(Self::Tags(name.parse()?)),
            ("referrers", digest) => Ok(Self::Referrers(name.parse()?, digest.parse()?)),
            ("blobs", "uploads") => Ok(Self::Uploads(name.parse()?)),
            ("blobs", digest) => Ok(Self::Blob(name.parse()?, digest.parse()?)),
            ("uploads", id) => match cut(name)? {
                (name, "blobs") if id.is_empty() => Ok(Self::Uploads(name.parse()?)),
                (name, "blobs") => Ok(Self::Upload(name.parse()?, id.to_owned())),
                _ => Err(InvalidPath::Unknown),
            },
            _ => Err(InvalidPath::Unknown),
        }
    }

    pub(super) const fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Welcome
            | Self::Base
            | Self::Catalog
            | Self::Extensions
            | Self::Token
            | Self::Metrics
            | Self::Whoami
            | Self::Jwks
            | Self::Health(_) => None,
            Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Tags(name)
            | Self::Referrers(name, _) => Some(name),
        }
    }
}

/// What is before and behind the last slash.
fn cut(path: &str) -> Result<(&str, &str), InvalidPath> {
    path.rsplit_once('/').ok_or(InvalidPath::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::REPOSITORY_NAME_BYTES;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn every_endpoint_of_the_specification_has_a_route() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let parsed: Digest = digest.parse().unwrap();
        for (path, expected) in [
            ("/".to_owned(), Route::Welcome),
            ("/v2/".to_owned(), Route::Base),
            ("/v2".to_owned(), Route::Base),
            ("/v2/_catalog".to_owned(), Route::Catalog),
            ("/v2/_oci/ext/discover".to_owned(), Route::Extensions),
            ("/v2/token".to_owned(), Route::Token),
            ("/token".to_owned(), Route::Token),
            ("/zot/auth/token".to_owned(), Route::Token),
            ("/v2/_wharfinger/jwks".to_owned(), Route::Jwks),
            ("/metrics".to_owned(), Route::Metrics),
            ("/v2/_wharfinger/whoami".to_owned(), Route::Whoami),
            ("/livez".to_owned(), Route::Health(Probe::Live)),
            ("/readyz".to_owned(), Route::Health(Probe::Ready)),
            ("/startupz".to_owned(), Route::Health(Probe::Startup)),
            (
                "/v2/a/b/manifests/v1".to_owned(),
                Route::Manifest(name("a/b"), "v1".parse().unwrap()),
            ),
            (
                format!("/v2/a/manifests/{digest}"),
                Route::Manifest(name("a"), Reference::Digest(parsed.clone())),
            ),
            (
                format!("/v2/a/blobs/{digest}"),
                Route::Blob(name("a"), parsed.clone()),
            ),
            ("/v2/a/blobs/uploads/".to_owned(), Route::Uploads(name("a"))),
            ("/v2/a/blobs/uploads".to_owned(), Route::Uploads(name("a"))),
            (
                "/v2/a/blobs/uploads/x1".to_owned(),
                Route::Upload(name("a"), "x1".into()),
            ),
            ("/v2/a/tags/list".to_owned(), Route::Tags(name("a"))),
            (
                format!("/v2/a/referrers/{digest}"),
                Route::Referrers(name("a"), parsed),
            ),
        ] {
            assert_eq!(Route::parse(&path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn d_24_names_may_have_the_components_that_paths_are_made_of() {
        let latest: Reference = "latest".parse().unwrap();
        for (path, expected) in [
            (
                "/v2/v2/manifests/latest",
                Route::Manifest(name("v2"), latest.clone()),
            ),
            (
                "/v2/token/manifests/latest",
                Route::Manifest(name("token"), latest.clone()),
            ),
            (
                "/v2/manifests/manifests/manifests",
                Route::Manifest(name("manifests"), "manifests".parse().unwrap()),
            ),
            (
                "/v2/a/blobs/uploads/manifests/latest",
                Route::Manifest(name("a/blobs/uploads"), latest),
            ),
            (
                "/v2/blobs/uploads/blobs/uploads/",
                Route::Uploads(name("blobs/uploads")),
            ),
            (
                "/v2/blobs/blobs/uploads/uploads",
                Route::Upload(name("blobs"), "uploads".into()),
            ),
            ("/v2/tags/tags/list", Route::Tags(name("tags"))),
            (
                "/v2/v2/manifests/blobs/tags/token/tags/list",
                Route::Tags(name("v2/manifests/blobs/tags/token")),
            ),
        ] {
            assert_eq!(Route::parse(path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn bad_names_are_seen_before_anybody_judges_them() {
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
    fn every_octet_is_decoded_once() {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let encoded = digest.as_str().replace(':', "%3a");
        let every: String = "/v2/a/tags/list"
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        for (path, expected) in [
            (
                "/v2/a%2Fb/manifests/v1".to_owned(),
                Route::Manifest(name("a/b"), "v1".parse().unwrap()),
            ),
            (
                "/v2/%61/manifests/v%31".to_owned(),
                Route::Manifest(name("a"), "v1".parse().unwrap()),
            ),
            (format!("/v2/a/blobs/{encoded}"), Route::Blob(name("a"), digest)),
            ("/v2/a/blobs%2fuploads%2f".to_owned(), Route::Uploads(name("a"))),
            (every, Route::Tags(name("a"))),
        ] {
            assert_eq!(Route::parse(&path), Ok(expected), "{path}");
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
    fn references_and_digests_are_nothing_else() {
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
    fn anything_else_is_unknown() {
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
}

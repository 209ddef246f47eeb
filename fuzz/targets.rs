//! What strangers' bytes are parsed by, each as a function of bytes that panics if something is wrong: not only if the parser panics, but
//! also if what it made does not keep its promises. `fuzz_targets/` gives them to libFuzzer, `tests/fuzz.rs` to a short run.

use std::path::Path;
use wharfinger::access::Repositories;
use wharfinger::config::{self, Environment};
use wharfinger::expr;
use wharfinger::oci::{Condition, ContentRange, Digest, Manifest, RangeRequest, Reference, RepositoryName};
use wharfinger::spiffe_id::{SpiffeId, SpiffePattern, TrustDomain};
use wharfinger::trust::jwks::{self, UseRule};
use wharfinger::trust::{bundle, jwt, x509};

/// A target with some input that is good, or nearly.
pub(crate) type Target = (&'static str, fn(&[u8]), &'static [&'static str]);

pub(crate) const TARGETS: &[Target] = &[
    ("name", name, &["a", "library/alpine", "a.b_c__d---e/f"]),
    ("reference", reference, &["v1", "_", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]),
    ("range", range, &["bytes=0-9", "bytes=-1", "bytes=5-", "0-1023", "bytes=18446744073709551615-18446744073709551615"]),
    ("condition", condition, &["*", "\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\", W/\"x\""]),
    ("manifest", manifest, &[MANIFEST, INDEX]),
    ("target", target, &["/v2/a/b/manifests/v1?tag=a&tag=b", "/v2/a/blobs/uploads/?mount=sha256:x&from=a%2Fb", "/v2/_catalog?n=1&last=a"]),
    ("pattern", pattern, &["**", "app/**", "{a,b}/[a-z]*?", "\\[a\\]"]),
    ("spiffe_id", spiffe_id, &["spiffe://example.org/a/b", "spiffe://example.org/a/", "example.org"]),
    ("jwt", token, &["eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzcGlmZmU6Ly9hL2IiLCJhdWQiOlsieCJdLCJleHAiOjF9.AAAA"]),
    ("jwks", key_set, &[JWKS, "{\"keys\":[]}"]),
    (
        "bundle",
        trust_bundle,
        &[JWKS, "{\"trust_domains\":{\"a\":{\"keys\":[]}}}", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"],
    ),
    ("certificate", certificate, &["0\u{0}", "0\u{3}0\u{1}\u{0}"]),
    ("expression", expression, &["claims.sub + ':' + claims.iss", "claims.groups.filter(g, g.startsWith('a')).map(g, g + '/b')"]),
    ("configuration", configuration, &[CONFIGURATION]),
];

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"data":""}],"annotations":{"k":"v"}}"#;
const INDEX: &str = r#"{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}],"subject":{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}"#;
const JWKS: &str = r#"{"spiffe_sequence":1,"keys":[{"kty":"EC","kid":"a","use":"jwt-svid","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#;
const CONFIGURATION: &str = "storage: {rootDirectory: s, sparse: [a/**]}\nhttp:\n  port: 0\n  auth: {bearer: {oidc: [{issuer: 'https://i.example', audiences: [a], claimMapping: {username: 'claims.sub'}}]}}\naccessControl: {repositories: {'**': {anonymousPolicy: [read]}}}\n";

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

pub(crate) fn name(bytes: &[u8]) {
    if let Ok(name) = text(bytes).parse::<RepositoryName>() {
        assert_eq!(name.as_str(), text(bytes));
        assert!(name.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte)));
        assert!(name.as_str().split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
    }
}

pub(crate) fn reference(bytes: &[u8]) {
    match text(bytes).parse::<Reference>() {
        Ok(Reference::Tag(tag)) => assert!(!tag.as_str().contains([':', '/']) && tag.as_str() == text(bytes)),
        Ok(Reference::Digest(digest)) => assert_eq!(digest.as_str().parse::<Digest>().as_ref(), Ok(&digest)),
        Err(_) => {}
    }
}

pub(crate) fn range(bytes: &[u8]) {
    for size in [0, 1, 10, u64::MAX] {
        if let RangeRequest::Part(part) = RangeRequest::parse(Some(text(bytes)), size) {
            assert!(part.start <= part.end && part.end < size);
        }
    }
    if let Ok(range) = text(bytes).parse::<ContentRange>() {
        assert!(range.start <= range.end && range.len() > 0);
    }
}

pub(crate) fn condition(bytes: &[u8]) {
    let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().expect("a digest");
    assert!(!Condition::parse(Some(text(bytes)), None).allows(None));
    assert!(Condition::parse(None, Some(text(bytes))).allows(None));
    let both = Condition::parse(Some(text(bytes)), Some(text(bytes)));
    assert!(!both.allows(Some(&digest)) || !text(bytes).contains(digest.as_str()));
}

pub(crate) fn manifest(bytes: &[u8]) {
    for content_type in [None, Some("application/vnd.oci.image.manifest.v1+json"), Some("application/vnd.oci.image.index.v1+json")] {
        if let Ok(manifest) = Manifest::parse(content_type, bytes) {
            assert!(manifest.media_type.is_index() || manifest.manifests.is_empty());
            assert!(!manifest.media_type.is_index() || manifest.blobs.is_empty());
        }
    }
}

pub(crate) fn target(bytes: &[u8]) {
    let (path, query) = text(bytes).split_once('?').map_or((text(bytes), None), |(path, query)| (path, Some(query)));
    if let Some(repository) = wharfinger::http::repository_named(path, query) {
        assert!(path.starts_with(&format!("/v2/{repository}/")), "what policy judges is what the client wrote");
        name(repository.as_str().as_bytes());
    }
}

pub(crate) fn pattern(bytes: &[u8]) {
    if let Ok(repositories) = Repositories::parse(text(bytes)) {
        for name in ["a", "app/web", "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p"] {
            let _ = repositories.contain(&name.parse().expect("a name"));
        }
    }
}

pub(crate) fn spiffe_id(bytes: &[u8]) {
    if let Ok(id) = text(bytes).parse::<SpiffeId>() {
        assert_eq!(id.to_string(), text(bytes), "an ID is never changed by reading it");
    }
    let _ = text(bytes).parse::<TrustDomain>();
    let _ = text(bytes).parse::<SpiffePattern>();
}

pub(crate) fn token(bytes: &[u8]) {
    let _ = jwt::looks_like_jwt(text(bytes));
    let _ = jwt::Unverified::parse(text(bytes));
}

pub(crate) fn key_set(bytes: &[u8]) {
    let _ = jwks::parse(bytes, UseRule::Oidc);
}

pub(crate) fn trust_bundle(bytes: &[u8]) {
    let _ = bundle::parse_spiffe(bytes);
    let _ = bundle::parse_map(bytes, &"a".parse::<TrustDomain>().expect("a trust domain"));
    let _ = bundle::parse_pem(bytes);
    let _ = bundle::parse_der(bytes);
}

pub(crate) fn certificate(bytes: &[u8]) {
    let _ = x509::Leaf::parse(&bytes.into());
}

pub(crate) fn expression(bytes: &[u8]) {
    let _ = expr::compile(text(bytes), expr::Kind::Any, &["claims", "vars"], None);
}

pub(crate) fn configuration(bytes: &[u8]) {
    let _ = config::parse_in(text(bytes), Path::new("/"), Environment::default());
}

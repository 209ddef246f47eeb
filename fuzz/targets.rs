//! The parsers of bytes from strangers. Each is a function of bytes that panics if something is wrong: if the
//! parser panics, or if its result breaks a promise. `fuzz_targets/` gives them to libFuzzer, `tests/fuzz.rs`
//! to a short run.

#![allow(dead_code, reason = "each program of fuzz_targets/ uses one")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::net::IpAddr;
use std::path::Path;
use wharfinger::access::Repositories;
use wharfinger::config::{self, Environment};
use wharfinger::exchange::GrantRequest;
use wharfinger::expr;
use wharfinger::http::{self, Family, Network, TrustedProxies};
use wharfinger::identity::{self, Scope};
use wharfinger::limits;
use wharfinger::oci::{
    Algorithm, Condition, ContentRange, Digest, Manifest, Place, RangeRequest, Reference, RepositoryName,
};
use wharfinger::registry::{self, UploadId};
use wharfinger::server::ProxyHeader;
use wharfinger::spiffe_id::{SpiffeId, SpiffePattern, TrustDomain};
use wharfinger::trust::jwks::{self, UseRule};
use wharfinger::trust::{bundle, jwt, x509};

/// A target with some input that is good, or nearly.
pub(crate) type Target = (&'static str, fn(&[u8]), &'static [&'static str]);

pub(crate) const TARGETS: &[Target] = &[
    ("name", name, &["a", "library/alpine", "a.b_c__d---e/f"]),
    (
        "reference",
        reference,
        &[
            "v1",
            "_",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ],
    ),
    (
        "range",
        range,
        &[
            "bytes=0-9",
            "bytes=-1",
            "bytes=5-",
            "0-1023",
            "bytes=18446744073709551615-18446744073709551615",
        ],
    ),
    (
        "condition",
        condition,
        &[
            "*",
            "\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\", W/\"x\"",
        ],
    ),
    ("manifest", manifest, &[MANIFEST, INDEX]),
    (
        "target",
        target,
        &[
            "/v2/a/b/manifests/v1?tag=a&tag=b",
            "/v2/a/blobs/uploads/?mount=sha256:x&from=a%2Fb",
            "/v2/_catalog?n=1&last=a",
        ],
    ),
    ("pattern", pattern, &["**", "app/**", "{a,b}/[a-z]*?", "\\[a\\]"]),
    (
        "spiffe_id",
        spiffe_id,
        &[
            "spiffe://example.org/a/b",
            "spiffe://example.org/a/",
            "example.org",
        ],
    ),
    (
        "jwt",
        token,
        &["eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzcGlmZmU6Ly9hL2IiLCJhdWQiOlsieCJdLCJleHAiOjF9.AAAA"],
    ),
    ("jwks", key_set, &[JWKS, "{\"keys\":[]}"]),
    (
        "bundle",
        trust_bundle,
        &[
            JWKS,
            "{\"trust_domains\":{\"a\":{\"keys\":[]}}}",
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        ],
    ),
    ("certificate", certificate, &["0\u{0}", "0\u{3}0\u{1}\u{0}"]),
    (
        "expression",
        expression,
        &[
            "claims.sub + ':' + claims.iss",
            "claims.groups.filter(g, g.startsWith('a')).map(g, g + '/b')",
        ],
    ),
    ("configuration", configuration, &[CONFIGURATION]),
    ("record", record, RECORDS),
    ("key", key, KEYS),
    ("hash_state", hash_state, &[SHA256_STATE, SHA512_STATE]),
    ("upload", upload, &["0123456789abcdef0123456789abcdef"]),
    ("grant", grant, GRANTS),
    (
        "scope",
        scope,
        &["repository:a/b:pull,push registry:catalog:*", ACCESS],
    ),
    ("host", host, HEADERS),
    (
        "network",
        network,
        &["10.0.0.0/8", "fd00::/8", "::ffff:10.0.0.1/104", "192.0.2.1"],
    ),
    ("proxy_header", proxy_header, PROXY_HEADERS),
    (
        "passwords",
        passwords,
        &[
            PASSWORDS,
            "ann:$2x$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC",
        ],
    ),
    (
        "authorization",
        authorization,
        &[
            "Bearer a.b.c",
            "bearer   a.b.c ",
            "Basic YW5uOm9wZW4gc2VzYW1l",
            "basic Og==",
        ],
    ),
];

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"data":""}],"annotations":{"k":"v"}}"#;
const INDEX: &str = r#"{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}],"subject":{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}"#;
const PROXY_HEADERS: &[&str] = &[
    "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n",
    "PROXY TCP6 2001:db8::7 fd00::1 4711 443\r\nGET / HTTP/1.1\r\n",
    "PROXY UNKNOWN\r\n",
    "\r\n\r\n\0\r\nQUIT\n!\u{11}\0\u{c}abcdefghijkl",
    "\r\n\r\n\0\r\nQUIT\n!!\0$abcdefghijklmnopqrstuvwxyz0123456789",
    "\r\n\r\n\0\r\nQUIT\n \0\0\0",
];
const JWKS: &str = r#"{"spiffe_sequence":1,"keys":[{"kty":"EC","kid":"a","use":"jwt-svid","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#;
const RECORDS: &[&str] = &[
    "{\"format\":2,\"nonce\":\"0\"}\n{\"state\":\"dying\",\"generation\":\"a\",\"size\":1,\"trash\":[\"b\"]}",
    "{\"format\":2,\"nonce\":\"0\"}\n{\"state\":\"live\",\"generation\":\"a\",\"size\":1,\"suspect\":true}",
    "{\"format\":2,\"nonce\":\"0\"}\n{\"state\":\"pend\",\"size\":0}",
    "{\"format\":2,\"nonce\":\"0\"}\n{\"state\":\"live\",\"generation\":\"a\",\"size\":1}",
    "{\"format\":2,\"nonce\":\"0\"}\n{\"state\":\"com\",\"media_type\":\"a/b\",\"subject\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"artifact_type\":\"a/b\",\"annotations\":{\"k\":\"v\"},\"blobs\":[],\"manifests\":[],\"sparse\":true}\n{}\n",
    "{\"format\":2,\"nonce\":\"0\"}\n{\"state\":\"live\",\"digest\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"by\":\"a\",\"at\":1,\"seq\":1,\"event\":\"b\"}",
    "{\"format\":2,\"nonce\":\"0\"}\n{\"state\":\"deleted\",\"digest\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"by\":\"a\",\"at\":1,\"seq\":2,\"event\":\"b\",\"previous\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}",
    "{\"format\":2,\"nonce\":\"0\"}\n{\"state\":\"cond\"}",
    "{\"format\":2,\"nonce\":\"0\"}\n{\"state\":\"closed\",\"owner\":\"b\",\"algorithm\":\"sha512\",\"offset\":3,\"hash\":\"\",\"resume\":\"r\",\"claim\":{\"holder\":\"a\",\"nonce\":\"b\"},\"digest\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}",
    "{\"format\":2,\"nonce\":\"0\"}\n{\"last\":1,\"by\":[\"a\"],\"others\":2}",
    "{\"format\":2,\"nonce\":\"0\"}\n{\"bytes\":1,\"blobs\":2,\"manifests\":3}",
    "{\"format\":2,\"nonce\":\"0\",\"more\":{\"later\":1}}\n{\"state\":\"live\"}",
];
const KEYS: &[&str] = &[
    "b/sha256/e3/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "l/sha256/e3/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/a/b!",
    "r/a/b!/m/sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "r/a!/t/v1",
    "r/a!/k/sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/v1",
    "r/a!/s/sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "c/a/b!",
    "u/a/b!/0123456789abcdef0123456789abcdef",
    "x/a/b!/sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "q/a/b!",
    "r/a!/h/v1/00000000000000ff",
    "r/a!/i/sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "r/a!/p/sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "h/probe",
];
/// After three bytes.
const SHA256_STATE: &str = "3 Z+YJaoWuZ7ty8248OvVPpX9SDlGMaAWbq9mDHxnN4FsAAAAAAAAAAANhYmMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const SHA512_STATE: &str = "3 CMm882fmCWo7p8qEha5nuyv4lP5y82488TYdXzr1T6XRguatf1IOUR9sPiuMaAWba71B+6vZgx95IX4TGc3gWwAAAAAAAAAAAAAAAAAAAAADYWJjAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";
const GRANTS: &[&str] = &[
    "grant_type=password&username=ann&password=x&service=wharfinger&scope=repository%3Aa%3Apull&access_type=offline",
    "grant_type=refresh_token&refresh_token=a.b.c",
    "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=a.b.c&subject_token_type=urn:ietf:params:oauth:token-type:jwt&audience=a&resource=b",
    "grant_type=client_credentials&client_id=a&client_assertion=a.b.c&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
];
const ACCESS: &str = r#"[{"type":"repository","name":"a/b","actions":["pull","push"]},{"type":"registry","name":"catalog","actions":["*"]}]"#;
const HEADERS: &[&str] = &[
    "host: r.example:5000",
    "host: [::1]:5000\nx-forwarded-proto: https, http\nx-forwarded-host: r.example\nx-forwarded-for: 203.0.113.7, 10.0.0.2",
    "host: a\nforwarded: for=\"[2001:db8::7]:4711\";proto=http;host=\"r.example\", for=10.0.0.2",
];
const PASSWORDS: &str = "# people\nann:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n\nbob:$2b$10$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n";
const CONFIGURATION: &str = "storage: {rootDirectory: s, sparse: [a/**]}\nhttp:\n  port: 0\n  auth: {bearer: {oidc: [{issuer: 'https://i.example', audiences: [a], claimMapping: {username: 'claims.sub'}}]}}\naccessControl: {repositories: {'**': {anonymousPolicy: [read]}}}\n";

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

pub(crate) fn name(bytes: &[u8]) {
    if let Ok(name) = text(bytes).parse::<RepositoryName>() {
        assert_eq!(name.as_str(), text(bytes));
        assert!(
            name.as_str()
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte))
        );
        assert!(
            name.as_str()
                .split('/')
                .all(|part| !part.is_empty() && part != "." && part != "..")
        );
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
    for content_type in [
        None,
        Some("application/vnd.oci.image.manifest.v1+json"),
        Some("application/vnd.oci.image.index.v1+json"),
    ] {
        if let Ok(manifest) = Manifest::parse(content_type, bytes) {
            assert!(manifest.media_type.is_index() || manifest.manifests.is_empty());
            assert!(
                !manifest.media_type.is_index()
                    || manifest
                        .blobs
                        .iter()
                        .all(|blob| matches!(blob.place, Place::Manifest(_)))
            );
        }
    }
}

pub(crate) fn target(bytes: &[u8]) {
    let (path, query) = text(bytes)
        .split_once('?')
        .map_or((text(bytes), None), |(path, query)| (path, Some(query)));
    if let Some(repository) = http::repository_named(path, query) {
        assert!(
            path.starts_with(&format!("/v2/{repository}/")),
            "what policy judges is what the client wrote"
        );
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
        assert_eq!(
            id.to_string(),
            text(bytes),
            "an ID is never changed by reading it"
        );
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
    let leaf = x509::Leaf::parse(&bytes.into());
    assert!(
        leaf.is_err() || x509::provable_key(bytes).is_ok(),
        "a leaf whose key proves nothing"
    );
    let _ = x509::check_chain(&[bytes.into(), bytes.into()]);
    let _ = x509::UnverifiedParts::of(bytes);
}

pub(crate) fn expression(bytes: &[u8]) {
    let _ = expr::compile(text(bytes), expr::Kind::Any, &["claims", "vars"], None);
}

pub(crate) fn configuration(bytes: &[u8]) {
    let _ = config::parse_in(text(bytes), Path::new("/"), Environment::default());
}

pub(crate) fn record(bytes: &[u8]) {
    for (kind, survives) in registry::records_read(bytes) {
        assert!(
            survives,
            "a {kind} says the same once it is written and read again"
        );
        let head = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let head: Value = serde_json::from_slice(head).expect("its first line is JSON");
        assert_eq!(head["format"], 2, "a {kind} of another format is not read");
    }
}

pub(crate) fn key(bytes: &[u8]) {
    if let Some(again) = registry::key_rewritten(text(bytes)) {
        assert_eq!(
            again,
            text(bytes),
            "what a key leads to lies there and nowhere else"
        );
    }
}

pub(crate) fn hash_state(bytes: &[u8]) {
    let Some((length, state)) = text(bytes).split_once(' ') else {
        return;
    };
    let Ok(length) = length.parse() else { return };
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        if let Some(again) = registry::hash_state_rewritten(algorithm, state, length) {
            assert_eq!(again, state);
            assert_eq!(
                registry::hash_state_rewritten(algorithm, state, length ^ 1),
                None,
                "it is the state after so many bytes"
            );
        }
    }
}

pub(crate) fn upload(bytes: &[u8]) {
    if let Ok(id) = text(bytes).parse::<UploadId>() {
        assert_eq!(id.to_string(), text(bytes));
        assert!(bytes.len() == 32 && bytes.iter().all(u8::is_ascii_hexdigit));
    }
}

pub(crate) fn grant(bytes: &[u8]) {
    let mut form: Vec<(String, String)> = form_urlencoded::parse(bytes).into_owned().collect();
    let Ok(read) = GrantRequest::parse(&form) else {
        return;
    };
    form.reverse();
    let reversed = GrantRequest::parse(&form).expect("a form has no order");
    assert_eq!(
        (&reversed.grant, &reversed.service, reversed.asked.offline),
        (&read.grant, &read.service, read.asked.offline)
    );
    let given: Vec<_> = form
        .iter()
        .filter(|(name, value)| name == "grant_type" && !value.is_empty())
        .cloned()
        .collect();
    assert_eq!(given.len(), 1, "one grant is asked for");
    form.extend(given);
    GrantRequest::parse(&form).expect_err("what is there twice says nothing");
}

pub(crate) fn scope(bytes: &[u8]) {
    let granted = serde_json::from_slice::<Value>(bytes)
        .map(|access| Scope::granted(&access))
        .unwrap_or_default();
    let asked = Scope::asked([text(bytes)]);
    assert_eq!(
        Scope::asked([asked.to_string().as_str()]),
        asked,
        "as a client is told it"
    );
    for scope in [granted, asked] {
        assert_eq!(Scope::granted(&scope.access()), scope, "as a token says it");
        assert_eq!(scope.and(&scope), scope);
        assert!(
            scope
                .repositories()
                .all(|(name, rights)| !rights.is_empty() && scope.rights(name) == rights)
        );
        assert!(scope.and(&Scope::default()).is_empty());
    }
}

pub(crate) fn host(bytes: &[u8]) {
    let headers: Vec<(&str, &str)> = text(bytes)
        .lines()
        .filter_map(|line| line.split_once(": "))
        .collect();
    let proxies: TrustedProxies = ["10.0.0.0/8".parse::<Network>().expect("a network")]
        .into_iter()
        .collect();
    for family in [Family::XForwarded, Family::XForwardedHost, Family::Forwarded] {
        origin(&headers, &proxies.clone().writing(family));
    }
}

fn origin(headers: &[(&str, &str)], proxies: &TrustedProxies) {
    let Some((origin, client)) = http::origin_named(headers, proxies) else {
        return;
    };
    let authority = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"))
        .expect("one of the two schemes");
    assert!(
        !authority.is_empty()
            && authority
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
    );
    assert_eq!(
        http::origin_named(&[("host", authority)], proxies),
        Some((format!("https://{authority}"), None))
    );
    assert!(
        client.is_none_or(|client| !proxies.contains(client)),
        "no proxy is taken for the client"
    );
}

pub(crate) fn network(bytes: &[u8]) {
    if let Ok(network) = text(bytes).parse::<Network>() {
        let address: IpAddr = text(bytes)
            .split('/')
            .next()
            .unwrap_or_default()
            .parse()
            .expect("it begins with an address");
        assert!(
            [network]
                .into_iter()
                .collect::<TrustedProxies>()
                .contains(address)
        );
    }
}

pub(crate) fn proxy_header(bytes: &[u8]) {
    match ProxyHeader::parse(bytes) {
        Ok(Some((header, length))) => {
            assert!(length <= bytes.len() && length <= limits::PROXY_HEADER_BYTES);
            assert_eq!(
                ProxyHeader::parse(&bytes[..length]),
                Ok(Some((header, length))),
                "what follows changes nothing"
            );
            assert_eq!(
                ProxyHeader::parse(&bytes[..length - 1]),
                Ok(None),
                "not before it is whole"
            );
        }
        Ok(None) => assert!(bytes.len() < limits::PROXY_HEADER_BYTES, "it is decided by then"),
        Err(why) => assert_eq!(
            ProxyHeader::parse(&[bytes, b"\r\n"].concat()),
            Err(why),
            "nothing that follows makes it good"
        ),
    }
}

pub(crate) fn passwords(bytes: &[u8]) {
    let Some(read) = identity::passwords_read(text(bytes)) else {
        return;
    };
    for (name, hash) in &read {
        assert!(
            !name.to_ascii_lowercase().starts_with("spiffe://"),
            "a verified identity is nobody's name"
        );
        assert!(text(bytes).contains(&format!("{name}:{hash}")));
        let costs =
            (4..=16).flat_map(|cost| ["2a", "2b", "2y"].map(|version| format!("${version}${cost:02}$")));
        assert!(
            costs.into_iter().any(|start| hash.starts_with(&start)),
            "a password can fit"
        );
    }
    let written: String = read
        .iter()
        .map(|(name, hash)| format!("{name}:{hash}\n"))
        .collect();
    assert_eq!(identity::passwords_read(&written), Some(read));
}

pub(crate) fn authorization(bytes: &[u8]) {
    let Some((user, secret)) = identity::credential_read(bytes) else {
        return;
    };
    let header = match &user {
        Some(user) => format!("Basic {}", STANDARD.encode(format!("{user}:{}", secret.expose()))),
        None => {
            assert!(!secret.expose().starts_with(' ') && !secret.expose().ends_with(' '));
            format!("Bearer {}", secret.expose())
        }
    };
    assert!(
        identity::credential_read(header.as_bytes()) == Some((user, secret)),
        "the same credential"
    );
}

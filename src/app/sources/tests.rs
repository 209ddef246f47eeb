//! The sources of an entry, and what `verify` reports about them.

use super::wanted::Wanted;
use super::*;
use crate::config::{self, Config};
use crate::trust::{Authorities, Generation};
use std::time::Duration;

/// The keys of the mistakes and warnings that `verify` finds in an issuer with these keys. Everything else in
/// it is valid.
async fn verdict(keys: &str) -> (Vec<String>, Vec<String>) {
    let text = format!(
        "storage: {{rootDirectory: s}}\nhttp: {{auth: {{bearer: {{oidc: [{{issuer: 'https://issuer.example.org', audiences: [a], {keys}}}]}}}}}}"
    );
    let config = config::parse(&text, std::path::Path::new("/nowhere"), None).unwrap();
    match crate::app::check(config, &Clock::system()) {
        Ok(found) => (
            Vec::new(),
            found.warnings.into_iter().map(|warning| warning.key).collect(),
        ),
        Err(mistakes) => (
            mistakes.into_iter().map(|mistake| mistake.key).collect(),
            Vec::new(),
        ),
    }
}

#[tokio::test]
async fn verify_opens_every_file() {
    assert_eq!(verdict("").await, (vec![], vec![]));
    for name in ["jwksFile", "certificateAuthorityFile", "bearerTokenFile"] {
        let expected = (vec![], vec![format!("http.auth.bearer.oidc[0].{name}")]);
        assert_eq!(
            verdict(&format!("{name}: nowhere")).await,
            expected,
            "it may appear later, so `serve` starts"
        );
    }
    let cut = r#"certificateAuthority: "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----""#;
    assert_eq!(
        verdict(cut).await,
        (
            vec!["http.auth.bearer.oidc[0].certificateAuthority".to_owned()],
            vec![]
        )
    );
}

fn domains(folder: &std::path::Path, names: &[&str]) -> Config {
    let entry = |name: &&str| {
        format!("{{name: {name}.example, audiences: [a], svids: [jwt], bundle: [{{jwksFile: {name}.jwks}}]}}")
    };
    let text = format!(
        "storage: {{rootDirectory: s}}\nhttp: {{auth: {{spiffe: {{trustDomains: [{}]}}}}}}",
        names.iter().map(entry).collect::<Vec<_>>().join(",")
    );
    config::parse(&text, folder, None).unwrap()
}

/// The generation of each trust domain's JWT keys.
fn generations(opened: &Opened) -> Vec<Generation> {
    let jwt = opened
        .ways_in
        .domains
        .iter()
        .filter_map(|domain| domain.jwt.as_ref());
    jwt.map(|keys| keys.generation(Clock::system().now()).unwrap())
        .collect()
}

#[test]
fn a_name_in_the_password_file_may_not_be_an_issuers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let hash = bcrypt::hash("x", 4).unwrap();
    std::fs::write(
        &path,
        format!("ann:{hash}\nissuer/ann:{hash}\nissuers/ann:{hash}\n"),
    )
    .unwrap();
    let of = |name: &str| {
        let rules = crate::trust::jwt::OidcRules {
            issuer: name.into(),
            skip_issuer: false,
            audiences: Vec::new(),
            algorithms: None,
            clock_skew: Duration::ZERO,
            max_lifetime: None,
            hosts: Vec::new(),
            single_audience: false,
        };
        Issuer {
            name: None,
            rules,
            keys: Arc::new(Authorities::new(Vec::new())),
            mapping: crate::identity::Mapping::default(),
        }
    };
    let passwords = || Some(Arc::new(Htpasswd::open(&path).unwrap()));
    let sources = Sources::new(Clock::system(), None);
    let mistakes = |issuers: Vec<Issuer>| {
        let mut opening = Opening::new(&sources, None);
        opening.check_names(&OpenWaysIn {
            issuers,
            passwords: passwords(),
            ..OpenWaysIn::default()
        });
        opening
            .mistakes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(mistakes(vec![of("other"), of("ann")]), Vec::<String>::new());
    let found = mistakes(vec![of("other"), of("issuer")]);
    assert!(
        found.len() == 1
            && found[0].contains("\"issuer/ann\"")
            && found[0].contains("http.auth.htpasswd.path"),
        "{found:?}"
    );
}

#[tokio::test]
async fn unchanged_sources_are_kept_and_others_are_added_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two", "three"] {
        std::fs::write(folder.path().join(format!("{name}.jwks")), r#"{"keys":[]}"#).unwrap();
    }
    let mut sources = Sources::new(Clock::system(), None);
    let open = |sources: &Sources, names| sources.open(domains(folder.path(), names).ways_in);
    let first = open(&sources, &["one", "two"]);
    let before = generations(&first);
    sources.install(first.running);
    let weak: Vec<_> = sources
        .running
        .sources
        .iter()
        .map(|(_, source)| Arc::downgrade(source))
        .collect();

    std::fs::write(folder.path().join("broken.jwks"), "{").unwrap();
    let broken = open(&sources, &["broken", "three"]);
    assert_eq!(broken.mistakes.len(), 1);
    drop(broken);
    assert!(
        weak.iter().all(|source| source.upgrade().is_some()),
        "a rejected set of sources leaves the others running"
    );

    let second = open(&sources, &["three", "two"]);
    assert_eq!(second.mistakes, []);
    assert_eq!(generations(&second)[1], before[1]);
    assert!(!before.contains(&generations(&second)[0]));
    sources.install(second.running);
    assert_eq!(
        weak.iter()
            .map(|source| source.upgrade().is_some())
            .collect::<Vec<_>>(),
        [false, true]
    );
}

const KEY: &str = r#"{"kty":"EC","crv":"P-256","kid":"KID","x":"ngLYQnlfF6GsojUwqtcEE3WgTNG2RUlsGhK73RNEl5k","y":"tKbiDSUSsQ3F1P7wteeHNXIcU-cx6CgSbroeQrQHTLM"}"#;

fn set(kid: &str) -> String {
    format!(r#"{{"keys":[{}]}}"#, KEY.replace("KID", kid))
}

/// The warnings for a configuration with these trust domains.
fn warnings_of(folder: &std::path::Path, trust_domains: &str) -> Vec<String> {
    let text = format!(
        "storage: {{rootDirectory: s}}\nhttp: {{tls: {{cert: c, key: k}}, auth: {{spiffe: {{trustDomains: [{trust_domains}]}}}}}}"
    );
    let config = config::parse(&text, folder, None).unwrap();
    let opened = Sources::new(Clock::system(), None).open(config.ways_in);
    assert_eq!(opened.mistakes, []);
    opened.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_key_of_two_trust_domains_is_warned_of_for_every_kind_of_source_unless_it_may_be_shared() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("one.jwks"), set("one")).unwrap();
    let warnings = |second: &str| {
        let entries = format!(
            "{{name: one.example, audiences: [a], svids: [jwt], bundle: [{{jwksFile: one.jwks}}]}},\
             {{name: two.example, audiences: [a], svids: [jwt], bundle: [{{jwks: '{}'}}]{second}}}",
            set("another name")
        );
        warnings_of(folder.path(), &entries)
    };
    let found = warnings("");
    assert!(
        found.len() == 1 && found[0].contains("trustDomains[1].bundle") && found[0].contains("one.example"),
        "{found:?}"
    );
    assert_eq!(
        warnings(", sharesAuthoritiesWith: [one.example]"),
        Vec::<String>::new()
    );
}

#[test]
fn a_key_stays_with_the_first_even_if_the_first_accepts_no_svids_of_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = set("one").replace(r#""kid""#, r#""use":"jwt-svid","kid""#);
    std::fs::write(folder.path().join("one.json"), &bundle).unwrap();
    let found = warnings_of(
        folder.path(),
        &format!(
            "{{name: one.example, svids: [x509], bundle: [{{file: one.json}}]}},\
             {{name: two.example, audiences: [a], svids: [jwt], bundle: [{{jwks: '{}'}}]}}",
            set("two")
        ),
    );
    assert!(
        found.len() == 1 && found[0].contains("trustDomains[1].bundle") && found[0].contains("one.example"),
        "{found:?}"
    );
}

#[test]
fn a_trust_domain_that_shares_only_with_the_second_does_not_get_keys_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let entry = |name: &str, shares: &str| {
        format!(
            "{{name: {name}.example, audiences: [a], svids: [jwt], bundle: [{{jwks: '{}'}}]{shares}}}",
            set(name)
        )
    };
    let third = entry("three", ", sharesAuthoritiesWith: [two.example]");
    let found = warnings_of(
        folder.path(),
        &[
            entry("one", ""),
            entry("two", ", sharesAuthoritiesWith: [one.example]"),
            third.clone(),
        ]
        .join(","),
    );
    assert!(
        found.len() == 1 && found[0].contains("trustDomains[2].bundle") && found[0].contains("one.example"),
        "{found:?}"
    );
    assert_eq!(
        warnings_of(folder.path(), &[entry("two", ""), third].join(",")),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn an_oidc_issuer_of_a_trust_domain_is_another_source_than_the_same_one_of_id_tokens() {
    let text = "storage: {rootDirectory: s}\nhttp: {auth: {bearer: {oidc: [{issuer: 'https://issuer.example.org', audiences: [a]}]}, \
                spiffe: {trustDomains: [{name: one.example, audiences: [a], svids: [jwt], bundle: [{oidcIssuer: 'https://issuer.example.org'}]}]}}}";
    let config = config::parse(text, std::path::Path::new("/nowhere"), None).unwrap();
    let opened = Sources::new(Clock::system(), None).open(config.ways_in);
    let wanted: Vec<_> = opened.running.sources.iter().map(|(wanted, _)| wanted).collect();
    assert!(
        matches!(wanted[..], [Wanted::Oidc(_), Wanted::OidcOfDomain(_)]),
        "{wanted:?}"
    );
}

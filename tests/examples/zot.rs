//! The configurations of zot's guide to workload identity load here and mean the same. The test adds what
//! fragments lack, replaces authorities by real ones, and changes nothing else.

use crate::harness::{Registry, authority_pem, files, folder, parse, refused};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Duration;
use wharfinger::config::{self, Config, Environment, IssuerKeys, Level, Listen, StorePlace};
use wharfinger::identity::Refused;
use wharfinger::trust::jwt;
use wharfinger::trust::source::CaSource;

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const GITHUB: &str = "https://token.actions.githubusercontent.com";

fn sample(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder("testdata/zot").join(name)).unwrap()).unwrap()
}

/// Adds what a fragment lacks.
fn whole(name: &str) -> Value {
    let mut document = sample(name);
    let lacking = json!({
        "storage": {"rootDirectory": "/tmp/zot"},
        "http": {"address": "127.0.0.1", "port": "8080", "auth": {"bearer": {"oidc": [{"issuer": CLUSTER, "audiences": ["zot"]}]}}},
    });
    add(&mut document, &lacking);
    document
}

fn add(document: &mut Value, lacking: &Value) {
    for (key, value) in lacking.as_object().into_iter().flatten() {
        match document.get_mut(key) {
            Some(there) => add(there, value),
            None => document[key] = value.clone(),
        }
    }
}

fn load(name: &str) -> Config {
    parse(&whole(name).to_string()).unwrap_or_else(|mistakes| panic!("{name}: {mistakes:?}"))
}

fn rules(config: &Config) -> Vec<(&str, Vec<&str>)> {
    config
        .ways_in
        .issuers
        .iter()
        .map(|entry| {
            (
                &*entry.rules.issuer,
                entry.rules.audiences.iter().map(String::as_str).collect(),
            )
        })
        .collect()
}

/// A Kubernetes token with the claims of Secret tokens.
fn source_controller() -> Value {
    let mut claims = sample("token-payload.json");
    claims
        .as_object_mut()
        .unwrap()
        .retain(|name, _| name != "exp" && name != "iat");
    claims
}

fn account(subject: &str) -> Value {
    json!({"iss": CLUSTER, "sub": subject, "aud": ["zot"]})
}

#[test]
fn every_sample_is_tried_here() {
    let here = include_str!("zot.rs");
    for file in files("testdata/zot", &["json"]) {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(here.contains(&format!("(\"{name}\")")), "{name}");
    }
}

#[tokio::test]
async fn basic() {
    let config = load("basic.json");
    assert_eq!(
        (rules(&config), config.live.terms.service.as_str()),
        (vec![(CLUSTER, vec!["zot"])], "zot-service")
    );
    assert_eq!(
        config.warnings.len(),
        1,
        "the realm is not advertised: {:?}",
        config.warnings
    );
    let registry = Registry::of(config);
    let identity = registry.token(source_controller()).await.unwrap();
    assert_eq!(
        identity.username(),
        format!("{CLUSTER}/system:serviceaccount:flux-system:source-controller")
    );
    assert_eq!(
        registry.rights(&identity, "any/thing"),
        "rcud",
        "without accessControl every authenticated caller may do everything"
    );
    let anonymous = registry.anonymous().await;
    assert_eq!(registry.rights(&anonymous, "any/thing"), "");
}

#[tokio::test]
async fn complete() {
    let config = load("complete.json");
    assert_eq!(
        config.fixed.listen,
        Listen {
            address: "127.0.0.1".into(),
            port: 8080
        }
    );
    assert_eq!(
        (config.fixed.storage.clone(), config.fixed.level),
        (StorePlace::Folder("/tmp/zot".into()), Level::Info)
    );
    assert_eq!(
        rules(&config),
        [(CLUSTER, vec!["zot", "https://zot.example.com"])]
    );
    let registry = Registry::of(config);
    let named = registry.token(source_controller()).await.unwrap();
    assert_eq!(registry.rights(&named, "any/thing"), "rcud");
    let other = registry
        .token(account("system:serviceaccount:default:default"))
        .await
        .unwrap();
    assert_eq!(
        registry.rights(&other, "any/thing"),
        "",
        "accessControl inside http applies"
    );
    let mut second_audience = source_controller();
    second_audience["aud"] = json!("https://zot.example.com");
    assert!(registry.token(second_audience).await.is_ok());
    let mut no_audience_of_ours = source_controller();
    no_audience_of_ours["aud"] = json!(["https://kubernetes.default.svc"]);
    assert!(matches!(
        refused(registry.token(no_audience_of_ours).await),
        Refused::Jwt(jwt::Rejected::Audience { .. })
    ));
}

#[test]
fn authorities_of_the_issuers_server() {
    let mut inline = whole("custom-ca-inline.json");
    let pem = authority_pem();
    inline["http"]["auth"]["bearer"]["oidc"][0]["certificateAuthority"] = json!(pem);
    let config = parse(&inline.to_string()).unwrap();
    let IssuerKeys::Fetched(keys) = &config.ways_in.issuers[0].keys else {
        panic!("{config:?}")
    };
    assert!(matches!(&keys.ca, Some(CaSource::Inline(text)) if text == pem.as_bytes()));
    assert_eq!(keys.max_stale, Duration::from_secs(24 * 3600));

    let mut file = whole("custom-ca-file.json");
    file["http"]["auth"]["bearer"]["oidc"][0]["certificateAuthorityFile"] = json!("k8s-ca.pem");
    let config = parse(&file.to_string()).unwrap();
    let IssuerKeys::Fetched(keys) = &config.ways_in.issuers[0].keys else {
        panic!("{config:?}")
    };
    assert!(
        matches!(&keys.ca, Some(CaSource::File(file)) if file == Path::new("/etc/wharfinger/k8s-ca.pem"))
    );
}

#[tokio::test]
async fn cel_validations() {
    let registry = Registry::of(load("cel-validations.json"));
    let claims = |owner: &str, reference: &str| json!({"iss": GITHUB, "aud": "zot", "sub": "repo:my-org/app", "repository": "my-org/app", "repository_owner": owner, "ref": reference});
    let identity = registry.token(claims("my-org", "refs/heads/main")).await.unwrap();
    assert_eq!(identity.username(), "my-org/app");
    assert_eq!(identity.groups(), ["ci", "github-actions"]);
    for (claims, message) in [
        (
            claims("other-org", "refs/heads/main"),
            "only my-org repositories are allowed",
        ),
        (claims("my-org", "refs/tags/v1"), "must be a branch reference"),
    ] {
        assert_eq!(
            refused(registry.token(claims).await),
            Refused::Validation {
                message: message.into()
            }
        );
    }
    let mut without = claims("my-org", "refs/heads/main");
    without.as_object_mut().unwrap().remove("repository");
    assert!(
        matches!(refused(registry.token(without).await), Refused::Mapping { .. }),
        "a missing claim rejects the caller"
    );
}

#[tokio::test]
async fn multiple_providers() {
    let text = whole("multiple-providers.json").to_string();
    let strangers = "anyone can get a token from https://token.actions.githubusercontent.com";
    let refused_by_default = parse(&text).map(|_| ()).unwrap_err();
    assert!(
        refused_by_default.len() == 1 && refused_by_default[0].what.contains(strangers),
        "{refused_by_default:?}"
    );
    let config = config::parse_in(
        &text,
        Path::new("/etc/wharfinger"),
        Environment {
            open: true,
            ..Environment::default()
        },
    )
    .unwrap();
    assert_eq!(rules(&config), [(CLUSTER, vec!["zot"]), (GITHUB, vec!["zot"])]);
    assert!(
        config.warnings.len() == 1 && config.warnings[0].what.contains(strangers),
        "{:?}",
        config.warnings
    );
    let registry = Registry::of(config);
    let cluster = registry.token(source_controller()).await.unwrap();
    assert_eq!(
        (cluster.username(), cluster.groups()),
        ("flux-system:source-controller", &["k8s-workloads".to_owned()][..])
    );
    let github = registry
        .token(json!({"iss": GITHUB, "aud": "zot", "sub": "s", "repository": "my-org/app"}))
        .await
        .unwrap();
    assert_eq!(
        (github.username(), github.groups()),
        ("my-org/app", &["github-actions".to_owned()][..])
    );
    let unknown = registry
        .token(json!({"iss": "https://issuer.example.org", "aud": "zot", "sub": "s"}))
        .await;
    assert_eq!(refused(unknown), Refused::UnknownIssuer);
}

#[tokio::test]
async fn access_control() {
    let mut document = whole("access-control.json");
    // The fragment's users are subjects.
    document["http"]["auth"]["bearer"]["oidc"][0]["claimMapping"] = json!({"username": "claims.sub"});
    let registry = Registry::of(parse(&document.to_string()).unwrap());
    for (subject, app, other) in [
        ("system:serviceaccount:prod:app-controller", "rcu", "r"),
        ("system:serviceaccount:default:admin", "", "rcud"),
        ("system:serviceaccount:default:default", "", "r"),
    ] {
        let identity = registry.token(account(subject)).await.unwrap();
        for repository in ["app", "app/web", "app/web/x"] {
            assert_eq!(
                registry.rights(&identity, repository),
                app,
                "{subject} {repository}"
            );
        }
        assert_eq!(registry.rights(&identity, "other/web"), other, "{subject}");
    }
}

#[test]
fn retention() {
    let config = load("retention.json");
    let retention = &config.live.retention;
    let day = Duration::from_secs(24 * 3600);
    assert_eq!((retention.dry_run, retention.delay), (true, Some(2 * day)));
    let policy = |repository: &str| retention.policy(&repository.parse().unwrap()).unwrap();
    let (place, release) = policy("prod/app");
    assert_eq!(
        (place, release.delete_untagged, release.delete_referrers),
        (0, true, false)
    );
    let entry = |tag: &str| {
        let tag = tag.parse().unwrap();
        release
            .keep_tags
            .iter()
            .position(|entry| entry.patterns.matches(&tag))
    };
    assert_eq!(
        ["2.0", "rc-2.1", "v3", "latest-prod", "latest"].map(entry),
        [Some(0), Some(0), Some(1), Some(0), None]
    );
    assert_eq!(release.keep_tags[1].keep.pulled_within, Some(7 * day));
    let (place, cache) = policy("tmp/a/b");
    assert_eq!((place, cache.delete_untagged), (1, false));
    let (place, rest) = policy("prod/app/deep");
    assert_eq!((place, rest.keep_untagged.most_recently_pushed), (2, Some(10)));
    assert_eq!(rest.keep_untagged.pushed_within, Some(30 * day));
    assert_eq!(rest.keep_tags[0].keep, rest.keep_untagged);
}

#[test]
fn debug_log() {
    assert_eq!(load("debug-log.json").fixed.level, Level::Debug);
}

#[test]
fn traditional_bearer() {
    let config = load("traditional-bearer.json");
    let server = config.ways_in.token_server.as_ref().unwrap();
    assert_eq!(
        (server.realm.as_deref(), server.rules.service.as_str()),
        (Some("https://auth.myreg.io/auth/token"), "myauth")
    );
    assert_eq!(
        (server.keys.as_path(), &server.rules.issuer),
        (Path::new("/etc/zot/auth.crt"), &None)
    );
    assert_eq!(rules(&config), [(CLUSTER, vec!["zot"])]);
    assert_eq!(config.warnings, []);
}

/// The guide's expressions, each with claims that it reads.
#[tokio::test]
async fn the_guides_expressions() {
    for (expression, claims, expected) in [
        ("claims.sub", json!({}), "s"),
        ("claims.email", json!({"email": "a@example.org"}), "a@example.org"),
        (
            "claims.email.split('@')[0]",
            json!({"email": "a@example.org"}),
            "a",
        ),
        (
            "claims['kubernetes.io/serviceaccount/namespace']",
            json!({"kubernetes.io/serviceaccount/namespace": "ns"}),
            "ns",
        ),
        (
            "claims.repository_owner + '/' + claims.sub",
            json!({"repository_owner": "o"}),
            "o/s",
        ),
    ] {
        let mut document = whole("basic.json");
        document["http"]["auth"]["bearer"]["oidc"][0]["claimMapping"] = json!({"username": expression});
        assert_eq!(
            identify(&document, claims).await.unwrap().username(),
            expected,
            "{expression}"
        );
    }
    for (validation, good, bad) in [
        (
            "claims.org in ['allowed-org-1', 'allowed-org-2']",
            json!({"org": "allowed-org-2"}),
            json!({"org": "x"}),
        ),
        (
            "claims.email_verified == true",
            json!({"email_verified": true}),
            json!({"email_verified": false}),
        ),
    ] {
        let mut document = whole("basic.json");
        let mapping =
            json!({"validations": [{"expression": validation, "message": "m"}], "groups": "claims.groups"});
        document["http"]["auth"]["bearer"]["oidc"][0]["claimMapping"] = mapping;
        let mut good = good;
        good["groups"] = json!(["b", "a"]);
        assert_eq!(
            identify(&document, good).await.unwrap().groups(),
            ["a", "b"],
            "{validation}"
        );
        assert_eq!(
            refused(identify(&document, bad).await),
            Refused::Validation { message: "m".into() },
            "{validation}"
        );
    }
}

async fn identify(
    document: &Value,
    claims: Value,
) -> Result<wharfinger::identity::Identity, wharfinger::identity::Failure> {
    let mut all = json!({"iss": CLUSTER, "aud": "zot", "sub": "s"});
    add(&mut all, &claims);
    Registry::of(parse(&document.to_string()).unwrap())
        .token(all)
        .await
}

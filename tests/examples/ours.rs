//! `examples/`: each file loads, an unknown key anywhere in it is rejected, and callers may do exactly what
//! the file says.

mod kubernetes;

use crate::harness::{Registry, files, folder, parse, refused};
use serde_json::{Value, json};
use std::fs;
use wharfinger::config::{Config, DomainSource};
use wharfinger::identity::Refused;
use wharfinger::server::ClientAuth;
use wharfinger::trust::jwt;

const AUDIENCE: &str = "registry.example.org";

fn text(name: &str) -> String {
    fs::read_to_string(folder("examples").join(name)).unwrap()
}

fn load(name: &str) -> Config {
    let config = parse(&text(name)).unwrap_or_else(|mistakes| panic!("{name}: {mistakes:?}"));
    let is_open = config.live.opened.is_some();
    let warned = config
        .warnings
        .iter()
        .filter(|one| !is_open || one.key != "http.auth");
    assert_eq!(
        warned.map(ToString::to_string).collect::<Vec<_>>(),
        [""; 0],
        "{name}"
    );
    config
}

#[test]
fn every_example_loads_and_its_folder_says_what_it_is() {
    let readme = text("README.md");
    for file in files("examples", &["yaml", "yml", "json"]) {
        let name = file.file_name().unwrap().to_str().unwrap();
        load(name);
        assert!(
            readme.contains(&format!("]({name})")),
            "{name} is not in examples/README.md"
        );
    }
}

#[test]
fn a_bucket_is_used_by_one_registry_or_by_several() {
    let shared = |name: &str| load(name).fixed.storage.is_shared();
    assert!(!shared("bucket.yaml") && shared("bucket-replicas.yaml") && !shared("quickstart.yaml"));
}

#[test]
fn an_unknown_key_at_any_place_of_any_example_is_refused() {
    let mut planted = 0;
    for file in files("examples", &["yaml", "yml", "json"]) {
        let document: Value = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        for pointer in objects(&document) {
            let names_are_keys = ["/repositories", "/groups"]
                .iter()
                .any(|end| pointer.ends_with(end));
            if names_are_keys {
                continue;
            }
            let mut document = document.clone();
            document.pointer_mut(&pointer).unwrap()["bogus"] = json!(1);
            let mistakes = parse(&document.to_string()).map(|_| ()).unwrap_err();
            assert!(
                mistakes.iter().any(|mistake| mistake.key.ends_with("bogus")),
                "{} {pointer}: {mistakes:?}",
                file.display()
            );
            planted += 1;
        }
    }
    assert!(planted > 60, "{planted}");
}

/// The pointers of all objects in the document.
fn objects(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![(String::new(), document)];
    while let Some((at, value)) = todo.pop() {
        match value {
            Value::Object(map) => {
                todo.extend(map.iter().map(|(key, value)| {
                    (
                        format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                        value,
                    )
                }));
                found.push(at);
            }
            Value::Array(items) => todo.extend(
                items
                    .iter()
                    .enumerate()
                    .map(|(i, value)| (format!("{at}/{i}"), value)),
            ),
            _ => {}
        }
    }
    found
}

#[tokio::test]
async fn quickstart() {
    let registry = Registry::of(load("quickstart.yaml"));
    let claims =
        |subject: &str| json!({"iss": "https://issuer.example.org", "sub": subject, "aud": AUDIENCE});
    let someone = registry.token(claims("someone")).await.unwrap();
    let admin = registry.token(claims("admin")).await.unwrap();
    assert_eq!(someone.username(), "https://issuer.example.org/someone");
    assert_eq!(
        (
            registry.rights(&someone, "public/a"),
            registry.rights(&someone, "a")
        ),
        ("rc".into(), "r".into())
    );
    assert_eq!(
        (registry.rights(&admin, "public/a"), registry.rights(&admin, "a")),
        ("rcud".into(), "rcud".into())
    );
    let anonymous = registry.anonymous().await;
    assert_eq!(
        (
            registry.rights(&anonymous, "public/a"),
            registry.rights(&anonymous, "a")
        ),
        ("r".into(), String::new())
    );
    let other_audience = json!({"iss": "https://issuer.example.org", "sub": "someone", "aud": "elsewhere"});
    assert!(matches!(
        refused(registry.token(other_audience).await),
        Refused::Jwt(jwt::Rejected::Audience { .. })
    ));
}

#[tokio::test]
async fn spire() {
    let config = load("spire.yaml");
    assert_eq!(
        config.ways_in.workload_api.as_deref(),
        Some("unix:///run/spire/sockets/agent.sock")
    );
    let file = DomainSource::File("/etc/wharfinger/prod.example.org.json".into());
    assert_eq!(
        config.ways_in.domains[0].sources,
        [DomainSource::WorkloadApi, file],
        "the file comes second"
    );
    assert_eq!(config.tls.as_ref().unwrap().client_auth, ClientAuth::Optional);
    let registry = Registry::of(config);
    for (id, rights) in [
        ("spiffe://prod.example.org/ns/ci/sa/builder", "rc"),
        ("spiffe://prod.example.org/ns/cicada/sa/builder", "r"),
        ("spiffe://prod.example.org/ns/release/sa/promoter", "rcud"),
    ] {
        let by_token = registry
            .token(json!({"sub": id, "aud": [AUDIENCE]}))
            .await
            .unwrap();
        let by_certificate = registry.certificate(id).await.unwrap();
        for identity in [by_token, by_certificate] {
            assert_eq!(identity.username(), id);
            assert_eq!(
                (
                    registry.rights(&identity, "apps/web"),
                    registry.rights(&identity, "a")
                ),
                (rights.into(), String::new()),
                "{id}"
            );
        }
    }
    let foreign = registry
        .token(json!({"sub": "spiffe://other.example.org/ns/ci/sa/builder", "aud": [AUDIENCE]}))
        .await;
    assert_eq!(refused(foreign), Refused::UnknownTrustDomain);
}

#[tokio::test]
async fn mtls_only() {
    let config = load("mtls-only.yaml");
    assert_eq!(config.tls.as_ref().unwrap().client_auth, ClientAuth::Required);
    assert_eq!(config.fixed.health.as_ref().map(|health| health.port), Some(8081));
    let registry = Registry::of(config);
    let build = registry
        .certificate("spiffe://prod.example.org/ns/build/sa/kaniko")
        .await
        .unwrap();
    assert_eq!(
        (build.groups(), registry.rights(&build, "a")),
        (&["ns:build".to_owned()][..], "rcu".into())
    );
    let web = registry
        .certificate("spiffe://prod.example.org/ns/web/sa/web")
        .await
        .unwrap();
    assert_eq!(registry.rights(&web, "a"), "r");
    let other_path = registry.certificate("spiffe://prod.example.org/node/7").await;
    assert!(matches!(refused(other_path), Refused::Validation { .. }));
    let token = registry
        .token(json!({"sub": "spiffe://prod.example.org/ns/web/sa/web", "aud": [AUDIENCE]}))
        .await;
    assert_eq!(refused(token), Refused::KindNotAccepted);
}

#[tokio::test]
async fn github_actions() {
    let registry = Registry::of(load("github-actions.yaml"));
    let claims = |owner: &str, repository: &str, reference: &str, event: &str| {
        json!({
            "iss": "https://token.actions.githubusercontent.com", "aud": AUDIENCE, "sub": format!("repo:{repository}:ref:{reference}"),
            "repository": repository, "repository_owner_id": owner, "ref": reference, "event_name": event,
        })
    };
    let main = registry
        .token(claims("123456", "my-org/web", "refs/heads/main", "push"))
        .await
        .unwrap();
    assert_eq!(
        (main.username(), main.groups().join(" ")),
        ("my-org/web", "ci main main:my-org/web".to_owned())
    );
    for (repository, reference, event, web, api) in [
        ("my-org/web", "refs/heads/main", "push", "rcu", "rcu"),
        ("my-org/web", "refs/heads/x", "push", "r", "r"),
        ("my-org/web", "refs/heads/main", "pull_request_target", "r", "r"),
        ("my-org/web", "refs/tags/refs/heads/main", "push", "r", "r"),
        ("my-org/api", "refs/heads/main", "push", "", "rcu"),
        ("my-org/api", "refs/heads/x", "push", "", "r"),
    ] {
        let job = registry
            .token(claims("123456", repository, reference, event))
            .await
            .unwrap();
        let rights = (
            registry.rights(&job, "my-org/web/app"),
            registry.rights(&job, "my-org/api"),
        );
        assert_eq!(
            rights,
            (web.into(), api.into()),
            "{repository} {reference} {event}"
        );
    }
    let stranger = registry
        .token(claims("666", "my-org/web", "refs/heads/main", "push"))
        .await;
    assert_eq!(
        refused(stranger),
        Refused::Validation {
            message: "only workflows of our organisation".into()
        }
    );
}

#[tokio::test]
async fn gitlab() {
    let registry = Registry::of(load("gitlab.yaml"));
    let claims = |group: &str, protected: &str| {
        json!({
            "iss": "https://gitlab.com", "aud": AUDIENCE, "sub": "project_path:my-group/web:ref_type:branch:ref:main",
            "project_path": "my-group/web", "namespace_id": group, "ref_protected": protected,
        })
    };
    let protected = registry.token(claims("4711", "true")).await.unwrap();
    assert_eq!(
        (protected.username(), registry.rights(&protected, "my-group/web")),
        ("gitlab:my-group/web", "rcu".into())
    );
    let branch = registry.token(claims("4711", "false")).await.unwrap();
    assert_eq!(
        (
            registry.rights(&branch, "my-group/web"),
            registry.rights(&branch, "my-group/scratch/x")
        ),
        ("r".into(), "rcu".into())
    );
    assert!(matches!(
        refused(registry.token(claims("1", "true")).await),
        Refused::Validation { .. }
    ));
}

/// A JWT-SVID's claims.
fn svid(id: &str) -> Value {
    json!({"sub": id, "aud": [AUDIENCE]})
}

#[tokio::test]
async fn spire_federation() {
    let config = load("spire-federation.yaml");
    assert!(
        config
            .tls
            .as_ref()
            .is_some_and(|tls| tls.svid && tls.files.len() == 1)
    );
    assert!(
        matches!(
            &config.ways_in.domains[2].sources[..],
            [DomainSource::Endpoint(_)]
        ) && matches!(
            &config.ways_in.domains[3].sources[..],
            [DomainSource::Endpoint(_)]
        )
    );
    let registry = Registry::of(config);
    for (id, apps, partner) in [
        ("spiffe://prod.example.org/ns/ci/sa/builder", "rcu", ""),
        ("spiffe://staging.example.org/anything", "r", ""),
        ("spiffe://partner.example/release/bot", "", "rc"),
        ("spiffe://partner.example/ns/ci/sa/builder", "", ""),
    ] {
        let by_token = registry.token(svid(id)).await.unwrap();
        let by_certificate = registry.certificate(id).await.unwrap();
        for identity in [by_token, by_certificate] {
            assert_eq!(
                (
                    registry.rights(&identity, "apps/web"),
                    registry.rights(&identity, "partner/web")
                ),
                (apps.into(), partner.into()),
                "{id}"
            );
        }
    }
    let cloud = registry.token(svid("spiffe://cloud.example/job")).await.unwrap();
    assert_eq!(
        (
            registry.rights(&cloud, "apps/web"),
            registry.rights(&cloud, "partner/web")
        ),
        (String::new(), "r".into())
    );
    assert_eq!(
        refused(registry.token(svid("spiffe://other.example/job")).await),
        Refused::UnknownTrustDomain
    );
}

#[tokio::test]
async fn spire_oidc_provider() {
    let config = load("spire-oidc-provider.yaml");
    assert!(matches!(
        &config.ways_in.domains[0].sources[..],
        [DomainSource::OidcIssuer(_)]
    ));
    assert!(!config.ways_in.domains[0].accepts_x509);
    let registry = Registry::of(config);
    let builder = registry
        .token(svid("spiffe://prod.example.org/ns/ci/sa/builder"))
        .await
        .unwrap();
    assert_eq!(
        (builder.username(), registry.rights(&builder, "apps/web")),
        ("spiffe://prod.example.org/ns/ci/sa/builder", "rcu".into())
    );
    let other = registry
        .token(svid("spiffe://prod.example.org/ns/web/sa/web"))
        .await
        .unwrap();
    assert_eq!(registry.rights(&other, "apps/web"), "r");
}

/// The configurations on a page of the documentation, with a store added.
fn snippets(page: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder(page)).unwrap();
    let blocks = text
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let documents = blocks.map(|block| {
        let mut document: Value = serde_saphyr::from_str(block).unwrap();
        document["storage"] = json!({"rootDirectory": "s"});
        document
    });
    documents.collect()
}

/// The first images are public. `anonymousPolicy` is for callers without an identity, so pods that have one
/// need to be allowed too.
#[tokio::test]
async fn bootstrapping() {
    let mut document = snippets("docs/explanation/bootstrapping.md").remove(0);
    let domain =
        json!({"name": "prod.example.org", "audiences": [AUDIENCE], "bundle": [{"file": "bundle.json"}]});
    document["http"] =
        json!({"tls": {"cert": "a", "key": "b"}, "auth": {"spiffe": {"trustDomains": [domain]}}});
    let registry = Registry::of(parse(&document.to_string()).unwrap());
    let anonymous = registry.anonymous().await;
    let pod = registry
        .token(svid("spiffe://prod.example.org/ns/spire/sa/agent"))
        .await
        .unwrap();
    let promoter = registry
        .certificate("spiffe://prod.example.org/ns/release/sa/promoter")
        .await
        .unwrap();
    for (who, bootstrap) in [(anonymous, "r"), (pod, "r"), (promoter, "rc")] {
        assert_eq!(
            (
                registry.rights(&who, "bootstrap/spire/agent"),
                registry.rights(&who, "apps/web")
            ),
            (bootstrap.into(), String::new())
        );
    }
}

//! The examples for Kubernetes and Flux.

use super::*;
use wharfinger::config::IssuerKeys;
use wharfinger::trust::source::CaSource;

fn account(namespace: &str, name: &str) -> Value {
    json!({
        "iss": "https://kubernetes.default.svc.cluster.local", "sub": format!("system:serviceaccount:{namespace}:{name}"), "aud": [AUDIENCE],
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name}},
    })
}

#[tokio::test]
async fn kubernetes() {
    let config = load("kubernetes.yaml");
    let IssuerKeys::Fetched(keys) = &config.ways_in.issuers[0].keys else {
        panic!("{config:?}")
    };
    assert_eq!(
        keys.jwks_url.as_deref(),
        Some("https://kubernetes.default.svc/openid/v1/jwks")
    );
    assert!(matches!(&keys.ca, Some(CaSource::File(file)) if file.ends_with("serviceaccount/ca.crt")));
    assert!(keys.bearer_token_file.is_some());
    let registry = Registry::of(config);
    let builder = registry.token(account("team-a", "builder")).await.unwrap();
    assert_eq!(
        (builder.username(), builder.groups()),
        (
            "system:serviceaccount:team-a:builder",
            &["ns:team-a".to_owned()][..]
        )
    );
    assert_eq!(
        (
            registry.rights(&builder, "team-a/web"),
            registry.rights(&builder, "shared/base")
        ),
        ("rcu".into(), "r".into())
    );
    let default = registry
        .password("kubelet", account("team-a", "default"))
        .await
        .unwrap();
    assert_eq!(
        (
            registry.rights(&default, "team-a/web"),
            registry.rights(&default, "team-b/web")
        ),
        ("r".into(), String::new())
    );
    let other = registry.token(account("team-b", "builder")).await.unwrap();
    assert_eq!(registry.rights(&other, "team-a/web"), "");
}

/// The claims of a service account's token, or of a JWT-SVID, for this audience.
fn of(subject: &str, audience: &str) -> Value {
    match subject
        .strip_prefix("system:serviceaccount:")
        .and_then(|account| account.split_once(':'))
    {
        Some((namespace, name)) => {
            let mut claims = account(namespace, name);
            claims["aud"] = json!([audience]);
            claims
        }
        None => json!({"iss": "https://flux-issuer.example.org", "sub": subject, "aud": [audience]}),
    }
}

/// What each credential of Flux for this subject may do in the repositories of two tenants.
async fn in_tenants(registry: &Registry, subject: &str) -> (String, String) {
    let claims = of(subject, AUDIENCE);
    let mut identities = vec![
        registry.token(claims.clone()).await.unwrap(),
        registry.password("flux", claims).await.unwrap(),
    ];
    if subject.starts_with("spiffe://") {
        identities.push(registry.certificate(subject).await.unwrap());
    }
    let mut rights: Vec<_> = identities
        .iter()
        .map(|who| {
            (
                registry.rights(who, "tenants/a/web"),
                registry.rights(who, "tenants/b/web"),
            )
        })
        .collect();
    rights.dedup();
    assert_eq!(rights.len(), 1, "{subject}: {rights:?}");
    rights.remove(0)
}

/// Flux as released. By default its audience is the host, with the port if the URL has one.
#[tokio::test]
async fn flux() {
    let registry = Registry::of(load("flux.yaml"));
    for (subject, a, b) in [
        ("system:serviceaccount:tenant-a:registry", "r", ""),
        ("system:serviceaccount:tenant-b:registry", "", "r"),
        ("spiffe://prod.example.org/flux/tenant-a/web", "r", ""),
        ("spiffe://prod.example.org/flux/tenant-b/web", "", "r"),
        ("spiffe://prod.example.org/flux/tenant-a-evil/web", "", ""),
        ("system:serviceaccount:tenant-a:default", "", ""),
        ("system:serviceaccount:flux-system:source-controller", "", ""),
        ("spiffe://prod.example.org/ci/publisher", "rcu", "rcu"),
    ] {
        assert_eq!(
            in_tenants(&registry, subject).await,
            (a.to_owned(), b.to_owned()),
            "{subject}"
        );
        let with_port = registry
            .token(of(subject, "registry.example.org:443"))
            .await
            .unwrap();
        assert_eq!(registry.rights(&with_port, "tenants/a/web"), a, "{subject}");
        let elsewhere = registry.token(of(subject, "elsewhere.example.org")).await;
        assert!(
            matches!(refused(elsewhere), Refused::Jwt(jwt::Rejected::Audience { .. })),
            "{subject}"
        );
    }
}

#[tokio::test]
async fn kubernetes_clusters() {
    let registry = Registry::of(load("kubernetes-clusters.yaml"));
    let account = |issuer: &str, namespace: &str, name: &str| {
        json!({
            "iss": issuer, "aud": [AUDIENCE], "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name}},
        })
    };
    let prod = "https://oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLE";
    let edge = "https://kubernetes.default.svc.cluster.local";
    for (issuer, namespace, name, username, rights) in [
        (prod, "team-a", "builder", "prod:team-a:builder", "rcu"),
        (edge, "team-a", "builder", "edge:team-a:builder", "r"),
        (
            "https://island.example.org",
            "team-a",
            "builder",
            "island:team-a:builder",
            "",
        ),
        (prod, "team-b", "builder", "prod:team-b:builder", ""),
    ] {
        let identity = registry.token(account(issuer, namespace, name)).await.unwrap();
        assert_eq!(
            (identity.username(), registry.rights(&identity, "team-a/web")),
            (username, rights.into())
        );
    }
}

/// The providers `ServiceAccountToken`, `SpiffeJWT` and `SpiffeCertificate`. By default their audience is the
/// object's URL, which limits a token to that repository.
#[tokio::test]
async fn flux_draft() {
    let registry = Registry::of(load("flux-draft.yaml"));
    for (subject, a, b) in [
        ("system:serviceaccount:tenant-a:registry", "r", ""),
        ("system:serviceaccount:tenant-b:registry", "", "r"),
        ("spiffe://flux.example.org/ocirepositories/tenant-a/web", "r", ""),
        (
            "spiffe://flux.example.org/imagerepositories/tenant-a/web",
            "r",
            "",
        ),
        ("spiffe://flux.example.org/ocirepositories/tenant-b/web", "", "r"),
        ("spiffe://flux.example.org/helmcharts/tenant-a/web", "", ""),
    ] {
        assert_eq!(
            in_tenants(&registry, subject).await,
            (a.to_owned(), b.to_owned()),
            "{subject}"
        );
        let by_url = registry
            .token(of(subject, "oci://registry.example.org/tenants/a/web"))
            .await
            .unwrap();
        let rights = (
            registry.rights(&by_url, "tenants/a/web"),
            registry.rights(&by_url, "tenants/a/other"),
        );
        assert_eq!(rights, (a.to_owned(), String::new()), "{subject}");
    }
}

/// Each snippet of the page works alone: it admits the tenant and rejects the other one.
#[tokio::test]
async fn flux_draft_page() {
    let [account_token, jwt, certificate] = &snippets("docs/how-to/flux-draft.md")[..] else {
        panic!("expected one snippet a type")
    };
    let load = |snippet: &Value| Registry::of(parse(&snippet.to_string()).unwrap());
    let accounts = load(account_token);
    let jwts = load(jwt);
    let certificates = load(certificate);
    for (tenant, rights) in [("a", "r"), ("b", "")] {
        let account = format!("system:serviceaccount:tenant-{tenant}:registry");
        let object = format!("spiffe://flux.example.org/ocirepositories/tenant-{tenant}/web");
        let audience = "oci://registry.example.org/tenants/a/web";
        for (kind, registry, identity) in [
            (
                "ServiceAccountToken",
                &accounts,
                accounts.token(of(&account, audience)).await.unwrap(),
            ),
            (
                "SpiffeJWT",
                &jwts,
                jwts.token(of(&object, audience)).await.unwrap(),
            ),
            (
                "SpiffeCertificate",
                &certificates,
                certificates.certificate(&object).await.unwrap(),
            ),
        ] {
            assert_eq!(
                registry.rights(&identity, "tenants/a/web"),
                rights,
                "{kind} of tenant {tenant}"
            );
        }
    }
}

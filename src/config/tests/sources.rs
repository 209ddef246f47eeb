//! Issuers and trust domains, and where their keys come from.

use super::*;
use crate::trust::source::CaSource;

fn spiffe(bundles: &[Value]) -> Value {
    let domain = |(i, bundle): (usize, &Value)| json!({"name": format!("{}.example", ["a", "b", "c"][i]), "audiences": ["r"], "svids": ["jwt"], "bundle": bundle});
    with(&[(
        "/http/auth/spiffe",
        json!({"trustDomains": bundles.iter().enumerate().map(domain).collect::<Vec<_>>()}),
    )])
}

#[test]
fn a_federation_endpoint_says_how_its_server_is_known_and_nothing_is_inferred() {
    let spiffe_endpoint = json!({"url": "https://b.example/", "profile": "https_spiffe", "endpointSpiffeID": "spiffe://a.example/spire/server", "bootstrapFile": "a.json"});
    assert!(load(&spiffe(&[json!([{"endpoint": spiffe_endpoint}])])).is_ok());
    assert!(
        load(&spiffe(&[
            json!([{"endpoint": {"url": "https://b.example/", "profile": "https_web"}}])
        ]))
        .is_ok()
    );
    for (change, wrong) in [
        (json!({"url": "http://b.example/"}), "url"),
        (json!({"url": "https://user@b.example/"}), "url"),
        (json!({"profile": "https"}), "profile"),
        (json!({"profile": null}), "profile"),
        (json!({"endpointSpiffeID": null}), "endpointSpiffeID"),
        (
            json!({"endpointSpiffeID": "spiffe://a.example"}),
            "endpointSpiffeID",
        ),
        (
            json!({"endpointSpiffeID": "spiffe://A.example/x"}),
            "endpointSpiffeID",
        ),
        (json!({"bootstrapFile": null}), "bootstrapFile"),
        (
            json!({"certificateAuthorityFile": "ca.pem"}),
            "certificateAuthorityFile",
        ),
        (json!({"proxy": "proxy.example:3128"}), "proxy"),
    ] {
        let mut endpoint = spiffe_endpoint.clone();
        for (key, value) in change.as_object().unwrap() {
            endpoint[key] = value.clone();
        }
        let expected = format!("http.auth.spiffe.trustDomains[0].bundle[0].endpoint.{wrong}");
        let found = keys(&spiffe(&[json!([{"endpoint": endpoint}])]));
        assert!(
            found[0] == expected && (found.len() == 1 || wrong == "profile"),
            "{change}: {found:?}"
        );
    }
    let web = json!({"url": "https://b.example/", "profile": "https_web", "endpointSpiffeID": "spiffe://a.example/x", "bootstrapFile": "a.json"});
    assert_eq!(keys(&spiffe(&[json!([{"endpoint": web}])])).len(), 2);
}

#[test]
fn no_source_may_serve_two_trust_domains_but_a_bundle_map() {
    for source in [
        json!({"file": "a.pem"}),
        json!({"jwksFile": "a.json"}),
        json!({"inline": "x"}),
        json!({"oidcIssuer": "https://a.example"}),
        json!({"endpoint": {"url": "https://a.example/", "profile": "https_web"}}),
    ] {
        let found = keys(&spiffe(&[json!([source]), json!([source])]));
        assert_eq!(found, ["http.auth.spiffe.trustDomains[1].bundle"], "{source}");
        assert!(
            load(&spiffe(&[json!([source, source])])).is_ok(),
            "{source}: one trust domain may list it twice"
        );
    }
    let elsewhere =
        json!({"oidcIssuer": {"issuer": "https://a.example", "jwksURL": "https://b.example/keys"}});
    assert_eq!(
        keys(&spiffe(&[
            json!([{"oidcIssuer": "https://a.example"}]),
            json!([elsewhere])
        ]))
        .len(),
        1
    );
    assert_eq!(
        keys(&spiffe(&[
            json!([{"file": "a.json"}]),
            json!([{"bundleMapFile": "a.json"}])
        ]))
        .len(),
        1
    );
    assert!(
        load(&spiffe(&[
            json!([{"bundleMapFile": "m.json"}]),
            json!([{"bundleMapFile": "m.json"}])
        ]))
        .is_ok()
    );
}

#[test]
fn a_pod_finds_its_own_clusters_issuer() {
    let folder = tempfile::tempdir().unwrap();
    let token = |claims: Value| {
        let encode = |value: Value| crate::trust::jwt::testing::encode(value.to_string());
        let text = format!(
            "{}.{}.{}\n",
            encode(json!({"alg": "RS256", "kid": "k"})),
            encode(claims),
            encode(json!("signature"))
        );
        std::fs::write(folder.path().join("token"), text).unwrap();
    };
    let entry = |more: Value| {
        let mut document = with(&[(
            "/http/auth/bearer/oidc",
            json!([{"type": "kubernetes", "audiences": ["r"], "bearerTokenFile": "token"}]),
        )]);
        document["http"]["auth"]["bearer"]["oidc"][0]
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        document
    };
    let inside = Environment {
        kubernetes_service: Some(("10.0.0.1".into(), "443".into())),
        ..Environment::default()
    };
    let load = |document: &Value, environment: &Environment| {
        parse_in(&document.to_string(), folder.path(), environment.clone())
    };
    let issuer = "https://kubernetes.default.svc.cluster.local";

    token(json!({"iss": issuer, "sub": "system:serviceaccount:registry:registry"}));
    let config = load(&entry(json!({})), &inside).unwrap();
    assert_eq!(config.ways_in.issuers[0].rules.issuer, issuer);
    let IssuerKeys::Fetched(settings) = &config.ways_in.issuers[0].keys else {
        panic!()
    };
    assert_eq!(
        settings.jwks_url.as_deref(),
        Some("https://10.0.0.1:443/openid/v1/jwks")
    );
    assert_eq!(
        settings.bearer_token_file.as_deref(),
        Some(&*folder.path().join("token"))
    );
    assert!(matches!(&settings.ca, Some(CaSource::File(path)) if path.ends_with("serviceaccount/ca.crt")));

    let other = load(
        &entry(json!({"issuer": "https://other.example", "certificateAuthorityFile": "ca.pem"})),
        &inside,
    )
    .unwrap();
    let IssuerKeys::Fetched(settings) = &other.ways_in.issuers[0].keys else {
        panic!()
    };
    assert_eq!(
        (&*settings.issuer, &settings.ca),
        (
            "https://other.example",
            &Some(CaSource::File(folder.path().join("ca.pem")))
        )
    );

    let six = Environment {
        kubernetes_service: Some(("fd00::1".into(), "443".into())),
        ..Environment::default()
    };
    let IssuerKeys::Fetched(settings) = &load(&entry(json!({})), &six).unwrap().ways_in.issuers[0].keys
    else {
        panic!()
    };
    assert_eq!(
        settings.jwks_url.as_deref(),
        Some("https://[fd00::1]:443/openid/v1/jwks")
    );

    let wrong = |document: &Value, environment: &Environment| {
        load(document, environment)
            .map(drop)
            .unwrap_err()
            .into_iter()
            .map(|one| one.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        wrong(&entry(json!({})), &Environment::default()),
        ["http.auth.bearer.oidc[0].type"]
    );
    std::fs::write(folder.path().join("token"), "no token").unwrap();
    assert_eq!(
        wrong(&entry(json!({})), &inside),
        ["http.auth.bearer.oidc[0].issuer"]
    );
    std::fs::remove_file(folder.path().join("token")).unwrap();
    assert_eq!(
        wrong(&entry(json!({})), &inside),
        ["http.auth.bearer.oidc[0].issuer"]
    );
    assert_eq!(
        keys(&with(&[(
            "/http/auth/bearer/oidc",
            json!([{"audiences": ["r"]}])
        )])),
        ["http.auth.bearer.oidc[0].issuer"]
    );
}

#[test]
fn trust_domains() {
    let domain =
        |name: &str, bundle: Value| json!({"name": name, "audiences": ["registry"], "bundle": bundle});
    let spiffe = |domains: Value| with(&[("/http/auth/spiffe", json!({"trustDomains": domains}))]);
    assert!(load(&spiffe(json!([domain("a.example", json!([{"file": "a.json"}]))]))).is_ok());
    assert_eq!(
        keys(&spiffe(json!([domain("a.example", json!([]))]))),
        ["http.auth.spiffe.trustDomains[0].bundle"]
    );
    let shared = spiffe(json!([
        domain("a.example", json!([{"file": "x.pem"}])),
        domain("b.example", json!([{"file": "x.pem"}]))
    ]));
    assert_eq!(keys(&shared), ["http.auth.spiffe.trustDomains[1].bundle"]);
    let twice = spiffe(json!([
        domain("a.example", json!([{"file": "x"}])),
        domain("a.example", json!([{"file": "y"}]))
    ]));
    assert_eq!(keys(&twice), ["http.auth.spiffe.trustDomains[1].name"]);
    let workload = spiffe(json!([domain("a.example", json!([{"workloadAPI": {}}]))]));
    assert_eq!(keys(&workload), ["http.auth.spiffe.workloadAPI"]);
    let config = parse(
        &workload.to_string(),
        Path::new("."),
        Some("unix:///run/agent.sock".into()),
    )
    .unwrap();
    assert_eq!(
        config.ways_in.workload_api.as_deref(),
        Some("unix:///run/agent.sock")
    );
}

#[test]
fn issuers_that_share_names_must_not_share_usernames() {
    let issuer = |url: &str| json!({"issuer": url, "audiences": ["registry"]});
    let nested = json!([
        issuer("https://issuer.example.org"),
        issuer("https://issuer.example.org/team")
    ]);
    assert_eq!(
        keys(&with(&[("/http/auth/bearer/oidc", nested)])),
        ["http.auth.bearer.oidc[1].issuer"]
    );
}

#[test]
fn entries_of_one_issuer_with_other_keys_need_names() {
    let issuer = "https://kubernetes.default.svc.cluster.local";
    let entry = |name: &str, file: &str| match name {
        "" => json!({"issuer": issuer, "audiences": ["registry"], "jwksFile": file}),
        name => json!({"issuer": issuer, "audiences": ["registry"], "jwksFile": file, "name": name}),
    };
    // The same issuer behind the proxies of two clusters. Its credentials are not printed, but are compared.
    let proxied = |name: &str, password: &str| {
        let proxy = format!("http://user:{password}@proxy.example:3128");
        json!({"issuer": issuer, "audiences": ["registry"], "name": name, "proxy": proxy})
    };
    for (entries, expected) in [
        (
            json!([entry("", "a"), entry("", "b")]),
            &["http.auth.bearer.oidc[1].issuer"][..],
        ),
        (json!([entry("", "a"), entry("", "a")]), &[]),
        (json!([entry("edge", "a"), entry("prod", "b")]), &[]),
        (
            json!([entry("edge", "a"), entry("edge", "a"), entry("prod", "b")]),
            &[],
        ),
        (
            json!([entry("edge", "a"), entry("edge", "b")]),
            &["http.auth.bearer.oidc[1].issuer"],
        ),
        (
            json!([entry("edge", "a"), entry("prod", "a")]),
            &["http.auth.bearer.oidc[1].name"],
        ),
        (
            json!([entry("edge", "a"), entry("", "b")]),
            &["http.auth.bearer.oidc[1].name"],
        ),
        (
            json!([entry("", "a"), entry("prod", "b")]),
            &["http.auth.bearer.oidc[0].name"],
        ),
        (json!([proxied("edge", "a"), proxied("prod", "b")]), &[]),
        (
            json!([proxied("edge", "a"), proxied("edge", "b")]),
            &["http.auth.bearer.oidc[1].issuer"],
        ),
        (json!([entry("a/b", "a")]), &["http.auth.bearer.oidc[0].name"]),
        (
            json!([entry(&"a".repeat(64), "a")]),
            &["http.auth.bearer.oidc[0].name"],
        ),
    ] {
        let document = with(&[("/http/auth/bearer/oidc", entries.clone())]);
        let found = load(&document).map_or_else(
            |mistakes| mistakes.into_iter().map(|mistake| mistake.key).collect(),
            |_| Vec::new(),
        );
        assert_eq!(found, expected, "{entries}");
    }
}

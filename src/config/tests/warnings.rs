//! Settings that are accepted but seldom intended. Each test has a file with the warning and one without.

use super::*;

/// The keys of the warnings.
fn warned(document: &Value) -> Vec<String> {
    load(document)
        .unwrap_or_else(|mistakes| panic!("{mistakes:?}: {document}"))
        .warnings
        .into_iter()
        .map(|warning| warning.key)
        .collect()
}

fn check(key: &str, bad: &[(&str, Value)], good: &[(&str, Value)]) {
    for change in bad {
        assert_eq!(warned(&with(std::slice::from_ref(change))), [key], "{change:?}");
    }
    for change in good {
        assert_eq!(warned(&with(std::slice::from_ref(change))), [""; 0], "{change:?}");
    }
}

const ENTRIES: &str = "/http/auth/bearer/oidc";

fn entry(issuer: &str, changes: Value) -> (&'static str, Value) {
    let mut entry = json!({"issuer": issuer, "audiences": ["registry"]});
    entry
        .as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    (ENTRIES, json!([entry]))
}

fn mapping(mapping: Value) -> (&'static str, Value) {
    entry("https://issuer.example.org", json!({"claimMapping": mapping}))
}

fn validation(expression: &str) -> Value {
    json!({"validations": [{"expression": expression, "message": "m"}]})
}

#[test]
fn the_default_audience_of_an_api_server() {
    let of = |audience: &str| entry("https://issuer.example.org", json!({"audiences": [audience]}));
    let key = "http.auth.bearer.oidc[0].audiences[0]";
    let bad = [
        "https://kubernetes.default.svc",
        "https://kubernetes.default.svc.cluster.local",
        "k3s",
        "https://issuer.example.org",
    ];
    check(
        key,
        &bad.map(of),
        &["registry", "https://registry.example.org"].map(of),
    );
}

#[test]
fn an_issuer_that_is_a_template() {
    let of = |tenant: &str| {
        entry(
            &format!("https://login.microsoftonline.com/{tenant}/v2.0"),
            json!({}),
        )
    };
    check(
        "http.auth.bearer.oidc[0].issuer",
        &[of("{tenantid}")],
        &[of("6f0a8b9c-0000-4000-8000-000000000000")],
    );
}

#[test]
fn an_email_address_that_was_not_verified() {
    let verified = json!({"username": "claims.email", "validations": [{"expression": "claims.email_verified == true", "message": "m"}]});
    check(
        "http.auth.bearer.oidc[0].claimMapping",
        &[
            mapping(json!({"username": "claims.email"})),
            mapping(validation("claims['email'] == 'a@example.org'")),
        ],
        &[mapping(verified), mapping(json!({"username": "claims.sub"}))],
    );
}

#[test]
fn a_pattern_that_matches_anywhere() {
    let of = |pattern: &str| mapping(validation(&format!("claims.sub.matches({pattern})")));
    let bad = [
        "'repo:my-org/.*'",
        "'^repo:my-org/'",
        r#""my-org$""#,
        "'^a|b$'",
        r"r'^my-org\$'",
    ];
    let good = ["'^repo:my-org/.*$'", "'^(a|b)$'", r"r'\Aa\z'", "claims.pattern"];
    check(
        "http.auth.bearer.oidc[0].claimMapping.validations[0].expression",
        &bad.map(of),
        &good.map(of),
    );
}

#[test]
fn names_that_others_may_take_over() {
    let github = |expression: &str| {
        entry(
            "https://token.actions.githubusercontent.com",
            json!({"claimMapping": validation(expression)}),
        )
    };
    let gitlab = |expression: &str| {
        entry(
            "https://gitlab.com",
            json!({"claimMapping": validation(expression)}),
        )
    };
    check(
        "http.auth.bearer.oidc[0].claimMapping.validations",
        &[
            github("claims.repository_owner == 'my-org'"),
            gitlab("claims.namespace_path == 'my-group'"),
        ],
        &[
            github("claims.repository_owner_id == '1'"),
            github("claims.repository_owner == 'my-org' && claims.repository_id in ['1', '2']"),
            gitlab("claims.namespace_id == '1'"),
            gitlab("claims.project_id == '1'"),
        ],
    );
}

#[test]
fn passwords_in_clear_text() {
    let of = |changes: &[(&str, Value)]| {
        with(&[&[("/http/auth/htpasswd", json!({"path": "users"}))], changes].concat())
    };
    let address = ("/http/address", json!("0.0.0.0"));
    assert_eq!(
        warned(&of(std::slice::from_ref(&address))),
        ["http.auth.htpasswd"]
    );
    for good in [
        vec![],
        vec![("/http/address", json!("::1"))],
        vec![address.clone(), ("/http/tls", json!({"cert": "c", "key": "k"}))],
        vec![address.clone(), ("/http/trustedProxies", json!(["10.0.0.7"]))],
    ] {
        assert_eq!(warned(&of(&good)), [""; 0], "{good:?}");
    }
    assert_eq!(warned(&with(&[address])), [""; 0], "without passwords");
}

#[test]
fn proxies_that_are_everyone() {
    let of = |network: &str| ("/http/trustedProxies", json!([network]));
    check(
        "http.trustedProxies[0]",
        &["0.0.0.0/0", "::/0", "128.0.0.0/1"].map(of),
        &["10.0.0.0/8", "fd00::/8", "10.0.0.7"].map(of),
    );
}

#[test]
fn a_session_without_an_end() {
    let of = |lifetime: &str| ("/http/auth/token", json!({"sessionLifetime": lifetime}));
    check(
        "http.auth.token.sessionLifetime",
        &["25h", "8760h"].map(of),
        &["24h", "0"].map(of),
    );
}

#[test]
fn a_user_named_star() {
    let policy = |user: &str| {
        (
            "/accessControl",
            json!({"repositories": {"**": {"policies": [{"users": [user], "actions": ["read"]}]}}}),
        )
    };
    check(
        r#"accessControl.repositories["**"].policies[0].users"#,
        &[policy("*")],
        &[policy("ann"), policy("a*")],
    );
    let admin = |user: &str| {
        (
            "/accessControl",
            json!({"adminPolicy": {"users": [user], "actions": ["read"]}}),
        )
    };
    check("accessControl.adminPolicy.users", &[admin("*")], &[admin("ann")]);
    let group = |user: &str| ("/accessControl", json!({"groups": {"g": {"users": [user]}}}));
    check(
        r#"accessControl.groups["g"].users"#,
        &[group("*")],
        &[group("ann")],
    );
    let metrics = |user: &str| ("/accessControl", json!({"metrics": {"users": [user]}}));
    check("accessControl.metrics.users", &[metrics("*")], &[metrics("ann")]);
}

#[test]
fn a_tag_pattern_that_looks_like_a_regular_expression() {
    let of = |pattern: &str| {
        let rules = json!({"**": {"defaultPolicy": ["read"], "immutableTags": [pattern]}});
        ("/accessControl/repositories", rules)
    };
    let key = r#"accessControl.repositories["**"].immutableTags[0]"#;
    check(key, &["v.*", ".*"].map(of), &["v*", "v1.?*", "v[0-9]*"].map(of));
    for pattern in ["^v", "v[0-9]+", "v\\d", "(a|b)", ""] {
        let mistakes = load(&with(&[of(pattern)])).map(drop).unwrap_err();
        assert_eq!(mistakes[0].key, key, "{pattern}");
    }
}

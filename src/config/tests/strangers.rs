//! Issuers that give tokens to anyone.

use super::*;

const GITHUB: &str = "https://token.actions.githubusercontent.com";

fn file(issuer: &str, entry: Value, access: Value) -> Value {
    let mut document = with(&[("/accessControl", access)]);
    document["http"]["auth"]["bearer"]["oidc"][0] = entry;
    document["http"]["auth"]["bearer"]["oidc"][0]["issuer"] = issuer.into();
    document["http"]["auth"]["bearer"]["oidc"][0]["audiences"] = json!(["registry"]);
    if document["accessControl"].is_null() {
        document.as_object_mut().unwrap().remove("accessControl");
    }
    document
}

/// Whether it is rejected, and for this reason only.
fn is_refused(document: &Value) -> bool {
    match load(document) {
        Ok(_) => false,
        Err(mistakes) => {
            let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
            assert_eq!(
                keys,
                ["http.auth.bearer.oidc[0].claimMapping.validations"],
                "{mistakes:?}"
            );
            true
        }
    }
}

#[test]
fn each_shared_issuer_needs_a_validation_and_no_other_does() {
    for (issuer, shared) in [
        (GITHUB, true),
        ("https://gitlab.com", true),
        ("https://agent.buildkite.com", true),
        ("https://accounts.google.com", true),
        ("https://app.terraform.io", true),
        ("https://oidc.vercel.com", true),
        ("https://codeberg.org/api/actions", true),
        ("https://oauth2.sigstore.dev/auth", true),
        (
            "https://oidc.circleci.com/org/7d3ab0ed-5d0e-44e1-8c2a-1a5ac18c9a4f",
            false,
        ),
        ("https://oidc.vercel.com/my-team", false),
        ("https://token.actions.githubusercontent.com/my-enterprise", false),
        ("https://gitlab.example.org", false),
    ] {
        assert_eq!(
            is_refused(&file(issuer, json!({}), Value::Null)),
            shared,
            "{issuer}"
        );
    }
}

#[test]
fn a_shared_issuer_is_rejected_where_a_stranger_would_get_rights() {
    let users =
        |users: Value| json!({"repositories": {"**": {"policies": [{"users": users, "actions": ["read"]}]}}});
    let groups = |groups: Value| json!({"repositories": {"**": {"policies": [{"groups": groups, "actions": ["read"]}]}}});
    let mapping = |mapping: Value| json!({"claimMapping": mapping});
    let admin = json!({"repositories": {}, "adminPolicy": {"groups": ["ci"], "actions": ["read"]}});
    let named = json!({"repositories": {"**": {"policies": [{"groups": ["team"], "actions": ["read"]}]}}, "groups": {"team": {"users": ["ci"]}}});
    for (entry, access, refused) in [
        (json!({}), Value::Null, true),
        (json!({"acceptEveryone": true}), Value::Null, false),
        (json!({"acceptEveryone": false}), Value::Null, true),
        (
            mapping(
                json!({"validations": [{"expression": "claims.repository_owner_id == '1'", "message": "m"}]}),
            ),
            Value::Null,
            false,
        ),
        (
            json!({}),
            json!({"repositories": {"**": {"defaultPolicy": ["read"]}}}),
            true,
        ),
        (
            json!({}),
            json!({"repositories": {"**": {"anonymousPolicy": ["read"]}}}),
            false,
        ),
        (
            json!({}),
            users(json!([
                "https://token.actions.githubusercontent.com/repo:my-org/app:ref:refs/heads/main",
                "alice"
            ])),
            false,
        ),
        (
            mapping(json!({"username": "claims.sub"})),
            users(json!(["repo:my-org/app:ref:refs/heads/main"])),
            false,
        ),
        (
            mapping(json!({"username": "claims.iss + \"/\" + claims.sub"})),
            users(json!(["alice"])),
            false,
        ),
        (
            mapping(json!({"username": "claims.workflow"})),
            users(json!(["ci"])),
            true,
        ),
        (
            mapping(json!({"username": "claims.repository"})),
            users(json!([])),
            false,
        ),
        (
            mapping(json!({"username": "claims.workflow"})),
            json!({"metrics": {"users": ["prometheus"]}}),
            true,
        ),
        (
            mapping(json!({"username": "claims.workflow"})),
            json!({"metrics": {"anonymousPolicy": ["read"]}}),
            false,
        ),
        (
            mapping(json!({"variables": [{"name": "u", "expression": "'ci'"}], "username": "vars.u"})),
            users(json!(["ci"])),
            true,
        ),
        (
            mapping(json!({"username": "'c' + 'i'"})),
            users(json!(["ci"])),
            true,
        ),
        (
            mapping(json!({"username": r"'\x63i'"})),
            users(json!(["ci"])),
            true,
        ),
        (mapping(json!({"username": "'ci'"})), users(json!(["ci"])), true),
        (mapping(json!({"username": "'ci'"})), named, true),
        (mapping(json!({"groups": "['ci']"})), groups(json!(["ci"])), true),
        (
            mapping(json!({"groups": "['ci']"})),
            groups(json!(["other"])),
            false,
        ),
        (mapping(json!({"groups": "['ci']"})), admin, true),
        (
            mapping(json!({"groups": "['c'+'i']"})),
            groups(json!(["ci"])),
            true,
        ),
        (
            mapping(json!({"groups": "[claims.environment]"})),
            groups(json!(["ci"])),
            true,
        ),
        (
            mapping(json!({"groups": "[claims.environment]"})),
            users(json!(["alice"])),
            false,
        ),
        (
            mapping(json!({"variables": [{"name": "g", "expression": "['ci']"}], "groups": "vars.g"})),
            groups(json!(["ci"])),
            true,
        ),
    ] {
        assert_eq!(
            is_refused(&file(GITHUB, entry.clone(), access.clone())),
            refused,
            "{entry} {access}"
        );
    }
}

#[test]
fn the_operator_can_open_it_and_is_warned() {
    let document = file(GITHUB, json!({}), Value::Null);
    let environment = Environment {
        open: true,
        ..Environment::default()
    };
    let config = parse_in(&document.to_string(), Path::new("."), environment.clone()).unwrap();
    assert!(config.open && config.warnings.len() == 1, "{:?}", config.warnings);
    assert!(
        config.warnings[0].to_string().contains("anyone can get a token"),
        "{}",
        config.warnings[0]
    );
    let config = parse_in(&minimal().to_string(), Path::new("."), environment).unwrap();
    assert_eq!(
        config.warnings,
        [],
        "a file that admits no stranger needs no warning"
    );
}

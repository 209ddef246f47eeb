//! All mistakes of a file are found at once, each with its key.

use super::*;

#[test]
fn all_mistakes_in_the_text_are_found_at_once() {
    let bad = with(&[
        ("/http/prot", json!(80)),
        ("/http/address", json!(5)),
        ("/http/auth/bearer/oidc/0/claimMaping", json!({})),
        ("/http/auth/bearer/oidc/0/audiences", json!({"registry": true})),
        ("/log", json!({"level": "loud"})),
        ("/storage", json!({})),
    ]);
    let found = keys(&bad);
    for key in [
        "http.prot",
        "http.address",
        "http.auth.bearer.oidc[0].claimMaping",
        "http.auth.bearer.oidc[0].audiences[0]",
        "log.level",
        "storage.rootDirectory",
    ] {
        assert!(found.iter().any(|found| found == key), "{key} in {found:?}");
    }
    assert_eq!(found.len(), 6);
    let text = load(&bad)
        .map(|_| ())
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        text.contains("http.prot: is not a key here; did you mean port?"),
        "{text}"
    );
}

#[test]
fn a_mistake_in_the_text_hides_no_mistake_in_the_meaning() {
    let bad = with(&[
        ("/http/auth/bearer/oidc/0/clockSkew", json!(30)),
        ("/http/auth/bearer/oidc/0/issuer", json!("issuer.example.org")),
        ("/http/auth/bearer/oidc/0/algorithms", json!(["HS256", 5])),
        (
            "/http/auth/spiffe",
            json!({"trustDomains": [{"bundle": [{"file": 1}], "audiences": ["a"]}, 7, {"name": "TD", "audiences": ["a"], "bundle": []}]}),
        ),
        ("/http/auth/ldap", json!({"address": "x"})),
        ("/storage", json!({"rootDirectroy": "s"})),
        (
            "/accessControl",
            json!({"repositories": {"a[": {"policies": [{"users": ["a"], "actions": ["reed"]}]}}}),
        ),
        ("/log", json!({"level": "loud"})),
    ]);
    let mut found = keys(&bad);
    found.sort();
    assert_eq!(
        found,
        [
            "accessControl.repositories[\"a[\"].policies[0].actions[0]",
            "http.auth.bearer.oidc[0].algorithms[0]",
            "http.auth.bearer.oidc[0].algorithms[1]",
            "http.auth.bearer.oidc[0].clockSkew",
            "http.auth.bearer.oidc[0].issuer",
            "http.auth.ldap",
            "http.auth.spiffe.trustDomains[0].name",
            "http.auth.spiffe.trustDomains[1]",
            "http.auth.spiffe.trustDomains[2].bundle",
            "http.auth.spiffe.trustDomains[2].name",
            "log.level",
            "storage.rootDirectroy",
        ]
    );
}

#[test]
fn invalid_yaml_is_reported_with_its_place_and_without_the_lines_around_it() {
    for (text, said) in [
        (
            "storage: {rootDirectory: s}\nstorage: {}\n",
            "line 2: storage appears twice",
        ),
        (
            "log: {level: info}\nhttp:\n  secret: \"hunter2\n  port: 1\n",
            "line 3",
        ),
        ("storage:\n\trootDirectory: hunter2\n", "line 2"),
    ] {
        let mistakes = parse(text, Path::new("."), None).unwrap_err();
        assert_eq!(mistakes.len(), 1);
        assert!(
            mistakes[0].what.contains(said) && !mistakes[0].what.contains("hunter2"),
            "{}",
            mistakes[0]
        );
    }
}

#[test]
fn all_mistakes_in_the_meaning_are_found_at_once() {
    let bad = with(&[
        ("/http/port", json!("eighty")),
        ("/http/auth/bearer/oidc/0/audiences", json!([])),
        ("/http/auth/bearer/oidc/0/clockSkew", json!("soon")),
        ("/http/auth/bearer/oidc/0/algorithms", json!(["HS256"])),
        ("/http/auth/bearer/oidc/0/certificateAuthority", json!("x")),
        ("/http/auth/bearer/oidc/0/certificateAuthorityFile", json!("x")),
        (
            "/http/auth/spiffe",
            json!({"trustDomains": [{"name": "TD", "bundle": [{}]}]}),
        ),
    ]);
    let mut found = keys(&bad);
    found.sort();
    assert_eq!(
        found,
        [
            "http.auth.bearer.oidc[0].algorithms[0]",
            "http.auth.bearer.oidc[0].audiences",
            "http.auth.bearer.oidc[0].certificateAuthority",
            "http.auth.bearer.oidc[0].clockSkew",
            "http.auth.spiffe.trustDomains[0].audiences",
            "http.auth.spiffe.trustDomains[0].bundle[0]",
            "http.auth.spiffe.trustDomains[0].name",
            "http.port",
        ]
    );
}

#[test]
fn a_wrong_expression_names_its_key() {
    let mapping = json!({"username": "claim.sub", "validations": [{"expression": "'x'", "message": "m"}]});
    let found = keys(&with(&[("/http/auth/bearer/oidc/0/claimMapping", mapping)]));
    assert!(
        found.contains(&"http.auth.bearer.oidc[0].claimMapping.username".to_owned()),
        "{found:?}"
    );
    assert!(
        found.contains(&"http.auth.bearer.oidc[0].claimMapping.validations[0].expression".to_owned()),
        "{found:?}"
    );
}

#[test]
fn a_value_that_may_be_secret_is_not_printed() {
    let mut document = minimal();
    document["http"]["tls"] = json!("hunter2");
    let text: String = load(&document)
        .map(|_| ())
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(text.contains("http.tls") && !text.contains("hunter2"), "{text}");
}

#[test]
fn an_unknown_key_is_found_at_every_level() {
    let full = json!({
        "storage": {"rootDirectory": "s"}, "log": {"level": "info"},
        "http": {"health": {"port": 1}, "tls": {"cert": "c", "key": "k"}, "auth": {
            "bearer": {"oidc": [{"issuer": "https://i.example", "audiences": ["a"], "claimMapping": {"variables": [{"name": "n", "expression": "1"}]}}]},
            "spiffe": {"trustDomains": [{"name": "td", "audiences": ["a"], "bundle": [{"file": "f"}]}]}}},
        "accessControl": {"repositories": {"**": {"policies": [{"users": ["u"], "actions": ["read"]}]}}, "adminPolicy": {}, "groups": {"g": {"users": []}}},
    });
    let mut planted = 0;
    let mut pointers = vec![String::new()];
    collect(&full, "", &mut pointers);
    for pointer in pointers {
        if pointer == "/accessControl/repositories" || pointer == "/accessControl/groups" {
            continue; // their keys are names
        }
        let mut document = full.clone();
        document.pointer_mut(&pointer).unwrap()["bogus"] = json!(1);
        let mistakes = load(&document).map(|_| ()).unwrap_err();
        assert!(
            mistakes.iter().any(|mistake| mistake.key.ends_with("bogus")),
            "{pointer}: {mistakes:?}"
        );
        planted += 1;
    }
    assert!(planted > 12, "{planted}");
}

/// The pointers of every object below `value`.
fn collect(value: &Value, at: &str, pointers: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, value)| (i.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        let pointer = format!("{at}/{key}");
        if child.is_object() {
            pointers.push(pointer.clone());
        }
        collect(child, &pointer, pointers);
    }
}

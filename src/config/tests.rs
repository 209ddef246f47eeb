//! Configurations that load and mistakes that are found, each with its key.

mod open;
mod sources;
mod strangers;
mod warnings;
mod zots;

use super::*;
use crate::http::Cors;
use crate::server::ClientAuth;
use serde_json::{Value, json};

fn minimal() -> Value {
    json!({
        "storage": {"rootDirectory": "store"},
        "http": {"auth": {"bearer": {"oidc": [{"issuer": "https://issuer.example.org", "audiences": ["registry"]}]}}},
    })
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut document = minimal();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let mut at = &mut document;
        for step in parent.split('/').filter(|step| !step.is_empty()) {
            at = match step.parse::<usize>() {
                Ok(i) => &mut at[i],
                Err(_) => &mut at[step],
            };
        }
        at[key] = value.clone();
    }
    document
}

fn load(document: &Value) -> Result<Config, Vec<Mistake>> {
    parse(&document.to_string(), Path::new("/etc/wharfinger"), None)
}

fn keys(document: &Value) -> Vec<String> {
    load(document)
        .map(|_| ())
        .unwrap_err()
        .into_iter()
        .map(|mistake| mistake.key)
        .collect()
}

#[test]
fn a_minimal_file_has_the_defaults_of_zot() {
    let config = load(&minimal()).unwrap();
    assert_eq!(
        config.fixed.listen,
        Listen {
            address: "127.0.0.1".into(),
            port: 8080
        }
    );
    assert_eq!(config.fixed.storage, Path::new("/etc/wharfinger/store"));
    assert_eq!(
        config.fixed.state_directory,
        Path::new("/etc/wharfinger/store/state")
    );
    assert_eq!(config.live.terms.service, "wharfinger");
    assert!(config.tls.is_none() && config.warnings.is_empty());
}

#[test]
fn yaml_and_keys_in_any_case_and_ports_as_text() {
    let text = "storage: {ROOTDIRECTORY: /var/lib/registry}\nhttp:\n  port: '5000'\n  externalUrl: https://registry.example.org/\n  auth: {bearer: {oidc: [{issuer: https://issuer.example.org, audiences: [registry]}]}}\n";
    let config = parse(text, Path::new("."), None).unwrap();
    assert_eq!(
        (config.fixed.listen.port, config.live.external_urls),
        (5000, vec!["https://registry.example.org".to_owned()])
    );
}

#[test]
fn all_mistakes_of_the_text_are_found_at_once() {
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
fn a_mistake_of_the_text_hides_none_of_the_meaning() {
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
fn in_yaml_only_true_and_false_are_truth_values() {
    let tls = |value: &str| {
        format!(
            "storage: {{rootDirectory: s}}\nhttp: {{tls: {{cert: c, key: k, {value}}}, auth: {{bearer: {{oidc: [{{issuer: 'https://i.example', audiences: [a]}}]}}}}}}"
        )
    };
    let config = parse(&tls("clientAuth: off, http2: true"), Path::new("."), None).unwrap();
    assert_eq!(
        config.tls.map(|tls| (tls.client_auth, tls.http2)),
        Some((ClientAuth::Off, true))
    );
    let mistakes = parse(&tls("http2: yes"), Path::new("."), None).unwrap_err();
    assert_eq!(
        mistakes,
        [Mistake::new("http.tls.http2", "must be true or false, not text")]
    );
}

#[test]
fn what_is_no_yaml_is_told_by_its_place_and_without_the_lines_around_it() {
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
fn all_mistakes_of_the_meaning_are_found_at_once() {
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
fn what_would_let_everyone_in_is_refused() {
    let nobody = json!({"storage": {"rootDirectory": "s"}, "http": {"address": "0.0.0.0"}});
    assert_eq!(keys(&nobody), ["http.auth"]);
    let nobody_either = json!({"storage": {"rootDirectory": "s"}, "http": {}, "accessControl": {"repositories": {"**": {"defaultPolicy": ["read"]}}}});
    assert_eq!(keys(&nobody_either), ["http.auth"]);
    let public = json!({"storage": {"rootDirectory": "s"}, "http": {}, "accessControl": {"repositories": {"**": {"anonymousPolicy": ["read"]}}}});
    assert!(load(&public).is_ok());
}

#[test]
fn access_control_may_stand_where_zot_has_it_but_not_twice() {
    let rules = json!({"repositories": {"**": {"defaultPolicy": ["read"], "policies": [{"users": ["spiffe://"], "actions": ["read"]}]}}});
    let wrong = "http.accessControl.repositories[\"**\"].policies[0].users[0] (spiffe://)";
    assert_eq!(keys(&with(&[("/http/accessControl", rules)])), [wrong]);
    let rules = json!({"repositories": {"**": {"defaultPolicy": ["read"]}}});
    assert!(load(&with(&[("/http/accessControl", rules.clone())])).is_ok());
    assert_eq!(
        keys(&with(&[
            ("/http/accessControl", rules.clone()),
            ("/accessControl", rules)
        ])),
        ["http.accessControl"]
    );
}

#[test]
fn tls_needs_something_to_present_and_says_what_is_missing() {
    let pair = json!({"cert": "c", "key": "k"});
    for (tls, expected) in [
        (json!({"workloadAPI": false}), &["http.tls"][..]),
        (json!({"cert": "c"}), &["http.tls.key"]),
        (json!({"key": "k", "certificates": [pair]}), &["http.tls.cert"]),
        (json!({"workloadAPI": true}), &["http.auth.spiffe.workloadAPI"]),
        (
            json!({"certificates": [{"cert": "c"}]}),
            &["http.tls.certificates[0].key"],
        ),
    ] {
        assert_eq!(keys(&with(&[("/http/tls", tls.clone())])), expected, "{tls}");
    }
    let config = load(&with(&[(
        "/http/tls",
        json!({"cert": "a", "key": "b", "certificates": [pair]}),
    )]))
    .unwrap();
    assert_eq!(config.tls.unwrap().files.len(), 2);
    let spiffe = json!({"workloadAPI": "unix:///run/agent.sock", "trustDomains": []});
    let config = load(&with(&[
        ("/http/auth/spiffe", spiffe),
        ("/http/tls", json!({"workloadAPI": true})),
    ]))
    .unwrap();
    assert!(
        config.tls.unwrap().svid && config.ways_in.workload_api.as_deref() == Some("unix:///run/agent.sock")
    );
}

#[test]
fn client_certificates_need_tls_and_switch_client_auth_on() {
    let x509 =
        json!({"trustDomains": [{"name": "a.example", "svids": ["x509"], "bundle": [{"file": "a.pem"}]}]});
    assert_eq!(
        keys(&with(&[("/http/auth/spiffe", x509.clone())])),
        ["http.auth.spiffe.trustDomains[0].svids"]
    );
    let tls = json!({"cert": "c", "key": "k"});
    let config = load(&with(&[
        ("/http/auth/spiffe", x509.clone()),
        ("/http/tls", tls.clone()),
    ]))
    .unwrap();
    assert!(matches!(config.tls.unwrap().client_auth, ClientAuth::Optional));
    let off = json!({"cert": "c", "key": "k", "clientAuth": "off"});
    assert_eq!(
        keys(&with(&[("/http/auth/spiffe", x509), ("/http/tls", off)])),
        ["http.tls.clientAuth"]
    );
    assert!(matches!(
        load(&with(&[("/http/tls", tls)]))
            .unwrap()
            .tls
            .unwrap()
            .client_auth,
        ClientAuth::Off
    ));
}

#[test]
fn what_is_not_built_is_refused_if_it_protects() {
    let protects = with(&[
        ("/http/ratelimit", json!({"rate": 1})),
        ("/http/auth/ldap", json!({"address": "secret"})),
    ]);
    assert_eq!(keys(&protects), ["http.auth.ldap", "http.ratelimit"]);
    let conditions = |conditions: Value| {
        let policy = json!({"users": ["a"], "actions": ["read"], "conditions": conditions});
        with(&[(
            "/accessControl",
            json!({"repositories": {"**": {"policies": [policy]}}}),
        )])
    };
    let key = r#"accessControl.repositories["**"].policies[0].conditions"#;
    assert_eq!(
        keys(&conditions(json!([{"expression": "true", "message": "m"}]))),
        [key]
    );
    assert!(load(&conditions(json!([]))).is_ok());
}

#[test]
fn detect_manifest_collision_is_taken_wherever_actions_are_and_permits_nothing() {
    let actions = json!(["read", "delete", "detectManifestCollision"]);
    let grant = json!({"users": ["a"], "actions": actions});
    let rules = json!({
        "repositories": {"**": {"policies": [grant], "defaultPolicy": actions, "anonymousPolicy": actions}}, "adminPolicy": grant,
    });
    assert!(load(&with(&[("/accessControl", rules)])).is_ok());
    let nothing = json!({"repositories": {"**": {"anonymousPolicy": ["detectManifestCollision"]}}});
    let closed = json!({"http": {"port": "0"}, "storage": {"rootDirectory": "s"}, "accessControl": nothing});
    assert_eq!(keys(&closed), ["http.auth"]);
}

#[test]
fn a_store_that_does_not_wait_for_the_disk_is_a_warning() {
    for (given, commit, warnings) in [
        (None, true, &[][..]),
        (Some(true), true, &[]),
        (
            Some(false),
            false,
            &["storage.commit: false: a power cut may lose acknowledged content"],
        ),
    ] {
        let changes: Vec<_> = given
            .map(|commit| ("/storage/commit", json!(commit)))
            .into_iter()
            .collect();
        let config = load(&with(&changes)).unwrap();
        let said: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            (config.fixed.commit, said),
            (commit, warnings.iter().map(ToString::to_string).collect()),
            "{given:?}"
        );
    }
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

#[test]
fn zots_other_methods_are_read_and_their_mistakes_found() {
    let tls = json!({"cert": "c", "key": "k", "cacert": "ca.pem"});
    let only = |auth: Value, tls: Value| json!({"storage": {"rootDirectory": "s"}, "http": {"tls": tls, "auth": auth}});
    let config = load(&only(json!({}), tls.clone())).unwrap();
    let entries: Vec<_> = config
        .ways_in
        .certificates
        .iter()
        .map(|entry| (entry.name.as_str(), entry.key.as_str()))
        .collect();
    assert_eq!(
        entries,
        [("cacert", "http.tls.cacert")],
        "zot takes the common name where nothing is said"
    );
    assert_eq!(config.tls.unwrap().client_auth, ClientAuth::Optional);
    let mtls = json!({"mtls": {"identityAttributes": ["URI", "cn"], "uriSanPattern": "spiffe://example.org/workload/(.*)", "uriSanIndex": 0}});
    assert_eq!(
        load(&only(mtls, tls.clone())).unwrap().warnings.len(),
        1,
        "a trust domain is recommended"
    );
    let bad = json!({"mtls": {"identityAttributes": ["serial"], "uriSanPattern": "x"}});
    assert_eq!(
        keys(&only(bad.clone(), tls.clone())),
        [
            "http.auth.mtls.identityAttributes[0]",
            "http.auth.mtls.uriSanPattern"
        ]
    );
    assert_eq!(
        keys(&with(&[("/http/auth/mtls", bad["mtls"].clone())])),
        ["http.auth.mtls"]
    );
    let entry = json!({"name": "lab", "certificateAuthorityFile": "lab.pem"});
    assert_eq!(
        keys(&only(json!({"x509": [entry, entry]}), tls.clone())),
        ["http.auth.x509[1].name"]
    );
    let taken = json!({"x509": [{"name": "cacert", "certificateAuthorityFile": "lab.pem"}]});
    assert_eq!(
        keys(&only(taken.clone(), tls)),
        ["http.auth.x509[0].name"],
        "uploads would belong to either's bearers"
    );
    assert!(load(&only(taken, json!({"cert": "c", "key": "k"}))).is_ok());
    assert_eq!(
        keys(&with(&[("/http/auth/x509", json!([entry]))])),
        ["http.auth.x509[0].certificateAuthorityFile"],
        "needs TLS"
    );
    let plain = json!({"storage": {"rootDirectory": "s"}, "http": {"auth": {"htpasswd": {"path": "users"}}}});
    let config = load(&plain).unwrap();
    assert_eq!(
        (config.ways_in.passwords, config.live.fail_delay.as_secs()),
        (Some("/etc/wharfinger/users".into()), 0)
    );
    assert_eq!(
        load(&with(&[("/http/auth/failDelay", json!(5))]))
            .unwrap()
            .live
            .fail_delay
            .as_secs(),
        5
    );
    for (changes, expected) in [
        (
            &[
                ("/http/auth/bearer/cert", json!("k")),
                ("/http/auth/bearer/realm", json!("zot")),
            ][..],
            "http.auth.bearer.realm",
        ),
        (
            &[("/http/auth/bearer/issuer", json!("me"))],
            "http.auth.bearer.issuer",
        ),
        (
            &[("/http/auth/token", json!({"sessionLifetime": "30s"}))],
            "http.auth.token.sessionLifetime",
        ),
        (&[("/http/auth/failDelay", json!(61))], "http.auth.failDelay"),
    ] {
        assert_eq!(keys(&with(changes)), [expected]);
    }
    let config = load(&with(&[(
        "/http/auth/token",
        json!({"sessionLifetime": "0", "signingKeyFile": "k.pem"}),
    )]))
    .unwrap();
    assert_eq!(
        (config.live.terms.session_lifetime, config.fixed.token_keys),
        (
            std::time::Duration::ZERO,
            TokenKeys::File("/etc/wharfinger/k.pem".into())
        )
    );
}

#[test]
fn proxies_are_networks_and_names_are_audiences_only_where_they_are_said() {
    assert_eq!(
        keys(&with(&[(
            "/http/trustedProxies",
            json!(["10.0.0.0/8", "proxy.example.org", "10.0.0.0/40"])
        )])),
        ["http.trustedProxies[1]", "http.trustedProxies[2]"]
    );
    let from_host = [
        ("/http/auth/bearer/oidc/0/audienceFromHost", json!(true)),
        ("/http/auth/bearer/oidc/0/audiences", json!([])),
    ];
    assert_eq!(
        keys(&with(&from_host)),
        ["http.auth.bearer.oidc[0].audienceFromHost"],
        "a Host header is its sender's choice"
    );
    let url = |url: &str| {
        [
            from_host[0].clone(),
            from_host[1].clone(),
            ("/http/externalURL", json!(url)),
        ]
    };
    for (external, hosts) in [
        (
            "https://Registry.example.org",
            ["registry.example.org:443", "registry.example.org"],
        ),
        (
            "http://registry.example.org:5000/",
            ["registry.example.org:5000", "registry.example.org"],
        ),
        ("https://[2001:db8::1]", ["[2001:db8::1]:443", "[2001:db8::1]"]),
    ] {
        assert_eq!(
            load(&with(&url(external))).unwrap().ways_in.issuers[0]
                .rules
                .hosts,
            hosts,
            "{external}"
        );
    }
}

#[test]
fn rules_that_revoke_are_read_and_malformed_ones_are_found_with_their_place() {
    let thumbprint = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let deny = |rules: Value| {
        with(&[
            ("/http/auth/deny", rules),
            ("/http/auth/htpasswd", json!({"path": "users"})),
        ])
    };
    let issuer = "https://issuer.example.org";
    let good = json!([
        {"spiffeID": "spiffe://td/ns/a/", "issuedBefore": "2026-11-27T12:00:00Z"},
        {"issuer": issuer, "subject": "a", "jti": "b", "issuedBefore": "2026-11-27T12:00:00+01:00"},
        {"keyThumbprint": thumbprint},
        {"htpasswd": "ann"},
        {"token": "a"},
    ]);
    let config = load(&deny(good)).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    for (rule, key) in [
        (json!({}), ""),
        (json!({"token": "a", "htpasswd": "b"}), ""),
        (json!({"htpasswd": ""}), ".htpasswd"),
        (json!({"spiffeID": "spiffe://td"}), ".spiffeID"),
        (json!({"spiffeID": "spiffe://td/*"}), ".spiffeID"),
        (json!({"spiffeID": "spiffe://td/a", "subject": "b"}), ".subject"),
        (json!({"issuer": issuer}), ".issuer"),
        (json!({"issuer": issuer, "name": "a"}), ".issuer"),
        (json!({"htpasswd": "ann", "name": "a"}), ".name"),
        (
            json!({"issuer": issuer, "issuedBefore": "yesterday"}),
            ".issuedBefore",
        ),
        (
            json!({"htpasswd": "ann", "issuedBefore": "2026-11-27T12:00:00Z"}),
            ".issuedBefore",
        ),
        (json!({"authority": "CN=a"}), ".serial"),
        (json!({"authority": "CN=a", "serial": "x"}), ".serial"),
        (json!({"token": "a", "serial": "0a"}), ".serial"),
        (json!({"keyThumbprint": "abc"}), ".keyThumbprint"),
        (json!({"certificateThumbprint": "abc"}), ".certificateThumbprint"),
        (json!({"user": "ann"}), ".user"),
    ] {
        assert_eq!(
            keys(&deny(json!([{"htpasswd": "ann"}, rule]))),
            [format!("http.auth.deny[1]{key}")],
            "{rule}"
        );
    }
    let nothing = json!([
        {"issuer": issuer, "name": "a", "subject": "a"},
        {"issuer": "https://other.example.org", "subject": "a"},
        {"htpasswd": "a"},
        {"certificateThumbprint": thumbprint},
    ]);
    let warnings = load(&with(&[("/http/auth/deny", nothing)])).unwrap().warnings;
    for (i, warning) in warnings.iter().enumerate() {
        assert!(
            warning
                .to_string()
                .starts_with(&format!("http.auth.deny[{i}]: matches nothing: ")),
            "{warning}"
        );
    }
    assert_eq!(warnings.len(), 4);
}

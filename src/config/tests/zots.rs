//! Files of zot's users, read as zot reads them.

use super::*;
use crate::access::{Read, decide};
use crate::identity::{Identity, Principal};

fn said(document: &Value) -> Vec<String> {
    let loaded = load(document).unwrap_or_else(|mistakes| panic!("{mistakes:?}: {document}"));
    loaded.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_key_that_is_not_built_and_requests_nothing_is_accepted() {
    for (pointer, nothing, something) in [
        (
            "/http/auth/apikey",
            json!([null, false, 0, "", "false"]),
            json!([true, 1, "true"]),
        ),
        (
            "/http/auth/ldap",
            json!([null, {}, [], {"address": "", "port": 0, "insecure": false}]),
            json!([{"address": "ldap.example.org"}]),
        ),
        (
            "/http/auth/openid",
            json!([null, {}, {"providers": {}}]),
            json!([{"providers": {"oidc": {"issuer": "https://a"}}}]),
        ),
        (
            "/http/ratelimit",
            json!([null, {}, {"rate": 0, "methods": []}]),
            json!([{"rate": 10}, {"methods": [{"method": "GET", "rate": 1}]}]),
        ),
        (
            "/storage/storageDriver",
            json!([null, {}, {"name": ""}]),
            json!([]),
        ),
        (
            "/storage/subPaths",
            json!([null, {}]),
            json!([{"/a": {"rootDirectory": "a"}}]),
        ),
        (
            "/cluster",
            json!([null, {}, {"members": []}]),
            json!([{"members": ["a:1"]}]),
        ),
        (
            "/extensions",
            json!([null, {}, {"sync": null}, {"sync": {}}, {"sync": {"enable": false, "registries": [{"urls": ["https://a"]}]}}, {"sync": {"enable": "false", "downloadDir": "d"}}, {"lint": {"mandatoryAnnotations": ["a"]}}, {"lint": {"enable": false}}]),
            json!([]),
        ),
        (
            "/extensions/sync",
            json!([]),
            json!([{"enable": true}, {"registries": [{"urls": ["https://a"]}]}]),
        ),
        (
            "/extensions/lint",
            json!([]),
            json!([{"enable": true}, {"enable": "true", "mandatoryAnnotations": []}]),
        ),
    ] {
        let key = pointer[1..].replace('/', ".");
        let at = |value: &Value| match pointer.strip_prefix("/extensions/") {
            Some(name) => with(&[("/extensions", json!({name: value}))]),
            None => with(&[(pointer, value.clone())]),
        };
        for value in nothing.as_array().unwrap() {
            assert_eq!(said(&at(value)), [""; 0], "{pointer} {value}");
        }
        for value in something.as_array().unwrap() {
            assert_eq!(keys(&at(value)), [key.as_str()], "{pointer} {value}");
        }
    }
}

#[test]
fn the_text_false_is_a_truth_value_only_where_zot_expects_one() {
    for conditions in [
        json!([{"expression": "false"}]),
        json!(["0"]),
        json!([false]),
        json!([{}]),
        json!({"expression": ""}),
    ] {
        let rules = json!({"repositories": {"**": {"policies": [{"users": ["a"], "actions": ["read"], "conditions": conditions}]}}});
        assert_eq!(keys(&with(&[("/accessControl", rules)])).len(), 1, "{conditions}");
    }
    for value in [
        json!({"address": "0"}),
        json!({"bindDN": "false", "insecure": "true"}),
    ] {
        assert_eq!(
            keys(&with(&[("/http/auth/ldap", value.clone())])),
            ["http.auth.ldap"],
            "{value}"
        );
    }
    let twice = json!({"sync": {"Enable": false, "enable": true, "registries": []}});
    assert_eq!(keys(&with(&[("/extensions", twice)])), ["extensions.sync"]);
    assert_eq!(
        load(&with(&[("/extensions", json!({"metrics": {"enable": ""}}))]))
            .unwrap()
            .live
            .metrics,
        None
    );
}

#[test]
fn every_ignored_extension_and_setting_has_a_correct_warning() {
    for (document, expected) in [
        (
            (
                "/extensions",
                json!({"search": {"enable": true, "cve": {"updateInterval": "2h"}}, "ui": {"enable": true}}),
            ),
            &[
                "extensions.search.cve: not",
                "extensions.search: not",
                "extensions.ui: not",
            ][..],
        ),
        (
            (
                "/extensions",
                json!({"search": {"enable": false}, "ui": {"enable": false}, "scrub": {}}),
            ),
            &[],
        ),
        (
            (
                "/extensions",
                json!({"scrub": {"interval": "24h"}, "trust": {"cosign": true}, "mgmt": {"enable": true}, "apikey": {"enable": true}}),
            ),
            &[
                "extensions.scrub: ",
                "extensions.trust: ",
                "extensions.mgmt: ",
                "extensions.apikey: ",
            ],
        ),
        (
            ("/extensions", json!({"events": {"sinks": [{"type": "http"}]}})),
            &["extensions.events: not supported; ignored: no events are sent"],
        ),
        (
            (
                "/extensions",
                json!({"metrics": {"enable": true, "prometheus": {"path": "/metrics"}}}),
            ),
            &[],
        ),
        (
            ("/http/compat", json!(["docker2s2"])),
            &["http.compat: ignored: Docker manifests are always accepted"],
        ),
        (("/http/compat", json!([])), &[]),
        (
            ("/storage/dedupe", json!(true)),
            &["storage.dedupe: ignored: equal blobs are always stored once"],
        ),
        (("/storage/dedupe", json!(false)), &[]),
        (("/storage/gc", json!(true)), &[]),
        (("/storage/gcDelay", json!("1h")), &[]),
        (("/storage/gcInterval", json!("24h")), &[]),
        (("/storage/gcTimeWindow", json!("22:00-04:00")), &[]),
        (
            ("/storage/gcDelay", json!("1s")),
            &["storage.gcDelay: is shorter than a slow push"],
        ),
        (("/distSpecVersion", json!("1.1.1")), &[]),
        (
            ("/http/address", json!("")),
            &["http.address: is empty: the registry listens on 127.0.0.1 only"],
        ),
        (
            ("/http/tls", json!({})),
            &["http.tls: is empty, so the registry uses plain HTTP"],
        ),
        (("/http/tls", json!(null)), &[]),
    ] {
        let document = with(&[document]);
        // Relative paths are resolved differently.
        let said: Vec<_> = said(&document)
            .into_iter()
            .filter(|warning| !warning.starts_with("relative paths"))
            .collect();
        assert_eq!(said.len(), expected.len(), "{document}: {said:?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.starts_with(expected), "{document}: {said}");
        }
    }
    assert_eq!(
        keys(&with(&[("/extensions", json!({"serach": {}}))])),
        ["extensions.serach"]
    );
    assert_eq!(
        keys(&with(&[("/http/tls", json!({"cert": "", "key": ""}))])),
        ["http.tls"],
        "a template without its variables"
    );
}

#[test]
fn relative_paths_in_a_file_of_zot_are_reported_with_their_folder() {
    let zots = with(&[
        ("/distSpecVersion", json!("1.1.1")),
        ("/storage/gc", json!(false)),
    ]);
    let warnings = said(&zots);
    assert!(
        warnings.len() == 1 && warnings[0].contains("/etc/wharfinger") && warnings[0].ends_with(": store"),
        "{warnings:?}"
    );
    let absolute = with(&[
        ("/distSpecVersion", json!("1.1.1")),
        ("/storage", json!({"rootDirectory": "/var/lib/zot", "gc": false})),
    ]);
    assert_eq!(said(&absolute), [""; 0]);
    let here = std::env::current_dir().unwrap();
    assert!(parse(&zots.to_string(), &here, None).unwrap().warnings.is_empty());
}

#[test]
fn settings_of_other_types_are_read_as_zot_reads_them() {
    let config = load(&json!({
        "distSpecVersion": 1.1,
        "storage": {"rootDirectory": "/s", "commit": "false", "gc": "0"},
        "http": {"port": 5000, "address": "", "realm": null, "allowOrigin": "", "tls": null,
            "auth": {"failDelay": "5", "htpasswd": {"path": "/users"}, "bearer": {"service": "", "cert": "", "realm": "",
                "oidc": {"issuer": "https://issuer.example.org", "audiences": "registry", "certificateAuthority": "", "skipIssuerVerification": "F", "claimMapping": {"username": "", "groups": null, "variables": null}}}},
            "accessControl": {"repositories": {"**": {"policies": {"users": 1000, "groups": [null, "g"], "actions": "read"}, "defaultPolicy": null, "anonymousPolicy": ""}, "empty": null}, "adminPolicy": null, "groups": []}},
        "log": {"level": "WARNING", "output": null, "audit": ""},
        "extensions": null,
    }))
    .unwrap();
    assert_eq!(
        (
            config.fixed.commit,
            config.live.fail_delay.as_secs(),
            config.fixed.listen.port,
            config.fixed.level
        ),
        (false, 5, 5000, Level::Warn)
    );
    assert_eq!(
        (
            config.ways_in.issuers[0].rules.audiences.as_slice(),
            config.live.terms.service.as_str()
        ),
        (&["registry".to_owned()][..], "wharfinger")
    );
    let user = Identity::for_test("1000", &[], Principal::Htpasswd { user: "1000".into() });
    assert!(decide::<Read>(&config.live.policy, &user, &"b".parse().unwrap()).is_ok());
    assert!(
        decide::<Read>(&config.live.policy, &user, &"empty".parse().unwrap()).is_err(),
        "an empty entry grants nothing"
    );
    for (text, level) in [
        ("DEBUG", Level::Debug),
        ("Warn", Level::Warn),
        ("fatal", Level::Error),
        ("panic", Level::Error),
        ("", Level::Info),
    ] {
        assert_eq!(
            load(&with(&[("/log", json!({"level": text}))]))
                .unwrap()
                .fixed
                .level,
            level,
            "{text}"
        );
    }
    assert_eq!(keys(&with(&[("/log", json!({"level": "loud"}))])), ["log.level"]);
}

#[test]
fn addresses_are_ip_addresses_of_both_kinds_and_host_names() {
    let listen = |address: &str| {
        load(&with(&[("/http/address", json!(address))])).map(|config| config.fixed.listen.address)
    };
    for (address, expected) in [
        ("::", "::"),
        ("[::1]", "::1"),
        ("0.0.0.0", "0.0.0.0"),
        ("registry.example.org", "registry.example.org"),
        ("localhost", "localhost"),
    ] {
        assert_eq!(listen(address).as_deref(), Ok(expected));
    }
    for bad in [
        "256.0.0.1",
        "10.0.0",
        "[::1",
        "[127.0.0.1]",
        "http://localhost",
        "a b",
        "-a",
        "localhost:8080",
        "a..b",
    ] {
        assert!(listen(bad).is_err(), "{bad}");
    }
}

#[test]
fn patterns_and_groups_are_read_in_lower_case_with_a_warning() {
    let rules = json!({
        "repositories": {"Team/**": {"policies": [{"groups": ["ADMINS", "Devs"], "actions": ["read"]}]}},
        "groups": {"Admins": {"users": ["ann"]}, "devs": {"users": ["dan"]}},
    });
    let config = load(&with(&[("/accessControl", rules)])).unwrap();
    let warned: Vec<_> = config
        .warnings
        .iter()
        .map(|warning| warning.key.as_str())
        .collect();
    let expected = [
        r#"accessControl.repositories["Team/**"]"#,
        r#"accessControl.groups["Admins"]"#,
        r#"accessControl.groups["devs"]"#,
    ];
    assert_eq!(warned, expected);
    let may = |name: &str, groups: &[&str]| {
        let identity = Identity::for_test(name, groups, Principal::Htpasswd { user: name.into() });
        decide::<Read>(&config.live.policy, &identity, &"team/app".parse().unwrap()).is_ok()
    };
    assert!(may("ann", &[]) && may("dan", &[]) && !may("eve", &[]));
    assert!(
        may("eve", &["ADMINS"]) && !may("eve", &["admins"]) && !may("eve", &["devs"]),
        "groups of a mapping are compared as they are"
    );
    for twice in [
        json!({"repositories": {"A": {"defaultPolicy": ["read"]}, "a": {}}}),
        json!({"repositories": {"a": {"defaultPolicy": ["read"]}}, "groups": {"G": {}, "g": {}}}),
    ] {
        assert_eq!(
            keys(&with(&[("/accessControl", twice.clone())])).len(),
            1,
            "{twice}"
        );
    }
}

#[test]
fn origins_and_the_path_of_the_metrics() {
    for (given, expected) in [
        (
            json!("https://a.example, http://b:3000/"),
            Cors::new(["https://a.example".to_owned(), "http://b:3000".to_owned()], true),
        ),
        (json!(["*"]), Cors::new(["*".to_owned()], true)),
        (json!(""), Cors::default()),
    ] {
        let cors = load(&with(&[("/http/allowOrigin", given.clone())]))
            .unwrap()
            .live
            .cors;
        assert!(
            cors == expected || (given == json!("") && cors == Cors::new([], true)),
            "{given}"
        );
    }
    for bad in [
        "a.example",
        "https://",
        "https://a/b",
        "https://*.example",
        "null",
    ] {
        assert_eq!(
            keys(&with(&[("/http/allowOrigin", json!(bad))])),
            ["http.allowOrigin"],
            "{bad}"
        );
    }
    let metrics = |metrics: Value| with(&[("/extensions", json!({"metrics": metrics}))]);
    for (given, expected) in [
        (json!({"prometheus": {"path": "/prom"}}), Some("/prom")),
        (
            json!({"enable": "true", "prometheus": {"path": ""}}),
            Some("/metrics"),
        ),
        (json!({"enable": false}), None),
        (json!({}), Some("/metrics")),
    ] {
        assert_eq!(
            load(&metrics(given.clone())).unwrap().live.metrics.as_deref(),
            expected,
            "{given}"
        );
    }
    for bad in ["metrics", "/", "/v2/metrics", "/livez", "/a b"] {
        assert_eq!(
            keys(&metrics(json!({"prometheus": {"path": bad}}))),
            ["extensions.metrics.prometheus.path"],
            "{bad}"
        );
    }
}

#[test]
fn zots_other_methods_are_read_and_their_mistakes_are_found() {
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
        "zot uses the common name by default"
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
        "callers of both entries would own each other's uploads"
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
        (Duration::ZERO, TokenKeys::File("/etc/wharfinger/k.pem".into()))
    );
}

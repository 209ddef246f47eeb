//! Configurations that load, and mistakes that are found, each with its key.

mod buckets;
mod mistakes;
mod open;
mod retention;
mod sources;
mod strangers;
mod tls;
mod warnings;
mod web_identity;
mod zots;

use super::*;
use crate::http::Cors;
use crate::registry::collect::Pace;
use crate::registry::collect::Rules;
use crate::registry::scrub::Rate;
use crate::server::ClientAuth;
use serde_json::{Value, json};
use std::time::Duration;

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
    assert_eq!(
        config.fixed.storage,
        StorePlace::Folder("/etc/wharfinger/store".into())
    );
    assert_eq!(
        config.fixed.state_directory,
        Path::new("/etc/wharfinger/store/state")
    );
    assert_eq!(config.live.terms.service, "wharfinger");
    assert!(config.tls.is_none() && config.warnings.is_empty());
}

#[test]
fn the_collector_has_zots_keys_and_our_defaults() {
    let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
    let collecting = |keys: Value| {
        let mut document = minimal();
        for (key, value) in keys.as_object().unwrap() {
            document["storage"][key] = value.clone();
        }
        load(&document).map(|config| config.fixed.collecting)
    };
    let default = collecting(json!({})).unwrap();
    assert!(default.runs);
    assert_eq!((default.delay, default.interval), (hours(24), hours(24)));
    assert_eq!((default.window, Some(default.pace)), (None, Pace::percent(10)));
    let off = collecting(json!({"gc": false, "gcDelay": "1h"})).unwrap();
    assert_eq!(
        (off.runs, off.by_hand(Rules::default(), false).grace),
        (false, hours(1))
    );
    let zots = json!({"gc": true, "gcDelay": "2h", "gcInterval": 3_600_000_000_000_u64, "gcTimeWindow": "22:00-04:00"});
    let zots = collecting(zots).unwrap();
    assert_eq!((zots.delay, zots.interval), (hours(2), hours(1)));
    assert_eq!(zots.window, Some("22:00-4:00".parse().unwrap()));
    let tests = collecting(json!({"gcDelay": "0", "gcInterval": 0, "gcTimeWindow": "", "gcPace": 100}));
    let tests = tests.unwrap();
    assert_eq!(
        (tests.delay, tests.interval, tests.window),
        (hours(0), hours(0), None)
    );
    let seconds = collecting(json!({"gcDelay": 3600})).unwrap_err();
    assert_eq!(
        seconds[0].to_string(),
        "storage.gcDelay: is a number of nanoseconds, as in zot, and 3600 is less than a second: write a unit, such as 3600s"
    );
    let wrong =
        json!({"gc": false, "gcDelay": "1d", "gcInterval": "often", "gcTimeWindow": "night", "gcPace": 0});
    let wrong: Vec<_> = collecting(wrong)
        .unwrap_err()
        .into_iter()
        .map(|wrong| wrong.key)
        .collect();
    assert_eq!(
        wrong,
        [
            "storage.gcDelay",
            "storage.gcInterval",
            "storage.gcTimeWindow",
            "storage.gcPace"
        ]
    );
}

#[test]
fn content_is_hashed_again_if_the_file_says_so() {
    let scrubbing = |scrub: Value| {
        let mut document = minimal();
        document["storage"]["scrub"] = scrub;
        load(&document).map(|config| config.live.scrubbing)
    };
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    let rate = |mebibytes: u64| Rate::bytes_per_second(mebibytes << 20).unwrap();
    for (scrub, period, mebibytes) in [
        (json!({}), week, 20),
        (json!({"period": "24h", "rate": 100}), week / 7, 100),
        (json!({"PERIOD": "90m"}), Duration::from_secs(5400), 20),
    ] {
        let found = scrubbing(scrub).unwrap();
        assert_eq!(
            found,
            Some(Scrubbing {
                period,
                rate: rate(mebibytes)
            })
        );
    }
    for off in [Value::Null, json!({"period": "0"})] {
        assert_eq!(scrubbing(off).unwrap(), None);
    }
    assert_eq!(load(&minimal()).unwrap().live.scrubbing, None);
    for (wrong, key) in [
        (json!({"period": "weekly"}), "storage.scrub.period"),
        (json!({"rate": 0}), "storage.scrub.rate"),
    ] {
        let mistakes = scrubbing(wrong).unwrap_err();
        let keys: Vec<_> = mistakes.iter().map(|mistake| &mistake.key).collect();
        assert_eq!(keys, [key]);
    }
    for wrong in [json!({"interval": "24h"}), json!({"rate": "20MiB"}), json!(true)] {
        let mistakes = scrubbing(wrong).unwrap_err();
        assert!(mistakes[0].key.starts_with("storage.scrub"), "{mistakes:?}");
    }
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
fn settings_that_would_admit_everyone_are_rejected() {
    let open = json!({"storage": {"rootDirectory": "s"}, "http": {"address": "0.0.0.0"}});
    assert_eq!(keys(&open), ["http.auth"]);
    let also_open = json!({"storage": {"rootDirectory": "s"}, "http": {}, "accessControl": {"repositories": {"**": {"defaultPolicy": ["read"]}}}});
    assert_eq!(keys(&also_open), ["http.auth"]);
    let public = json!({"storage": {"rootDirectory": "s"}, "http": {}, "accessControl": {"repositories": {"**": {"anonymousPolicy": ["read"]}}}});
    assert!(load(&public).is_ok());
}

#[test]
fn access_control_may_be_in_either_place_but_not_in_both() {
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
fn settings_that_protect_and_are_not_built_are_rejected() {
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
fn quotas_are_bytes_and_the_number_of_repositories_is_zots() {
    let config = load(&with(&[
        ("/storage/maxRepos", json!("5")),
        (
            "/storage/quotas",
            json!({"total": "2TiB", "repositories": {"Team/**": "1MiB", "a": 7}}),
        ),
    ]))
    .unwrap();
    assert_eq!(config.fixed.max_repos, Some(5));
    let quotas = config.fixed.quotas;
    assert_eq!(quotas.total, Some(2 << 40));
    let of: Vec<_> = quotas
        .repositories
        .iter()
        .map(|one| (one.pattern.as_str(), one.bytes))
        .collect();
    assert_eq!(of, [("team/**", 1 << 20), ("a", 7)]);
    for unlimited in [json!(null), json!(0), json!("0")] {
        let config = load(&with(&[("/storage/maxRepos", unlimited)])).unwrap();
        assert_eq!(config.fixed.max_repos, None);
    }
    for (bad, key) in [
        (json!({"total": "much"}), "storage.quotas.total"),
        (json!({"total": 0}), "storage.quotas.total"),
        (
            json!({"repositories": {"a[": "1GiB"}}),
            r#"storage.quotas.repositories["a["]"#,
        ),
        (
            json!({"repositories": {"a": "-1"}}),
            r#"storage.quotas.repositories["a"]"#,
        ),
        (
            json!({"repositories": {"A": 1, "a": 1}}),
            r#"storage.quotas.repositories["a"]"#,
        ),
    ] {
        assert_eq!(keys(&with(&[("/storage/quotas", bad)])), [key]);
    }
}

#[test]
fn detect_manifest_collision_is_accepted_among_actions_and_permits_nothing() {
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
fn proxies_are_networks_and_names_are_audiences_only_if_configured() {
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

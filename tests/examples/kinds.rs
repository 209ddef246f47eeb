//! The kinds of configuration files in zot's own repository, written again from scratch, each with the number
//! of zot's 150 files like it. At least half of them load for `serve --open`. For every other file, the
//! message names the settings that are not built.

use serde_json::{Value, json};
use std::path::Path;
use wharfinger::config::{self, Config, Environment, Mistake};

fn load(document: &Value, open: bool) -> Result<Config, Vec<Mistake>> {
    config::parse_in(
        &document.to_string(),
        Path::new("/etc/zot"),
        Environment {
            open,
            ..Environment::default()
        },
    )
}

/// A file like zot's, with these changes.
fn file(changes: Value) -> Value {
    let mut document = json!({
        "distSpecVersion": "1.1.1",
        "storage": {"rootDirectory": "/var/lib/zot"},
        "http": {"address": "0.0.0.0", "port": "8080"},
        "log": {"level": "debug"},
    });
    merge(&mut document, changes);
    document
}

fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            changes
                .into_iter()
                .for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, value) => *into = value,
    }
}

/// Kinds that load with these warnings. All have the warning about garbage collection too.
fn that_load() -> Vec<(usize, Value, &'static [&'static str])> {
    let htpasswd = || json!({"htpasswd": {"path": "/etc/zot/htpasswd"}});
    let policies = json!({"repositories": {"**": {"policies": [{"users": ["ann"], "actions": ["read"]}], "defaultPolicy": ["read"]}}});
    vec![
        (1, file(json!({"storage": {"maxRepos": 5}})), &["http.auth"]),
        (
            31,
            file(
                json!({"extensions": {"search": {"enable": true, "cve": {"updateInterval": "2h"}}, "ui": {"enable": true}}}),
            ),
            &[
                "extensions.search.cve",
                "extensions.search",
                "extensions.ui",
                "http.auth",
            ],
        ),
        (
            18,
            file(
                json!({"http": {"address": "127.0.0.1", "realm": "zot"}, "extensions": {"sync": {"enable": false}}}),
            ),
            &["http.realm", "http.auth"],
        ),
        (
            14,
            json!({"storage": {"rootDirectory": "/var/lib/zot"}, "http": {"address": "127.0.0.1", "port": "8080"}, "log": {"level": "DEBUG"}}),
            &["http.auth"],
        ),
        (
            4,
            file(
                json!({"storage": {"retention": {"policies": [{"repositories": ["**"], "deleteReferrers": true}]}}}),
            ),
            &["http.auth"],
        ),
        (
            1,
            json!({"storage": {"rootDirectory": "/var/lib/zot"}}),
            &["http.auth"],
        ),
        (
            9,
            file(
                json!({"http": {"tls": {"cert": "/c", "key": "/k"}, "auth": htpasswd(), "accessControl": policies}}),
            ),
            &[],
        ),
        (
            1,
            file(
                json!({"http": {"tls": {"cert": "/c", "key": "/k", "cacert": "/ca"}, "auth": {"mtls": {"identityAttributes": ["CN"]}}}}),
            ),
            &[],
        ),
        (
            3,
            file(
                json!({"http": {"auth": {"bearer": {"realm": "https://auth.example.org/token", "service": "zot", "cert": "/key.pem"}}}}),
            ),
            &[],
        ),
        (
            1,
            file(
                json!({"http": {"accessControl": {"repositories": {"**": {"anonymousPolicy": ["read", "create"]}}}}}),
            ),
            &[],
        ),
        (
            1,
            file(
                json!({"storage": {"gc": true, "gcDelay": "1h", "gcInterval": "24h", "dedupe": true}, "scheduler": {"numWorkers": 3}}),
            ),
            &["storage.dedupe", "scheduler", "http.auth"],
        ),
    ]
}

fn that_are_refused() -> Vec<(usize, Value, &'static [&'static str])> {
    let sync = json!({"extensions": {"sync": {"registries": [{"urls": ["https://registry.example.org"], "onDemand": true}]}}});
    let bucket =
        json!({"storage": {"storageDriver": {"name": "s3", "region": "us-east-2", "bucket": "zot"}}});
    let both = |one: &Value, other: Value| {
        let mut document = file(one.clone());
        merge(&mut document, other);
        document
    };
    let cluster = json!({"cluster": {"members": ["a.example.org:8080"], "hashKey": "loremipsumdolors"}});
    let auth = |auth: Value| file(json!({"http": {"auth": auth}}));
    let conditions = json!([{"expression": "req.tls.enabled", "message": "m"}]);
    let conditions = json!({"repositories": {"**": {"policies": [{"users": ["a"], "actions": ["read"], "conditions": conditions}]}}});
    let openid = json!({"providers": {"oidc": {"issuer": "https://issuer.example.org", "clientid": "zot"}}});
    vec![
        (16, file(sync.clone()), &["extensions.sync"]),
        (15, file(bucket.clone()), &["stateDirectory"]),
        (7, both(&bucket, cluster), &["cluster", "stateDirectory"]),
        (4, both(&bucket, sync), &["extensions.sync", "stateDirectory"]),
        (6, auth(json!({"openid": openid})), &["http.auth.openid"]),
        (
            1,
            auth(json!({"openid": openid, "apikey": true})),
            &["http.auth.apikey", "http.auth.openid"],
        ),
        (
            4,
            file(json!({"extensions": {"lint": {"enable": true, "mandatoryAnnotations": ["a"]}}})),
            &["extensions.lint"],
        ),
        (
            5,
            file(json!({"storage": {"subPaths": {"/a": {"rootDirectory": "/a"}}}})),
            &["storage.subPaths"],
        ),
        (
            2,
            auth(
                json!({"bearer": {"realm": "r", "service": "s", "awsSecretsManager": {"region": "r", "secretName": "s"}}}),
            ),
            &["http.auth.bearer.awsSecretsManager"],
        ),
        (
            3,
            auth(json!({"ldap": {"address": "ldap.example.org", "port": 389}})),
            &["http.auth.ldap"],
        ),
        (
            2,
            file(json!({"http": {"auth": {"htpasswd": {"path": "/users"}}, "accessControl": conditions}})),
            &[r#"http.accessControl.repositories["**"].policies[0].conditions"#],
        ),
        (
            1,
            file(json!({"http": {"ratelimit": {"rate": 10}}})),
            &["http.ratelimit"],
        ),
    ]
}

#[test]
fn at_least_half_load_and_every_other_names_what_is_not_built() {
    let good = that_load();
    let refused = that_are_refused();
    let count = |kinds: &[(usize, Value, &[&str])]| kinds.iter().map(|(files, ..)| files).sum::<usize>();
    assert!(
        count(&good) + count(&refused) == 150 && count(&good) >= 75,
        "{} load, {} do not",
        count(&good),
        count(&refused)
    );
    for (_, document, warned) in good {
        let config = load(&document, true).unwrap_or_else(|mistakes| panic!("{document}: {mistakes:?}"));
        let keys: Vec<_> = config
            .warnings
            .iter()
            .map(|warning| warning.key.as_str())
            .filter(|key| *key != "http.auth.htpasswd")
            .collect();
        for key in warned {
            assert!(keys.contains(key), "{document}: {key} in {keys:?}");
        }
        assert_eq!(
            config.live.opened.is_some(),
            warned.contains(&"http.auth"),
            "{document}"
        );
    }
    for (_, document, expected) in refused {
        let mut keys: Vec<_> = load(&document, true)
            .map(drop)
            .unwrap_err()
            .into_iter()
            .map(|mistake| mistake.key)
            .collect();
        keys.sort();
        // Further mistakes follow from the missing login.
        keys.retain(|key| key != "http.auth" || expected.contains(&"http.auth"));
        assert_eq!(keys, expected, "{document}");
    }
}

//! Files without a login: when such a registry is open, and every way in which one that should be closed
//! could become open.

use super::*;
use crate::access::{Create, Read, decide};
use crate::identity::Identity;

fn file(http: Value) -> Value {
    json!({"storage": {"rootDirectory": "s"}, "http": http})
}

fn opened(document: &Value, open: bool) -> Result<Option<Opened>, Vec<String>> {
    let environment = Environment {
        open,
        ..Environment::default()
    };
    let loaded = parse_in(&document.to_string(), Path::new("/etc/wharfinger"), environment);
    loaded
        .map(|config| config.live.opened)
        .map_err(|mistakes| mistakes.into_iter().map(|mistake| mistake.key).collect())
}

#[test]
fn a_file_without_a_login_is_open_on_loopback_and_elsewhere_if_the_operator_says_so() {
    for (http, alone) in [
        (json!({}), true),
        (json!({"address": "127.0.0.1"}), true),
        (json!({"address": "127.9.9.9"}), true),
        (json!({"address": "::1"}), true),
        (json!({"address": "[::1]"}), true),
        (
            json!({"address": "localhost", "externalURL": "http://localhost:5000"}),
            true,
        ),
        (json!({"address": "", "auth": null, "accessControl": null}), false),
        (json!({"address": "0.0.0.0"}), false),
        (json!({"address": "::"}), false),
        (json!({"address": "10.0.0.1"}), false),
        (json!({"address": "registry.example.org"}), false),
        (json!({"address": "localhost.example.org"}), false),
        (json!({"externalURL": "https://registry.example.org"}), false),
        (json!({"trustedProxies": ["127.0.0.1"]}), false),
        (json!({"proxyProtocol": ["127.0.0.1"]}), false),
        (
            json!({"address": "0.0.0.0", "tls": {"cert": "c", "key": "k"}}),
            false,
        ),
    ] {
        let document = file(http.clone());
        if http.get("auth").is_some() {
            continue; // below
        }
        let expected = if alone {
            Ok(Some(Opened::OnLoopback))
        } else {
            Err(vec!["http.auth".to_owned()])
        };
        assert_eq!(opened(&document, false), expected, "{http}");
        assert_eq!(opened(&document, true), Ok(Some(Opened::ByOperator)), "{http}");
    }
}

#[test]
fn a_configured_login_that_admits_no_caller_never_opens_the_registry() {
    let issuer = json!({"issuer": "https://issuer.example.org", "audiences": [""]});
    for http in [
        json!({"auth": {}}),
        json!({"auth": null}),
        json!({"auth": []}),
        json!({"AUTH": {}}),
        json!({"auth": {"bearer": {}}}),
        json!({"auth": {"bearer": null}}),
        json!({"auth": {"bearer": {"realm": "zot", "service": "zot"}}}),
        json!({"auth": {"bearer": {"realm": "https://a", "service": "zot", "cert": ""}}}),
        json!({"auth": {"bearer": {"oidc": []}}}),
        json!({"auth": {"bearer": {"oidc": null}}}),
        json!({"auth": {"bearer": {"oidc": [{}]}}}),
        json!({"auth": {"bearer": {"oidc": [issuer]}}}),
        json!({"auth": {"htpasswd": {}}}),
        json!({"auth": {"htpasswd": {"path": ""}}}),
        json!({"auth": {"htpasswd": {"path": null}}}),
        json!({"auth": {"htpasswd": null}}),
        json!({"auth": {"spiffe": {"trustDomains": []}}}),
        json!({"auth": {"spiffe": {"trustDomains": null}}}),
        json!({"auth": {"x509": []}}),
        json!({"auth": {"x509": null}}),
        json!({"auth": {"mtls": {}}}),
        json!({"auth": {"deny": []}}),
        json!({"auth": {"token": {"sessionLifetime": "5m"}}}),
        json!({"auth": {"failDelay": 5}}),
        json!({"auth": {"apikey": false}}),
        json!({"auth": {"apikey": true}}),
        json!({"auth": {"ldap": {}}}),
        json!({"auth": {"openid": {"providers": {}}}}),
        json!({"auth": {"sessionKeysFile": "keys"}}),
        json!({"tls": {"cert": "c", "key": "k", "cacert": ""}}),
        json!({"tls": {"cert": "c", "key": "k", "cacert": null}}),
        json!({"tls": {"cert": "c", "key": "k", "clientAuth": "off"}}),
        json!({"tls": {"cert": "", "key": "", "cacert": "ca.pem"}}),
        json!({"accessControl": {}}),
        json!({"accessControl": null}),
        json!({"accessControl": {"repositories": {}}}),
        json!({"accessControl": {"repositories": {"**": {}}}}),
        json!({"accessControl": {"repositories": {"**": null}}}),
        json!({"accessControl": {"repositories": {"**": {"anonymousPolicy": []}}}}),
        json!({"accessControl": {"repositories": {"**": {"defaultPolicy": ["read"]}}}}),
        json!({"accessControl": {"repositories": {"**": {"policies": [{"users": ["a"], "actions": ["read"]}]}}}}),
        json!({"accessControl": {"adminPolicy": {"users": ["a"], "actions": ["read"]}}}),
        json!({"accessControl": {"groups": {"g": {"users": ["a"]}}}}),
    ] {
        for open in [false, true] {
            let found = opened(&file(http.clone()), open);
            assert!(found.is_err(), "{http} with --open {open}: {found:?}");
        }
    }
    let beside = json!({"storage": {"rootDirectory": "s"}, "http": {}, "accessControl": {}});
    assert_eq!(opened(&beside, true), Err(vec!["accessControl".to_owned()]));
}

#[test]
fn two_spellings_of_a_key_are_rejected_whatever_their_values() {
    let tls = json!({"cert": "c", "key": "k", "cacert": "ca.pem", "clientAuth": "require"});
    for (document, key) in [
        (
            json!({"storage": {"rootDirectory": "s"}, "HTTP": null, "http": {"auth": {"htpasswd": null}}}),
            "http",
        ),
        (
            file(json!({"AUTH": null, "auth": {"htpasswd": {"path": "users"}}})),
            "http.auth",
        ),
        (file(json!({"TLS": {}, "tls": tls.clone()})), "http.tls"),
        (file(json!({"TLS": tls, "tls": {}})), "http.tls"),
    ] {
        for open in [false, true] {
            assert!(
                opened(&document, open).is_err_and(|keys| keys.iter().any(|found| found == key)),
                "{document}"
            );
        }
    }
}

#[test]
fn the_warning_says_who_has_access() {
    for (origins, open, expected, extra) in [
        (json!(""), false, "every program on this machine may", None),
        (
            json!("http://ui.example, *"),
            false,
            "every program on this machine and every page of http://ui.example may",
            Some("http.allowOrigin: has *"),
        ),
        (json!("*"), true, "every page in a browser on it", None),
    ] {
        let environment = Environment {
            open,
            ..Environment::default()
        };
        let document = file(json!({"address": "127.0.0.1", "allowOrigin": origins}));
        let config = parse_in(&document.to_string(), Path::new("."), environment).unwrap();
        let said: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|said| said.contains(expected)), "{said:?}");
        assert_eq!(
            said.iter()
                .filter(|said| extra.is_none_or(|extra| said.starts_with(extra)))
                .count(),
            1,
            "{said:?}"
        );
    }
}

#[test]
fn a_file_with_a_login_or_rules_is_closed_whatever_the_operator_says() {
    for http in [
        minimal()["http"].clone(),
        json!({"auth": {"htpasswd": {"path": "users"}}}),
        json!({"tls": {"cert": "c", "key": "k", "cacert": "ca.pem"}}),
        json!({"auth": {"bearer": {"realm": "https://a", "service": "zot", "cert": "k"}}}),
        json!({"accessControl": {"repositories": {"**": {"anonymousPolicy": ["read"]}}}}),
        json!({"accessControl": {"metrics": {"anonymousPolicy": ["read"]}}}),
    ] {
        assert_eq!(opened(&file(http.clone()), true), Ok(None), "{http}");
    }
    for rules in [json!({}), json!(null), json!({"repositories": {}})] {
        let config = load(&with(&[("/accessControl", rules.clone())])).unwrap();
        let said: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
        assert!(
            said.len() == 1 && said[0].contains("grants nothing"),
            "{rules}: {said:?}"
        );
    }
}

#[test]
fn what_an_open_file_grants_and_says() {
    let environment = Environment {
        open: true,
        ..Environment::default()
    };
    let config = parse_in(
        &file(json!({"address": "0.0.0.0"})).to_string(),
        Path::new("."),
        environment,
    )
    .unwrap();
    let anonymous = Identity::anonymous();
    let repository = "a/b".parse().unwrap();
    assert!(
        decide::<Read>(&config.live.policy, &anonymous, &repository).is_ok()
            && decide::<Create>(&config.live.policy, &anonymous, &repository).is_ok()
    );
    let said = config.warnings[0].to_string();
    for part in [
        "http.auth: THIS REGISTRY IS OPEN",
        "everyone who reaches 0.0.0.0:8080",
        "credentials are ignored",
        "--open",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let mistakes = load(&file(json!({"address": "0.0.0.0"}))).map(drop).unwrap_err();
    assert!(
        mistakes[0].what.contains("--open (WHARFINGER_OPEN=1)"),
        "{mistakes:?}"
    );
}

//! `verify` and `serve` agree: `verify` ends with 0 if `serve` would start, and lists the warnings that
//! `serve` would log.

use crate::harness::{AUDIENCE, Pair, Setup, Signer, TestPki, output};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose};
use serde_json::{Value, json};

fn verify(arguments: &[&str], setup: &Setup) -> (i32, String, String) {
    let file = setup.file();
    output(
        &[&["verify"], arguments, &[file.to_str().unwrap()]].concat(),
        setup.folder.path(),
    )
}

/// A configuration with a fallback bundle, a bearer token and a CA that do not exist yet.
fn lacking() -> Setup {
    let mut setup = Setup::tls(&TestPki::new());
    let auth = &mut setup.config["http"]["auth"];
    auth["spiffe"]["trustDomains"][0]["bundle"] = json!([{"file": "bundle.json"}, {"file": "fallback.json"}]);
    auth["bearer"] = json!({"oidc": [
        {"issuer": "https://issuer.test", "audiences": [AUDIENCE], "bearerTokenFile": "token", "certificateAuthorityFile": "ca.pem"},
    ]});
    setup
}

const LACKING: [&str; 3] = [
    "http.auth.spiffe.trustDomains[0].bundle[1]: ",
    "http.auth.bearer.oidc[0].bearerTokenFile: ",
    "http.auth.bearer.oidc[0].certificateAuthorityFile: ",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_may_appear_later_is_a_warning_of_verify_and_of_serve() {
    let setup = lacking();
    let (code, out, err) = verify(&[], &setup);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.trim_end().ends_with("config.json: good, with 3 warnings"),
        "{out}"
    );
    for key in LACKING {
        assert!(
            err.contains(&format!("warning: {key}")),
            "expected {key} in {err}"
        );
    }
    let (code, out, err) = verify(&["--strict"], &setup);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(
        err.contains("`serve` would start, with 3 warnings; --strict makes warnings an error"),
        "{err}"
    );

    let app = setup.start().await;
    let warned: Vec<_> = app
        .log
        .since(0)
        .iter()
        .filter(|line| line["level"] == "WARN")
        .map(|line| line["message"].to_string())
        .collect();
    for key in LACKING {
        assert!(
            warned.iter().any(|line| line.contains(key)),
            "expected {key} in {warned:?}"
        );
    }
}

#[test]
fn strict_accepts_a_file_without_warnings() {
    let (code, out, err) = verify(
        &["--strict"],
        &Setup::tls(&TestPki::new()).allow("**", json!({"defaultPolicy": ["read"]})),
    );
    assert_eq!(
        (code, out.trim_end().ends_with("config.json: good"), err.as_str()),
        (0, true, "")
    );
}

#[test]
fn a_file_where_a_folder_is_expected_ends_verify_and_serve() {
    for (pointer, key) in [
        ("/storage/rootDirectory", "storage.rootDirectory"),
        ("/stateDirectory", "stateDirectory"),
    ] {
        let mut setup = Setup::plain();
        setup.write("file", "");
        setup.config["stateDirectory"] = "state".into();
        *setup.config.pointer_mut(pointer).unwrap() = "file".into();
        let file = setup.file();
        for command in ["verify", "serve"] {
            let (code, _, err) = output(&[command, file.to_str().unwrap()], setup.folder.path());
            assert!(code == 2 && err.contains(key), "{command} {key}: {code} {err}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_of_our_own_is_a_warning_of_verify_and_of_serve_and_a_metric() {
    let pki = TestPki::new();
    let mut setup = Setup::tls(&pki);
    setup.config["http"]["health"] = json!({"port": 0});
    let good = setup.path("server.crt");
    let before = std::fs::read_to_string(&good).unwrap();
    let key_before = std::fs::read_to_string(setup.path("server.key")).unwrap();
    let Pair { certificate, key } = pki.servers.expired_server();
    setup.write("server.crt", &certificate);
    setup.write("server.key", &key);
    let (code, _, err) = verify(&[], &setup);
    assert_eq!(code, 0, "{err}");
    assert!(
        err.starts_with("warning: http.tls: ") && err.contains("server.crt") && err.contains("expired at"),
        "{err}"
    );
    assert_eq!(verify(&["--strict"], &setup).0, 1);

    let app = setup.start().await;
    let expired = |line: &Value| {
        line["level"] == "ERROR"
            && line["message"]
                .as_str()
                .is_some_and(|text| text.contains("expired at"))
    };
    app.log.wait("its certificate has expired", 0, expired).await;
    let metrics = app
        .anonymous()
        .get(&format!("http://{}/metrics", app.health.unwrap()))
        .await
        .text();
    let days = metrics
        .lines()
        .find(|line| line.starts_with("wharfinger_tls_certificate_expiry_days{"))
        .unwrap();
    assert!(
        days.contains("server.crt") && days.rsplit(' ').next().unwrap().parse::<f64>().unwrap() <= 0.0,
        "{days}"
    );

    // Clients can connect again after the renewal.
    let mark = app.log.since(0).len();
    app.setup.write("server.key", &key_before);
    app.setup.write("server.crt", &before);
    app.log
        .wait("it is renewed", mark, |line| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.contains("new TLS certificate"))
        })
        .await;
    app.mark().await;
}

/// Keycloak publishes an encryption key beside the signing key. Newer issuers add keys of types that
/// Wharfinger does not know.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_standards_ignore_are_a_note_and_broken_keys_are_reported_with_their_reason() {
    let good = Signer::new("good");
    let bad = Signer::new("bad");
    let mut setup = Setup::tls(&TestPki::new());
    let issuer = json!({"issuer": "https://keycloak.test", "audiences": [AUDIENCE], "jwksFile": "keys.json"});
    setup.config["http"]["auth"]["bearer"] = json!({"oidc": [issuer]});
    let mut bundle: Value =
        serde_json::from_slice(&std::fs::read(setup.path("bundle.json")).unwrap()).unwrap();
    bundle["keys"]
        .as_array_mut()
        .unwrap()
        .push(json!({"kty": "EC", "use": "of-tomorrow"}));
    setup.write("bundle.json", &bundle.to_string());
    let key = |signer: &Signer, member: &str, value: Value| {
        let mut key = signer.jwk();
        key[member] = value;
        key
    };
    let quantum = json!({"kty": "AKP", "alg": "ML-DSA-65", "use": "sig", "kid": "pq", "pub": "AA"});
    let encryption = key(&bad, "use", "enc".into());
    setup.write(
        "keys.json",
        &json!({"keys": [good.jwk(), encryption, quantum]}).to_string(),
    );
    let (code, out, err) = verify(&["--strict"], &setup);
    assert_eq!(
        (code, out.trim_end().ends_with("config.json: good")),
        (0, true),
        "{out}{err}"
    );
    for note in [
        r#"note: http.auth.bearer.oidc[0].jwksFile: keys[1] (kid bad): expected `use` to be absent or `sig`, found "enc""#,
        "note: http.auth.bearer.oidc[0].jwksFile: keys[2] (kid pq): expected kty",
        "note: http.auth.spiffe.trustDomains[0].bundle[0]: keys[2]: expected `use` to be",
    ] {
        assert!(err.contains(note), "expected {note} in {err}");
    }
    let (code, report, err) = output(
        &["trust", setup.file().to_str().unwrap(), "--json"],
        setup.folder.path(),
    );
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let source = |report: &Value| {
        report["trusted"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["what"] == "issuer")
            .unwrap()["sources"][0]
            .clone()
    };
    assert_eq!(
        (
            source(&report)["skipped"].clone(),
            source(&report)["ignored"].as_array().unwrap().len()
        ),
        (json!([]), 2),
        "{report:#}"
    );

    setup.write(
        "keys.json",
        &json!({"keys": [good.jwk(), key(&bad, "alg", Value::Null)]}).to_string(),
    );
    let why = "keys[1] (kid bad): expected a string as `alg`, found null";
    let (code, out, err) = verify(&[], &setup);
    assert!(
        code == 0 && out.contains("good, with 1 warning") && err.contains(why),
        "{out}{err}"
    );
    let (_, table, _) = output(&["trust", setup.file().to_str().unwrap()], setup.folder.path());
    assert!(table.contains(&format!("    skipped: {why}\n")), "{table}");
    let claims = json!({"iss": "https://keycloak.test", "sub": "a", "aud": AUDIENCE});
    setup.write("token", &bad.token(&claims));
    let (code, out, err) = output(
        &["explain", setup.file().to_str().unwrap(), "--token-file=token"],
        setup.folder.path(),
    );
    let said =
        r#"the token's key "bad" is published but cannot be used: expected a string as `alg`, found null"#;
    assert!(code == 1 && out.contains(said), "{out}{err}");

    setup.write(
        "keys.json",
        &json!({"keys": [key(&bad, "alg", Value::Null)]}).to_string(),
    );
    let (code, _, err) = verify(&[], &setup);
    let only = "none of its 1 keys can be used (keys[0] (kid bad): expected a string as `alg`, found null)";
    assert!(code == 2 && err.contains(only), "{code}: {err}");
}

#[test]
fn common_names_of_certificates_with_spiffe_ids_are_a_warning() {
    let pki = TestPki::new();
    let mut setup = Setup::tls(&pki);
    setup.write("plain.pem", &pki.servers.pem);
    let authority = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages = vec![];
    };
    setup.write(
        "spire.pem",
        &pki.servers.svid_with("spiffe://prod.test", authority).certificate,
    );
    for (file, mtls, warned) in [
        ("plain.pem", json!({}), false),
        ("spire.pem", json!({}), true),
        ("spire.pem", uris(), false),
    ] {
        setup.config["http"]["tls"]["cacert"] = file.into();
        setup.config["http"]["auth"]["mtls"] = mtls;
        let (code, _, err) = verify(&[], &setup);
        assert_eq!(
            (
                code,
                err.contains("http.tls.cacert: its authorities have SPIFFE IDs")
            ),
            (0, warned),
            "{file}: {err}"
        );
    }
}

/// The message is not the parser's, which lists tokens.
#[test]
fn a_mistake_in_cel_is_reported_with_its_place_in_plain_words() {
    let mut setup = Setup::plain();
    setup.config["http"]["auth"] = json!({"bearer": {"oidc": [
        {"issuer": "https://issuer.example.org", "audiences": ["zot"], "claimMapping": {
            "username": "claims.sub + ", "groups": "claims.groups = ['a']",
            "validations": [{"expression": "claims.sub.matches('\\d+')", "message": "m"}],
        }},
    ]}});
    let (code, _, err) = verify(&[], &setup);
    assert_eq!(code, 2, "{err}");
    for said in [
        "username: this is not valid CEL: line 1, column 14, at the end",
        "line 1, column 15, at `=`: write == to compare",
        "r'..'",
    ] {
        assert!(err.contains(said), "{said}: {err}");
    }
    for raw in [
        "mismatched",
        "expecting",
        "token recognition",
        "Syntax error",
        "EOF",
    ] {
        assert!(!err.contains(raw), "{raw}: {err}");
    }
}

fn uris() -> Value {
    json!({"identityAttributes": ["URI"]})
}

/// zot's guide has such a file. It is served if the operator says so.
fn open_to_strangers() -> Setup {
    let mut setup = Setup::plain();
    setup.config["http"]["auth"] = json!({"bearer": {"oidc": [
        {"issuer": "https://token.actions.githubusercontent.com", "audiences": ["zot"], "claimMapping": {"username": "claims.repository", "groups": "['github-actions']"}},
    ]}});
    setup.config.as_object_mut().unwrap().remove("accessControl");
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_anyone_can_use_is_accepted_only_if_the_operator_says_so() {
    const SAID: &str = "anyone can get a token from https://token.actions.githubusercontent.com";
    let setup = open_to_strangers();
    let file = setup.file();
    for command in ["verify", "serve"] {
        let (code, _, err) = output(&[command, file.to_str().unwrap()], setup.folder.path());
        assert!(
            code == 2 && err.contains(SAID) && err.contains("--open"),
            "{command}: {code} {err}"
        );
    }
    let (code, _, err) = verify(&["--open"], &setup);
    assert!(
        code == 0 && err.starts_with("warning: http.auth.bearer.oidc[0]: ") && err.contains(SAID),
        "{code} {err}"
    );
    let app = setup.start_with(&["--open"]).await;
    assert!(
        app.log
            .since(0)
            .iter()
            .any(|line| line["level"] == "WARN" && line.to_string().contains(SAID))
    );
    drop(app);
    let by_variable = open_to_strangers().start_in(&[("WHARFINGER_OPEN", "1")]).await;
    assert!(
        by_variable
            .log
            .since(0)
            .iter()
            .any(|line| line["level"] == "WARN" && line.to_string().contains(SAID))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_opens_nothing() {
    let app = Setup::plain().start().await;
    let mark = app.log.since(0).len();
    let mut changed = open_to_strangers();
    changed.config["storage"] = app.setup.config["storage"].clone();
    app.setup.write("config.json", &changed.config.to_string());
    app.signal(rustix::process::Signal::HUP);
    let refused = app
        .log
        .wait("it is refused", mark, |line| line["mistakes"] == 1)
        .await;
    assert!(
        refused["message"].as_str().unwrap().contains("is refused"),
        "{refused}"
    );
}

//! What an operator can query: `wharfinger trust`, metrics about trust, and readiness.

use crate::harness::{AUDIENCE, Setup, TestApp, TestIssuer, TestPki, output};
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;

fn with_health(mut setup: Setup) -> Setup {
    setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": 0});
    setup
}

impl TestApp {
    fn state(&self) -> String {
        self.store().join("state").display().to_string()
    }

    /// Runs `wharfinger trust` against this server. Returns its exit code and output.
    async fn asked(&self, more: &[&str]) -> (i32, String) {
        self.log
            .wait("it answers the operator", 0, |line| {
                line["control.socket"].is_string()
            })
            .await;
        let state = self.state();
        let arguments: Vec<_> = ["trust", "--state-directory", &state]
            .iter()
            .chain(more)
            .copied()
            .collect();
        let (code, out, err) = output(&arguments, self.setup.folder.path());
        assert_eq!(err, "");
        (code, out)
    }

    async fn metrics(&self) -> String {
        self.anonymous()
            .get(&format!("http://{}/metrics", self.health.unwrap()))
            .await
            .text()
    }
}

/// The entry of an issuer or trust domain in a JSON report.
fn of<'a>(report: &'a Value, name: &str, verifies: &str) -> &'a Value {
    let all = report["trusted"].as_array().unwrap();
    all.iter()
        .find(|one| one["name"] == name && one["verifies"] == verifies)
        .unwrap_or_else(|| panic!("{report:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_asks_a_running_server_for_every_source() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let app = TestApp::with_keys_of(&issuer, &pki).await;
    let (code, text) = app.asked(&["--json"]).await;
    assert_eq!(code, 0, "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["generation"], 1);
    let tokens = of(&report, "prod.test", "jwt");
    let chains = of(&report, "prod.test", "x509");
    for trusted in [tokens, chains] {
        let source = &trusted["sources"][0];
        assert_eq!(
            (&source["kind"], &source["inUse"], &source["lastError"]),
            (&json!("file"), &json!(true), &Value::Null),
            "{report:#}"
        );
        assert_eq!(
            (&source["sequence"], &source["staleInSeconds"]),
            (&json!(1), &Value::Null)
        );
    }
    assert_eq!(tokens["sources"][0]["keys"][0]["id"], "jwt-1");
    let days = chains["sources"][0]["keys"][0]["expiresInSeconds"]
        .as_i64()
        .unwrap();
    assert!((3000..=3600).contains(&days), "{days}");
    let fetched = report["trusted"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["what"] == "issuer")
        .unwrap();
    assert_eq!(
        (&fetched["sources"][0]["kind"], &fetched["sources"][0]["inUse"]),
        (&json!("oidc"), &json!(true)),
        "{fetched:#}"
    );
    assert!(
        fetched["sources"][0]["staleInSeconds"].as_i64().unwrap() > 86_000,
        "{fetched:#}"
    );
    assert!(
        report["certificates"][0]["source"]
            .as_str()
            .unwrap()
            .ends_with("server.crt")
    );

    let (code, table) = app.asked(&[]).await;
    assert!(
        code == 0 && table.starts_with("NAME ") && table.contains("prod.test") && table.contains("in use"),
        "{table}"
    );

    app.setup.write("bundle.json", "{");
    app.signal(Signal::HUP);
    app.log
        .wait("the bundle is rejected", 0, |line| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.contains("its old keys stay in use"))
        })
        .await;
    let (code, text) = app.asked(&["--json"]).await;
    let report: Value = serde_json::from_str(&text).unwrap();
    let source = &of(&report, "prod.test", "jwt")["sources"][0];
    assert!(
        code == 0 && source["lastError"].is_string() && source["inUse"] == true,
        "{source:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_owner_may_use_the_control_socket() {
    let app = Setup::tls(&TestPki::new())
        .allow("**", json!({"defaultPolicy": ["read"]}))
        .start()
        .await;
    app.log
        .wait("it answers the operator", 0, |line| {
            line["control.socket"].is_string()
        })
        .await;
    let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&app.state()), mode(&format!("{}/control.sock", app.state()))),
        (0o700, 0o600)
    );
    let app = app.restart().await;
    let (code, _) = app.asked(&[]).await;
    assert_eq!(code, 0, "what a kill leaves behind is replaced");
}

#[test]
fn trust_names_the_socket_that_it_could_not_reach() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().display().to_string();
    for (arguments, said) in [
        (&["trust"][..], "--state-directory"),
        (
            &["trust", "--state-directory", &state],
            "control.sock: there is no such socket",
        ),
    ] {
        let (code, out, err) = output(arguments, folder.path());
        assert!(
            code == 1 && out.is_empty() && err.contains(said),
            "{code}: {out}{err}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_evaluates_a_configuration_by_itself() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let mut setup = Setup::tls(&pki)
        .issuer(&issuer, &pki)
        .allow("**", json!({"defaultPolicy": ["read"]}));
    let file = setup.file().display().to_string();
    let evaluate = async |file: String, folder: std::path::PathBuf| {
        let run = tokio::task::spawn_blocking(move || output(&["trust", &file, "--json"], &folder));
        run.await.unwrap()
    };
    let (code, out, err) = evaluate(file.clone(), setup.folder.path().to_owned()).await;
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code}: {out}{err}"));
    assert_eq!(code, 0, "{report:#}");
    let counting = |report: &Value| {
        report["trusted"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["sources"][0]["inUse"] == true)
            .count()
    };
    assert_eq!(counting(&report), 3, "{report:#}");
    assert!(!setup.path("store").exists(), "nothing is written");

    setup.config["http"]["auth"]["spiffe"]["trustDomains"][0]["bundle"] = json!([{"file": "broken.json"}]);
    setup.write("broken.json", "{");
    let file = setup.file().display().to_string();
    let (code, _, err) = evaluate(file, setup.folder.path().to_owned()).await;
    assert!(code == 2 && err.contains("broken.json"), "{code}: {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_an_issuer_are_fetched_before_the_first_request() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut setup = with_health(
        Setup::tls(&pki)
            .issuer(&issuer, &pki)
            .allow("**", json!({"defaultPolicy": ["read"]})),
    );
    let mut hanging = setup.config["http"]["auth"]["bearer"]["oidc"][0].clone();
    let hangs = format!("https://{}", silent.local_addr().unwrap());
    hanging["issuer"] = hangs.as_str().into();
    setup.config["http"]["auth"]["bearer"]["oidc"]
        .as_array_mut()
        .unwrap()
        .push(hanging);
    let file = setup.file().display().to_string();
    let folder = setup.folder.path().to_owned();
    let app = setup.start().await;
    let healthy = issuer.url.clone();
    let (code, report) = loop {
        let (code, text) = app.asked(&["--json"]).await;
        let report: Value = serde_json::from_str(&text).unwrap();
        if of(&report, &healthy, "jwt")["sources"][0]["inUse"] == true {
            break (code, report);
        }
    };
    let source = &of(&report, &hangs, "jwt")["sources"][0];
    assert_eq!(
        (code, &source["pending"], &source["failures"]),
        (0, &json!(true), &json!(0)),
        "a pending first answer is not a failure: {source:#}"
    );
    let text = app.metrics().await;
    let line = |name: &str| {
        text.lines()
            .find(|line| line.starts_with("wharfinger_keys_in_use") && line.contains(name))
            .map(str::to_owned)
    };
    assert!(
        line(&healthy).unwrap().ends_with(" 1") && line(&hangs).is_none(),
        "{text}"
    );

    // Without a server, the command gives up on the silent issuer before the fetch does, and says so.
    let run = tokio::task::spawn_blocking(move || output(&["trust", &file, "--json"], &folder));
    let (code, text, _) = run.await.unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let good = &of(&report, &healthy, "jwt")["sources"][0];
    let bad = &of(&report, &hangs, "jwt")["sources"][0];
    assert_eq!(
        (code, &good["inUse"], &bad["pending"], &bad["failures"]),
        (1, &json!(true), &json!(true), &json!(0)),
        "{report:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_and_sources_are_measured_and_an_issuer_that_is_down_leaves_the_registry_ready() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let mut setup = with_health(
        Setup::tls(&pki)
            .issuer(&issuer, &pki)
            .allow("**", json!({"defaultPolicy": ["read"]})),
    );
    let mut away = setup.config["http"]["auth"]["bearer"]["oidc"][0].clone();
    away["issuer"] = "https://127.0.0.1:1".into();
    setup.config["http"]["auth"]["bearer"]["oidc"]
        .as_array_mut()
        .unwrap()
        .push(away);
    let app = setup.start().await;
    assert_eq!(
        app.bearer(&pki.domain.jwt_svid("/a", AUDIENCE))
            .get("/v2/")
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        app.bearer(&pki.domain.jwt_svid("/a", "elsewhere.test"))
            .get("/v2/")
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        app.bearer(&pki.foreign.jwt_svid("/a", AUDIENCE))
            .get("/v2/")
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
    let stranger =
        crate::harness::Signer::new("made-up").token(&json!({"sub": pki.domain.id("/a"), "aud": [AUDIENCE]}));
    assert_eq!(
        app.bearer(&stranger).get("/v2/").await.status,
        StatusCode::UNAUTHORIZED
    );
    let unreachable = pki
        .domain
        .signer
        .token(&json!({"iss": "https://127.0.0.1:1", "sub": "a", "aud": AUDIENCE}));
    assert_eq!(
        app.bearer(&unreachable).get("/v2/").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    for url in [
        "/readyz".to_owned(),
        format!("http://{}/readyz", app.health.unwrap()),
    ] {
        assert_eq!(
            app.anonymous().get(&url).await.status,
            StatusCode::OK,
            "an issuer is down, and the registry is not"
        );
    }
    let text = app.metrics().await;
    for line in [
        r#"wharfinger_verdicts_total{credential="jwt-svid",result="accepted",reason=""} 1"#,
        r#"wharfinger_verdicts_total{credential="jwt-svid",result="refused",reason="jwt_audience"} 1"#,
        r#"wharfinger_verdicts_total{credential="jwt-svid",result="refused",reason="unknown_trust_domain"} 1"#,
        r#"wharfinger_verdicts_total{credential="jwt-svid",result="refused",reason="jwt_unknown_key"} 1"#,
        r#"wharfinger_unknown_key_ids_total{of="prod.test"} 1"#,
        r#"wharfinger_verdicts_total{credential="oidc",result="undecidable",reason="no_keys"} 1"#,
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "expected {line} in {text}"
        );
    }
    let source = app.setup.path("bundle.json").display().to_string();
    for verifies in ["jwt", "x509"] {
        let line = format!(
            r#"wharfinger_keys_in_use{{of="prod.test",verifies="{verifies}",source="file {source}"}} 1"#
        );
        assert!(text.contains(&line), "expected {line} in {text}");
    }
    assert!(
        text.contains(r#"wharfinger_authority_expiry_days{of="prod.test""#),
        "{text}"
    );
    let failures = text
        .lines()
        .find(|line| line.starts_with(r#"wharfinger_keys_refresh_failures_total{of="https://127.0.0.1:1""#))
        .unwrap();
    assert!(!failures.ends_with(" 0"), "{failures}");
    // Every family is described once, and no sample comes twice. Otherwise Prometheus would reject
    // everything.
    let mut seen = std::collections::BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let name = if line.starts_with('#') {
            line
        } else {
            line.rsplit_once(' ').unwrap().0
        };
        assert!(seen.insert(name.to_owned()), "twice: {line}");
    }
}

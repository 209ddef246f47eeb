//! A changed configuration takes effect without a restart and without a dropped connection.

use crate::harness::{AUDIENCE, Client, Setup, TestApp, TestPki, eventually};
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};

/// TLS, both trust domains of the tests, and `read` for every authenticated caller.
fn two_domains(pki: &TestPki) -> Setup {
    let mut setup = Setup::tls(pki).allow("**", json!({"defaultPolicy": ["read"]}));
    setup.write("foreign.json", &pki.foreign.bundle().to_string());
    let foreign =
        json!({"name": "foreign.test", "audiences": [AUDIENCE], "bundle": [{"file": "foreign.json"}]});
    setup.config["http"]["auth"]["spiffe"]["trustDomains"]
        .as_array_mut()
        .unwrap()
        .push(foreign);
    setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": 0});
    setup
}

impl TestApp {
    /// The value of a metric without labels.
    async fn metric(&self, name: &str) -> f64 {
        let text = self
            .anonymous()
            .get(&format!("http://{}/metrics", self.health.unwrap()))
            .await
            .text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .parse()
            .unwrap()
    }

    /// Changes the configuration, reloads it, and waits for the result.
    pub(crate) async fn reload(&mut self, change: impl FnOnce(&mut Value)) -> Value {
        let mark = self.mark().await;
        change(&mut self.setup.config);
        self.setup.file();
        self.signal(Signal::HUP);
        let decided = |line: &Value| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.contains("is in use") || text.contains("is refused"))
        };
        self.log
            .wait("the configuration is decided upon", mark, decided)
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawing_a_trust_domain_refuses_its_open_connections_next_request_and_no_other() {
    let pki = TestPki::new();
    let mut app = two_domains(&pki).start().await;
    let here = [
        app.certificate(&pki.domain.x509_svid("/a")),
        app.bearer(&pki.domain.jwt_svid("/a", AUDIENCE)),
    ];
    let foreign = [
        app.certificate(&pki.foreign.x509_svid("/a")),
        app.bearer(&pki.foreign.jwt_svid("/a", AUDIENCE)),
    ];
    for client in here.iter().chain(&foreign) {
        assert_eq!(client.get("/v2/").await.status, StatusCode::OK);
    }
    assert_eq!(
        app.metric("wharfinger_certificate_verifications_total").await,
        2.0
    );
    let decided = app
        .reload(|config| {
            drop(
                config["http"]["auth"]["spiffe"]["trustDomains"]
                    .as_array_mut()
                    .unwrap()
                    .pop(),
            )
        })
        .await;
    assert_eq!(decided["config.generation"], 2);
    for client in &foreign {
        assert_eq!(client.get("/v2/").await.error(), (401, "UNAUTHORIZED".into()));
    }
    for client in &here {
        assert_eq!(client.get("/v2/").await.status, StatusCode::OK);
    }
    assert_eq!(
        app.metric("wharfinger_certificate_verifications_total").await,
        2.0,
        "the other connections' certificates are not verified again"
    );
}

/// Each trust domain has its own file, so only the keys in the files can show the conflict.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_two_trust_domains_is_used_for_the_first_only_unless_the_configuration_allows_both() {
    let pki = TestPki::new();
    let mut app = two_domains(&pki).start().await;
    let here = [
        app.certificate(&pki.domain.x509_svid("/a")),
        app.bearer(&pki.domain.jwt_svid("/a", AUDIENCE)),
    ];
    // Credentials of the second trust domain's workloads, signed with the first one's authority and key.
    let id = pki.foreign.id("/a");
    let token = pki.domain.signer.token(&json!({"sub": id, "aud": [AUDIENCE]}));
    let crossed = [app.certificate(&pki.domain.ca.svid(&id)), app.bearer(&token)];
    let status = async |clients: &[Client]| {
        let mut found = Vec::new();
        for client in clients {
            found.push(client.get("/v2/").await.status.as_u16());
        }
        found
    };
    assert_eq!(status(&crossed).await, [401, 401]);
    // The second trust domain's publisher adds the first one's keys to its bundle.
    app.setup.write("foreign.json", &pki.domain.bundle().to_string());
    app.signal(Signal::HUP);
    for (what, key) in [
        ("its authority", "CN=prod.test"),
        ("its JWT key", "the JWT key jwt-1"),
    ] {
        let names_the_key = |line: &Value| {
            let text = line["message"].as_str().unwrap_or_default();
            line["level"] == "ERROR"
                && text.contains(key)
                && text.contains("is also held by the trust domain prod.test")
        };
        app.log.wait(what, 0, names_the_key).await;
    }
    assert_eq!(
        (status(&crossed).await, status(&here).await),
        (vec![401, 401], vec![200, 200])
    );
    for verifies in ["jwt", "x509"] {
        let name = format!(r#"wharfinger_keys_withheld{{of="foreign.test",verifies="{verifies}"}}"#);
        assert_eq!(app.metric(&name).await, 1.0);
    }
    app.reload(|config| {
        config["http"]["auth"]["spiffe"]["trustDomains"][1]["sharesAuthoritiesWith"] = json!(["prod.test"])
    })
    .await;
    assert_eq!(
        (status(&crossed).await, status(&here).await),
        (vec![200, 200], vec![200, 200])
    );
}

/// A token that the registry minted for this credential.
async fn exchanged(app: &TestApp, token: &str) -> String {
    let answer = app
        .bearer(token)
        .get("/v2/token?service=wharfinger&scope=repository:a:pull")
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let minted = answer.json()["token"].as_str().unwrap().to_owned();
    assert_ne!(minted, token);
    minted
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawing_a_trust_domain_refuses_the_tokens_that_were_minted_for_it_and_no_others() {
    let pki = TestPki::new();
    let mut app = two_domains(&pki).start().await;
    let here = app.bearer(&exchanged(&app, &pki.domain.jwt_svid("/a", AUDIENCE)).await);
    let foreign = app.bearer(&exchanged(&app, &pki.foreign.jwt_svid("/a", AUDIENCE)).await);
    for client in [&here, &foreign] {
        assert_eq!(
            client.get("/v2/a/tags/list").await.error(),
            (404, "NAME_UNKNOWN".into())
        );
    }
    app.reload(|config| {
        drop(
            config["http"]["auth"]["spiffe"]["trustDomains"]
                .as_array_mut()
                .unwrap()
                .pop(),
        )
    })
    .await;
    assert_eq!(
        foreign.get("/v2/a/tags/list").await.error(),
        (401, "UNAUTHORIZED".into())
    );
    assert_eq!(
        here.get("/v2/a/tags/list").await.error(),
        (404, "NAME_UNKNOWN".into())
    );

    // An empty bundle withdraws the trust domain too.
    let mark = app.mark().await;
    app.setup.write("bundle.json", r#"{"keys": []}"#);
    app.signal(Signal::HUP);
    app.log
        .wait("the bundle is reloaded", mark, |line| {
            line["message"] == "keys reloaded"
        })
        .await;
    assert_eq!(
        here.get("/v2/a/tags/list").await.error(),
        (401, "UNAUTHORIZED".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_in_one_trust_domain_verifies_no_connection_of_another_again() {
    let pki = TestPki::new();
    let app = two_domains(&pki).start().await;
    let here: Vec<_> = (0..4)
        .map(|n| app.certificate(&pki.domain.x509_svid(&format!("/{n}"))))
        .collect();
    let foreign: Vec<_> = (0..3)
        .map(|n| app.certificate(&pki.foreign.x509_svid(&format!("/{n}"))))
        .collect();
    let ask_all = async || {
        for client in here.iter().chain(&foreign) {
            assert_eq!(client.get("/v2/").await.status, StatusCode::OK);
        }
        app.metric("wharfinger_certificate_verifications_total").await
    };
    assert_eq!(ask_all().await, 7.0);
    assert_eq!(ask_all().await, 7.0, "the verdicts are cached");
    // One more authority is added, so that the generation changes but every caller stays valid.
    let mut bundle = pki.domain.bundle();
    let more = TestPki::new().domain.bundle();
    bundle["keys"]
        .as_array_mut()
        .unwrap()
        .push(more["keys"][0].clone());
    let mark = app.mark().await;
    app.setup.write("bundle.json", &bundle.to_string());
    app.signal(Signal::HUP);
    app.log
        .wait("the bundle is reloaded", mark, |line| {
            line["message"] == "keys reloaded"
        })
        .await;
    assert_eq!(
        ask_all().await,
        11.0,
        "four verifications for the trust domain that rotated, and none for the other"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_with_mistakes_is_refused_with_all_of_them_and_the_running_one_stays() {
    let pki = TestPki::new();
    let mut app = two_domains(&pki).start().await;
    let client = app.bearer(&pki.domain.jwt_svid("/a", AUDIENCE));
    let good = app.setup.config.clone();
    app.setup.write("broken.json", "{");
    assert_eq!(app.metric("wharfinger_config_generation").await, 1.0);
    let refused = app
        .reload(|config| {
            config["http"]["tls"]["cert"] = "missing.crt".into();
            config["http"]["auth"]["spiffe"]["trustDomains"][0]["bundle"] = json!([{"file": "broken.json"}]);
            config["accessControl"]["repositories"] = json!({});
        })
        .await;
    assert_eq!(
        (&refused["mistakes"], &refused["config.generation"]),
        (&json!(2), &json!(1)),
        "{refused}"
    );
    for key in ["http.tls", "http.auth.spiffe.trustDomains[0].bundle[0]"] {
        app.log
            .wait("the mistake is logged", 0, |line| {
                line["config.key"] == key && line["level"] == "ERROR"
            })
            .await;
    }
    assert_eq!(
        client.get("/v2/a/tags/list").await.error(),
        (404, "NAME_UNKNOWN".into()),
        "the old policy holds"
    );
    assert_eq!(app.metric("wharfinger_config_last_reload_applied").await, 0.0);
    let unknown = app.reload(|config| config["htpp"] = json!({})).await;
    assert!(
        unknown["message"].as_str().unwrap().contains("refused"),
        "{unknown}"
    );

    let applied = app.reload(|config| *config = good.clone()).await;
    assert_eq!(applied["config.generation"], 2);
    assert_eq!(app.metric("wharfinger_config_generation").await, 2.0);
    assert_eq!(app.metric("wharfinger_config_last_reload_applied").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_noticed_however_it_was_replaced() {
    let pki = TestPki::new();
    let mut setup = Setup::tls(&pki).allow("**", json!({"defaultPolicy": ["read"]}));
    let with = |actions: Value| {
        let mut config = setup.config.clone();
        config["accessControl"]["repositories"]["**"]["defaultPolicy"] = actions;
        config.to_string()
    };
    let texts = [with(json!([])), with(json!(["read"])), with(json!([]))];
    setup.config = serde_json::from_str(&texts[1]).unwrap();
    let app = setup.start().await;
    let client = app.bearer(&pki.domain.jwt_svid("/a", AUDIENCE));
    let path = app.setup.path("config.json");
    let becomes = async |code: (u16, &str)| {
        eventually(&format!("the answer is {code:?}"), async || {
            let answer = client.get("/v2/a/tags/list").await;
            (answer.error() == (code.0, code.1.to_owned())).then_some(())
        })
        .await;
    };
    becomes((404, "NAME_UNKNOWN")).await;
    std::fs::write(&path, &texts[0]).unwrap();
    becomes((403, "DENIED")).await;
    app.setup.write("next.json", &texts[1]);
    std::fs::rename(app.setup.path("next.json"), &path).unwrap();
    becomes((404, "NAME_UNKNOWN")).await;
    app.setup.write("linked.json", &texts[2]);
    std::os::unix::fs::symlink("linked.json", app.setup.path("link")).unwrap();
    std::fs::rename(app.setup.path("link"), &path).unwrap();
    becomes((403, "DENIED")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_need_a_restart_are_reported_and_the_others_take_effect() {
    let pki = TestPki::new();
    let mut app = two_domains(&pki).start().await;
    let client = app.bearer(&pki.domain.jwt_svid("/a", AUDIENCE));
    let applied = app
        .reload(|config| {
            config["storage"]["rootDirectory"] = "elsewhere".into();
            config["http"]["port"] = 1.into();
            config["accessControl"]["repositories"]["**"] = json!({"defaultPolicy": []});
        })
        .await;
    assert_eq!(applied["config.generation"], 2);
    for key in ["storage.rootDirectory, storageDriver", "http.address, http.port"] {
        app.log
            .wait("it takes a restart", 0, |line| {
                line["config.key"] == key && line["level"] == "WARN"
            })
            .await;
    }
    assert_eq!(
        client.get("/v2/a/tags/list").await.error(),
        (403, "DENIED".into())
    );
    assert!(!app.setup.path("elsewhere").exists());
}

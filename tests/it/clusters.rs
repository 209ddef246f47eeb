//! Two clusters with the default issuer, keys with the same `kid`, and service accounts with the same names.

use crate::harness::{AUDIENCE, Setup, TestIssuer, TestPki, output};
use serde_json::{Value, json};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const SUBJECT: &str = "system:serviceaccount:team-a:builder";

fn entry(name: &str, issuer: &TestIssuer, pki: &TestPki) -> Value {
    json!({
        "name": name, "issuer": ISSUER, "audiences": [AUDIENCE], "jwksURL": format!("{}/keys", issuer.url),
        "certificateAuthority": pki.servers.pem,
    })
}

fn token(issuer: &TestIssuer) -> String {
    issuer
        .signer
        .token(&json!({"iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE}))
}

#[tokio::test(flavor = "multi_thread")]
async fn namesakes_share_nothing() {
    let pki = TestPki::new();
    let edge = TestIssuer::start(&pki.servers).await;
    let prod = TestIssuer::start(&pki.servers).await;
    let users = json!(["edge", "prod"].map(|name| format!("{ISSUER}/{name}/{SUBJECT}")));
    let mut setup = Setup::tls(&pki).allow(
        "a",
        json!({"policies": [{"users": users, "actions": ["read", "create"]}]}),
    );
    setup.config["http"]["health"] = json!({"port": 0});
    setup.config["http"]["auth"]["bearer"] =
        json!({"oidc": [entry("edge", &edge, &pki), entry("prod", &prod, &pki)]});
    let app = setup.start().await;

    let of_edge = app.bearer(&token(&edge));
    let of_prod = app.bearer(&token(&prod));
    for (client, name) in [(&of_edge, "edge"), (&of_prod, "prod")] {
        let answer = client.get("/v2/_wharfinger/whoami").await.json();
        assert_eq!(
            answer["username"],
            format!("{ISSUER}/{name}/{SUBJECT}"),
            "{answer}"
        );
    }

    // An upload belongs to its own cluster, though both clusters may push there. So does the token that a
    // login returns.
    let upload = of_edge.start_upload("a").await;
    assert_eq!(of_prod.get(&upload).await.status, 404);
    assert_eq!(of_edge.get(&upload).await.status, 204);
    let minted = of_edge
        .get("/v2/token?service=wharfinger&scope=repository:a:pull,push")
        .await
        .json();
    let by_minted = app.bearer(minted["token"].as_str().unwrap());
    assert_eq!(by_minted.get(&upload).await.status, 204);

    let metrics = app
        .anonymous()
        .get(&format!("http://{}/metrics", app.health.unwrap()))
        .await
        .text();
    for name in ["edge", "prod"] {
        assert!(
            metrics.contains(&format!("of=\"{ISSUER} ({name})\"")),
            "{metrics}"
        );
    }
    let state = app.store().join("state");
    let (_, table, err) = output(
        &["trust", "--state-directory", state.to_str().unwrap()],
        app.setup.folder.path(),
    );
    assert!(
        ["(edge)", "(prod)"]
            .iter()
            .all(|name| table.contains(&format!("{ISSUER} {name}"))),
        "{table}{err}"
    );
    app.setup.write("token", &token(&prod));
    let file = app.setup.file();
    let (code, said, err) = output(
        &["explain", file.to_str().unwrap(), "--token-file=token"],
        app.setup.folder.path(),
    );
    assert_eq!(code, 0, "{said}{err}");
    assert!(
        said.contains(&format!("oidc[1] ({ISSUER} (prod)): accepts the credential")),
        "{said}"
    );

    // Each cluster's keys are kept for the next start, in separate files.
    let app = app.restart().await;
    edge.set_unreachable(true);
    prod.set_unreachable(true);
    let kept = std::fs::read_dir(state.join("trust")).unwrap().filter(|file| {
        file.as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|it| it == "last-good")
    });
    assert_eq!(kept.count(), 2);
    for (issuer, name) in [(&edge, "edge"), (&prod, "prod")] {
        let answer = app
            .bearer(&token(issuer))
            .get("/v2/_wharfinger/whoami")
            .await
            .json();
        assert_eq!(
            answer["username"],
            format!("{ISSUER}/{name}/{SUBJECT}"),
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_two_clusters_is_reported_even_if_it_appears_later() {
    let pki = TestPki::new();
    let edge = TestIssuer::start(&pki.servers).await;
    let prod = TestIssuer::start(&pki.servers).await;
    let mut setup = Setup::tls(&pki);
    let file = |keys: &[&TestIssuer]| {
        json!({"keys": keys.iter().map(|issuer| issuer.signer.jwk()).collect::<Vec<_>>()}).to_string()
    };
    setup.write("edge.json", &file(&[&edge]));
    setup.write("prod.json", &file(&[&prod]));
    let entry = |name: &str| json!({"name": name, "issuer": ISSUER, "audiences": [AUDIENCE], "jwksFile": format!("{name}.json")});
    setup.config["http"]["auth"]["bearer"] = json!({"oidc": [entry("edge"), entry("prod")]});
    let app = setup.start().await;
    let whose = async || {
        app.bearer(&token(&prod))
            .get("/v2/_wharfinger/whoami")
            .await
            .json()["username"]
            .clone()
    };
    assert_eq!(whose().await, format!("{ISSUER}/prod/{SUBJECT}"));
    let mark = app.mark().await;
    app.setup.write("edge.json", &file(&[&edge, &prod]));
    let names_the_key = |line: &Value| {
        line["level"] == "ERROR"
            && line["message"]
                .as_str()
                .is_some_and(|text| text.contains("have the same key"))
    };
    let line = app
        .log
        .wait("the key is in two entries", mark, names_the_key)
        .await;
    assert!(
        line["message"]
            .as_str()
            .unwrap()
            .contains("tokens that it signs belong to \"edge\""),
        "{line}"
    );
    assert_eq!(whose().await, format!("{ISSUER}/edge/{SUBJECT}"));
}

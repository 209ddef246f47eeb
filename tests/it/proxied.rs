//! A registry behind a reverse proxy and with names: who may set scheme, host and client, and which audiences
//! the names are.

use crate::harness::{Setup, TestIssuer, TestPki, raw};
use reqwest::StatusCode;
use serde_json::{Value, json};

const TOKEN: &str = "/v2/token";

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_names_its_clients_and_its_own_certificate_is_no_credential() {
    let pki = TestPki::new();
    let mut setup = Setup::tls(&pki).allow("**", json!({"defaultPolicy": ["read"]}));
    setup.config["http"]["trustedProxies"] = json!(["127.0.0.0/8"]);
    setup.config["http"]["forwardedHeaders"] = "x-forwarded-host".into();
    let app = setup.start().await;
    let proxy = app.certificate(&pki.domain.x509_svid("/proxy"));
    let answer = proxy.get("/v2/").await;
    assert_eq!(
        answer.error(),
        (401, "UNAUTHORIZED".into()),
        "the proxy's certificate does not identify the client"
    );
    let line = app
        .log
        .wait("who asked", 0, |line| {
            line["request.id"] == answer.header("x-request-id")
        })
        .await;
    let why = line["why"].as_str().unwrap_or_default();
    assert!(
        why.contains("was ignored, because a trusted proxy presented it (http.trustedProxies)"),
        "{line}"
    );
    assert!(
        why.contains(r#"subject "spiffe://prod.test/proxy", serial "#),
        "{line}"
    );
    let bad = proxy
        .clone()
        .header("authorization", "Bearer hunter2")
        .get("/v2/")
        .await;
    let line = app
        .log
        .wait("who asked", 0, |line| {
            line["request.id"] == bad.header("x-request-id")
        })
        .await;
    let why = line["why"].as_str().unwrap_or_default();
    assert!(
        why.starts_with("expected a JWS") && why.contains("spiffe://prod.test/proxy"),
        "both reasons: {line}"
    );
    for (scheme, host) in [
        ("https", "registry.example.org"),
        ("http", "registry.example.org:8080"),
        ("https", "[2001:db8::1]:5000"),
    ] {
        let client = proxy
            .clone()
            .header("x-forwarded-proto", scheme)
            .header("x-forwarded-host", host);
        let answer = client.header("x-forwarded-for", "203.0.113.7").get("/v2/").await;
        let realm = format!(r#"Bearer realm="{scheme}://{host}{TOKEN}",service="wharfinger""#);
        assert_eq!(answer.header("www-authenticate"), realm);
        let line = app
            .log
            .wait("who asked", 0, |line| {
                line["request.id"] == answer.header("x-request-id")
            })
            .await;
        assert_eq!(line["client.address"], "203.0.113.7");
    }
    let other = proxy
        .clone()
        .header("forwarded", "for=203.0.113.7;proto=http;host=evil.test")
        .get("/v2/")
        .await;
    assert_eq!(
        other.header("www-authenticate"),
        format!(r#"Bearer realm="{}{TOKEN}",service="wharfinger""#, app.url(""))
    );
    let bad = proxy
        .clone()
        .header("x-forwarded-host", "a\",evil=\"b")
        .get("/v2/")
        .await;
    assert_eq!(
        (bad.status, bad.header("www-authenticate")),
        (StatusCode::BAD_REQUEST, "")
    );
    let through = proxy.header(
        "authorization",
        &format!("Bearer {}", pki.domain.jwt_svid("/a", crate::harness::AUDIENCE)),
    );
    assert_eq!(
        through.get("/v2/").await.status,
        StatusCode::OK,
        "a client's own token goes through"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sent_before_a_proxy_added_its_own_line_is_not_used() {
    let families: [(&str, [&str; 6]); 2] = [
        (
            "x-forwarded-host",
            [
                "X-Forwarded-For: 198.51.100.1",
                "X-Forwarded-Host: evil.test",
                "X-Forwarded-Proto: http",
                "X-Forwarded-For: 203.0.113.7",
                "X-Forwarded-Host: registry.example.org",
                "X-Forwarded-Proto: https",
            ],
        ),
        (
            "forwarded",
            [
                "X-Forwarded-For: 198.51.100.1",
                "X-Forwarded-Host: evil.test",
                "X-Forwarded-Proto: http",
                "Forwarded: for=198.51.100.1;host=evil.test;proto=http",
                "Forwarded: for=\"198.51.100.1",
                "Forwarded: for=203.0.113.7;host=registry.example.org;proto=https",
            ],
        ),
    ];
    for (family, lines) in families {
        let pki = TestPki::new();
        let mut setup = Setup::tls(&pki).allow("**", json!({"defaultPolicy": ["read"]}));
        setup.config["http"].as_object_mut().unwrap().remove("tls");
        setup.config["http"]["trustedProxies"] = json!(["127.0.0.1"]);
        setup.config["http"]["forwardedHeaders"] = family.into();
        let app = setup.start().await;
        let head = format!(
            "GET /v2/ HTTP/1.1\r\nHost: 10.0.0.1:5000\r\n{}\r\nConnection: close\r\n\r\n",
            lines.join("\r\n")
        );
        let answer = raw(app.address, head.as_bytes()).await.to_ascii_lowercase();
        assert!(
            answer.contains(r#"realm="https://registry.example.org/v2/token""#),
            "{family}: {answer}"
        );
        let line = app
            .log
            .wait("who asked", 0, |line| line["http.path"] == "/v2/")
            .await;
        assert_eq!(line["client.address"], "203.0.113.7", "{family}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_an_untrusted_proxy_are_ignored() {
    let pki = TestPki::new();
    let mut setup = Setup::tls(&pki).allow("**", json!({"defaultPolicy": ["read"]}));
    setup.config["http"]["trustedProxies"] = json!(["10.0.0.0/8"]);
    let app = setup.start().await;
    let forged = |client: crate::harness::Client| {
        client
            .header("x-forwarded-host", "evil.test")
            .header("forwarded", "host=evil.test;proto=http")
            .header("x-forwarded-for", "10.0.0.1")
    };
    let answer = forged(app.anonymous()).get("/v2/").await;
    assert_eq!(
        answer.header("www-authenticate"),
        format!(r#"Bearer realm="{}{TOKEN}",service="wharfinger""#, app.url(""))
    );
    let line = app
        .log
        .wait("who asked", 0, |line| {
            line["request.id"] == answer.header("x-request-id")
        })
        .await;
    assert_eq!(line["client.address"], "127.0.0.1");
    assert_eq!(
        forged(app.certificate(&pki.domain.x509_svid("/a")))
            .get("/v2/")
            .await
            .status,
        StatusCode::OK,
        "its certificate is its own"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registrys_names_are_audiences_and_a_repository_behind_one_is_a_limit() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let mut setup = Setup::tls(&pki)
        .issuer(&issuer, &pki)
        .allow("**", json!({"defaultPolicy": ["read", "create"]}));
    setup.config["http"]["externalURL"] = "https://Registry.example.org".into();
    for entry in ["/http/auth/bearer/oidc/0", "/http/auth/spiffe/trustDomains/0"] {
        let entry = setup.config.pointer_mut(entry).unwrap();
        entry["audienceFromHost"] = true.into();
        entry["audiences"] = json!([]);
    }
    let app = setup.start().await;
    let uploads = |repository: &str| format!("/v2/{repository}/blobs/uploads/");
    let tokens = |audience: &str| {
        [
            issuer.token_for(audience, "flux"),
            pki.domain.jwt_svid("/flux", audience),
        ]
    };
    for audience in [
        "registry.example.org",
        "registry.example.org:443",
        "https://registry.example.org",
        "oci://registry.example.org",
    ] {
        for token in tokens(audience) {
            assert_eq!(
                app.bearer(&token).post(&uploads("team/app")).await.status,
                StatusCode::ACCEPTED,
                "{audience}"
            );
        }
    }
    for audience in [
        "elsewhere.test",
        "oci://elsewhere.test/team/app",
        "registry.example.org.evil",
        "127.0.0.1",
        &app.host(),
    ] {
        for token in tokens(audience) {
            assert_eq!(
                app.bearer(&token).get("/v2/").await.error().0,
                401,
                "{audience}, whatever the Host header says"
            );
            let misled = app.bearer(&token).header(
                "host",
                audience.trim_start_matches("oci://").split('/').next().unwrap(),
            );
            assert_eq!(misled.get("/v2/").await.error().0, 401, "{audience}");
        }
    }
    for audience in [
        "oci://registry.example.org/team/app",
        "registry.example.org/team/app",
    ] {
        for token in tokens(audience) {
            let client = app.bearer(&token);
            assert_eq!(
                client.post(&uploads("team/app")).await.status,
                StatusCode::ACCEPTED,
                "{audience}"
            );
            assert_eq!(
                client.post(&uploads("team/other")).await.error(),
                (403, "DENIED".into()),
                "no other token of this caller would do"
            );
            assert_eq!(
                client.get("/v2/_catalog").await.json(),
                json!({"repositories": ["team/app"]})
            );
            // A minted token does not widen the limit.
            let answer = client
                .get("/v2/token?scope=repository:team/app:pull,push&scope=repository:team/other:pull,push")
                .await
                .json();
            assert_eq!(answer["scope"], "repository:team/app:pull,push");
            let minted = app.bearer(answer["token"].as_str().unwrap());
            assert_eq!(
                minted.post(&uploads("team/app")).await.status,
                StatusCode::ACCEPTED
            );
            assert_eq!(
                minted.post(&uploads("team/other")).await.error(),
                (403, "DENIED".into())
            );
        }
    }
    assert!(
        !app.log
            .since(0)
            .iter()
            .any(|line: &Value| line.to_string().contains("eyJ")),
        "no token in the log"
    );
}

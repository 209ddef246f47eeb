//! Unreachable issuers, which never make a valid token a bad one.

use super::*;
use crate::harness::Signer;

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_issuer_gives_503_and_does_not_prevent_the_start() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    issuer.set_unreachable(true);
    let rules = json!({"anonymousPolicy": ["read"], "defaultPolicy": ["read", "create"]});
    let app = Setup::tls(&pki)
        .issuer(&issuer, &pki)
        .allow("**", rules)
        .start()
        .await;
    assert_eq!(app.anonymous().get("/readyz").await.status, StatusCode::OK);
    app.certificate(&pki.domain.x509_svid(BUILDER))
        .push_blob("public/app", b"x")
        .await;
    let answer = app.bearer(&issuer.token("builder")).get(PATH).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        (answer.header("retry-after"), answer.header("www-authenticate")),
        ("5", "")
    );
    let line = app
        .log
        .wait("a request failed", 0, |line| {
            line["request.id"] == answer.header("x-request-id")
        })
        .await;
    let url = Some(issuer.url.as_str());
    let expected = Expected {
        why: &issuer.url,
        kind: "oidc",
        issuer: url,
        key_id: Some("oidc-1"),
        subject: Some("builder"),
    };
    expected.check("unreachable", &line);
    assert_eq!(issuer.fetches(), 0);
}

/// An API server changes its signing key, and later stops. A valid token is never reported as bad.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_waits_for_the_next_fetch_and_a_stopped_issuer_gives_503_with_the_failure() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let app = TestApp::with_keys_of(&issuer, &pki).await;
    let rotated = Signer::new("rotated");
    let stranger = Signer::new("made-up");
    issuer.publish(&[&rotated]);
    // The keys were fetched a moment ago, so both requests are decided after the next fetch.
    let claims = issuer.claims(AUDIENCE, "builder");
    let good = app.bearer(&rotated.token(&claims));
    let bad = app.bearer(&stranger.token(&claims));
    let (good, bad) = tokio::join!(good.get("/v2/"), bad.get("/v2/"));
    assert_eq!(
        (good.status, bad.status),
        (StatusCode::OK, StatusCode::UNAUTHORIZED)
    );
    assert_eq!(issuer.fetches(), 3, "the document, and the keys twice");

    issuer.set_unreachable(true);
    let answer = app
        .bearer(&Signer::new("newest").token(&claims))
        .get("/v2/")
        .await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, "5")
    );
    let line = app
        .log
        .wait("a request failed", 0, |line| {
            line["request.id"] == answer.header("x-request-id")
        })
        .await;
    let url = Some(issuer.url.as_str());
    let expected = Expected {
        why: "newer keys could not be fetched",
        kind: "oidc",
        issuer: url,
        key_id: Some("newest"),
        subject: Some("builder"),
    };
    expected.check("stopped", &line);
    assert!(
        line["why"]
            .as_str()
            .unwrap()
            .contains(&format!("{}/keys: ", issuer.url)),
        "what failed: {line}"
    );
    assert_eq!(
        app.bearer(&rotated.token(&claims)).get("/v2/").await.status,
        StatusCode::OK,
        "a known key verifies meanwhile"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuers_keys_are_fetched_once() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let app = Setup::tls(&pki)
        .issuer(&issuer, &pki)
        .allow("**", json!({"defaultPolicy": ["read"]}))
        .start()
        .await;
    assert_eq!(app.anonymous().get("/readyz").await.status, StatusCode::OK);
    let client = app.bearer(&issuer.token("builder"));
    let (one, two, three) = tokio::join!(client.get("/v2/"), client.get("/v2/"), client.get("/v2/"));
    for answer in [one, two, three, client.get("/v2/").await] {
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert_eq!(issuer.fetches(), 2, "the document and the keys");
}

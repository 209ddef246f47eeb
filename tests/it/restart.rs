//! The keys that the registry trusts survive a restart.

use super::harness::{Signer, TestApp, TestIssuer, TestPki, eventually};
use http::StatusCode;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_restarts_and_serves_while_its_issuer_is_down() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let app = TestApp::with_keys_of(&issuer, &pki).await;
    let copy = kept(&app).await;
    for path in [copy.as_path(), copy.parent().unwrap()] {
        assert_eq!(
            path.metadata().unwrap().permissions().mode() & 0o077,
            0,
            "{}: for its owner only",
            path.display()
        );
    }
    let fetches = issuer.fetches();
    issuer.set_unreachable(true);

    let app = app.restart().await;
    assert_eq!(
        app.bearer(&issuer.token("builder")).get("/v2/").await.status,
        StatusCode::OK
    );
    let forged = Signer::new("oidc-1").token(&issuer.claims("registry.test", "builder"));
    assert_eq!(
        app.bearer(&forged).get("/v2/").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(issuer.fetches(), fetches);
    let line = app
        .log
        .wait("the copy on disk is used", 0, |line| {
            line["source"] == issuer.url.as_str() && line["level"] == "WARN"
        })
        .await;
    assert!(line["message"].as_str().is_some());

    // A file that other users can write is not trusted.
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o666)).unwrap();
    let app = app.restart().await;
    assert_eq!(
        app.bearer(&issuer.token("builder")).get("/v2/").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    issuer.set_unreachable(false);
}

/// Waits for the one file with fetched keys.
async fn kept(app: &TestApp) -> PathBuf {
    let folder = app.store().join("state/trust");
    let find = || {
        let entries = std::fs::read_dir(&folder).ok()?;
        entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "last-good"))
    };
    eventually("the keys are on disk", async || find()).await
}

//! The fourteen steps of every workload, with each kind of credential and each client that can present it.
//! One account may do everything in `e2e`. A second one is known but may do nothing.

use crate::harness::{AUDIENCE, Credential, Login, Outcome, Setup, TestApp, TestIssuer, TestPki, Tool};
use reqwest::StatusCode;
use serde_json::json;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Oidc,
    JwtSvid,
    X509Svid,
}

macro_rules! road {
    ($($name:ident: $kind:ident, $tool:ident;)+) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            road(Kind::$kind, Tool::$tool).await;
        })+
    };
}

road! {
    an_oidc_token_with_crane_as_registrytoken: Oidc, CraneToken;
    an_oidc_token_with_crane_as_password: Oidc, CranePassword;
    an_oidc_token_with_skopeo_as_registry_token: Oidc, SkopeoToken;
    an_oidc_token_with_skopeo_as_password: Oidc, SkopeoPassword;
    an_oidc_token_with_podman_as_password: Oidc, PodmanPassword;
    a_jwt_svid_with_crane_as_registrytoken: JwtSvid, CraneToken;
    a_jwt_svid_with_crane_as_password: JwtSvid, CranePassword;
    a_jwt_svid_with_skopeo_as_registry_token: JwtSvid, SkopeoToken;
    a_jwt_svid_with_skopeo_as_password: JwtSvid, SkopeoPassword;
    a_jwt_svid_with_podman_as_password: JwtSvid, PodmanPassword;
    an_x509_svid_with_skopeo: X509Svid, SkopeoCertificate;
    an_x509_svid_with_podman: X509Svid, PodmanCertificate;
}

async fn road(kind: Kind, tool: Tool) {
    if !tool.is_installed() {
        return;
    }
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let first = "/ns/ci/sa/builder";
    let second = "/ns/other/sa/stranger";
    let accounts = json!([pki.domain.id(first), issuer.username(first)]);
    let rules = json!({"policies": [{"users": accounts, "actions": ["read", "create", "update", "delete"]}]});
    let app = Setup::tls(&pki)
        .issuer(&issuer, &pki)
        .allow("e2e/**", rules)
        .start()
        .await;
    let credential = |path| match kind {
        Kind::Oidc => Credential::Token(issuer.token(path)),
        Kind::JwtSvid => Credential::Token(pki.domain.jwt_svid(path, AUDIENCE)),
        Kind::X509Svid => Credential::Certificate(pki.domain.x509_svid(path)),
    };
    let elsewhere = match kind {
        Kind::Oidc => Credential::Token(issuer.token_for("elsewhere.test", first)),
        Kind::JwtSvid => Credential::Token(pki.domain.jwt_svid(first, "elsewhere.test")),
        Kind::X509Svid => Credential::Certificate(pki.foreign.x509_svid(first)),
    };
    let first = credential(first);
    let second = credential(second);
    over_http(&app, &first, &elsewhere, &second).await;
    with_a_client(&app, tool, &first, &second).await;
}

/// Steps 1 to 7.
async fn over_http(app: &TestApp, first: &Credential, elsewhere: &Credential, second: &Credential) {
    let client = |credential: &Credential| match credential {
        Credential::Token(token) => app.bearer(token),
        Credential::Certificate(pair) => app.certificate(pair),
    };
    let anonymous = app.anonymous();
    let elsewhere = client(elsewhere);
    let second = client(second);
    let first = client(first);
    let uploads = "/v2/e2e/app/blobs/uploads/";
    let catalogue = "/v2/_catalog";
    assert_eq!(
        anonymous.post(uploads).await.error(),
        (401, "UNAUTHORIZED".into()),
        "1: upload without credential"
    );
    let answer = first.get(catalogue).await;
    assert_eq!(
        (answer.status, answer.json()),
        (StatusCode::OK, json!({"repositories": []})),
        "2: catalogue"
    );
    assert_eq!(
        first.post(uploads).await.status,
        StatusCode::ACCEPTED,
        "3: upload started"
    );
    let repositories = json!({"repositories": ["e2e/app"]});
    assert_eq!(
        first.get(catalogue).await.json(),
        repositories,
        "4: the repository is in the catalogue"
    );
    for path in ["/v2/", catalogue, "/v2/e2e/app/tags/list"] {
        assert_eq!(
            elsewhere.get(path).await.error(),
            (401, "UNAUTHORIZED".into()),
            "5: wrong audience or trust domain, {path}"
        );
    }
    assert_eq!(
        elsewhere.post(uploads).await.error(),
        (401, "UNAUTHORIZED".into()),
        "5: wrong audience or trust domain"
    );
    let answer = second.get(catalogue).await;
    assert_eq!(
        (answer.status, answer.json()),
        (StatusCode::OK, json!({"repositories": []})),
        "6: a second account's catalogue"
    );
    assert_eq!(
        second.post(uploads).await.error(),
        (403, "DENIED".into()),
        "7: a second account's upload"
    );
}

/// Steps 8 to 14.
async fn with_a_client(app: &TestApp, tool: Tool, first: &Credential, second: &Credential) {
    const IMAGE: &str = "e2e/image";
    let anonymous = Login::new(tool, app, None);
    let second = Login::new(tool, app, Some(second));
    let first = Login::new(tool, app, Some(first));
    done("8: copy in", &first.copy_in(IMAGE).await);
    let mark = app.mark().await;
    refused(
        "9: copy without credential",
        app,
        mark,
        401,
        &anonymous.copy_in(IMAGE).await,
    )
    .await;
    let mark = app.mark().await;
    refused(
        "10: list tags without credential",
        app,
        mark,
        401,
        &anonymous.list_tags(IMAGE).await,
    )
    .await;
    let manifest = first.manifest(IMAGE).await;
    done("11: read the manifest", &manifest);
    if !matches!(tool, Tool::PodmanPassword | Tool::PodmanCertificate) {
        let digest = crate::harness::sha256(manifest.stdout.as_bytes());
        assert_eq!(
            digest,
            first.digest(),
            "11: the manifest is another: {}",
            manifest.stdout
        );
    }
    let tags = first.list_tags(IMAGE).await;
    assert!(
        tags.success && tags.stdout.contains("v1"),
        "the tags are {}{}",
        tags.stdout,
        tags.stderr
    );
    let mark = app.mark().await;
    refused(
        "12: copy as the second account",
        app,
        mark,
        403,
        &second.copy_in(IMAGE).await,
    )
    .await;
    let mark = app.mark().await;
    refused("13: its tag list", app, mark, 403, &second.list_tags(IMAGE).await).await;
    let mark = app.mark().await;
    refused("14: no token", app, mark, 401, &anonymous.manifest(IMAGE).await).await;
}

fn done(step: &str, outcome: &Outcome) {
    assert!(outcome.success, "{step}: {}{}", outcome.stdout, outcome.stderr);
}

/// The client failed because the registry answered `status`, and printed nothing about success.
async fn refused(step: &str, app: &TestApp, mark: usize, status: u16, outcome: &Outcome) {
    assert!(!outcome.success, "{step}: {}{}", outcome.stdout, outcome.stderr);
    app.log
        .wait(
            &format!("{step} is {status} (the client says {})", outcome.stderr),
            mark,
            |line| line["http.status"] == status,
        )
        .await;
    for line in app.log.since(mark) {
        let about_the_image = line["http.path"]
            .as_str()
            .is_some_and(|path| path.contains("e2e/"));
        assert!(
            !about_the_image || line["http.status"].as_u64() >= Some(400),
            "{step}: {line}"
        );
    }
}

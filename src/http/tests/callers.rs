//! Callers: challenges, rejections, the token endpoint, and the headers of every answer.

use super::*;
use crate::http::StorageStanding;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const CHALLENGE: &str = r#"Bearer realm="https://r.example:5000/v2/token",service="r.example""#;

#[tokio::test]
async fn the_base_is_401_for_anonymous_and_200_for_identified_callers() {
    let site = Site::new();
    let answer = site.get("/v2/").await;
    assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()));
    assert_eq!(answer.header("www-authenticate"), CHALLENGE);
    assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 1);
    let answer = site.get_as("nobody", "/v2/").await;
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "{}"));
    assert_eq!(answer.header("content-type"), "application/json");
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_the_api_version() {
    let site = Site::new();
    let mut ids = Vec::new();
    for path in ["/v2/", "/v2/open/a/tags/list", "/nothing", "/v2/A/tags/list"] {
        let answer = site.get(path).await;
        assert_eq!(
            answer.header("docker-distribution-api-version"),
            "registry/2.0",
            "{path}"
        );
        ids.push(answer.header("x-request-id").to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.iter().filter(|id| id.len() == 16).count(), 4);
}

#[tokio::test]
async fn a_bad_credential_is_401_with_invalid_token_even_where_anonymous_callers_may_pull() {
    let site = Site::new();
    let path = "/v2/open/a/manifests/v1";
    let stranger = Signer::new(Algorithm::ES256, "k1");
    let forged =
        stranger.token(&json!({"iss": ISSUER, "sub": "builder", "aud": "registry", "exp": NOW + 300}));
    let expired = site
        .signer
        .token(&json!({"iss": ISSUER, "sub": "builder", "aud": "registry", "exp": NOW - 300}));
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    for header in [
        format!("Bearer {forged}"),
        format!("Bearer {expired}"),
        "Bearer no-token".into(),
        basic("user:password"),
        "Digest no-token".into(),
    ] {
        let answer = site
            .send(
                ask(Method::GET, path).header("authorization", &header),
                Body::empty(),
            )
            .await;
        assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()), "{header}");
        let expected = format!(r#"{CHALLENGE},scope="repository:open/a:pull",error="invalid_token""#);
        assert_eq!(answer.header("www-authenticate"), expected);
        assert!(
            !answer.text().contains(header.split_once(' ').unwrap().1),
            "the credential is not repeated"
        );
    }
    let twice = bearer(
        bearer(ask(Method::GET, path), &site.token("builder")),
        &site.token("builder"),
    );
    assert_eq!(
        site.send(twice, Body::empty()).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_denial_is_403_without_a_challenge_and_401_with_one_for_anonymous_callers() {
    let site = Site::new();
    let answer = site.get_as("somebody", "/v2/team/a/tags/list").await;
    assert_eq!(answer.error(), (403, "DENIED".into()));
    assert_eq!(answer.header("www-authenticate"), "");
    let answer = site.get("/v2/team/a/tags/list").await;
    assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()));
    assert_eq!(
        answer.header("www-authenticate"),
        format!(r#"{CHALLENGE},scope="repository:team/a:pull""#)
    );
    let answer = site
        .send(ask(Method::POST, "/v2/public/a/blobs/uploads/"), Body::empty())
        .await;
    assert_eq!(
        answer.header("www-authenticate"),
        format!(r#"{CHALLENGE},scope="repository:public/a:pull,push""#)
    );
    assert_eq!(
        site.get_as("builder", "/v2/team/a/tags/list").await.error(),
        (404, "NAME_UNKNOWN".into())
    );
}

#[tokio::test]
async fn a_credential_that_cannot_be_checked_is_503_with_retry_after() {
    let site = Site::new();
    site.keys.publish(
        jwks::KeySet::default(),
        Timestamp::from_secs(NOW - 10),
        Timestamp::from_secs(NOW - 1),
    );
    let answer = site.get_as("builder", "/v2/").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(answer.header("www-authenticate"), "");
}

#[tokio::test]
async fn the_catalogue_shows_what_the_caller_may_read() {
    let site = Site::new();
    for repository in ["open/a", "open/b", "open/c"] {
        site.push_blob(repository, "x").await;
    }
    let request = bearer(
        ask(
            Method::POST,
            &format!("/v2/team/a/blobs/uploads/?digest={}", sha256("x")),
        ),
        &site.token("builder"),
    );
    assert_eq!(site.send(request, "x").await.status, StatusCode::CREATED);
    assert_eq!(
        site.get("/v2/_catalog").await.json(),
        json!({"repositories": ["open/a", "open/b", "open/c"]})
    );
    let all = site.get_as("builder", "/v2/_catalog").await.json();
    assert_eq!(
        all,
        json!({"repositories": ["open/a", "open/b", "open/c", "team/a"]})
    );
    let first = site.get("/v2/_catalog?n=2").await;
    assert_eq!(first.json(), json!({"repositories": ["open/a", "open/b"]}));
    assert_eq!(
        first.header("link"),
        "</v2/_catalog?last=open/b&n=2>; rel=\"next\""
    );
    let second = site.get("/v2/_catalog?last=open/b&n=2").await;
    assert_eq!(
        (second.json(), second.header("link")),
        (json!({"repositories": ["open/c"]}), "")
    );
}

#[tokio::test]
async fn the_catalogue_is_401_where_anonymous_callers_have_no_rights() {
    let site = Site::with(vec![(
        "**".into(),
        PatternRules {
            default: ALL.to_vec(),
            ..PatternRules::default()
        },
    )]);
    let answer = site.get("/v2/_catalog").await;
    assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()));
    assert_eq!(
        answer.header("www-authenticate"),
        format!(r#"{CHALLENGE},scope="registry:catalog:*""#)
    );
    assert_eq!(
        site.get_as("nobody", "/v2/_catalog").await.json(),
        json!({"repositories": []})
    );
}

#[tokio::test]
async fn without_a_challenge_a_401_has_none() {
    let site = Site::new();
    let quiet = Live {
        challenge: false,
        ..(*site.app.live.load_full()).clone()
    };
    site.app.live.store(Arc::new(quiet));
    let answer = site.get("/v2/").await;
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (StatusCode::UNAUTHORIZED, "")
    );
}

#[tokio::test]
async fn a_browsers_request_for_another_site_carries_no_ambient_credential() {
    for (header, value, ambient) in [
        ("sec-fetch-site", "cross-site", false),
        ("sec-fetch-site", "same-site", false),
        ("origin", "https://evil.example", false),
        ("sec-fetch-site", "same-origin", true),
        ("sec-fetch-site", "none", true),
        ("accept", "*/*", true),
    ] {
        let parts = ask(Method::GET, "/v2/")
            .header(header, value)
            .body(())
            .unwrap()
            .into_parts()
            .0;
        assert_eq!(
            super::super::caller::presented(&parts).ambient,
            ambient,
            "{header}: {value}"
        );
    }
}

#[tokio::test]
async fn health_needs_no_credential() {
    let site = Site::new();
    for path in ["/livez", "/readyz", "/startupz"] {
        let answer = site
            .send(bearer(ask(Method::GET, path), "bad"), Body::empty())
            .await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (StatusCode::OK, "ok"),
            "{path}"
        );
    }
    for (standing, status, text) in [
        (
            StorageStanding::Fails { folder: None },
            503,
            "not ready: the storage fails, and the log has the reason",
        ),
        (
            StorageStanding::Fails { folder: Some("d") },
            503,
            "not ready: the folder d of the store cannot be written to, and the log has the reason",
        ),
        (
            StorageStanding::Full,
            200,
            "ok, but the storage is full: pulls and deletions work, and pushes are refused",
        ),
        (StorageStanding::Works, 200, "ok"),
    ] {
        site.app.ready.storage(standing);
        let answer = site.get("/readyz").await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (status, text));
    }
    site.app.ready.serves(false);
    for (path, status) in [("/livez", 200), ("/readyz", 503), ("/startupz", 503)] {
        assert_eq!(site.get(path).await.status.as_u16(), status, "{path}");
    }
    let mut alone = super::super::health_router(site.app.clone());
    for (path, status) in [("/livez", 200), ("/readyz", 503), ("/v2/", 404)] {
        let request = ask(Method::GET, path).body(Body::empty()).unwrap();
        assert_eq!(
            alone.call(request).await.unwrap().status().as_u16(),
            status,
            "{path}"
        );
    }
}

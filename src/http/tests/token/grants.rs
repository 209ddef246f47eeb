//! The tokens of each grant, and the errors of wrong ones.

use super::*;

#[tokio::test]
async fn a_credential_is_exchanged_for_a_token_with_the_granted_part_of_the_scope() {
    let site = Site::new();
    let token = site.token("builder");
    for authorization in [format!("Bearer {token}"), basic("any", &token), basic("", &token)] {
        let query = "service=r.example&scope=repository:team/a:pull,push&scope=repository:secret/a:pull&scope=repository:public/a:*&account=any&client_id=docker";
        let answer = site.token_for(query, &authorization).await;
        let minted = access(&answer);
        let expected = json!({
            "token": minted, "access_token": minted, "token_type": "Bearer", "expires_in": 3595,
            "scope": "repository:public/a:pull,push,delete repository:team/a:pull,push",
        });
        assert_eq!(answer.json(), expected, "and no issued_at, no refresh_token");
        assert_eq!(
            (answer.header("cache-control"), answer.header("content-type")),
            ("no-store", "application/json")
        );
        assert_ne!(minted, token);
        let claims = claims(&minted);
        assert_eq!(
            (claims["iss"].as_str(), claims["aud"].as_str()),
            (Some("urn:wharfinger:0123"), Some("r.example"))
        );
        assert_eq!(
            (claims["exp"].as_i64(), claims["auth_time"].as_i64()),
            (Some(NOW + 3600), Some(NOW))
        );
        assert_eq!(
            site.with_token(Method::POST, UPLOADS, &minted).await.status,
            StatusCode::ACCEPTED
        );
    }
    assert_eq!(
        access(
            &site
                .send(bearer(ask(Method::GET, "/token"), &token), Body::empty())
                .await
        )
        .split('.')
        .count(),
        3,
        "the alias"
    );
}

#[tokio::test]
async fn a_login_without_a_scope_only_identifies_the_caller() {
    let site = Site::new();
    let minted = site.minted("").await;
    assert_eq!(
        site.with_token(Method::GET, "/v2/", &minted).await.status,
        StatusCode::OK
    );
    let answer = site.with_token(Method::GET, TAGS, &minted).await;
    assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()));
    let expected = r#"Bearer realm="https://r.example:5000/v2/token",service="r.example",scope="repository:team/a:pull",error="insufficient_scope""#;
    assert_eq!(answer.header("www-authenticate"), expected);
    assert_eq!(
        site.with_token(Method::GET, "/v2/_catalog", &minted)
            .await
            .error(),
        (401, "UNAUTHORIZED".into())
    );
    let lists = site.minted("registry:catalog:*").await;
    assert_eq!(
        site.with_token(Method::GET, "/v2/_catalog", &lists).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn outside_the_scope_is_401_if_another_token_would_help_and_else_403() {
    let site = Site::new();
    let minted = site.minted(PULL).await;
    assert_eq!(
        site.with_token(Method::GET, TAGS, &minted).await.error(),
        (404, "NAME_UNKNOWN".into())
    );
    let answer = site.with_token(Method::POST, UPLOADS, &minted).await;
    assert!(
        answer
            .header("www-authenticate")
            .ends_with(r#"scope="repository:team/a:pull,push",error="insufficient_scope""#)
    );
    assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()));
    let answer = site
        .with_token(Method::GET, "/v2/secret/a/tags/list", &minted)
        .await;
    assert_eq!(
        (answer.error(), answer.header("www-authenticate")),
        ((403, "DENIED".into()), "")
    );
}

#[tokio::test]
async fn a_mount_searches_only_repositories_in_the_scope() {
    let site = Site::new();
    let everything = site
        .minted("repository:team/a:pull,push%20repository:team/b:pull,push")
        .await;
    let digest = sha256("layer");
    let push = bearer(
        ask(
            Method::POST,
            &format!("/v2/team/b/blobs/uploads/?digest={digest}"),
        ),
        &everything,
    );
    assert_eq!(site.send(push, "layer").await.status, StatusCode::CREATED);
    let only_a = site.minted("repository:team/a:pull,push").await;
    for from in ["", "&from=team/b"] {
        let path = format!("{UPLOADS}?mount={digest}{from}");
        assert_eq!(
            site.with_token(Method::POST, &path, &only_a).await.status,
            StatusCode::ACCEPTED,
            "an upload, no mount {from}"
        );
        assert_eq!(
            site.with_token(Method::POST, &path, &everything).await.status,
            StatusCode::CREATED,
            "{from}"
        );
    }
}

#[tokio::test]
async fn anonymous_callers_get_tokens_only_for_public_content() {
    let site = Site::new();
    site.push_image("open/a", "v1", json!({})).await;
    for authorization in ["", "Basic Og=="] {
        let answer = site
            .token_for(
                "service=r.example&scope=repository:open/a:pull&scope=repository:team/a:pull",
                authorization,
            )
            .await;
        assert_eq!(
            (answer.status, &answer.json()["scope"]),
            (StatusCode::OK, &json!("repository:open/a:pull")),
            "{}",
            answer.text()
        );
        let minted = access(&answer);
        assert_eq!(claims(&minted)["sub"], "");
        assert_eq!(
            site.with_token(Method::GET, "/v2/open/a/manifests/v1", &minted)
                .await
                .status,
            StatusCode::OK
        );
        let answer = site.with_token(Method::GET, TAGS, &minted).await;
        assert!(
            answer.header("www-authenticate").contains("insufficient_scope"),
            "clients would present it for ever"
        );
        assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()));
        assert_eq!(
            outcome(
                &site
                    .token_for("scope=repository:team/a:pull", authorization)
                    .await
            ),
            (401, "UNAUTHORIZED".into(), "invalid_grant".into())
        );
    }
    let offline = site
        .token_for("scope=repository:open/a:pull&offline_token=true", "")
        .await;
    assert!(offline.json().get("refresh_token").is_none());
    let closed = Site::with(vec![(
        "**".into(),
        PatternRules {
            default: ALL.to_vec(),
            ..PatternRules::default()
        },
    )]);
    assert_eq!(
        outcome(&closed.token_for("", "").await),
        (401, "UNAUTHORIZED".into(), "invalid_grant".into())
    );
    assert!(
        closed
            .token_for("", "")
            .await
            .header("www-authenticate")
            .starts_with("Bearer realm=")
    );
}

#[tokio::test]
async fn every_grant_yields_a_token() {
    let site = Site::new();
    let token = site.token("builder");
    for form in [
        &[
            ("grant_type", "password"),
            ("username", "any"),
            ("password", &*token),
        ][..],
        &[
            ("grant_type", "refresh_token"),
            ("refresh_token", &token),
            ("client_id", "containerd-client"),
        ],
        &[
            ("grant_type", EXCHANGE),
            ("subject_token", &token),
            ("subject_token_type", JWT),
            ("connector_id", "ci"),
        ],
        &[
            ("grant_type", EXCHANGE),
            ("subject_token", &token),
            ("subject_token_type", JWT),
            ("audience", "r.example"),
        ],
        &[
            ("grant_type", EXCHANGE),
            ("subject_token", &token),
            ("subject_token_type", JWT),
            ("resource", "https://r.example:5000/v2/"),
        ],
    ] {
        let answer = site
            .post(&[form, &[("service", "r.example"), ("scope", PULL)]].concat())
            .await;
        let minted = access(&answer);
        assert_eq!(answer.json()["scope"], PULL);
        let exchanged = form[0].1 == EXCHANGE;
        assert_eq!(
            answer.json()["issued_token_type"].is_string(),
            exchanged,
            "{form:?}"
        );
        assert_eq!(site.with_token(Method::GET, TAGS, &minted).await.error().0, 404);
    }
}

#[tokio::test]
async fn every_wrong_grant_gets_an_error_in_both_vocabularies() {
    let site = Site::new();
    let token = site.token("builder");
    let expired = site
        .signer
        .token(&json!({"iss": ISSUER, "sub": "builder", "aud": "registry", "exp": NOW - 300}));
    let elsewhere = site
        .signer
        .token(&json!({"iss": ISSUER, "sub": "builder", "aud": "elsewhere", "exp": NOW + 300}));
    let stranger = site.signer.token(
        &json!({"iss": "https://stranger.example", "sub": "builder", "aud": "registry", "exp": NOW + 300}),
    );
    let forged = Signer::new(Algorithm::ES256, "k1")
        .token(&json!({"iss": ISSUER, "sub": "builder", "aud": "registry", "exp": NOW + 300}));
    let refresh = site
        .post(&[
            ("grant_type", "password"),
            ("password", &token),
            ("access_type", "offline"),
        ])
        .await;
    let refresh = refresh.json()["refresh_token"].as_str().unwrap().to_owned();
    let minted = site.minted(PULL).await;
    let bad_grant = (401, "UNAUTHORIZED".to_owned(), "invalid_grant".to_owned());
    for bad in [
        &*expired,
        &elsewhere,
        &stranger,
        &forged,
        "a.b.c",
        "x",
        "eyJ.e30.x",
    ] {
        for form in [
            &[("grant_type", "password"), ("username", "any"), ("password", bad)][..],
            &[("grant_type", "refresh_token"), ("refresh_token", bad)],
            &[
                ("grant_type", EXCHANGE),
                ("subject_token", bad),
                ("subject_token_type", JWT),
            ],
        ] {
            let answer = site.post(form).await;
            assert_eq!(outcome(&answer), bad_grant, "{form:?}");
            assert!(!answer.json()["error_description"].as_str().unwrap().is_empty());
            assert!(
                answer
                    .header("www-authenticate")
                    .contains(r#"error="invalid_token""#),
                "{form:?}"
            );
            assert!(
                !answer.text().contains(bad) || bad == "x",
                "the credential is not repeated"
            );
        }
    }
    // One kind of token is never accepted as another.
    for form in [
        &[("grant_type", "password"), ("password", &*refresh)][..],
        &[("grant_type", "refresh_token"), ("refresh_token", &minted)],
        &[
            ("grant_type", EXCHANGE),
            ("subject_token", &refresh),
            ("subject_token_type", JWT),
        ],
    ] {
        assert_eq!(outcome(&site.post(form).await), bad_grant, "{form:?}");
    }
    let bad_request = |error: &str| (400, "UNSUPPORTED".to_owned(), error.to_owned());
    let exchange = [
        ("grant_type", EXCHANGE),
        ("subject_token", &*token),
        ("subject_token_type", JWT),
    ];
    for (form, error) in [
        (&[][..], "invalid_request"),
        (
            &[("grant_type", "authorization_code"), ("code", "x")],
            "unsupported_grant_type",
        ),
        (&[("grant_type", "password")], "invalid_request"),
        (
            &[
                ("grant_type", "password"),
                ("password", &token),
                ("service", "other"),
            ],
            "invalid_request",
        ),
        (&[exchange[0], exchange[1]], "invalid_request"),
        (
            &[exchange[0], exchange[1], exchange[2], ("audience", "other")],
            "invalid_target",
        ),
        (
            &[
                exchange[0],
                exchange[1],
                exchange[2],
                ("resource", "https://r.example:50001/"),
            ],
            "invalid_target",
        ),
    ] {
        assert_eq!(outcome(&site.post(form).await), bad_request(error), "{form:?}");
    }
    let bad_client = (401, "UNAUTHORIZED".to_owned(), "invalid_client".to_owned());
    let assertion = (
        "client_assertion_type",
        "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
    );
    for form in [
        &[("grant_type", "client_credentials")][..],
        &[
            ("grant_type", "client_credentials"),
            assertion,
            ("client_assertion", &token),
        ],
        &[
            ("grant_type", "client_credentials"),
            assertion,
            ("client_assertion", &minted),
        ],
        &[
            ("grant_type", "client_credentials"),
            assertion,
            ("client_assertion", "x"),
        ],
        &[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "x"),
            ("client_assertion", &token),
        ],
    ] {
        assert_eq!(outcome(&site.post(form).await), bad_client, "{form:?}");
    }
    // The endpoint never sends the statuses on which clients give up.
    for (content_type, body) in [
        ("application/json", r#"{"grant_type":"password"}"#),
        ("text/plain", "grant_type"),
        ("", "\u{0}"),
    ] {
        let answer = site
            .send(
                ask(Method::POST, "/v2/token").header("content-type", content_type),
                body,
            )
            .await;
        assert_eq!(outcome(&answer), bad_request("invalid_request"), "{content_type}");
    }
    let large = site
        .send(
            ask(Method::POST, "/v2/token"),
            format!("grant_type=password&password={}", "x".repeat(200_000)),
        )
        .await;
    assert_eq!(outcome(&large), bad_request("invalid_request"));
    assert_eq!(
        outcome(&site.token_for("service=other", &format!("Bearer {token}")).await),
        bad_request("invalid_request")
    );
    assert_eq!(
        outcome(&site.token_for("", &format!("Bearer {expired}")).await),
        bad_grant
    );
    assert_eq!(
        outcome(&site.token_for("", &basic("user", "password")).await),
        bad_grant
    );
    assert_eq!(
        site.send(ask(Method::PUT, "/v2/token"), Body::empty())
            .await
            .status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn the_keys_are_published() {
    let site = Site::new();
    let answer = site.get("/v2/_wharfinger/jwks").await;
    assert_eq!(answer.json(), site.app.tokens.keys().published());
    let minted = site.minted(PULL).await;
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(minted.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!(header["kid"], answer.json()["keys"][0]["kid"]);
}

//! One of the registry's tokens never grants more than its credential would grant now.

use super::*;

#[tokio::test]
async fn a_grant_that_cannot_be_checked_is_503() {
    let site = Site::new();
    let token = site.token("builder");
    let minted = site.minted(PULL).await;
    site.keys.publish(
        jwks::KeySet::default(),
        Timestamp::from_secs(NOW - 10),
        Timestamp::from_secs(NOW - 1),
    );
    let answer = site
        .post(&[("grant_type", "password"), ("password", &token)])
        .await;
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("temporarily_unavailable"))
    );
    assert_eq!(
        site.with_token(Method::GET, TAGS, &minted).await.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "a minted token cannot be checked without its source either"
    );
}

#[tokio::test]
async fn a_token_is_never_widened() {
    let site = Site::new();
    let minted = site.minted(PULL).await;
    let wide = "scope=repository:team/a:pull,push,delete&scope=repository:team/b:pull&scope=registry:catalog:*&offline_token=true";
    let answer = site.token_for(wide, &format!("Bearer {minted}")).await;
    assert_eq!(answer.json()["scope"], PULL);
    let again = access(&answer);
    assert_eq!(
        site.with_token(Method::POST, UPLOADS, &again).await.error().0,
        401
    );
    assert_eq!(
        site.with_token(Method::GET, "/v2/_catalog", &again)
            .await
            .error()
            .0,
        401
    );
    // A refresh token does not widen it.
    let refresh = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    let answer = site
        .post(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &refresh),
            ("scope", "repository:team/a:* registry:catalog:*"),
        ])
        .await;
    assert_eq!(answer.json()["scope"], PULL);
    // A changed token is rejected.
    let parts: Vec<_> = minted.split('.').collect();
    let mut widened = claims(&minted);
    widened["access"][0]["actions"] = json!(["*"]);
    let widened = format!(
        "{}.{}.{}",
        parts[0],
        URL_SAFE_NO_PAD.encode(widened.to_string()),
        parts[2]
    );
    assert_eq!(site.with_token(Method::GET, TAGS, &widened).await.error().0, 401);
    let others = Signer::new(Algorithm::ES256, "k1").token_of(
        json!({"alg": "ES256", "kid": "k1", "typ": "wharfinger-access+jwt"}).to_string(),
        claims(&minted).to_string(),
    );
    assert_eq!(
        site.with_token(Method::GET, TAGS, &others).await.error().0,
        401,
        "signed with another key"
    );
}

#[tokio::test]
async fn a_token_may_outlive_its_credential_but_not_its_session() {
    let site = Site::new();
    let answer = site
        .token_for(
            &format!("scope={PULL}&offline_token=true"),
            &format!("Bearer {}", site.token("builder")),
        )
        .await;
    let first = access(&answer);
    let refresh = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    site.hand.advance(Duration::from_secs(3000));
    assert_eq!(
        site.with_token(Method::GET, TAGS, &first).await.error().0,
        404,
        "its source expired 45 minutes ago"
    );
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &*refresh),
        ("scope", PULL),
        ("access_type", "offline"),
    ];
    let answer = site.post(&form).await;
    assert_eq!(answer.json()["expires_in"], 595);
    let second = access(&answer);
    let refresh = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    let third = access(
        &site
            .token_for(&format!("scope={PULL}"), &format!("Bearer {second}"))
            .await,
    );
    site.hand.advance(Duration::from_secs(599));
    assert_eq!(site.with_token(Method::GET, TAGS, &third).await.error().0, 404);
    site.hand.advance(Duration::from_secs(1));
    for token in [&first, &second, &third] {
        let answer = site.with_token(Method::GET, TAGS, token).await;
        assert_eq!(answer.error().0, 401);
        assert!(answer.header("www-authenticate").contains("invalid_token"));
    }
    assert_eq!(
        outcome(&site.post(&[form[0], ("refresh_token", &refresh)]).await).2,
        "invalid_grant"
    );
}

#[tokio::test]
async fn a_shorter_session_lifetime_applies_to_issued_tokens() {
    let site = Site::new();
    let minted = site.minted(PULL).await;
    let issuer = || vec![site.issuer(Mapping::default())];
    site.authenticate_with(issuer(), vec![], &site.terms(600));
    assert_eq!(site.with_token(Method::GET, TAGS, &minted).await.error().0, 404);
    site.hand.advance(Duration::from_secs(600));
    assert_eq!(site.with_token(Method::GET, TAGS, &minted).await.error().0, 401);
    // With zero a token lives no longer than its credential of 300 seconds, and there are no refresh tokens.
    let site = Site::new();
    site.authenticate_with(vec![site.issuer(Mapping::default())], vec![], &site.terms(0));
    let answer = site
        .token_for(
            &format!("scope={PULL}&offline_token=true"),
            &format!("Bearer {}", site.token("builder")),
        )
        .await;
    assert_eq!(
        (&answer.json()["expires_in"], answer.json().get("refresh_token")),
        (&json!(295), None)
    );
    site.hand.advance(Duration::from_secs(299));
    assert_eq!(
        site.with_token(Method::GET, TAGS, &access(&answer))
            .await
            .error()
            .0,
        404
    );
    site.hand.advance(Duration::from_secs(1));
    assert_eq!(
        site.with_token(Method::GET, TAGS, &access(&answer))
            .await
            .error()
            .0,
        401
    );
    let late = site
        .token_for("", &format!("Bearer {}", site.token("builder")))
        .await;
    assert_eq!(
        outcome(&late),
        (401, "UNAUTHORIZED".into(), "invalid_grant".into()),
        "within the clock skew the credential is accepted, but yields no token"
    );
}

/// docker stores a refresh token instead of the credential, and would be logged out when the session ends.
#[tokio::test]
async fn a_refresh_token_does_not_expire_before_its_credential() {
    let site = Site::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("ann:{}\n", bcrypt::hash("one", 4).unwrap())).unwrap();
    let passwords = Arc::new(crate::identity::Htpasswd::open(file.path()).unwrap());
    let terms = site.terms(3600);
    site.change(|live| {
        let authenticator = Authenticator::new(vec![site.issuer(Mapping::default())], vec![], vec![]);
        let authenticator = authenticator.with_passwords(passwords, Duration::from_secs(1));
        live.authenticator = Arc::new(authenticator.with_minted(site.app.tokens.verification(&terms)));
    });
    let lasting = |seconds: i64| {
        site.signer
            .token(&json!({"iss": ISSUER, "sub": "builder", "aud": "registry", "exp": NOW + seconds}))
    };
    for (user, password, refreshed) in [
        ("ann", "one", false),
        ("any", &*lasting(300), true),
        ("any", &lasting(3599), true),
        ("any", &lasting(3600), false),
        ("any", &lasting(86_400), false),
    ] {
        let by_get = site.token_for("offline_token=true", &basic(user, password)).await;
        let form = [
            ("grant_type", "password"),
            ("username", user),
            ("password", password),
            ("access_type", "offline"),
        ];
        for answer in [by_get, site.post(&form).await] {
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            assert_eq!(
                answer.json().get("refresh_token").is_some(),
                refreshed,
                "{user}: {}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn a_token_is_for_one_service_of_one_store() {
    let site = Site::new();
    let minted = site.minted(PULL).await;
    let other = Terms {
        service: "other.example".into(),
        ..site.terms(3600)
    };
    site.authenticate_with(vec![site.issuer(Mapping::default())], vec![], &other);
    assert_eq!(
        site.with_token(Method::GET, TAGS, &minted).await.error().0,
        401,
        "another service"
    );
    site.authenticate_with(vec![site.issuer(Mapping::default())], vec![], &site.terms(3600));
    assert_eq!(site.with_token(Method::GET, TAGS, &minted).await.error().0, 404);
    let elsewhere = Site::new();
    assert_eq!(
        elsewhere.with_token(Method::GET, TAGS, &minted).await.error().0,
        401,
        "other keys"
    );
    let store = Tokens::new("4567", site.app.tokens.keys().clone());
    let authenticator = Authenticator::new(vec![site.issuer(Mapping::default())], vec![], vec![]);
    let authenticator = authenticator.with_minted(store.verification(&site.terms(3600)));
    site.change(|live| live.authenticator = Arc::new(authenticator));
    assert_eq!(
        site.with_token(Method::GET, TAGS, &minted).await.error().0,
        401,
        "the same keys for another store"
    );
}

#[tokio::test]
async fn a_refresh_token_is_not_accepted_as_a_credential() {
    let site = Site::new();
    let answer = site
        .token_for("offline_token=true", &format!("Bearer {}", site.token("builder")))
        .await;
    let refresh = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    for authorization in [format!("Bearer {refresh}"), basic("any", &refresh)] {
        for path in ["/v2/", TAGS, "/v2/token"] {
            let answer = site
                .send(
                    ask(Method::GET, path).header("authorization", &authorization),
                    Body::empty(),
                )
                .await;
            assert_eq!(answer.error().0, 401, "{path}");
        }
    }
    let access = access(&answer);
    for typ in ["JWT", "wharfinger-refresh+jwt", "wharfinger-event+jwt"] {
        let claims = claims(&access);
        let minted = site
            .app
            .tokens
            .keys()
            .sign_for_test(typ, &claims, Timestamp::from_secs(NOW));
        assert_eq!(
            site.with_token(Method::GET, "/v2/", &minted).await.error().0,
            401,
            "{typ}"
        );
    }
    let as_it_is = site.app.tokens.keys().sign_for_test(
        "wharfinger-access+jwt",
        &claims(&access),
        Timestamp::from_secs(NOW),
    );
    assert_eq!(
        site.with_token(Method::GET, "/v2/", &as_it_is).await.status,
        StatusCode::OK,
        "the unchanged claims are accepted"
    );
    let refreshing = site
        .post(&[("grant_type", "refresh_token"), ("refresh_token", &as_it_is)])
        .await;
    assert_eq!(
        outcome(&refreshing).2,
        "invalid_grant",
        "the cached result is not used for the refresh token"
    );
}

#[tokio::test]
async fn a_token_loses_the_rights_that_policy_removes() {
    let site = Site::new();
    let minted = site.minted("repository:team/a:pull,push").await;
    assert_eq!(
        site.with_token(Method::POST, UPLOADS, &minted).await.status,
        StatusCode::ACCEPTED
    );
    let reader = Grant {
        users: vec![format!("{ISSUER}/builder")],
        actions: vec![Action::Read],
        ..Grant::default()
    };
    let team = PatternRules {
        policies: vec![reader],
        ..PatternRules::default()
    };
    let policy = Policy::compile(Rules {
        repositories: vec![("team/**".into(), team)],
        ..Rules::default()
    })
    .unwrap();
    site.change(|live| live.policy = Arc::new(policy));
    assert_eq!(
        site.with_token(Method::POST, UPLOADS, &minted).await.error(),
        (403, "DENIED".into())
    );
    assert_eq!(
        site.with_token(Method::GET, TAGS, &minted).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_token_loses_its_rights_with_the_trust_in_its_source() {
    let site = Site::new();
    let pull = site.minted(PULL).await;
    let terms = site.terms(3600);
    let works = async || site.with_token(Method::GET, TAGS, &pull).await.error().0;
    let compile = |settings: MappingSettings| Mapping::compile(&settings).unwrap();
    assert_eq!(works().await, 404);
    let validation = vec![("claims.sub != 'builder'".to_owned(), "not builder".to_owned())];
    site.authenticate_with(
        vec![site.issuer(compile(MappingSettings {
            validations: validation,
            ..MappingSettings::default()
        }))],
        vec![],
        &terms,
    );
    assert_eq!(works().await, 401, "a validation that it does not pass");
    let username = Some("'renamed'".to_owned());
    site.authenticate_with(
        vec![site.issuer(compile(MappingSettings {
            username,
            ..MappingSettings::default()
        }))],
        vec![],
        &terms,
    );
    assert_eq!(works().await, 403, "a mapping that yields another username");
    let mut entry = site.issuer(Mapping::default());
    entry.rules.audiences = vec!["another".into()];
    site.authenticate_with(vec![entry], vec![], &terms);
    assert_eq!(works().await, 401, "an audience that is not accepted any more");
    site.authenticate_with(vec![], vec![], &terms);
    assert_eq!(works().await, 401, "an issuer that is not configured any more");
    site.authenticate_with(vec![site.issuer(Mapping::default())], vec![], &terms);
    assert_eq!(works().await, 404);
    let publish = |signer: &Signer| {
        let set = jwks::parse(&key_set(&[signer.jwk()]), UseRule::Oidc)
            .unwrap()
            .value;
        site.keys.publish(set, Timestamp::from_secs(NOW), Timestamp::MAX);
    };
    publish(&Signer::new(Algorithm::ES256, "k1"));
    assert_eq!(works().await, 401, "another key with the same kid");
    publish(&site.signer);
    assert_eq!(works().await, 404);
}

#[tokio::test]
async fn if_claims_make_a_token_too_large_the_credential_is_returned_instead() {
    let site = Site::new();
    let groups: Vec<_> = (0..400)
        .map(|n| format!("00000000-0000-0000-0000-{n:012}"))
        .collect();
    let token = site.signer.token(
        &json!({"iss": ISSUER, "sub": "builder", "aud": "registry", "exp": NOW + 300, "groups": groups}),
    );
    let answer = site
        .token_for(&format!("scope={PULL}"), &format!("Bearer {token}"))
        .await;
    assert_eq!(
        (access(&answer), &answer.json()["expires_in"]),
        (token.clone(), &json!(300))
    );
    let nested = format!(
        r#"{{"iss":"{ISSUER}","sub":"builder","aud":"registry","exp":{},"x":{}{}}}"#,
        NOW + 300,
        "[".repeat(15),
        "]".repeat(15)
    );
    let header = json!({"alg": "ES256", "kid": "k1"}).to_string();
    let nested = site.signer.token_of(&header, &nested);
    assert_eq!(
        access(&site.token_for("", &format!("Bearer {nested}")).await),
        nested,
        "its claims would be nested too deeply in a minted token"
    );
    let many: String = (0..120)
        .map(|n| format!("scope=repository:team/{}{n}:pull&", "x".repeat(100)))
        .collect();
    assert_eq!(
        outcome(
            &site
                .token_for(&many, &format!("Bearer {}", site.token("builder")))
                .await
        ),
        (400, "UNSUPPORTED".into(), "invalid_scope".into())
    );
}

#[tokio::test]
async fn a_push_outlives_its_credential_and_keeps_its_principal() {
    let site = Site::new();
    let minted = site.minted("repository:team/a:pull,push").await;
    let begun = site
        .with_token(Method::POST, UPLOADS, &site.token("builder"))
        .await;
    let location = begun.header("location").to_owned();
    site.hand.advance(Duration::from_secs(600));
    let patch = |token: &str, body: Body| site.send(bearer(ask(Method::PATCH, &location), token), body);
    assert_eq!(
        patch(&minted, Body::from("first ")).await.status,
        StatusCode::ACCEPTED,
        "the credential has expired, but the upload still belongs to its principal"
    );
    // A body that is being sent when the session ends is not cut off.
    let hand = site.hand.clone();
    let pieces = futures_util::stream::iter([
        Ok::<_, std::io::Error>(Bytes::from("second ")),
        Ok(Bytes::from("third")),
    ]);
    let pieces = futures_util::StreamExt::inspect(pieces, move |_| hand.advance(Duration::from_secs(2000)));
    let answer = patch(&minted, Body::from_stream(pieces)).await;
    assert_eq!(
        (answer.status, answer.header("range")),
        (StatusCode::ACCEPTED, "0-17")
    );
    assert_eq!(
        patch(&minted, Body::from("more")).await.error().0,
        401,
        "a new request needs a new session"
    );
    let exp = NOW + 100_000;
    let fresh = |subject: &str| {
        site.signer
            .token(&json!({"iss": ISSUER, "sub": subject, "aud": "registry", "exp": exp}))
    };
    let policy = Policy::everything_to_authenticated();
    site.change(|live| live.policy = Arc::new(policy));
    assert_eq!(
        patch(&fresh("somebody"), Body::from("x")).await.error(),
        (404, "BLOB_UPLOAD_UNKNOWN".into())
    );
    let end = format!("{location}?digest={}", sha256("first second third"));
    assert_eq!(
        site.with_token(Method::PUT, &end, &fresh("builder")).await.status,
        StatusCode::CREATED
    );
}

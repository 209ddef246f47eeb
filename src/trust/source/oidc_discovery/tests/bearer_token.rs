//! The bearer token that the registry sends to an issuer, and to no other origin.

use super::*;
use http::header::AUTHORIZATION;

#[tokio::test]
async fn the_bearer_token_goes_to_further_origins_that_are_configured() {
    let issuer = TestIssuer::start().await;
    let other = TestIssuer::start().await;
    issuer.answer(DOCUMENT, 200, document(&issuer.base, &other.url(KEYS)));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "token").unwrap();
    let bearer_token_origins = vec![other.base.clone()];
    let client = Client::of(OidcSettings {
        bearer_token_file: Some(file.path().into()),
        bearer_token_origins,
        ..settings(&issuer.base)
    });
    assert_eq!(client.fetched().await, Ok("k1".to_owned()));
    assert_eq!(other.heard(AUTHORIZATION), Some("Bearer token".to_owned()));
}

#[tokio::test]
async fn the_bearer_token_is_read_anew_and_goes_only_to_configured_origins() {
    let issuer = TestIssuer::start().await;
    let other = TestIssuer::start().await;
    issuer.answer(DOCUMENT, 200, document(&issuer.base, &other.url(KEYS)));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first\n").unwrap();
    let client = Client::of(OidcSettings {
        bearer_token_file: Some(file.path().into()),
        ..settings(&issuer.base)
    });
    assert_eq!(client.fetched().await, Ok("k1".to_owned()));
    assert_eq!(
        (issuer.heard(AUTHORIZATION), other.heard(AUTHORIZATION)),
        (Some("Bearer first".to_owned()), None)
    );

    std::fs::write(file.path(), "second").unwrap();
    let client = Client::of(OidcSettings {
        bearer_token_file: Some(file.path().into()),
        jwks_url: Some(other.url(KEYS)),
        ..settings(&issuer.base)
    });
    assert_eq!(client.fetched().await, Ok("k1".to_owned()));
    assert_eq!(other.heard(AUTHORIZATION), Some("Bearer second".to_owned()));

    std::fs::write(file.path(), "\n").unwrap();
    let client = Client::of(OidcSettings {
        bearer_token_file: Some(file.path().into()),
        ..settings(&issuer.base)
    });
    assert!(
        client
            .fetched()
            .await
            .unwrap_err()
            .contains("the bearer token file holds no token")
    );
}

#[tokio::test]
async fn a_rejected_fetch_says_whether_the_bearer_token_was_sent_and_which_setting_would_send_it() {
    // Like a Kubernetes API server: discovery by one name, and the key set at the advertise address, which is
    // another origin.
    let issuer = TestIssuer::start().await;
    let advertised = TestIssuer::start().await;
    issuer.answer(DOCUMENT, 200, document(&issuer.base, &advertised.url(KEYS)));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "token").unwrap();
    let with_token = OidcSettings {
        bearer_token_file: Some(file.path().into()),
        ..settings(&issuer.base)
    };
    for status in [401, 403] {
        advertised.answer(KEYS, status, vec![]);
        let why = Client::of(settings(&issuer.base)).fetched().await.unwrap_err();
        assert!(
            why.contains(&format!("found {status}"))
                && why.contains("no bearer token was sent")
                && why.contains("`bearerTokenFile`"),
            "{why}"
        );
        let why = Client::of(with_token.clone()).fetched().await.unwrap_err();
        assert!(
            why.contains(&format!("was not sent to {0}", advertised.base))
                && why.contains(&format!("add {} to `bearerTokenOrigins`", advertised.base)),
            "{why}"
        );
        let origins = vec![advertised.base.clone()];
        let why = Client::of(OidcSettings {
            bearer_token_origins: origins,
            ..with_token.clone()
        })
        .fetched()
        .await
        .unwrap_err();
        let sent = format!(
            "{} (`bearerTokenFile`) was sent to {}",
            file.path().display(),
            advertised.base
        );
        assert!(why.contains(&sent) && !why.contains("Origins"), "{why}");
    }
}

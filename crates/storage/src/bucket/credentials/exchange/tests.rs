//! Exchanges with a stand-in for STS.

use super::super::super::web_identity::TokenFetcher;
use super::*;
use bytes::Bytes;
use http::{Method, Response};
use std::path::PathBuf;
use std::sync::Mutex;
use wharfinger_testkit::{Ca, Site};

const TOKEN: &str = "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl";
const ROLE: &str = "arn:aws:iam::123456789012:role/registry";

fn identity(token: TokenSource) -> WebIdentity {
    WebIdentity {
        role: ROLE.to_owned(),
        session_name: None,
        sts_endpoint: None,
        token,
    }
}

fn fetched(token: &'static str) -> TokenSource {
    TokenSource::Fetched(TokenFetcher::new("the test", move || {
        Box::pin(async move { Ok(Secret::new(token)) })
    }))
}

fn plain() -> Tls {
    Tls {
        plain: true,
        ..Tls::default()
    }
}

fn sts(site: &Site, token: TokenSource) -> Sts {
    Sts::new(identity(token), &site.base, &plain()).unwrap()
}

fn success(expiration: &str) -> Response<Bytes> {
    let body = format!(
        r#"<?xml version="1.0"?>
        <AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
          <AssumeRoleWithWebIdentityResult>
            <Audience>sts</Audience>
            <AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/registry/wharfinger</Arn></AssumedRoleUser>
            <Credentials>
              <SessionToken>to&amp;ken==</SessionToken><SecretAccessKey>se/cret</SecretAccessKey>
              <Expiration>{expiration}</Expiration><AccessKeyId>ASIA1</AccessKeyId>
            </Credentials>
          </AssumeRoleWithWebIdentityResult>
          <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>
        </AssumeRoleWithWebIdentityResponse>"#
    );
    // The time of STS, which is not the time of this machine.
    Response::builder()
        .header(DATE, "Sat, 28 Nov 2026 12:00:00 GMT")
        .body(body.into())
        .unwrap()
}

fn error(status: u16, code: &str, message: &str) -> Response<Bytes> {
    let body = format!(
        r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
        <Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"#
    );
    Response::builder().status(status).body(body.into()).unwrap()
}

#[tokio::test]
async fn the_token_is_in_the_body_of_one_post_and_in_no_url() {
    let site = Site::plain().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    site.answer_all(move |asked| {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        noted
            .lock()
            .unwrap()
            .push((asked.head.method.clone(), asked.head.uri.to_string(), body));
        success("2026-11-28T13:00:00Z")
    });
    let session = sts(&site, fetched(TOKEN)).exchange().await.unwrap();
    assert_eq!(session.keys.key_id, "ASIA1");
    assert_eq!(session.keys.secret_key, "se/cret");
    assert_eq!(session.keys.token.as_deref(), Some("to&ken=="));
    assert_eq!(session.life, Duration::from_secs(3600), "by the time of STS");
    let seen = seen.lock().unwrap();
    let [(method, url, body)] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!((method, url.as_str()), (&Method::POST, "/"));
    let form: Vec<_> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    for (name, value) in [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", ROLE),
        ("RoleSessionName", "wharfinger"),
        ("WebIdentityToken", TOKEN),
    ] {
        assert!(form.contains(&(name.to_owned(), value.to_owned())), "{name}");
    }
}

#[tokio::test]
async fn the_file_of_the_token_is_read_at_each_exchange() {
    let site = Site::plain().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    site.answer_all(move |asked| {
        let form = form_urlencoded::parse(&asked.body);
        noted
            .lock()
            .unwrap()
            .extend(form.into_owned().filter(|(name, _)| name == "WebIdentityToken"));
        success("2026-11-28T13:00:00Z")
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    let sts = sts(&site, TokenSource::File(file.path().to_owned()));
    for token in ["first", "second"] {
        std::fs::write(file.path(), format!("{token}\n")).unwrap();
        sts.exchange().await.unwrap();
        assert_eq!(seen.lock().unwrap().pop().unwrap().1, token);
    }
    for unusable in ["", "two words"] {
        std::fs::write(file.path(), unusable).unwrap();
        let why = sts.exchange().await.unwrap_err().to_string();
        assert!(why.contains("expected one token"), "{why}");
        assert!(!why.contains("words"), "{why}");
    }
    std::fs::remove_file(file.path()).unwrap();
    let why = sts.exchange().await.unwrap_err().to_string();
    assert!(why.contains(file.path().to_str().unwrap()), "{why}");
}

#[tokio::test]
async fn an_error_of_sts_says_what_to_fix_and_never_shows_the_token() {
    let site = Site::plain().await;
    let sts = sts(&site, fetched(TOKEN));
    for (code, fix) in [
        ("InvalidIdentityToken", "audience"),
        ("ExpiredTokenException", "clocks"),
        ("AccessDenied", "trust policy"),
        ("IDPRejectedClaim", "audience"),
        ("IDPCommunicationError", "keys"),
        ("SomethingNew", "trust policy"),
    ] {
        site.answer_all(move |_| error(400, code, &format!("No: {TOKEN}\u{1b}[1m.")));
        let why = sts.exchange().await.unwrap_err();
        let text = why.to_string();
        assert!(text.contains(code) && text.contains("No: …[1m. "), "{text}");
        assert!(
            text.contains(fix) && text.contains(ROLE) && text.contains("the test"),
            "{text}"
        );
        for text in [text, format!("{why:?}"), format!("{sts:?}")] {
            assert!(!text.contains(TOKEN), "{text}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_of_sts_is_named() {
    let site = Site::plain().await;
    let sts = sts(&site, fetched(TOKEN));
    for (status, body) in [
        (200, "<html>Welcome</html>".to_owned()),
        (404, "not found".to_owned()),
        (200, "x".repeat(LARGEST + 1)),
    ] {
        site.answer_all(move |_| {
            Response::builder()
                .status(status)
                .body(body.clone().into())
                .unwrap()
        });
        let why = sts.exchange().await.unwrap_err();
        let endpoint = format!("{}/", site.base);
        assert_eq!(why, ExchangeError::NotSts { endpoint, status });
    }
    site.answer_all(|_| success("2026-11-28T11:59:59Z"));
    let why = sts.exchange().await.unwrap_err().to_string();
    assert!(
        why.contains("2026-11-28T11:59:59Z") && why.contains("clock"),
        "{why}"
    );
}

#[tokio::test]
async fn an_sts_that_cannot_be_reached_is_named() {
    let site = Site::plain().await;
    site.set_unreachable(true);
    let why = sts(&site, fetched(TOKEN))
        .exchange()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        why.contains(&site.base) && why.contains("cannot be reached"),
        "{why}"
    );
}

#[tokio::test]
async fn the_token_follows_no_redirect() {
    let other = Site::plain().await;
    other.answer_all(|_| success("2026-11-28T13:00:00Z"));
    let site = Site::plain().await;
    let to = other.base.clone();
    site.answer_all(move |_| {
        let answer = Response::builder().status(307).header("location", &to);
        answer.body(Bytes::new()).unwrap()
    });
    let why = sts(&site, fetched(TOKEN)).exchange().await.unwrap_err();
    assert!(matches!(why, ExchangeError::NotSts { status: 307, .. }), "{why}");
    assert_eq!(other.seen(), 0);
}

#[tokio::test]
async fn the_certificate_is_verified_with_the_authorities_of_the_bucket() {
    let ca = Ca::new("private");
    let site = Site::tls(&ca.der_server()).await;
    site.answer_all(|_| success("2026-11-28T13:00:00Z"));
    let endpoint = format!("https://{}", site.address);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &ca.pem).unwrap();
    let private = Tls {
        authorities: Some(file.path().to_owned()),
        ..Tls::default()
    };
    let sts = |tls: &Tls| Sts::new(identity(fetched(TOKEN)), &endpoint, tls).unwrap();
    sts(&private).exchange().await.unwrap();
    let why = sts(&Tls::default()).exchange().await.unwrap_err().to_string();
    assert!(why.contains("certificate"), "{why}");
}

#[test]
fn what_can_never_work_is_refused_at_the_start() {
    let tls = Tls::default();
    for endpoint in [
        "http://sts.example.org",
        "https://user:password@sts.example.org",
        "https://sts.example.org?x=1",
        "sts.example.org",
        "",
    ] {
        let why = Sts::new(identity(fetched(TOKEN)), endpoint, &tls)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(why, StsSetupError::Endpoint, "{endpoint}");
        assert!(!why.to_string().contains("password"), "{why}");
    }
    let set = |change: fn(&mut WebIdentity)| {
        let mut identity = identity(fetched(TOKEN));
        change(&mut identity);
        Sts::new(identity, "https://sts.example.org", &tls)
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(
        set(|identity| identity.role = String::new()),
        StsSetupError::NoRole
    );
    let why = set(|identity| identity.session_name = Some("two words".to_owned()));
    assert_eq!(why, StsSetupError::SessionName("two words".to_owned()));
    let nowhere = Tls {
        authorities: Some(PathBuf::from("/nowhere/ca.pem")),
        ..Tls::default()
    };
    let why = Sts::new(identity(fetched(TOKEN)), "https://sts.example.org", &nowhere);
    assert!(
        why.map(|_| ())
            .unwrap_err()
            .to_string()
            .contains("/nowhere/ca.pem")
    );
}

//! Tests of a registry's answers and what they mean for clients.

use super::*;
use crate::login_check::line::Verdict::{self, Bad, Good, Note};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

fn answer(status: u16, challenges: &[&str], body: &Value) -> Answer {
    let mut headers = HeaderMap::new();
    for challenge in challenges {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(challenge).unwrap());
    }
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: body.to_string().into_bytes(),
    }
}

fn pinged(status: u16, challenges: &[&str]) -> (bool, Verdict, String) {
    let (challenge, lines) = ping(
        &answer(status, challenges, &json!({})),
        &Url::parse("https://r.example").unwrap(),
    );
    (challenge.is_some(), lines[0].verdict, lines[0].to_string())
}

#[test]
fn the_first_answer_must_be_401_with_one_bearer_challenge_on_the_same_host() {
    let good = r#"Bearer realm="https://r.example/v2/token",service="r""#;
    for (status, challenges, followed, verdict, said) in [
        (401, &[good][..], true, Good, "401 with one Bearer challenge"),
        (200, &[][..], false, Bad, "never present their credential"),
        (401, &[][..], false, Bad, "without WWW-Authenticate"),
        (
            401,
            &["Basic realm=\"r\""][..],
            false,
            Bad,
            "the scheme is not Bearer",
        ),
        (
            401,
            &["Bearer realm=\"zot\",service=\"r\""][..],
            false,
            Bad,
            "not an absolute URL",
        ),
        (
            401,
            &[good, "Basic realm=\"r\""][..],
            true,
            Bad,
            "401 with 2 challenges",
        ),
        (
            401,
            &[r#"Basic realm="r", Bearer realm="https://r.example/v2/token",service="r""#][..],
            true,
            Bad,
            "401 with 2 challenges",
        ),
        (
            401,
            &[r#"Bearer realm="http://r.example/v2/token",service="r""#][..],
            true,
            Bad,
            "from https to http",
        ),
        (
            401,
            &[r#"Bearer realm="https://pod-1:8080/v2/token",service="r""#][..],
            true,
            Bad,
            "http.externalURL",
        ),
        (302, &[][..], false, Bad, "a redirect"),
        (403, &[][..], false, Bad, "403"),
    ] {
        let (follows, found, text) = pinged(status, challenges);
        assert_eq!((follows, found), (followed, verdict), "{text}");
        assert!(text.contains(said), "expected {said} in {text}");
    }
}

#[test]
fn a_credential_is_not_sent_to_another_origin() {
    for (asked, realm, sent) in [
        ("https://r.example", "https://r.example/v2/token", true),
        ("https://r.example:5000", "https://r.example/token", false),
        ("http://r.example", "https://r.example/token", false),
        ("https://r.example:5000", "https://r.example:5000/token", true),
        ("https://r.example", "https://r.example:443/token", true),
        ("http://r.example", "http://r.example/token", true),
        ("https://r.example", "http://r.example/v2/token", false),
        ("https://r.example", "https://evil.example/v2/token", false),
        (
            "https://r.example",
            "https://r.example.evil.example/v2/token",
            false,
        ),
        ("http://r.example", "http://evil.example/v2/token", false),
    ] {
        let challenge = Challenge::parse(&format!("Bearer realm=\"{realm}\"")).unwrap();
        assert_eq!(
            challenge.distrusted_by(&Url::parse(asked).unwrap()).is_none(),
            sent,
            "{asked} {realm}"
        );
    }
}

#[test]
fn the_registrys_text_cannot_control_the_terminal() {
    let refusal = json!({"errors": [{"message": "no\u{1b}[2J\nok    all is well"}]});
    let text = issued(PASSWORD, &Ok(answer(401, &[], &refusal)))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("no\\u{1b}[2J\\nok") && !text.contains('\u{1b}'),
        "{text}"
    );
}

#[test]
fn a_token_endpoint_must_give_a_token_that_lives_a_minute() {
    let body = json!({"token": "secret-token", "expires_in": 300});
    assert_eq!(
        issued(PASSWORD, &Ok(answer(200, &[], &body))).unwrap().expose(),
        "secret-token"
    );
    let access = json!({"access_token": "t"});
    assert!(issued(PASSWORD, &Ok(answer(200, &[], &access))).is_ok());
    let refusal = json!({"errors": [{"message": "no (request 1)"}]});
    for (grant, status, body, verdict, said) in [
        (PASSWORD, 404, json!({}), Note, "clients continue with GET"),
        (IDENTITY_TOKEN, 404, json!({}), Note, "not offered here"),
        (PASSWORD, 403, json!({}), Bad, "give up"),
        (PASSWORD, 401, refusal.clone(), Bad, "no (request 1)"),
        (
            IDENTITY_TOKEN,
            400,
            json!({"error_description": "bad grant"}),
            Bad,
            "bad grant",
        ),
        (
            GET_WITH_PASSWORD,
            200,
            json!({"token": "secret-token", "expires_in": 30}),
            Bad,
            "30 s",
        ),
        (
            GET_WITH_PASSWORD,
            200,
            json!({"token": ""}),
            Bad,
            "without a token",
        ),
    ] {
        let line = issued(grant, &Ok(answer(status, &[], &body))).unwrap_err();
        assert_eq!(line.verdict, verdict, "{line}");
        let text = line.to_string();
        assert!(text.contains(said) && !text.contains("secret-token"), "{text}");
    }
}

#[test]
fn an_issued_token_is_good_if_the_registry_accepts_it() {
    assert_eq!(used(PASSWORD, &Ok(answer(200, &[], &json!({})))).verdict, Good);
    assert_eq!(used(PASSWORD, &Ok(answer(401, &[], &json!({})))).verdict, Bad);
    assert_eq!(used(PASSWORD, &Err(Unanswered("gone".into()))).verdict, Bad);
}

#[test]
fn reading_a_repository_is_judged_by_its_status() {
    let name: RepositoryName = "team/app".parse().unwrap();
    for (status, verdict) in [(200, Good), (404, Good), (403, Bad), (401, Bad)] {
        assert_eq!(
            readable(&name, &Ok(answer(status, &[], &json!({})))).verdict,
            verdict,
            "{status}"
        );
    }
    for (status, said) in [(200, "public"), (401, "not public")] {
        assert!(
            public(&name, &Ok(answer(status, &[], &json!({}))))
                .found
                .contains(said)
        );
    }
    for (token, direct, verdict) in [
        (200, 200, Good),
        (401, 401, Note),
        (401, 200, Bad),
        (403, 401, Bad),
    ] {
        let answered = |status| Ok(answer(status, &[], &json!({})));
        assert_eq!(
            anonymous(&answered(token), &answered(direct)).verdict,
            verdict,
            "{token} {direct}"
        );
    }
    let identity =
        json!({"username": "u", "credential": "oidc", "groups": ["g"], "validUntil": "2026-01-01T00:00:00Z"});
    assert_eq!(
        whoami(&Ok(answer(200, &[], &identity))).found,
        r#"u (oidc), groups ["g"], until 2026-01-01T00:00:00Z"#
    );
    assert_eq!(whoami(&Ok(answer(404, &[], &json!({})))).verdict, Note);
}

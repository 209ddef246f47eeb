//! Pushes and pulls against a registry that answers by a script, and what the connection shows of odd answers.

use super::*;
use crate::secret::Secret;
use crate::trust::tls::Authorities;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// An answer of the script: the status, the `Location`, and the body.
type Scripted = (u16, String, &'static str);

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Scripted>>>,
    /// Each request with its body, and whether it had a credential.
    asked: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Script {
    fn of(answers: impl IntoIterator<Item = Scripted>) -> Self {
        let script = Self::default();
        script.answers.lock().unwrap().extend(answers);
        script
    }

    /// Serves until the test ends. Returns the base address.
    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let script = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = script.clone();
                let service = service_fn(move |request| script.clone().answer(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        base
    }

    async fn answer(
        self,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let line = format!("{} {} {}", head.method, head.uri, body.escape_ascii());
        let authorized = head.headers.contains_key("authorization");
        self.asked.lock().unwrap().push((line, authorized));
        let (status, location, body) = self.answers.lock().unwrap().pop_front().unwrap();
        let mut answer = http::Response::builder().status(status);
        if !location.is_empty() {
            answer = answer.header("location", location);
        }
        Ok(answer.body(Full::from(body)).unwrap())
    }

    fn lines(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(line, _)| line.trim_end().to_owned()).collect()
    }
}

fn answer(status: u16, location: &str) -> Scripted {
    (status, location.to_owned(), "")
}

fn connect(base: &str) -> Connection {
    let authorities = Authorities {
        pem: None,
        named: "",
        fix: "",
    };
    Connection::new(base, &authorities, None, Duration::from_secs(60)).unwrap()
}

fn registry(base: &str) -> Registry {
    let token = Authorization::Bearer(Secret::new("token"));
    Registry::new(connect(base), Some(token))
}

async fn push(base: &str) -> Result<(), ClientError> {
    let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    registry(base)
        .push_blob(&"team/app".parse().unwrap(), &digest, b"bytes".to_vec())
        .await
}

#[tokio::test]
async fn a_missing_blob_is_pushed_where_each_answer_says_and_a_known_one_is_not() {
    let script = Script::of([
        answer(404, ""),
        answer(202, "/v2/team/app/blobs/uploads/1?state=x"),
        answer(202, "2?state=y"),
        answer(201, ""),
    ]);
    push(&script.serve().await).await.unwrap();
    let blob = format!("/v2/team/app/blobs/sha256:{}", "a".repeat(64));
    let digest = format!("digest=sha256%3A{}", "a".repeat(64));
    assert_eq!(
        script.lines(),
        [
            format!("HEAD {blob}"),
            "POST /v2/team/app/blobs/uploads/".to_owned(),
            "PATCH /v2/team/app/blobs/uploads/1?state=x bytes".to_owned(),
            format!("PUT /v2/team/app/blobs/uploads/2?state=y&{digest}"),
        ]
    );
    assert!(
        script
            .asked
            .lock()
            .unwrap()
            .iter()
            .all(|(_, authorized)| *authorized)
    );
    let script = Script::of([answer(200, "")]);
    push(&script.serve().await).await.unwrap();
    assert_eq!(script.lines(), [format!("HEAD {blob}")]);
}

#[tokio::test]
async fn a_credential_is_not_sent_to_an_upload_on_another_host() {
    let elsewhere = Script::of([answer(202, "/next"), answer(201, "")]);
    let session = format!("{}/session", elsewhere.serve().await);
    let script = Script::of([answer(404, ""), answer(202, &session)]);
    push(&script.serve().await).await.unwrap();
    let asked = elsewhere.asked.lock().unwrap().clone();
    assert_eq!(asked[0], ("PATCH /session bytes".to_owned(), false));
    assert!(!asked[1].1);
}

#[tokio::test]
async fn a_failed_push_names_the_step_and_what_the_registry_said() {
    let denied = r#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#;
    for (answers, said) in [
        (
            vec![answer(404, ""), (403, String::new(), denied)],
            "start an upload: the registry answered 403: not yours",
        ),
        (
            vec![answer(404, ""), (502, String::new(), "<html>proxy</html>")],
            "start an upload: the registry answered 502",
        ),
        (
            vec![answer(404, ""), answer(202, "")],
            "start an upload: the registry's answer has no valid Location header for the upload",
        ),
        (
            vec![answer(404, ""), answer(202, "1"), answer(416, "")],
            "upload a blob: the registry answered 416",
        ),
        (
            vec![answer(500, "")],
            "look for a blob: the registry answered 500",
        ),
    ] {
        let script = Script::of(answers);
        let why = push(&script.serve().await).await.unwrap_err();
        assert_eq!(why.to_string(), said);
    }
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let why = push(&gone).await.unwrap_err();
    assert!(
        why.to_string()
            .starts_with("look for a blob: cannot reach the registry: "),
        "{why}"
    );
}

#[tokio::test]
async fn an_answer_is_shown_as_it_is_and_a_long_one_is_not_read_to_its_end() {
    let script = Script::of([
        answer(302, "https://elsewhere.test/"),
        (200, String::new(), "123456"),
    ]);
    let connection = connect(&script.serve().await);
    let redirect = connection
        .send(Request::get(connection.url("/v2/")), 9)
        .await
        .unwrap();
    assert_eq!(
        (redirect.status, redirect.headers["location"].as_bytes()),
        (StatusCode::FOUND, &b"https://elsewhere.test/"[..])
    );
    let repository = "team/app".parse().unwrap();
    let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let long = Registry::new(connection, None)
        .blob(&repository, &digest, 5)
        .await;
    assert_eq!(
        long.map(drop),
        Err(ClientError::TooLarge {
            step: "pull a blob",
            largest: 5
        })
    );
}

#[test]
fn a_token_and_its_lifetime_are_read_by_both_of_its_names() {
    let read = |body: &str| {
        let issued = IssuedToken::read(&Answer {
            body: body.into(),
            ..Answer::default()
        });
        issued.map(|issued| (issued.token.expose().to_owned(), issued.expires_in))
    };
    let token = || "t".to_owned();
    assert_eq!(
        read(r#"{"token":"t","expires_in":60}"#),
        Some((token(), Some(60)))
    );
    assert_eq!(read(r#"{"access_token":"t"}"#), Some((token(), None)));
    for none in ["", "<html>", "{}", r#"{"token":""}"#, r#"{"token":1}"#] {
        assert_eq!(read(none), None, "{none}");
    }
}

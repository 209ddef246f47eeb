//! Pushes and pulls against a scripted registry, and how the connection reports unusual answers.

use super::*;
use crate::oci::ManifestType;
use crate::secret::Secret;
use crate::trust::tls::Authorities;
use http::{HeaderValue, StatusCode, header};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use wharfinger_testkit::{Ca, Site};

/// One scripted answer: the status, the `Location`, and the body.
type Scripted = (u16, String, &'static str);

#[derive(Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Scripted>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    sites: Mutex<Vec<Site>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    /// The request with its body.
    line: String,
    accept: Option<String>,
    authorized: bool,
    /// Whether the connection had a client certificate.
    certified: bool,
}

impl Script {
    fn of(answers: impl IntoIterator<Item = Scripted>) -> Self {
        let script = Self::default();
        script.answers.lock().unwrap().extend(answers);
        script
    }

    /// Serves until the script is dropped. Returns the base address.
    async fn serve(&self) -> String {
        let site = Site::plain().await;
        let base = format!("http://{}", site.address);
        self.perform_at(site);
        base
    }

    /// Like `serve`, over TLS. Asks clients for a certificate of the same authority, and also accepts clients
    /// without one.
    async fn serve_tls(&self, ca: &Ca) -> String {
        let site = Site::tls_for_clients_of(ca, &ca.der_server()).await;
        let base = format!("https://{}", site.address);
        self.perform_at(site);
        base
    }

    fn perform_at(&self, site: Site) {
        let answers = self.answers.clone();
        let asked = self.asked.clone();
        site.answer_all(move |request| {
            asked.lock().unwrap().push(Asked::of(request));
            let (status, location, body) = answers.lock().unwrap().pop_front().unwrap();
            let mut answer = http::Response::builder().status(status);
            if !location.is_empty() {
                answer = answer.header("location", location);
            }
            answer.body(body.into()).unwrap()
        });
        self.sites.lock().unwrap().push(site);
    }

    fn lines(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .map(|asked| asked.line.trim_end().to_owned())
            .collect()
    }
}

impl Asked {
    fn of(request: &wharfinger_testkit::Asked) -> Self {
        let head = &request.head;
        let line = format!("{} {} {}", head.method, head.uri, request.body.escape_ascii());
        let accept = head.headers.get("accept");
        Self {
            line,
            accept: accept.map(|accept| accept.to_str().unwrap().to_owned()),
            authorized: head.headers.contains_key("authorization"),
            certified: request.certified,
        }
    }
}

fn answer(status: u16, location: &str) -> Scripted {
    (status, location.to_owned(), "")
}

/// A registry whose client presents a certificate and a token.
fn certified(base: &str, ca: &Ca) -> Registry {
    let authorities = Authorities {
        pem: Some(ca.pem.as_bytes()),
        named: "the test's authority",
        fix: "",
    };
    let client = ca.client("pusher");
    let pair = [client.certificate, client.key].concat();
    let connection = Connection::new(base, &authorities, Some(pair.as_bytes()), Duration::from_secs(60));
    let token = Authorization::Bearer(Secret::new("token"));
    Registry::new(connection.unwrap(), Some(token))
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
    push_to(&registry(base)).await
}

async fn push_to(registry: &Registry) -> Result<(), ClientError> {
    let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    registry
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
    assert!(script.asked.lock().unwrap().iter().all(|asked| asked.authorized));
    let script = Script::of([answer(200, "")]);
    push(&script.serve().await).await.unwrap();
    assert_eq!(script.lines(), [format!("HEAD {blob}")]);
}

/// Which requests had a credential, and which a certificate.
fn presented(script: &Script) -> Vec<(bool, bool)> {
    let asked = script.asked.lock().unwrap();
    asked
        .iter()
        .map(|asked| (asked.authorized, asked.certified))
        .collect()
}

#[tokio::test]
async fn neither_credential_nor_certificate_is_presented_to_another_origin() {
    let ca = Ca::new("authority");
    let elsewhere = Script::of([answer(202, "/next"), answer(201, "")]);
    let session = format!("{}/session", elsewhere.serve_tls(&ca).await);
    let script = Script::of([answer(404, ""), answer(202, &session)]);
    let registry = certified(&script.serve_tls(&ca).await, &ca);
    push_to(&registry).await.unwrap();
    assert_eq!(presented(&script), [(true, true); 2]);
    assert_eq!(elsewhere.lines()[0], "PATCH /session bytes");
    assert_eq!(presented(&elsewhere), [(false, false); 2]);
}

#[tokio::test]
async fn an_https_registry_cannot_lead_to_an_address_in_clear_text() {
    let ca = Ca::new("authority");
    let elsewhere = Script::default();
    let clear = elsewhere.serve().await;
    let script = Script::of([answer(404, ""), answer(202, &format!("{clear}/session"))]);
    let registry = certified(&script.serve_tls(&ca).await, &ca);
    let why = push_to(&registry).await.unwrap_err().to_string();
    assert_eq!(
        why,
        format!(
            "upload a blob: cannot reach the registry: not sent to {clear}: it is not https, so anyone on the network path could read it"
        )
    );
    assert!(elsewhere.lines().is_empty());
}

#[tokio::test]
async fn a_manifest_is_requested_in_every_accepted_type() {
    let script = Script::of([answer(200, "")]);
    let registry = registry(&script.serve().await);
    let name = "team/app".parse().unwrap();
    registry.manifest(&name, &"v1".parse().unwrap()).await.unwrap();
    let accept = script.asked.lock().unwrap()[0].accept.clone().unwrap();
    for kind in ManifestType::ALL {
        assert!(accept.split(", ").any(|one| one == kind.as_str()), "{accept}");
    }
}

#[tokio::test]
async fn the_message_of_an_error_is_shown_escaped_even_if_it_is_longer_than_the_blob() {
    let denied = r#"{"errors":[{"code":"DENIED","message":"not \u001b[2J yours"}]}"#;
    let script = Script::of([(403, String::new(), denied)]);
    let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let registry = registry(&script.serve().await);
    let why = registry.blob(&"team/app".parse().unwrap(), &digest, 1).await;
    assert_eq!(
        why.unwrap_err().to_string(),
        r"pull a blob: the registry answered 403: not \u{1b}[2J yours"
    );
}

#[test]
fn requests_and_answers_never_print_what_they_hold() {
    let challenge = Challenge::parse(r#"Bearer realm="https://r.example/token""#).unwrap();
    let hidden = "hidden";
    let answer = Answer {
        headers: [(header::LOCATION, HeaderValue::from_static(hidden))]
            .into_iter()
            .collect(),
        body: hidden.into(),
        ..Answer::default()
    };
    let form = challenge.post_token("password", &[("password", hidden)]);
    let get = challenge.get_token(&[("state", hidden)]);
    for shown in [
        format!("{:?}", form.basic("user", &Secret::new(hidden))),
        format!("{:?}", get.bearer(&Secret::new(hidden))),
        format!("{answer:?}"),
    ] {
        assert!(!shown.contains(hidden), "{shown}");
        // The body would also be readable as a list of numbers.
        assert!(!shown.contains("104, 105"), "{shown}");
    }
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

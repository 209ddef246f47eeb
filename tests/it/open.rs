//! Registries without a login, like most files of zot's users: open on loopback or if the operator says so,
//! and never by accident.

use crate::harness::{PATIENCE, Setup, output, sha256};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::path::Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A configuration without a login and without rules.
fn bare(address: &str) -> Setup {
    let mut setup = Setup::plain();
    setup.config.as_object_mut().unwrap().remove("accessControl");
    setup.config["http"]["address"] = address.into();
    setup
}

/// The status of a request with this header, sent as it is.
async fn ask(to: std::net::SocketAddr, path: &str, header: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\n{header}\r\nconnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    answer
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_do_everything_and_credentials_are_ignored() {
    let app = bare("127.0.0.1").start().await;
    let open = |line: &Value| {
        line["level"] == "WARN"
            && line["message"]
                .as_str()
                .is_some_and(|text| text.contains("THIS REGISTRY IS OPEN"))
    };
    app.log.wait("the registry is open", 0, open).await;
    let digest = sha256(b"blob");
    for (n, credential) in ["", "Basic b2xkOnBhc3N3b3Jk", "Bearer gone", "Digest x", "Basic !"]
        .into_iter()
        .enumerate()
    {
        let client = app.anonymous();
        let client = if credential.is_empty() {
            client
        } else {
            client.header("authorization", credential)
        };
        assert_eq!(client.get("/v2/").await.status, StatusCode::OK, "{credential:?}");
        let pushed = client
            .header("content-type", "application/octet-stream")
            .send(
                Method::POST,
                &format!("/v2/a{n}/blobs/uploads/?digest={digest}"),
                "blob",
            )
            .await;
        assert_eq!(
            pushed.status,
            StatusCode::CREATED,
            "{credential:?} {}",
            pushed.text()
        );
    }
    assert_eq!(
        app.anonymous().get("/v2/_catalog").await.json()["repositories"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
    assert_eq!(app.anonymous().get("/metrics").await.status, StatusCode::OK);
    assert_eq!(
        app.anonymous()
            .send(Method::DELETE, &format!("/v2/a0/blobs/{digest}"), "")
            .await
            .status,
        StatusCode::ACCEPTED
    );
    let twice = app
        .anonymous()
        .header("authorization", "Bearer a")
        .header("authorization", "Bearer b");
    assert_eq!(twice.get("/v2/").await.status, StatusCode::OK);
    let token = app
        .anonymous()
        .header("authorization", "Basic b2xkOnBhc3N3b3Jk")
        .get("/zot/auth/token?scope=repository:a1:pull,push")
        .await;
    assert_eq!(token.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_only_names_of_loopback_are_answered() {
    let app = bare("127.0.0.1").start().await;
    let port = app.address.port();
    for (host, expected) in [
        ("localhost".to_owned(), 200),
        (format!("localhost:{port}"), 200),
        (format!("127.0.0.1:{port}"), 200),
        (format!("[::1]:{port}"), 200),
        ("evil.example".to_owned(), 421),
        (format!("evil.example:{port}"), 421),
        ("localhost.evil.example".to_owned(), 421),
    ] {
        for path in ["/v2/", "/v2/_catalog", "/metrics", "/v2/token", "/v2/a/tags/list"] {
            let answer = ask(app.address, path, &format!("host: {host}")).await;
            assert_eq!(status(&answer) == 421, expected == 421, "{host} {path}: {answer}");
        }
    }
    let rebound = ask(app.address, "/v2/_catalog", "host: evil.example").await;
    assert!(
        rebound.contains("answers only to loopback names") && !rebound.contains("repositories"),
        "{rebound}"
    );
    for header in [
        "origin: http://evil.example",
        "sec-fetch-site: cross-site",
        "x-forwarded-for: 203.0.113.7",
    ] {
        assert_eq!(
            status(
                &ask(
                    app.address,
                    "/v2/_catalog",
                    &format!("host: localhost\r\n{header}")
                )
                .await
            ),
            403,
            "{header}"
        );
    }
    assert_eq!(
        status(&ask(app.address, "/livez", "host: evil.example").await),
        200,
        "probes reveal nothing, so any host name is answered"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_origin_does_not_let_every_page_do_everything() {
    let mut setup = bare("127.0.0.1");
    setup.config["http"]["allowOrigin"] = "*".into();
    let app = setup.start().await;
    let page = || app.anonymous().header("origin", "https://evil.example");
    let path = format!("/v2/a/blobs/uploads/?digest={}", sha256(b"blob"));
    let pushed = page()
        .header("content-type", "application/octet-stream")
        .send(Method::POST, &path, "blob")
        .await;
    assert_eq!(pushed.status, StatusCode::FORBIDDEN, "{}", pushed.text());
    let asked = page()
        .header("access-control-request-method", "DELETE")
        .send(Method::OPTIONS, "/v2/a/manifests/v1", "")
        .await;
    assert_eq!(asked.status, StatusCode::FORBIDDEN);
    assert_eq!(
        app.anonymous()
            .get("/v2/")
            .await
            .header("access-control-allow-origin"),
        "*"
    );
}

#[test]
fn an_empty_wharfinger_open_changes_nothing() {
    let mut setup = bare("127.0.0.1");
    setup.config["http"]["address"] = "0.0.0.0".into();
    let closed = Setup::plain();
    let open = setup.file();
    for (file, value, code, said) in [
        (closed.file(), "", 0, ": good"),
        (open.clone(), "", 2, "http.auth: is missing"),
        (open.clone(), "1", 0, ": good"),
        (open, "perhaps", 2, "WHARFINGER_OPEN must be 1, 0 or unset"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        let output = command
            .env("WHARFINGER_OPEN", value)
            .arg("verify")
            .arg(&file)
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(
            output.status.code() == Some(code) && text.contains(said),
            "{value:?}: {text}"
        );
    }
}

/// The address is a loopback address, since these tests listen nowhere else. The file says that other
/// machines connect.
#[tokio::test(flavor = "multi_thread")]
async fn on_other_addresses_the_operator_must_say_that_it_is_open() {
    for change in [
        json!({"externalURL": "http://registry.example.org"}),
        json!({"trustedProxies": ["127.0.0.1"]}),
        json!({"address": "0.0.0.0"}),
    ] {
        let mut setup = bare("127.0.0.1");
        setup.config["http"]
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let file = setup.file();
        for command in ["serve", "verify"] {
            let (code, _, err) = output(&[command, file.to_str().unwrap()], setup.folder.path());
            assert!(
                code == 2 && err.contains("http.auth: is missing") && err.contains("--open"),
                "{change} {command}: {err}"
            );
        }
        assert!(!setup.path("store").exists());
        let (code, _, err) = output(&["verify", "--open", file.to_str().unwrap()], setup.folder.path());
        assert!(
            code == 0 && err.contains("warning: http.auth: THIS REGISTRY IS OPEN"),
            "{change}: {err}"
        );
    }
    let mut setup = bare("127.0.0.1");
    setup.config["http"]["externalURL"] = "http://registry.example.org:5000".into();
    let app = setup.start_with(&["--open"]).await;
    for (header, expected) in [
        ("host: registry.example.org", 200),
        ("host: localhost\r\nx-forwarded-for: 203.0.113.7", 200),
        ("host: evil.example", 421),
    ] {
        assert_eq!(
            status(&ask(app.address, "/v2/", header).await),
            expected,
            "{header}"
        );
    }
    let mut setup = bare("127.0.0.1");
    setup.config["http"]["auth"] = json!({"htpasswd": {"path": ""}});
    let (code, _, err) = output(
        &["serve", "--open", setup.file().to_str().unwrap()],
        setup.folder.path(),
    );
    assert!(
        code == 2 && err.contains("http.auth.htpasswd.path: is empty"),
        "{err}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_never_opens_a_registry_that_was_closed() {
    for options in [&[][..], &["--open"]] {
        let mut app = Setup::plain().start_with(options).await;
        let refused = app
            .reload(|config| drop(config.as_object_mut().unwrap().remove("accessControl")))
            .await;
        assert!(
            refused["message"].as_str().unwrap().contains("is refused"),
            "{options:?}: {refused}"
        );
        let said = |line: &Value| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.contains("a reload cannot open a closed registry"))
        };
        app.log.wait("why", 0, said).await;
        assert_eq!(app.anonymous().get("/v2/").await.status, StatusCode::UNAUTHORIZED);
    }
    let mut app = bare("127.0.0.1").start_with(&["--open"]).await;
    assert_eq!(app.anonymous().get("/v2/").await.status, StatusCode::OK);
    let rules = json!({"repositories": {"**": {"anonymousPolicy": ["read"]}}});
    let closed = app.reload(|config| config["accessControl"] = rules).await;
    assert!(
        closed["message"].as_str().unwrap().contains("is in use"),
        "{closed}"
    );
    assert_eq!(app.anonymous().get("/v2/").await.status, StatusCode::UNAUTHORIZED);
    let refused = app
        .reload(|config| drop(config.as_object_mut().unwrap().remove("accessControl")))
        .await;
    assert!(
        refused["message"].as_str().unwrap().contains("is refused"),
        "{refused}"
    );
    assert_eq!(
        app.anonymous().get("/v2/").await.status,
        StatusCode::UNAUTHORIZED,
        "the reload closed the registry"
    );
}

/// The content of a folder, by path.
fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        names.push(entry.path().display().to_string());
        if entry.path().is_dir() {
            names.extend(self::names(&entry.path()));
        }
    }
    names.sort();
    names
}

#[test]
fn a_folder_of_another_registry_is_refused_and_nothing_is_written_into_it() {
    for files in [
        &["cache.db", "meta.db", "alpine/oci-layout", "alpine/index.json"][..],
        &["team/app/oci-layout", "team/app/index.json"],
        &["docker/registry/v2/repositories/alpine/_manifests/tags/latest/current/link"],
    ] {
        let setup = Setup::plain();
        for file in files {
            let path = setup.path("store").join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "{}").unwrap();
        }
        let file = setup.file();
        let before = names(setup.folder.path());
        for command in ["serve", "verify"] {
            let (code, _, err) = output(&[command, file.to_str().unwrap()], setup.folder.path());
            assert!(
                code == 2 && err.contains("storage.rootDirectory: ") && err.contains("name another folder"),
                "{files:?} {command}: {err}"
            );
            assert_eq!(names(setup.folder.path()), before, "{files:?} {command}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_allowed_origins_read_answers_and_errors_and_ask_before_they_send() {
    let mut setup = Setup::plain();
    setup.config["http"]["allowOrigin"] = "http://ui.example, https://other.example".into();
    setup.config["extensions"] = json!({"metrics": {"enable": true, "prometheus": {"path": "/prom"}}});
    setup.config["accessControl"]["metrics"] = json!({"anonymousPolicy": ["read"]});
    let app = setup.start().await;
    let page = |origin: &str| app.anonymous().header("origin", origin);
    for path in [
        "/v2/a/tags/list",
        "/v2/",
        "/v2/_catalog",
        "/nothing",
        "/v2/token?service=wrong",
    ] {
        let answer = page("http://ui.example").get(path).await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            "http://ui.example",
            "{path} {}",
            answer.status
        );
        assert!(
            answer
                .header("access-control-expose-headers")
                .contains("Docker-Content-Digest"),
            "{path}"
        );
        assert_eq!(answer.header("vary"), "Origin", "{path}");
        let other = page("http://evil.example").get(path).await;
        assert_eq!(
            (other.header("access-control-allow-origin"), other.header("vary")),
            ("", "Origin"),
            "{path}"
        );
    }
    let asks = |origin: &str| page(origin).header("access-control-request-method", "PUT");
    let allowed = asks("https://other.example")
        .send(Method::OPTIONS, "/v2/a/manifests/v1", "")
        .await;
    assert_eq!(
        (allowed.status, allowed.header("access-control-allow-origin")),
        (StatusCode::NO_CONTENT, "https://other.example")
    );
    assert!(
        allowed.header("access-control-allow-methods").contains("PUT")
            && allowed
                .header("access-control-allow-headers")
                .contains("Authorization")
    );
    assert_eq!(
        allowed.header("access-control-allow-credentials"),
        "",
        "this registry has no login"
    );
    assert_ne!(
        asks("http://evil.example")
            .send(Method::OPTIONS, "/v2/a/manifests/v1", "")
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        (
            app.anonymous().get("/prom").await.status,
            app.anonymous().get("/metrics").await.status
        ),
        (StatusCode::OK, StatusCode::NOT_FOUND)
    );
}

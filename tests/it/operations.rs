//! Operations: probes, reload, drain, the token endpoint.

use crate::harness::{AUDIENCE, Setup, TestApp, TestIssuer, TestPki, eventually, sha256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::{Body, Method, StatusCode};
use rustix::process::Signal;
use serde_json::json;

const PROBES: [&str; 3] = ["/livez", "/readyz", "/startupz"];

#[tokio::test(flavor = "multi_thread")]
async fn probes_answer_on_both_listeners_and_ask_for_no_credential() {
    let pki = TestPki::new();
    let mut setup = Setup::tls(&pki);
    setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": 0});
    let app = setup.start().await;
    let bad = app.bearer("nonsense");
    let plain = format!("http://{}", app.health.unwrap());
    for probe in PROBES {
        for (url, client) in [(probe.to_owned(), &bad), (format!("{plain}{probe}"), &bad)] {
            let answer = client.get(&url).await;
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (StatusCode::OK, "ok"),
                "{url}"
            );
        }
    }
    assert_eq!(
        app.anonymous().get(&format!("{plain}/v2/")).await.status,
        StatusCode::NOT_FOUND,
        "it serves nothing else"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reloads_the_certificate_and_keeps_the_old_one_if_the_new_one_is_bad() {
    let pki = TestPki::new();
    let app = Setup::tls(&pki).start().await;
    let before = app.anonymous();
    assert_eq!(before.get("/livez").await.status, StatusCode::OK);
    // The new server certificate is of another authority, so only clients that trust it accept it.
    let others = TestPki::new();
    let pair = others.servers.server();
    app.setup.write("server.key", &pair.key);
    app.setup.write("server.crt", &pair.certificate);
    app.signal(Signal::HUP);
    app.log.says("SIGHUP").await;
    let accepted = eventually("the new certificate is served", async || {
        app.trusting(&others.servers).get_or_none("/livez").await
    })
    .await;
    assert_eq!(accepted.status, StatusCode::OK);
    assert_eq!(
        before.get("/livez").await.status,
        StatusCode::OK,
        "open connections still work"
    );
    assert!(
        app.anonymous().get_or_none("/livez").await.is_none(),
        "the old certificate is gone"
    );
    app.setup.write("server.crt", "no certificate");
    app.signal(Signal::HUP);
    let stays = |line: &serde_json::Value| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains("stays in use"))
    };
    app.log.wait("the certificate in use stays", 0, stays).await;
    assert_eq!(
        app.trusting(&others.servers).get("/livez").await.status,
        StatusCode::OK
    );
}

/// A trust domain's bundle is reloaded too. A withdrawn caller is rejected at the next request.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_bundle_is_used_without_a_restart() {
    let pki = TestPki::new();
    let app = Setup::tls(&pki)
        .allow("**", json!({"defaultPolicy": ["read"]}))
        .start()
        .await;
    let client = app.certificate(&pki.domain.x509_svid("/a"));
    let token = app.bearer(&pki.domain.jwt_svid("/a", AUDIENCE));
    for client in [&client, &token] {
        assert_eq!(client.get("/v2/").await.status, StatusCode::OK);
    }
    let next = TestPki::new();
    app.setup.write("bundle.json", &next.domain.bundle().to_string());
    app.signal(Signal::HUP);
    for client in [&client, &token] {
        // This uses the same connection as before.
        eventually("the old credential is rejected", async || {
            Some(client.get("/v2/").await).filter(|answer| answer.status == StatusCode::UNAUTHORIZED)
        })
        .await;
    }
    assert_eq!(
        app.bearer(&next.domain.jwt_svid("/a", AUDIENCE))
            .get("/v2/")
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_running_upload_finish_and_accepts_no_other() {
    let mut app = Setup::plain().start().await;
    let client = app.anonymous();
    let location = client.start_upload("drain/app").await;
    let (send, receive) = futures_channel();
    let uploading = {
        let client = client.clone();
        let location = location.clone();
        tokio::spawn(async move { client.send(Method::PATCH, &location, receive).await })
    };
    for _ in 0..16 {
        send.send(Ok(vec![b'x'; 1 << 20].into())).await.unwrap();
    }
    upload_began(&app).await;
    app.signal(Signal::TERM);
    app.log.says("shutting down").await;
    let refused = async || tokio::net::TcpStream::connect(app.address).await.err();
    eventually("connections are refused", refused).await;
    send.send(Ok(Bytes::from_static(b"last"))).await.unwrap();
    drop(send);
    let answer = uploading.await.unwrap();
    assert_eq!(
        (answer.status, answer.header("range")),
        (StatusCode::ACCEPTED, format!("0-{}", (16 << 20) + 3).as_str())
    );
    assert_eq!(app.ended().await.code(), Some(0));
    app.log
        .wait("it stopped", 0, |line| line["message"] == "stopped")
        .await;
}

/// After the first signal, the process would wait for the request to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_registry_at_once() {
    for (first, second) in [
        (Signal::INT, Signal::INT),
        (Signal::TERM, Signal::TERM),
        (Signal::TERM, Signal::INT),
    ] {
        let mut app = Setup::plain().start().await;
        let client = app.anonymous();
        let location = client.start_upload("drain/app").await;
        let (send, receive) = futures_channel();
        let uploading = tokio::spawn(async move { client.send(Method::PATCH, &location, receive).await });
        for _ in 0..16 {
            send.send(Ok(vec![b'x'; 1 << 20].into())).await.unwrap();
        }
        upload_began(&app).await;
        app.signal(first);
        app.log.says("shutting down").await;
        app.signal(second);
        assert_eq!(app.ended().await.code(), Some(1));
        let is_it = |line: &serde_json::Value| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.starts_with("a second signal ended the process at once"))
        };
        app.log.wait("it was ended", 0, is_it).await;
        uploading.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_survives_a_kill() {
    let app = Setup::plain().start().await;
    let digest = app.anonymous().push_blob("kept/app", b"kept").await;
    let location = app.anonymous().start_upload("kept/app").await;
    let path = location.trim_start_matches(&app.url("")).to_owned();
    assert_eq!(
        app.anonymous().send(Method::PATCH, &path, "go").await.status,
        StatusCode::ACCEPTED
    );
    let again = app.restart().await;
    let client = again.anonymous();
    assert_eq!(
        client.get(&format!("/v2/kept/app/blobs/{digest}")).await.body,
        b"kept"
    );
    let stands = client.get(&path).await;
    assert_eq!(
        (stands.status, stands.header("range")),
        (StatusCode::NO_CONTENT, "0-1"),
        "uploads continue"
    );
    let digest = sha256(b"goes on");
    assert_eq!(
        client
            .put(&format!("{path}?digest={digest}"), "es on")
            .await
            .status,
        StatusCode::CREATED
    );
    assert_eq!(
        client.get(&format!("/v2/kept/app/blobs/{digest}")).await.body,
        b"goes on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_credential_is_exchanged_for_a_token_that_outlives_a_restart() {
    let pki = TestPki::new();
    let issuer = TestIssuer::start(&pki.servers).await;
    let rules = json!({"anonymousPolicy": ["read"], "defaultPolicy": ["read", "create"]});
    let app = Setup::tls(&pki)
        .issuer(&issuer, &pki)
        .allow("**", rules)
        .start()
        .await;
    let path = "/v2/token?service=wharfinger&scope=repository:app:pull,push&account=any";
    let mut tokens = Vec::new();
    let basic = |token: &str| format!("Basic {}", STANDARD.encode(format!("any:{token}")));
    let id_token = issuer.token("builder");
    let svid = pki.domain.jwt_svid("/builder", AUDIENCE);
    let clients = [
        app.bearer(&id_token),
        app.anonymous().header("authorization", &basic(&id_token)),
        app.bearer(&svid),
        app.anonymous().header("authorization", &basic(&svid)),
        app.certificate(&pki.domain.x509_svid("/builder")),
    ];
    for client in clients {
        let answer = client.get(path).await;
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (StatusCode::OK, "no-store"),
            "{}",
            answer.text()
        );
        let answer = answer.json();
        assert_eq!(
            (&answer["scope"], &answer["expires_in"]),
            (&json!("repository:app:pull,push"), &json!(3595))
        );
        tokens.push(answer["token"].as_str().unwrap().to_owned());
        assert_ne!(
            (tokens.last(), tokens.last()),
            (Some(&id_token), Some(&svid)),
            "a token of its own"
        );
    }
    let form = format!(
        "grant_type=client_credentials&client_id={}&scope=repository:app:pull,push",
        pki.domain.id("/builder")
    );
    let answer = app
        .certificate(&pki.domain.x509_svid("/builder"))
        .send(Method::POST, "/v2/token", form)
        .await;
    tokens.push(answer.json()["access_token"].as_str().unwrap().to_owned());
    let elsewhere = app.bearer(&issuer.token_for("elsewhere.test", "builder"));
    let answer = elsewhere.get(path).await;
    assert_eq!(answer.error(), (401, "UNAUTHORIZED".into()));
    let realm = format!(r#"Bearer realm="{}/v2/token",service="wharfinger""#, app.url(""));
    assert!(
        answer.header("www-authenticate").starts_with(&realm),
        "{}",
        answer.header("www-authenticate")
    );
    let keys = app.anonymous().get("/v2/_wharfinger/jwks").await.json();

    let app = app.restart().await;
    assert_eq!(app.anonymous().get("/v2/_wharfinger/jwks").await.json(), keys);
    for token in &tokens {
        assert_eq!(
            app.bearer(token).post("/v2/app/blobs/uploads/").await.status,
            StatusCode::ACCEPTED
        );
        assert_eq!(
            app.bearer(token).post("/v2/other/blobs/uploads/").await.error(),
            (401, "UNAUTHORIZED".into())
        );
    }
    let mark = app.mark().await;
    app.bearer(&tokens[0]).get("/v2/").await;
    let line = app
        .log
        .wait("which token was presented", mark, |line| {
            line["token.id"].is_string()
        })
        .await;
    assert!(!line.to_string().contains(&tokens[0]), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn j_12_a_token_for_several_audiences_is_accepted_and_logged_once_for_each_subject() {
    let pki = TestPki::new();
    let mut setup = Setup::tls(&pki).allow("**", json!({"defaultPolicy": ["read"]}));
    setup.config["http"]["health"] = json!({"address": "127.0.0.1", "port": 0});
    let app = setup.start().await;
    let several = |path: &str| {
        app.bearer(
            &pki.domain
                .signer
                .token(&json!({"sub": pki.domain.id(path), "aud": [AUDIENCE, "elsewhere.test"]})),
        )
    };
    for client in [
        several("/a"),
        several("/a"),
        several("/b"),
        app.bearer(&pki.domain.jwt_svid("/c", AUDIENCE)),
    ] {
        assert_eq!(client.get("/v2/").await.status, StatusCode::OK);
    }
    app.mark().await;
    let logged = app.log.since(0).into_iter().filter(|line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains("several audiences"))
    });
    let subjects: Vec<_> = logged.map(|line| line["credential.subject"].clone()).collect();
    assert_eq!(subjects, [pki.domain.id("/a"), pki.domain.id("/b")]);
    let metrics = app
        .anonymous()
        .get(&format!("http://{}/metrics", app.health.unwrap()))
        .await
        .text();
    assert!(
        metrics.contains("wharfinger_tokens_several_audiences_total{credential=\"jwt-svid\"} 3\n"),
        "{metrics}"
    );
}

/// Returns a body and its sender.
fn futures_channel() -> (tokio::sync::mpsc::Sender<std::io::Result<Bytes>>, Body) {
    let (send, receive) = tokio::sync::mpsc::channel(1);
    (
        send,
        Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(receive)),
    )
}

/// Waits until some of an upload's bytes are on disk.
async fn upload_began(app: &TestApp) {
    let entry = async || std::fs::read_dir(app.store().join("d")).ok()?.next()?.ok();
    eventually("the upload has bytes on disk", entry).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_open_files_is_raised_as_far_as_it_may_be() {
    let mut shell = std::process::Command::new("sh");
    shell.args([
        "-c",
        r#"ulimit -Sn 256 && exec "$@""#,
        "sh",
        env!("CARGO_BIN_EXE_wharfinger"),
    ]);
    let app = Setup::plain().start_by(shell).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", app.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let [soft, hard] = line.split_whitespace().skip(3).take(2).collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    assert_ne!(hard, "256");
    assert_eq!(soft, hard);
}

//! A registry without free file descriptors, and callers who leave their uploads open.

use crate::harness::{Client, Setup, TestApp};
use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;
use std::process::Command;
use std::time::Duration;
use tokio::net::TcpStream;

/// A registry with at most this many open files.
async fn with_open_files(most: u32) -> TestApp {
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        &format!("ulimit -n {most} && exec \"$0\" \"$@\""),
        env!("CARGO_BIN_EXE_wharfinger"),
    ]);
    Setup::plain().start_by(shell).await
}

/// Silent connections are closed for a client that needs one.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_leave_descriptors_to_others() {
    let app = with_open_files(100).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(app.address).await.unwrap());
    }
    let client = app.anonymous();
    let digest = tokio::time::timeout(Duration::from_secs(20), client.push_blob("a", b"x"))
        .await
        .expect("a push has its turn");
    assert_eq!(
        client.get(&format!("/v2/a/blobs/{digest}")).await.status,
        StatusCode::OK
    );
}

/// Lowers the limit until the registry has no free descriptor.
fn take_all(app: &TestApp) -> Rlimit {
    let folder = format!("/proc/{}/fd", app.pid());
    let open: Vec<u64> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .collect();
    let first_free = (0..).find(|number| !open.contains(number)).unwrap();
    limit(
        app,
        Rlimit {
            current: Some(first_free),
            maximum: getrlimit(Resource::Nofile).maximum,
        },
    )
}

/// Sets the limit and returns the previous one.
fn limit(app: &TestApp, limit: Rlimit) -> Rlimit {
    prlimit(
        Pid::from_raw(i32::try_from(app.pid()).unwrap()),
        Resource::Nofile,
        limit,
    )
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_every_client_gets_a_503_and_readyz_is_red() {
    let app = Setup::plain().start().await;
    let large = vec![b'x'; 1 << 20];
    let digest = app.anonymous().push_blob("a", &large).await;
    let blob = format!("/v2/a/blobs/{digest}");
    let before = take_all(&app);
    for _ in 0..3 {
        // Each request uses a new connection.
        let client = app.anonymous();
        let ready = tokio::time::timeout(Duration::from_secs(20), client.get("/readyz"))
            .await
            .expect("it is accepted");
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE, "{}", ready.text());
        assert_eq!(client.get("/livez").await.status, StatusCode::OK);
        let refused = client.get(&blob).await;
        assert_eq!(
            (refused.status, refused.header("retry-after")),
            (StatusCode::SERVICE_UNAVAILABLE, "5"),
            "{}",
            refused.text()
        );
        assert!(
            refused.text().contains("no file descriptors"),
            "{}",
            refused.text()
        );
        let location = client
            .post("/v2/a/blobs/uploads/")
            .await
            .header("location")
            .to_owned();
        let refused = client.send(Method::PATCH, &location, "abc").await;
        assert_eq!(
            (refused.status, refused.header("retry-after")),
            (StatusCode::SERVICE_UNAVAILABLE, "5"),
            "{}",
            refused.text()
        );
    }
    limit(&app, before);
    let client = app.anonymous();
    assert_eq!(client.get("/readyz").await.status, StatusCode::OK);
    assert_eq!(client.get(&blob).await.body, large);
    client.push_blob("a", b"and it takes more").await;
}

async fn begin(client: &Client) -> (StatusCode, String) {
    let answer = client.post("/v2/a/blobs/uploads/").await;
    (
        answer.status,
        if answer.status == StatusCode::ACCEPTED {
            answer.header("location").to_owned()
        } else {
            answer.text()
        },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_open_uploads_are_bounded() {
    let mut setup = Setup::plain();
    setup.config["http"]["openUploads"] = json!(3);
    let app = setup.start().await;
    let client = app.anonymous();
    let mut open = Vec::new();
    for _ in 0..3 {
        let (status, location) = begin(&client).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        open.push(location);
    }
    let (status, said) = begin(&client).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(
        said.contains("TOOMANYREQUESTS") && said.contains("http.openUploads") && said.contains("DELETE"),
        "{said}"
    );
    client.push_blob("a", b"in one request").await;
    // An upload that is cancelled, finished, or ended by a wrong digest makes room for another.
    assert_eq!(
        client.send(Method::DELETE, &open[0], "").await.status,
        StatusCode::NO_CONTENT
    );
    let finished = client
        .put(
            &format!("{}?digest={}", open[1], crate::harness::sha256(b"x")),
            "x",
        )
        .await;
    assert_eq!(finished.status, StatusCode::CREATED);
    let wrong = client
        .put(
            &format!("{}?digest={}", open[2], crate::harness::sha256(b"x")),
            "y",
        )
        .await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    for _ in 0..3 {
        assert_eq!(begin(&client).await.0, StatusCode::ACCEPTED);
    }
    assert_eq!(begin(&client).await.0, StatusCode::TOO_MANY_REQUESTS);
}

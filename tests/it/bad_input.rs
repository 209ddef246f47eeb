//! Bad requests from strangers: the answer to each. Nothing is left of them except an upload that expires.

use crate::harness::{Setup, TestApp, raw, sha256};
use reqwest::{Method, StatusCode};
use std::fs;
use std::path::Path;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// A request that asks the server to close the connection.
fn request(line: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\nconnection: close\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    format!("{text}\r\n{body}").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_request_gets_its_status_and_leaves_nothing() {
    const HOST: &str = "host: r.example";
    let mut app = Setup::plain().start().await;
    let digest = sha256(b"x");
    let long = "a".repeat(300);
    let manifest = |name: &str| format!("GET /v2/{name}/manifests/v1");
    let upload = |name: &str| format!("POST /v2/{name}/blobs/uploads/");
    let whole = format!("POST /v2/app/blobs/uploads/?digest={digest}");
    let spaces = " ".repeat(5 << 20);
    let large = format!("x: {}", "x".repeat(65 << 10));
    let larger = format!("x: {}", "x".repeat(200 << 10));
    let length = format!("content-length: {}", spaces.len());
    let chunks = format!("{:x}\r\n{spaces}\r\n0\r\n\r\n", spaces.len());
    let typed = "content-type: application/vnd.oci.image.manifest.v1+json";
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        (
            "another blob than its digest says",
            request(&whole, &[HOST, "content-length: 1"], "y"),
            400,
            "DIGEST_INVALID",
        ),
        (
            "no digest",
            request(
                "POST /v2/app/blobs/uploads/?digest=x",
                &[HOST, "content-length: 1"],
                "y",
            ),
            400,
            "DIGEST_INVALID",
        ),
        (
            "a manifest of 5 MiB",
            request("PUT /v2/app/manifests/v1", &[HOST, typed, &length], &spaces),
            413,
            "SIZE_INVALID",
        ),
        (
            "a manifest of 5 MiB that does not say so",
            request(
                "PUT /v2/app/manifests/v1",
                &[HOST, typed, "transfer-encoding: chunked"],
                &chunks,
            ),
            413,
            "SIZE_INVALID",
        ),
        (
            "no manifest",
            request(
                "PUT /v2/app/manifests/v1",
                &[HOST, typed, "content-length: 2"],
                "{}",
            ),
            400,
            "MANIFEST_INVALID",
        ),
        (
            "a name of 300 characters",
            request(&manifest(&long), &[HOST], ""),
            400,
            "NAME_INVALID",
        ),
        (
            "an upload to it",
            request(&upload(&long), &[HOST, "content-length: 0"], ""),
            400,
            "NAME_INVALID",
        ),
        (
            "%2F in a name",
            request(&manifest("app%2Fweb"), &[HOST], ""),
            404,
            "NAME_UNKNOWN",
        ),
        (
            "%252F in a name",
            request(&manifest("app%252Fweb"), &[HOST], ""),
            400,
            "NAME_INVALID",
        ),
        (
            "an upload to it",
            request(&upload("app%252Fweb"), &[HOST, "content-length: 0"], ""),
            400,
            "NAME_INVALID",
        ),
        (
            "NUL in a name",
            request(&manifest("app%00"), &[HOST], ""),
            400,
            "NAME_INVALID",
        ),
        (
            "a body in gzip",
            request(&whole, &[HOST, "transfer-encoding: gzip, chunked"], "0\r\n\r\n"),
            501,
            "UNSUPPORTED",
        ),
        (
            ".. in a path",
            request(&manifest("app/../../etc"), &[HOST], ""),
            400,
            "NAME_INVALID",
        ),
        (
            ".. that is hidden",
            request(&manifest("app/%2e%2e/etc"), &[HOST], ""),
            400,
            "NAME_INVALID",
        ),
        (
            ".. before the name",
            request("GET /v2/../v2/app/tags/list", &[HOST], ""),
            400,
            "NAME_INVALID",
        ),
        (
            ".. as a tag",
            request("GET /v2/app/manifests/..", &[HOST], ""),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            ".. in a digest",
            request("GET /v2/app/blobs/sha256:../../records", &[HOST], ""),
            404,
            "UNSUPPORTED",
        ),
        (
            ".. as a digest",
            request("GET /v2/app/blobs/sha256:..", &[HOST], ""),
            400,
            "DIGEST_INVALID",
        ),
        (
            ".. as an upload",
            request("GET /v2/app/blobs/uploads/..", &[HOST], ""),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        (
            "two hosts",
            request("GET /v2/", &[HOST, "host: evil.example"], ""),
            400,
            "UNSUPPORTED",
        ),
        ("no host", request("GET /v2/", &[], ""), 400, "UNSUPPORTED"),
        (
            "a header of 65 KiB",
            request("GET /v2/", &[HOST, &large], ""),
            431,
            "UNSUPPORTED",
        ),
        // hyper answers these without a body, before our code sees them.
        (
            "a header of 200 KiB",
            request("GET /v2/", &[HOST, &larger], ""),
            431,
            "",
        ),
        (
            "a path of 70 KiB",
            request(&format!("GET /v2/{}", "a".repeat(70 << 10)), &[HOST], ""),
            414,
            "",
        ),
        (
            "a body in gzip alone",
            request(&whole, &[HOST, "transfer-encoding: gzip"], ""),
            400,
            "",
        ),
        (
            "two lengths",
            request(&whole, &[HOST, "content-length: 1", "content-length: 2"], "y"),
            400,
            "",
        ),
        (
            "no HTTP",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
            400,
            "",
        ),
    ];
    for (case, bytes, status, code) in &cases {
        let answer = raw(app.address, bytes).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{case}: expected {status}, found {answer}"
        );
        assert!(
            answer.contains(&format!("\"code\":\"{code}\"")) || code.is_empty(),
            "{case}: expected {code}, found {answer}"
        );
    }
    assert_eq!(left(&mut app).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_upload_keeps_its_session_and_can_continue() {
    let mut app = Setup::plain().start().await;
    let client = app.anonymous();
    let location = client.start_upload("torn/app").await;
    let path = location.trim_start_matches(&app.url(""));
    let said = "content-length: 1000";
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let torn = request(&format!("PATCH {path}"), &["host: r.example", said], "0123456789");
    stream.write_all(&torn).await.unwrap();
    stream.shutdown().await.unwrap();
    let is_it = |line: &serde_json::Value| line["http.method"] == "PATCH";
    let line = app.log.wait("the upload was torn", 0, is_it).await;
    assert_eq!(line["http.status"], 400);
    let status = client.get(&location).await;
    assert_eq!(
        (status.status, status.header("range")),
        (StatusCode::NO_CONTENT, "0-9"),
        "what arrived is kept"
    );
    // An interrupted closing request does not close the upload.
    let digest = sha256(b"0123456789abc");
    let sign = if path.contains('?') { '&' } else { '?' };
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let torn = request(
        &format!("PUT {path}{sign}digest={digest}"),
        &["host: r.example", said],
        "ab",
    );
    stream.write_all(&torn).await.unwrap();
    stream.shutdown().await.unwrap();
    app.log
        .wait("the end was torn", 0, |line| line["http.method"] == "PUT")
        .await;
    let blob = format!("/v2/torn/app/blobs/{digest}");
    assert_eq!(client.get(&blob).await.status, StatusCode::NOT_FOUND);
    let tags = client.get("/v2/torn/app/tags/list").await;
    assert_eq!(tags.json()["tags"], serde_json::json!([]));
    assert_eq!(
        client.send(Method::DELETE, &location, "").await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        client.get(&location).await.error(),
        (404, "BLOB_UPLOAD_UNKNOWN".into())
    );
    assert_eq!(left(&mut app).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_upload_leaves_only_its_catalogue_entry_session_and_bytes() {
    let mut app = Setup::plain().start().await;
    let client = app.anonymous();
    let location = client.start_upload("open/app").await;
    assert_eq!(
        client.send(Method::PATCH, &location, "abc").await.status,
        StatusCode::ACCEPTED
    );
    let left = left(&mut app).await;
    let kinds: Vec<_> = left.iter().filter_map(|name| name.get(..2)).collect();
    assert_eq!(
        kinds,
        ["c/", "u/", "d/"],
        "the catalogue, the upload, its bytes: {left:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_served_and_delays_no_other() {
    let app = Setup::plain().start().await;
    let digest = sha256(b"slow");
    let body = b"slow";
    let line = format!("POST /v2/slow/app/blobs/uploads/?digest={digest}");
    let bytes = request(&line, &["host: r.example", "content-length: 4"], "");
    let mut slow = TcpStream::connect(app.address).await.unwrap();
    slow.set_nodelay(true).unwrap();
    let client = app.anonymous();
    for byte in bytes.iter().chain(body) {
        assert_eq!(client.get("/livez").await.status, StatusCode::OK);
        slow.write_all(&[*byte]).await.unwrap();
    }
    let line = app
        .log
        .wait("the slow client was served", 0, |line| {
            line["http.method"] == "POST"
        })
        .await;
    assert_eq!(line["http.status"], 201);
    assert_eq!(
        client.get(&format!("/v2/slow/app/blobs/{digest}")).await.body,
        body
    );
}

/// Stops the registry and lists what its store still has: the keys of its records, except the store's own,
/// and then its files of bytes.
async fn left(app: &mut TestApp) -> Vec<String> {
    app.signal(rustix::process::Signal::TERM);
    assert!(app.ended().await.success());
    let records = rusqlite::Connection::open(app.store().join("records.sqlite3")).unwrap();
    let mut keys = records
        .prepare("SELECT key FROM records WHERE key NOT IN ('h/probe', 'h/pulls', 'i/store') ORDER BY key")
        .unwrap();
    let mut left: Vec<String> = keys
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    files(&app.store().join("d"), "d/", &mut left);
    left
}

fn files(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files(&entry.path(), &format!("{name}/"), found);
        } else {
            found.push(name);
        }
    }
}

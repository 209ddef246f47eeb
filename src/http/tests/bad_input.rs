//! Bad requests from strangers.

use super::*;
use crate::http::Stalled;

#[tokio::test]
async fn bad_names_are_400_before_policy_decides() {
    let site = Site::new();
    let long = "a".repeat(300);
    for name in [
        "secret%252Fa",
        "open/../secret/a",
        "open%2f..%2fsecret",
        "Open/a",
        long.as_str(),
        "open//a",
        "open/a%00",
        "open/%41",
    ] {
        for path in [
            format!("/v2/{name}/manifests/v1"),
            format!("/v2/{name}/tags/list"),
            format!("/v2/{name}/blobs/uploads/"),
        ] {
            let method = if path.ends_with('/') {
                Method::POST
            } else {
                Method::GET
            };
            let answer = site.send(ask(method, &path), Body::empty()).await;
            assert_eq!(answer.error(), (400, "NAME_INVALID".into()), "{path}");
        }
    }
}

/// The Azure SDKs write names like this. Policy sees the decoded name.
#[tokio::test]
async fn a_name_that_is_percent_encoded_is_that_name() {
    let site = Site::new();
    let digest = site.push_blob("open/a", "x").await;
    let config = site.push_image("open/a", "v1", json!({})).await;
    assert_eq!(config.status, StatusCode::CREATED);
    for path in [
        "/v2/open%2Fa/manifests/v1".to_owned(),
        "/v2/%6Fpen/a/manifests/%76%31".to_owned(),
        format!("/v2/open%2fa/blobs/{}", sha256("x").replace(':', "%3A")),
        "/v2/open%2Fa/tags/list".to_owned(),
    ] {
        assert_eq!(site.get(&path).await.status, StatusCode::OK, "{path} {digest:?}");
    }
    assert_eq!(
        site.get("/v2/secret%2Fa/tags/list").await.error(),
        (401, "UNAUTHORIZED".into()),
        "as without the encoding"
    );
    let begun = site
        .send(ask(Method::POST, "/v2/open%2Fnew/blobs/uploads/"), Body::empty())
        .await;
    let location = begun.header("location");
    assert!(location.starts_with("/v2/open/new/blobs/uploads/"), "{location}");
    let closing = format!(
        "{}?digest={}",
        location.replace("open/", "open%2F"),
        sha256("y").replace(':', "%3A")
    );
    let closed = site.send(ask(Method::PUT, &closing), "y").await;
    assert_eq!(
        (closed.status, closed.header("location")),
        (
            StatusCode::CREATED,
            &*format!("/v2/open/new/blobs/{}", sha256("y"))
        )
    );
    for query in [
        "digest=sha256%253Aab",
        "digest=%00",
        "mount=sha256%253Aab",
        "mount=x&from=open%252Fa",
        "mount=x&from=a%0A",
    ] {
        let answer = site
            .send(
                ask(Method::POST, &format!("/v2/open/a/blobs/uploads/?{query}")),
                Body::empty(),
            )
            .await;
        assert_eq!(answer.error(), (400, "NAME_INVALID".into()), "{query}");
    }
}

#[tokio::test]
async fn an_unknown_transfer_coding_is_501() {
    let site = Site::new();
    let post = || ask(Method::POST, "/v2/open/a/blobs/uploads/");
    for coding in ["gzip, chunked", "identity", "chunked, chunked"] {
        let answer = site
            .send(post().header("transfer-encoding", coding), Body::empty())
            .await;
        assert_eq!(answer.error(), (501, "UNSUPPORTED".into()), "{coding}");
    }
    assert_eq!(
        site.send(post().header("transfer-encoding", "Chunked"), Body::empty())
            .await
            .status,
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn a_browser_gets_a_page_and_other_clients_get_text() {
    let site = Site::new();
    let html = ask(Method::GET, "/")
        .header("accept", "text/html,application/xhtml+xml")
        .header("authorization", "Bearer rubbish");
    let page = site.send(html, Body::empty()).await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (StatusCode::OK, "text/html; charset=utf-8")
    );
    assert!(
        page.text()
            .contains("docker login -u token --password-stdin r.example:5000 &lt; token.jwt"),
        "{}",
        page.text()
    );
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'none'")
    );
    assert_eq!(
        (
            page.header("x-content-type-options"),
            page.header("x-frame-options")
        ),
        ("nosniff", "DENY")
    );
    let text = site.get("/").await;
    assert_eq!(
        (text.status, text.header("content-type")),
        (StatusCode::OK, "text/plain; charset=utf-8")
    );
    assert!(
        text.text()
            .contains("docker login -u token --password-stdin r.example:5000 < token.jwt"),
        "{}",
        text.text()
    );
    assert!(
        !text.text().contains(env!("CARGO_PKG_VERSION")) && !page.text().contains(env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(
        site.send(ask(Method::HEAD, "/"), Body::empty()).await.status,
        StatusCode::OK
    );
    assert_eq!(
        site.send(ask(Method::POST, "/"), Body::empty()).await.error(),
        (405, "UNSUPPORTED".into())
    );
}

/// regctl understands `0-0` as one byte, and then sends the second one again and again.
#[tokio::test]
async fn an_empty_upload_reports_an_empty_range() {
    let site = Site::new();
    let begun = site
        .send(ask(Method::POST, "/v2/open/a/blobs/uploads/"), Body::empty())
        .await;
    let location = begun.header("location");
    let status = site.get(location).await;
    assert_eq!(
        (status.status, status.header("range")),
        (StatusCode::NO_CONTENT, "0--1")
    );
    let ahead = site
        .send(ask(Method::PATCH, location).header("content-range", "1-2"), "bc")
        .await;
    assert_eq!(
        (ahead.status, ahead.header("range")),
        (StatusCode::RANGE_NOT_SATISFIABLE, "0--1")
    );
    assert_eq!(ahead.header("location"), location);
    let empty = site.send(ask(Method::PATCH, location), "").await;
    assert_eq!(
        (empty.status, empty.header("range")),
        (StatusCode::ACCEPTED, "0-0")
    );
    let first = site
        .send(ask(Method::PATCH, location).header("content-range", "0-0"), "a")
        .await;
    assert_eq!(
        (first.status, first.header("range")),
        (StatusCode::ACCEPTED, "0-0")
    );
    assert_eq!(site.get(location).await.header("range"), "0-0");
}

#[tokio::test]
async fn a_range_of_an_empty_blob_is_all_of_it() {
    let site = Site::new();
    site.push_blob("open/a", "").await;
    let path = format!("/v2/open/a/blobs/{}", sha256(""));
    for range in ["bytes=0-", "bytes=0-1023", "bytes=-10"] {
        let answer = site
            .send(ask(Method::GET, &path).header("range", range), Body::empty())
            .await;
        assert_eq!(
            (
                answer.status,
                answer.text().as_str(),
                answer.header("content-length")
            ),
            (StatusCode::OK, "", "0"),
            "{range}"
        );
    }
    let beyond = site
        .send(ask(Method::GET, &path).header("range", "bytes=1-"), Body::empty())
        .await;
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */0")
    );
}

#[tokio::test]
async fn a_reference_is_a_tag_or_a_digest() {
    let site = Site::new();
    for (method, reference, expected) in [
        (Method::GET, ".INVALID", (404, "MANIFEST_UNKNOWN")),
        (Method::PUT, ".INVALID", (400, "MANIFEST_INVALID")),
        (Method::GET, "sha256:baddigeststring", (400, "DIGEST_INVALID")),
        (Method::PUT, "sha256:baddigeststring", (400, "DIGEST_INVALID")),
        (Method::PUT, "foo:bar", (400, "DIGEST_INVALID")),
        (Method::GET, "v%20", (404, "MANIFEST_UNKNOWN")),
        (Method::PUT, "v%25", (400, "NAME_INVALID")),
    ] {
        let answer = site
            .send(
                ask(method, &format!("/v2/open/a/manifests/{reference}")),
                Body::empty(),
            )
            .await;
        assert_eq!(answer.error(), (expected.0, expected.1.into()), "{reference}");
    }
}

#[tokio::test]
async fn a_request_names_exactly_one_host() {
    let site = Site::new();
    let two = ask(Method::GET, "/v2/open/a/tags/list").header("host", "other.example");
    let answer = site.send(two, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(!answer.header("x-request-id").is_empty());
    let none = Request::builder().uri("/v2/");
    assert_eq!(
        site.send(none, Body::empty()).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn unknown_paths_are_404_and_unknown_methods_405() {
    let site = Site::new();
    for path in ["/v1/", "/v2/open/a", "/favicon.ico"] {
        assert_eq!(
            site.get(path).await.error(),
            (404, "UNSUPPORTED".into()),
            "{path}"
        );
    }
    let blob = format!("/v2/open/a/blobs/{}", sha256("x"));
    for (method, path, allow) in [
        (Method::POST, "/v2/", "GET, HEAD"),
        (Method::DELETE, "/v2/_catalog", "GET, HEAD"),
        (Method::PUT, "/v2/token", "GET, POST"),
        (Method::POST, "/v2/open/a/manifests/v1", "GET, HEAD, PUT, DELETE"),
        (Method::PUT, blob.as_str(), "GET, HEAD, DELETE"),
        (Method::GET, "/v2/open/a/blobs/uploads/", "POST"),
        (
            Method::POST,
            "/v2/open/a/blobs/uploads/x",
            "GET, HEAD, PATCH, PUT, DELETE",
        ),
        (Method::POST, "/v2/open/a/tags/list", "GET, HEAD"),
    ] {
        let answer = site.send(ask(method, path), Body::empty()).await;
        assert_eq!(answer.error(), (405, "UNSUPPORTED".into()), "{path}");
        assert_eq!(answer.header("allow"), allow);
    }
}

#[tokio::test]
async fn a_manifest_has_at_most_4_mib() {
    let site = Site::new();
    for (length, announced) in [
        (5 * 1024 * 1024, false),
        (5 * 1024 * 1024, true),
        (40 * 1024 * 1024, true),
        (40 * 1024 * 1024, false),
    ] {
        let mut request = ask(Method::PUT, "/v2/open/a/manifests/v1").header("content-type", IMAGE);
        if announced {
            request = request.header("content-length", length.to_string());
        }
        let answer = site.send(request, vec![b' '; length]).await;
        assert_eq!(answer.error(), (413, "SIZE_INVALID".into()));
    }
    let padding = "x".repeat(3_900_000);
    assert_eq!(
        site.push_image("open/a", "v1", json!({"annotations": {"k": padding}}))
            .await
            .status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn an_invalid_manifest_is_400_and_missing_content_is_named() {
    let site = Site::new();
    let put = || ask(Method::PUT, "/v2/open/a/manifests/v1").header("content-type", IMAGE);
    for body in ["", "{", "{}", "[]"] {
        assert_eq!(
            site.send(put(), body).await.error(),
            (400, "MANIFEST_INVALID".into()),
            "{body}"
        );
    }
    let config = sha256("c");
    let layer = sha256("l");
    let mut manifest = image(&config);
    manifest["layers"] = json!([{"mediaType": "application/x", "digest": layer, "size": 1}]);
    let answer = site.send(put(), manifest.to_string()).await;
    assert_eq!(answer.error(), (404, "MANIFEST_BLOB_UNKNOWN".into()));
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    let missing: Vec<_> = errors
        .iter()
        .map(|error| error["detail"]["digest"].as_str().unwrap())
        .collect();
    assert_eq!(missing, [config, layer]);
    site.push_blob("open/a", "{}").await;
    let manifest = image(&sha256("{}")).to_string();
    let wrong =
        ask(Method::PUT, &format!("/v2/open/a/manifests/{}", sha256("other"))).header("content-type", IMAGE);
    assert_eq!(
        site.send(wrong, manifest.clone()).await.error(),
        (400, "DIGEST_INVALID".into())
    );
    let docker = ask(Method::PUT, "/v2/open/a/manifests/v1").header("content-type", "application/json");
    assert_eq!(
        site.send(docker, manifest).await.error(),
        (400, "MANIFEST_INVALID".into())
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_a_blob() {
    use futures_util::stream;
    let site = Site::new();
    let begun = site
        .send(ask(Method::POST, "/v2/open/a/blobs/uploads/"), Body::empty())
        .await;
    let broken = || {
        let pieces: [Result<Bytes, std::io::Error>; 2] = [
            Ok(Bytes::from_static(b"abc")),
            Err(std::io::ErrorKind::BrokenPipe.into()),
        ];
        Body::from_stream(stream::iter(pieces))
    };
    let answer = site
        .send(ask(Method::PATCH, begun.header("location")), broken())
        .await;
    assert_eq!(answer.error(), (400, "BLOB_UPLOAD_INVALID".into()));
    assert_eq!(
        site.get(begun.header("location")).await.header("range"),
        "0-2",
        "what arrived is kept"
    );
    let manifest = site
        .send(
            ask(Method::PUT, "/v2/open/a/manifests/v1").header("content-type", IMAGE),
            broken(),
        )
        .await;
    assert_eq!(manifest.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_body_that_stalls_is_408_and_what_arrived_is_kept() {
    use futures_util::stream;
    let site = Site::new();
    let begun = site
        .send(ask(Method::POST, "/v2/open/a/blobs/uploads/"), Body::empty())
        .await;
    let location = begun.header("location");
    let silent = |first: &'static str| {
        let stalled = Stalled::Silent {
            after: Duration::from_secs(60),
        };
        let pieces: [Result<Bytes, Stalled>; 2] = [Ok(Bytes::from_static(first.as_bytes())), Err(stalled)];
        Body::from_stream(stream::iter(pieces))
    };
    let answer = site.send(ask(Method::PATCH, location), silent("abc")).await;
    assert_eq!(answer.error(), (408, "BLOB_UPLOAD_INVALID".into()));
    let digest = sha256("abcdef");
    let answer = site
        .send(
            ask(Method::PUT, &format!("{location}?digest={digest}")),
            silent("de"),
        )
        .await;
    assert_eq!(answer.error(), (408, "BLOB_UPLOAD_INVALID".into()));
    assert_eq!(
        site.get(location).await.header("range"),
        "0-4",
        "what arrived is kept"
    );
    assert_eq!(
        site.send(ask(Method::PUT, &format!("{location}?digest={digest}")), "f")
            .await
            .status,
        StatusCode::CREATED
    );
    let manifest = site
        .send(
            ask(Method::PUT, "/v2/open/a/manifests/v1").header("content-type", IMAGE),
            silent("{"),
        )
        .await;
    assert_eq!(manifest.status, StatusCode::REQUEST_TIMEOUT);
}

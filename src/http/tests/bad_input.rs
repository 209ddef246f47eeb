//! What strangers send.

use super::*;
use crate::http::Stalled;

#[tokio::test]
async fn bad_names_are_400_before_policy_is_asked() {
    let site = Site::new();
    let long = "a".repeat(300);
    for name in ["secret%2Fa", "open/../secret/a", "open%2f..%2fsecret", "Open/a", long.as_str(), "open//a", "open/a%00"] {
        for path in [format!("/v2/{name}/manifests/v1"), format!("/v2/{name}/tags/list"), format!("/v2/{name}/blobs/uploads/")] {
            let method = if path.ends_with('/') { Method::POST } else { Method::GET };
            let answer = site.send(ask(method, &path), Body::empty()).await;
            assert_eq!(answer.error(), (400, "NAME_INVALID".into()), "{path}");
        }
    }
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
        (Method::GET, "v%31", (404, "MANIFEST_UNKNOWN")),
    ] {
        let answer = site.send(ask(method, &format!("/v2/open/a/manifests/{reference}")), Body::empty()).await;
        assert_eq!(answer.error(), (expected.0, expected.1.into()), "{reference}");
    }
}

#[tokio::test]
async fn there_is_one_host() {
    let site = Site::new();
    let two = ask(Method::GET, "/v2/open/a/tags/list").header("host", "other.example");
    let answer = site.send(two, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(!answer.header("x-request-id").is_empty());
    let none = Request::builder().uri("/v2/");
    assert_eq!(site.send(none, Body::empty()).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn paths_and_methods_that_there_are_not() {
    let site = Site::new();
    for path in ["/", "/v1/", "/v2/open/a", "/favicon.ico"] {
        assert_eq!(site.get(path).await.error(), (404, "UNSUPPORTED".into()), "{path}");
    }
    let blob = format!("/v2/open/a/blobs/{}", sha256("x"));
    for (method, path, allow) in [
        (Method::POST, "/v2/", "GET, HEAD"),
        (Method::DELETE, "/v2/_catalog", "GET, HEAD"),
        (Method::PUT, "/v2/token", "GET, POST"),
        (Method::POST, "/v2/open/a/manifests/v1", "GET, HEAD, PUT, DELETE"),
        (Method::PUT, blob.as_str(), "GET, HEAD, DELETE"),
        (Method::GET, "/v2/open/a/blobs/uploads/", "POST"),
        (Method::POST, "/v2/open/a/blobs/uploads/x", "GET, HEAD, PATCH, PUT, DELETE"),
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
    for (length, announced) in [(5 * 1024 * 1024, false), (5 * 1024 * 1024, true), (40 * 1024 * 1024, true), (40 * 1024 * 1024, false)] {
        let mut request = ask(Method::PUT, "/v2/open/a/manifests/v1").header("content-type", IMAGE);
        if announced {
            request = request.header("content-length", length.to_string());
        }
        let answer = site.send(request, vec![b' '; length]).await;
        assert_eq!(answer.error(), (413, "SIZE_INVALID".into()));
    }
    let padding = "x".repeat(3_900_000);
    assert_eq!(site.push_image("open/a", "v1", json!({"annotations": {"k": padding}})).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn what_is_no_manifest_is_400_and_what_needs_more_says_what() {
    let site = Site::new();
    let put = || ask(Method::PUT, "/v2/open/a/manifests/v1").header("content-type", IMAGE);
    for body in ["", "{", "{}", "[]"] {
        assert_eq!(site.send(put(), body).await.error(), (400, "MANIFEST_INVALID".into()), "{body}");
    }
    let (config, layer) = (sha256("c"), sha256("l"));
    let mut manifest = image(&config);
    manifest["layers"] = json!([{"mediaType": "application/x", "digest": layer, "size": 1}]);
    let answer = site.send(put(), manifest.to_string()).await;
    assert_eq!(answer.error(), (404, "MANIFEST_BLOB_UNKNOWN".into()));
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    let missing: Vec<_> = errors.iter().map(|error| error["detail"]["digest"].as_str().unwrap()).collect();
    assert_eq!(missing, [config, layer]);
    site.push_blob("open/a", "{}").await;
    let manifest = image(&sha256("{}")).to_string();
    let wrong = ask(Method::PUT, &format!("/v2/open/a/manifests/{}", sha256("other"))).header("content-type", IMAGE);
    assert_eq!(site.send(wrong, manifest.clone()).await.error(), (400, "DIGEST_INVALID".into()));
    let docker = ask(Method::PUT, "/v2/open/a/manifests/v1").header("content-type", "application/json");
    assert_eq!(site.send(docker, manifest).await.error(), (400, "MANIFEST_INVALID".into()));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_a_blob() {
    use futures_util::stream;
    let site = Site::new();
    let begun = site.send(ask(Method::POST, "/v2/open/a/blobs/uploads/"), Body::empty()).await;
    let broken = || {
        let pieces: [Result<Bytes, std::io::Error>; 2] = [Ok(Bytes::from_static(b"abc")), Err(std::io::ErrorKind::BrokenPipe.into())];
        Body::from_stream(stream::iter(pieces))
    };
    let answer = site.send(ask(Method::PATCH, begun.header("location")), broken()).await;
    assert_eq!(answer.error(), (400, "BLOB_UPLOAD_INVALID".into()));
    assert_eq!(site.get(begun.header("location")).await.header("range"), "0-2", "what arrived is kept");
    let manifest = site.send(ask(Method::PUT, "/v2/open/a/manifests/v1").header("content-type", IMAGE), broken()).await;
    assert_eq!(manifest.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_body_that_stalls_is_408_and_what_arrived_is_kept() {
    use futures_util::stream;
    let site = Site::new();
    let begun = site.send(ask(Method::POST, "/v2/open/a/blobs/uploads/"), Body::empty()).await;
    let location = begun.header("location");
    let silent = |first: &'static str| {
        let stalled = Stalled::Silent { after: Duration::from_secs(60) };
        let pieces: [Result<Bytes, Stalled>; 2] = [Ok(Bytes::from_static(first.as_bytes())), Err(stalled)];
        Body::from_stream(stream::iter(pieces))
    };
    let answer = site.send(ask(Method::PATCH, location), silent("abc")).await;
    assert_eq!(answer.error(), (408, "BLOB_UPLOAD_INVALID".into()));
    let digest = sha256("abcdef");
    let answer = site.send(ask(Method::PUT, &format!("{location}?digest={digest}")), silent("de")).await;
    assert_eq!(answer.error(), (408, "BLOB_UPLOAD_INVALID".into()));
    assert_eq!(site.get(location).await.header("range"), "0-4", "what arrived is kept");
    assert_eq!(site.send(ask(Method::PUT, &format!("{location}?digest={digest}")), "f").await.status, StatusCode::CREATED);
    let manifest = site.send(ask(Method::PUT, "/v2/open/a/manifests/v1").header("content-type", IMAGE), silent("{")).await;
    assert_eq!(manifest.status, StatusCode::REQUEST_TIMEOUT);
}

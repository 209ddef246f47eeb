//! Pulling: headers, ranges, conditions, HEAD, listings, deletion.

use super::*;
use crate::access::Maintenance;

#[tokio::test]
async fn a_manifest_comes_back_as_it_was_pushed() {
    let site = Site::new();
    let digest = site
        .push_image("open/a", "v1", json!({}))
        .await
        .header("docker-content-digest")
        .to_owned();
    for reference in ["v1", &digest] {
        let path = format!("/v2/open/a/manifests/{reference}");
        let answer = site.get(&path).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (StatusCode::OK, IMAGE)
        );
        assert_eq!(sha256(&answer.body), digest);
        assert_eq!(
            (answer.header("docker-content-digest"), answer.header("etag")),
            (digest.as_str(), format!("\"{digest}\"").as_str())
        );
        let head = site.send(ask(Method::HEAD, &path), Body::empty()).await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
        assert_eq!(head.header("content-length"), answer.body.len().to_string());
        assert_eq!(
            (head.header("docker-content-digest"), head.header("content-type")),
            (digest.as_str(), IMAGE)
        );
        for (known, status) in [
            (format!("\"{digest}\""), 304),
            ("*".into(), 304),
            ("\"x\"".into(), 200),
        ] {
            let answer = site
                .send(
                    ask(Method::GET, &path).header("if-none-match", known),
                    Body::empty(),
                )
                .await;
            assert_eq!(answer.status.as_u16(), status);
        }
    }
}

/// As in zot. A client that finds its own copy up to date uses it, so that is a pull too.
#[tokio::test]
async fn a_get_of_a_manifest_is_a_pull_and_a_head_is_none() {
    let site = Site::new();
    let pushed = site.push_image("open/a", "v1", json!({})).await;
    let digest = pushed.header("docker-content-digest").to_owned();
    let registry = &site.app.registry;
    let owner = Maintenance::by_the_stores_owner();
    let recorded = async || {
        let written = registry.write_pulls(&owner, || std::future::ready(())).await;
        written.unwrap()
    };
    recorded().await;
    let head = async |path: &str| site.send(ask(Method::HEAD, path), Body::empty()).await;
    for (path, known, expected) in [
        ("/v2/open/a/manifests/v1", "", 1),
        (&format!("/v2/open/a/manifests/{digest}"), "", 1),
        ("/v2/open/a/manifests/v1", "*", 1),
        ("/v2/open/a/manifests/v2", "", 0),
        ("/v2/secret/a/manifests/v1", "", 0),
    ] {
        site.hand.advance(Duration::from_secs(60));
        head(path).await;
        assert_eq!(recorded().await, 0, "{path}");
        let request = ask(Method::GET, path).header("if-none-match", known);
        site.send(request, Body::empty()).await;
        assert_eq!(recorded().await, expected, "{path} {known:?}");
    }
}

#[tokio::test]
async fn a_caller_that_may_push_sees_a_blob_only_while_its_bytes_exist() {
    let site = Site::on_disk();
    let content = "layer";
    let digest = sha256(content);
    let at = format!("/v2/public/a/blobs/uploads/?digest={digest}");
    let push = || {
        site.send(
            bearer(ask(Method::POST, &at), &site.token("builder")),
            Body::from(content),
        )
    };
    let path = format!("/v2/public/a/blobs/{digest}");
    let pusher = async || {
        site.send(
            bearer(ask(Method::HEAD, &path), &site.token("builder")),
            Body::empty(),
        )
        .await
        .status
        .as_u16()
    };
    let reader = async || {
        site.send(ask(Method::HEAD, &path), Body::empty())
            .await
            .status
            .as_u16()
    };
    assert_eq!((pusher().await, reader().await), (404, 404));
    assert_eq!(push().await.status, StatusCode::CREATED);
    assert_eq!((pusher().await, reader().await), (200, 200));
    let bytes = site.folder.as_ref().unwrap().path().join("d");
    let shard = std::fs::read_dir(bytes).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_dir_all(shard).unwrap();
    assert_eq!(pusher().await, 404, "the client must push the blob again");
    assert_eq!(push().await.status, StatusCode::CREATED);
    assert_eq!(
        (pusher().await, site.get(&path).await.text()),
        (200, content.to_owned())
    );
}

#[tokio::test]
async fn a_blob_whole_and_in_parts() {
    let site = Site::new();
    let content = "0123456789".repeat(60_000);
    let digest = site.push_blob("open/a", &content).await;
    let path = format!("/v2/open/a/blobs/{digest}");
    let whole = site.get(&path).await;
    assert_eq!((whole.status, whole.text() == content), (StatusCode::OK, true));
    assert_eq!(
        (whole.header("content-type"), whole.header("accept-ranges")),
        ("application/octet-stream", "bytes")
    );
    assert_eq!(
        (
            whole.header("content-length"),
            whole.header("docker-content-digest")
        ),
        ("600000", digest.as_str())
    );
    let head = site.send(ask(Method::HEAD, &path), Body::empty()).await;
    assert_eq!(
        (head.status, head.header("content-length"), head.body.len()),
        (StatusCode::OK, "600000", 0)
    );

    for (range, part, text) in [
        ("bytes=0-3", "bytes 0-3/600000", "0123"),
        ("bytes=-2", "bytes 599998-599999/600000", "89"),
        ("bytes=599999-", "bytes 599999-599999/600000", "9"),
        ("bytes=599998-900000", "bytes 599998-599999/600000", "89"),
    ] {
        let answer = site
            .send(ask(Method::GET, &path).header("range", range), Body::empty())
            .await;
        assert_eq!(
            (answer.status, answer.header("content-range")),
            (StatusCode::PARTIAL_CONTENT, part)
        );
        assert_eq!(
            (answer.text().as_str(), answer.header("content-length")),
            (text, text.len().to_string().as_str())
        );
    }
    let beyond = site
        .send(
            ask(Method::GET, &path).header("range", "bytes=600000-"),
            Body::empty(),
        )
        .await;
    assert_eq!(
        (beyond.status.as_u16(), beyond.header("content-range")),
        (416, "bytes */600000")
    );
    for (validator, status) in [(format!("\"{digest}\""), 206), ("\"x\"".to_owned(), 200)] {
        let request = ask(Method::GET, &path)
            .header("range", "bytes=0-3")
            .header("if-range", validator);
        assert_eq!(site.send(request, Body::empty()).await.status.as_u16(), status);
    }
    let known = ask(Method::GET, &path).header("if-none-match", format!("\"{digest}\""));
    assert_eq!(
        site.send(known, Body::empty()).await.status,
        StatusCode::NOT_MODIFIED
    );
    assert_eq!(
        site.get(&format!("/v2/open/b/blobs/{digest}")).await.error(),
        (404, "BLOB_UNKNOWN".into()),
        "held elsewhere"
    );
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    let site = Site::new();
    let path = format!("/v2/open/a/blobs/{}", site.push_blob("open/a", "").await);
    let answer = site.get(&path).await;
    assert_eq!(
        (answer.status, answer.header("content-length"), answer.body.len()),
        (StatusCode::OK, "0", 0)
    );
}

#[tokio::test]
async fn tags_in_pages() {
    let site = Site::new();
    for tag in ["b", "a", "C", "d"] {
        site.push_image("open/a", tag, json!({})).await;
    }
    let list = |query: &str| format!("/v2/open/a/tags/list{query}");
    let all = site.get(&list("")).await;
    assert_eq!(
        (all.json(), all.header("link")),
        (json!({"name": "open/a", "tags": ["C", "a", "b", "d"]}), "")
    );
    let first = site.get(&list("?n=2")).await;
    assert_eq!(first.json()["tags"], json!(["C", "a"]));
    assert_eq!(
        first.header("link"),
        "</v2/open/a/tags/list?last=a&n=2>; rel=\"next\""
    );
    assert_eq!(
        site.get(&list("?n=2&last=a")).await.json()["tags"],
        json!(["b", "d"])
    );
    let none = site.get(&list("?n=0")).await;
    assert_eq!(
        (none.json()["tags"].clone(), none.header("link")),
        (json!([]), "")
    );
    for bad in ["?n=-1", "?n=x", "?n="] {
        assert_eq!(
            site.get(&list(bad)).await.status,
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }
    assert_eq!(
        site.get("/v2/open/none/tags/list").await.error(),
        (404, "NAME_UNKNOWN".into())
    );
}

#[tokio::test]
async fn referrers_of_nothing_are_an_empty_index() {
    let site = Site::new();
    let answer = site
        .get(&format!("/v2/open/none/referrers/{}", sha256("x")))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    let index = "application/vnd.oci.image.index.v1+json";
    assert_eq!(
        answer.json(),
        json!({"schemaVersion": 2, "mediaType": index, "manifests": []})
    );
    assert_eq!(
        site.get("/v2/open/a/referrers/sha256:bad").await.error(),
        (400, "DIGEST_INVALID".into())
    );
}

#[tokio::test]
async fn a_deletion_is_202_and_the_content_is_then_unknown() {
    let site = Site::new();
    let digest = site
        .push_image("open/a", "v1", json!({}))
        .await
        .header("docker-content-digest")
        .to_owned();
    site.push_image("open/a", "v2", json!({})).await;
    let config = format!("/v2/open/a/blobs/{}", sha256("{}"));
    let delete = async |path: &str| site.send(ask(Method::DELETE, path), Body::empty()).await;
    assert_eq!(
        delete(&config).await.error(),
        (405, "DENIED".into()),
        "a manifest needs it"
    );
    assert_eq!(
        delete("/v2/open/a/manifests/v1").await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        site.get("/v2/open/a/manifests/v1").await.error(),
        (404, "MANIFEST_UNKNOWN".into())
    );
    assert_eq!(site.get("/v2/open/a/manifests/v2").await.status, StatusCode::OK);
    assert_eq!(
        delete(&format!("/v2/open/a/manifests/{digest}")).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        site.get("/v2/open/a/manifests/v2").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(delete(&config).await.status, StatusCode::ACCEPTED);
    assert_eq!(site.get(&config).await.status, StatusCode::NOT_FOUND);
}

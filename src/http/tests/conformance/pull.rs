//! OCI-9 to OCI-13: pulling.

use super::*;

points! {
    oci_9_a_manifest_is_served_as_it_was_pushed_with_its_type_length_and_digest,
    oci_10_the_digest_has_the_requested_algorithm,
    oci_11_the_stored_type_is_served_whatever_the_client_accepts,
    oci_12_a_blob_has_its_length_and_its_digest_and_is_served_only_where_it_is_linked,
    oci_13_ranges_and_conditions_of_a_blob,
}

async fn oci_9_a_manifest_is_served_as_it_was_pushed_with_its_type_length_and_digest(site: Site) {
    for media_type in [IMAGE, INDEX, DOCKER_IMAGE, DOCKER_LIST] {
        // A parser would not write these bytes.
        let text = format!(" {}\n\n", site.sample(media_type).await);
        for digest in digests(&text) {
            let with_parameter = format!("{media_type}; charset=utf-8");
            for (reference, header) in [(digest.as_str(), media_type), ("v1", &with_parameter)] {
                let path = format!("/v2/open/a/manifests/{reference}");
                let pushed = site
                    .send(
                        ask(Method::PUT, &path).header("content-type", header),
                        text.clone(),
                    )
                    .await;
                assert_eq!(
                    pushed.status,
                    StatusCode::CREATED,
                    "{media_type} {}",
                    pushed.text()
                );
                let got = site.get(&path).await;
                let head = site.ask(Method::HEAD, &path).await;
                assert_eq!((got.status, got.text()), (StatusCode::OK, text.clone()));
                assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
                let expected = if reference == "v1" {
                    sha256(&text)
                } else {
                    digest.clone()
                };
                for answer in [got, head] {
                    assert_eq!(answer.header("content-type"), media_type);
                    assert_eq!(answer.header("content-length"), text.len().to_string());
                    assert_eq!(answer.header("docker-content-digest"), expected);
                    assert_eq!(answer.header("etag"), format!("\"{expected}\""));
                }
                conditions(&site, &path, &expected).await;
            }
        }
    }
    assert_eq!(
        site.get("/v2/open/a/manifests/none").await.error(),
        (404, "MANIFEST_UNKNOWN".into())
    );
    assert_eq!(
        site.get("/v2/open/none/manifests/v1").await.error(),
        (404, "NAME_UNKNOWN".into())
    );
}

async fn oci_10_the_digest_has_the_requested_algorithm(site: Site) {
    for digest in digests("content") {
        let closed = site
            .send(
                ask(Method::PUT, &format!("{}?digest={digest}", site.begin("").await)),
                "content",
            )
            .await;
        created(&closed, &digest);
        let posted = site
            .send(
                ask(
                    Method::POST,
                    &format!("/v2/open/b/blobs/uploads/?digest={digest}"),
                ),
                "content",
            )
            .await;
        created(&posted, &digest);
        let mounted = site
            .ask(
                Method::POST,
                &format!("/v2/open/c/blobs/uploads/?mount={digest}&from=open/a"),
            )
            .await;
        created(&mounted, &digest);
        for repository in ["open/a", "open/b", "open/c"] {
            let path = format!("/v2/{repository}/blobs/{digest}");
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(
                    site.ask(method, &path).await.header("docker-content-digest"),
                    digest
                );
            }
        }
    }
}

async fn oci_11_the_stored_type_is_served_whatever_the_client_accepts(site: Site) {
    let list = site.sample(DOCKER_LIST).await;
    site.put_manifest("v1", DOCKER_LIST, &list).await;
    for accept in [
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        IMAGE,
        "text/html",
        "*/*",
    ] {
        let answer = site
            .send(
                ask(Method::GET, "/v2/open/a/manifests/v1").header("accept", accept),
                Body::empty(),
            )
            .await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (StatusCode::OK, DOCKER_LIST),
            "{accept}"
        );
    }
}

async fn oci_12_a_blob_has_its_length_and_its_digest_and_is_served_only_where_it_is_linked(site: Site) {
    for text in ["", "content"] {
        for digest in digests(text) {
            site.send(
                ask(
                    Method::POST,
                    &format!("/v2/open/a/blobs/uploads/?digest={digest}"),
                ),
                text,
            )
            .await;
            let path = format!("/v2/open/a/blobs/{digest}");
            let got = site.get(&path).await;
            let head = site.ask(Method::HEAD, &path).await;
            assert_eq!((got.text().as_str(), head.body.len()), (text, 0));
            for answer in [got, head] {
                assert_eq!(
                    (answer.status, answer.header("content-type")),
                    (StatusCode::OK, "application/octet-stream")
                );
                assert_eq!(answer.header("content-length"), text.len().to_string());
                assert_eq!(
                    (
                        answer.header("docker-content-digest"),
                        answer.header("accept-ranges")
                    ),
                    (digest.as_str(), "bytes")
                );
            }
            assert_eq!(
                site.get(&format!("/v2/open/b/blobs/{digest}")).await.error(),
                (404, "BLOB_UNKNOWN".into())
            );
        }
    }
}

async fn oci_13_ranges_and_conditions_of_a_blob(site: Site) {
    let digest = site.push_blob("open/a", "0123456789").await;
    let path = format!("/v2/open/a/blobs/{digest}");
    let etag = format!("\"{digest}\"");
    for (range, status, part, text) in [
        ("bytes=2-4", 206, "bytes 2-4/10", "234"),
        ("bytes=7-", 206, "bytes 7-9/10", "789"),
        ("bytes=-3", 206, "bytes 7-9/10", "789"),
        ("bytes=8-99", 206, "bytes 8-9/10", "89"),
        ("bytes=0-0", 206, "bytes 0-0/10", "0"),
        ("bytes=0-1,4-5", 200, "", "0123456789"),
        ("lines=0-1", 200, "", "0123456789"),
        ("bytes=10-", 416, "bytes */10", ""),
        ("bytes=500-0", 416, "bytes */10", ""),
    ] {
        let answer = site
            .send(ask(Method::GET, &path).header("range", range), Body::empty())
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-range")),
            (status, part),
            "{range}"
        );
        if status != 416 {
            assert_eq!(
                (answer.text().as_str(), answer.header("content-length")),
                (text, text.len().to_string().as_str()),
                "{range}"
            );
        }
    }
    for (validator, status) in [(etag.as_str(), 206), ("\"other\"", 200)] {
        let request = ask(Method::GET, &path)
            .header("range", "bytes=0-1")
            .header("if-range", validator);
        assert_eq!(site.send(request, Body::empty()).await.status.as_u16(), status);
    }
    conditions(&site, &path, &digest).await;
}

/// Reads the content at `path`, which has this digest, with conditions (RFC 9110, 13.1.1, 13.1.2 and 13.2.2).
async fn conditions(site: &Site, path: &str, digest: &str) {
    let here = format!("\"{digest}\"");
    let other = format!("\"{}\"", sha256("something else"));
    let weak = format!("W/{here}");
    let several = format!("{other}, {here}");
    for (if_match, if_none_match, status) in [
        ("", here.as_str(), 304),
        ("", &weak, 304),
        ("", &several, 304),
        ("", "*", 304),
        ("", &other, 200),
        (&here, "", 200),
        (&several, "", 200),
        ("*", "", 200),
        (&other, "", 412),
        // `If-Match` compares strongly.
        (&weak, "", 412),
        // `If-Match` is evaluated first.
        (&other, &here, 412),
        (&here, &here, 304),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let mut request = ask(method, path);
            for (name, value) in [("if-match", if_match), ("if-none-match", if_none_match)] {
                if !value.is_empty() {
                    request = request.header(name, value);
                }
            }
            let answer = site.send(request, Body::empty()).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("etag")),
                (status, here.as_str()),
                "{if_match} {if_none_match}"
            );
        }
    }
}

//! OCI-14 to OCI-23: pushing blobs.

use super::*;

points! {
    oci_14_an_upload_starts_with_202_and_an_address_that_accepts_more_parameters,
    oci_15_a_blob_in_one_post,
    oci_16_sha512_is_announced_or_named_by_the_closing_put,
    oci_17_chunks_have_no_minimum_length,
    oci_18_chunks_in_order_and_streams,
    oci_19_the_closing_chunk_must_be_in_order,
    oci_20_the_status_of_an_upload,
    oci_21_the_end_of_an_upload,
    oci_22_an_upload_can_be_cancelled,
    oci_22_an_upload_expires_a_day_after_its_last_chunk,
    oci_23_mounts_from_a_repository_or_from_anywhere,
}

async fn oci_14_an_upload_starts_with_202_and_an_address_that_accepts_more_parameters(site: Site) {
    let begun = site.ask(Method::POST, "/v2/open/a/blobs/uploads/").await;
    assert_eq!(
        (begun.status, begun.header("range")),
        (StatusCode::ACCEPTED, "0-0")
    );
    let one = begun.header("location");
    assert_eq!(
        one,
        format!("/v2/open/a/blobs/uploads/{}", begun.header("docker-upload-uuid"))
    );
    assert_ne!(one, site.begin("").await);
    let digest = sha256("x");
    let closed = site
        .send(
            ask(Method::PUT, &format!("{one}?_state=abc&digest={digest}")),
            "x",
        )
        .await;
    created(&closed, &digest);
    assert_eq!(closed.header("location"), format!("/v2/open/a/blobs/{digest}"));
}

async fn oci_15_a_blob_in_one_post(site: Site) {
    for digest in digests("content") {
        let path = format!("/v2/open/a/blobs/uploads/?digest={digest}");
        let posted = site.send(ask(Method::POST, &path), "content").await;
        created(&posted, &digest);
        assert_eq!(site.get(posted.header("location")).await.text(), "content");
        assert_eq!(
            site.send(ask(Method::POST, &path), "other").await.error(),
            (400, "DIGEST_INVALID".into())
        );
    }
}

async fn oci_16_sha512_is_announced_or_named_by_the_closing_put(site: Site) {
    for query in ["?digest-algorithm=sha512", "?digest-algorithm=sha256", ""] {
        for digest in digests("content") {
            let upload = site.begin(query).await;
            assert_eq!(
                site.send(ask(Method::PATCH, &upload), "con").await.status,
                StatusCode::ACCEPTED
            );
            created(
                &site
                    .send(ask(Method::PUT, &format!("{upload}?digest={digest}")), "tent")
                    .await,
                &digest,
            );
        }
    }
    let unknown = site
        .ask(Method::POST, "/v2/open/a/blobs/uploads/?digest-algorithm=md5")
        .await;
    assert_eq!(unknown.error(), (400, "DIGEST_INVALID".into()));
}

async fn oci_17_chunks_have_no_minimum_length(site: Site) {
    let begun = site.ask(Method::POST, "/v2/open/a/blobs/uploads/").await;
    assert_eq!(begun.header("oci-chunk-min-length"), "");
    for (index, piece) in ["a", "b", "c"].into_iter().enumerate() {
        let request =
            ask(Method::PATCH, begun.header("location")).header("content-range", format!("{index}-{index}"));
        assert_eq!(site.send(request, piece).await.status, StatusCode::ACCEPTED);
    }
    let digest = sha256("abc");
    created(
        &site
            .ask(
                Method::PUT,
                &format!("{}?digest={digest}", begun.header("location")),
            )
            .await,
        &digest,
    );
}

async fn oci_18_chunks_in_order_and_streams(site: Site) {
    let upload = site.begin("").await;
    let chunk = |range: &str| ask(Method::PATCH, &upload).header("content-range", range);
    assert_eq!(
        site.send(chunk("1-3"), "abc").await.error(),
        (416, "BLOB_UPLOAD_INVALID".into())
    );
    let first = site.send(chunk("0-2").header("content-length", "3"), "abc").await;
    assert_eq!(
        (first.status, first.header("range"), first.header("location")),
        (StatusCode::ACCEPTED, "0-2", upload.as_str())
    );
    let again = site.send(chunk("0-2"), "abc").await;
    assert_eq!(
        (again.error(), again.header("range")),
        ((416, "BLOB_UPLOAD_INVALID".into()), "0-2")
    );
    assert_eq!(
        site.send(chunk("3-5").header("content-length", "2"), "de")
            .await
            .error(),
        (400, "SIZE_INVALID".into())
    );
    assert_eq!(
        site.send(chunk("3-5"), "de").await.error(),
        (400, "SIZE_INVALID".into())
    );
    assert_eq!(
        site.send(chunk("bytes 3-4"), "de").await.error(),
        (400, "BLOB_UPLOAD_INVALID".into())
    );
    let streamed = site.send(ask(Method::PATCH, &upload), "defg").await;
    assert_eq!(
        (streamed.status, streamed.header("range")),
        (StatusCode::ACCEPTED, "0-6")
    );
    let digest = sha256("abcdefg");
    created(
        &site.ask(Method::PUT, &format!("{upload}?digest={digest}")).await,
        &digest,
    );
}

async fn oci_19_the_closing_chunk_must_be_in_order(site: Site) {
    let upload = site.begin("").await;
    site.send(ask(Method::PATCH, &upload), "abc").await;
    let close = |range: &str| {
        ask(Method::PUT, &format!("{upload}?digest={}", sha256("abcde"))).header("content-range", range)
    };
    let wrong = site.send(close("0-1"), "de").await;
    assert_eq!(
        (wrong.error(), wrong.header("range")),
        ((416, "BLOB_UPLOAD_INVALID".into()), "0-2")
    );
    created(&site.send(close("3-4"), "de").await, &sha256("abcde"));
}

async fn oci_20_the_status_of_an_upload(site: Site) {
    let upload = site.begin("").await;
    for (piece, range) in [("", "0--1"), ("abc", "0-2")] {
        site.send(ask(Method::PATCH, &upload), piece).await;
        let status = site.get(&upload).await;
        assert_eq!(
            (status.status, status.header("range")),
            (StatusCode::NO_CONTENT, range)
        );
        assert_eq!(status.header("location"), upload);
    }
    for unknown in [
        format!("/v2/open/a/blobs/uploads/{}", "0".repeat(32)),
        "/v2/open/a/blobs/uploads/x".into(),
        upload.replace("/a/", "/b/"),
    ] {
        assert_eq!(
            site.get(&unknown).await.error(),
            (404, "BLOB_UPLOAD_UNKNOWN".into()),
            "{unknown}"
        );
    }
}

async fn oci_21_the_end_of_an_upload(site: Site) {
    let upload = site.begin("").await;
    assert_eq!(
        site.send(ask(Method::PUT, &upload), "abc").await.error(),
        (400, "DIGEST_INVALID".into()),
        "no digest"
    );
    let wrong = site
        .send(
            ask(Method::PUT, &format!("{upload}?digest={}", sha256("other"))),
            "abc",
        )
        .await;
    assert_eq!(wrong.error(), (400, "DIGEST_INVALID".into()));
    assert_eq!(
        wrong.json()["errors"][0]["detail"],
        json!({"expected": sha256("other"), "found": sha256("abc")})
    );
    assert_eq!(
        site.get(&upload).await.status,
        StatusCode::NOT_FOUND,
        "a failed upload has ended"
    );
    let digest = sha256("");
    created(
        &site
            .ask(Method::PUT, &format!("{}?digest={digest}", site.begin("").await))
            .await,
        &digest,
    );
}

async fn oci_22_an_upload_can_be_cancelled(site: Site) {
    let upload = site.begin("").await;
    site.send(ask(Method::PATCH, &upload), "abc").await;
    assert_eq!(
        site.ask(Method::DELETE, &upload).await.status,
        StatusCode::NO_CONTENT
    );
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        assert_eq!(
            site.ask(method, &upload).await.error(),
            (404, "BLOB_UPLOAD_UNKNOWN".into())
        );
    }
}

async fn oci_22_an_upload_expires_a_day_after_its_last_chunk(site: Site) {
    let upload = site.begin("").await;
    let hours = |hours: u64| site.hand.advance(Duration::from_secs(hours * 3600));
    hours(23);
    assert_eq!(
        site.send(ask(Method::PATCH, &upload), "abc").await.status,
        StatusCode::ACCEPTED
    );
    hours(23);
    assert_eq!(site.app.registry.expire_uploads().await.unwrap(), 0);
    assert_eq!(site.get(&upload).await.header("range"), "0-2");
    hours(1);
    let close = format!("{upload}?digest={}", sha256("abc"));
    for (method, path) in [
        (Method::GET, &upload),
        (Method::PATCH, &upload),
        (Method::PUT, &close),
        (Method::DELETE, &upload),
    ] {
        assert_eq!(
            site.ask(method, path).await.error(),
            (404, "BLOB_UPLOAD_UNKNOWN".into()),
            "even before it is cleared away"
        );
    }
    assert_eq!(site.app.registry.expire_uploads().await.unwrap(), 1);
    assert_eq!(
        site.get(&upload).await.error(),
        (404, "BLOB_UPLOAD_UNKNOWN".into())
    );
    assert_eq!(
        site.get("/v2/_catalog").await.json()["repositories"],
        json!([]),
        "the repository had only this upload"
    );
}

async fn oci_23_mounts_from_a_repository_or_from_anywhere(site: Site) {
    for digest in digests("layer") {
        site.send(
            ask(
                Method::POST,
                &format!("/v2/open/a/blobs/uploads/?digest={digest}"),
            ),
            "layer",
        )
        .await;
        let mount = async |query: String| {
            site.ask(Method::POST, &format!("/v2/open/m/blobs/uploads/?mount={query}"))
                .await
        };
        for query in [
            format!("{digest}&from=open/none"),
            format!("{}&from=open/a", sha256("none")),
            sha256("none"),
            "bad".into(),
        ] {
            let answer = mount(query.clone()).await;
            assert_eq!(
                (answer.status, answer.header("docker-content-digest")),
                (StatusCode::ACCEPTED, ""),
                "{query}"
            );
            assert_eq!(
                site.get(answer.header("location")).await.status,
                StatusCode::NO_CONTENT,
                "an upload begins instead"
            );
        }
        let mounted = mount(format!("{digest}&from=open/a")).await;
        created(&mounted, &digest);
        assert_eq!(site.get(mounted.header("location")).await.text(), "layer");
        let anywhere = site
            .ask(Method::POST, &format!("/v2/open/n/blobs/uploads/?mount={digest}"))
            .await;
        created(&anywhere, &digest);
    }
    // A source that the caller may not read looks like one without the blob.
    let hidden = sha256("hidden");
    let request = bearer(
        ask(
            Method::POST,
            &format!("/v2/team/a/blobs/uploads/?digest={hidden}"),
        ),
        &site.token("builder"),
    );
    assert_eq!(site.send(request, "hidden").await.status, StatusCode::CREATED);
    for query in [format!("{hidden}&from=team/a"), hidden] {
        let answer = site
            .ask(Method::POST, &format!("/v2/open/m/blobs/uploads/?mount={query}"))
            .await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
    }
}

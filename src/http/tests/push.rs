//! Pushing: all kinds of uploads, mounts, manifests and tags.

use super::*;

#[tokio::test]
async fn a_blob_in_chunks_with_status_in_between() {
    let site = Site::new();
    let begun = site
        .send(ask(Method::POST, "/v2/open/a/blobs/uploads/"), Body::empty())
        .await;
    assert_eq!(
        (begun.status, begun.header("range")),
        (StatusCode::ACCEPTED, "0-0")
    );
    let location = begun.header("location").to_owned();
    assert_eq!(
        location,
        format!("/v2/open/a/blobs/uploads/{}", begun.header("docker-upload-uuid"))
    );

    let chunk = |range: &str| ask(Method::PATCH, &location).header("content-range", range);
    let first = site.send(chunk("0-3"), "abcd").await;
    assert_eq!(
        (first.status, first.header("range"), first.header("location")),
        (StatusCode::ACCEPTED, "0-3", location.as_str())
    );
    let wrong = site.send(chunk("5-6"), "xy").await;
    assert_eq!(wrong.error(), (416, "BLOB_UPLOAD_INVALID".into()));
    assert_eq!(
        (wrong.header("range"), wrong.header("location")),
        ("0-3", location.as_str())
    );
    assert_eq!(
        site.send(chunk("bytes 4-5"), "xy").await.error(),
        (400, "BLOB_UPLOAD_INVALID".into())
    );
    assert_eq!(
        site.send(chunk("4-5").header("content-length", "3"), "xyz")
            .await
            .error(),
        (400, "SIZE_INVALID".into())
    );
    let status = site.get(&location).await;
    assert_eq!(
        (status.status, status.header("range"), status.header("location")),
        (StatusCode::NO_CONTENT, "0-3", location.as_str())
    );

    let digest = sha256("abcdef");
    let close = ask(Method::PUT, &format!("{location}?digest={digest}")).header("content-range", "4-5");
    let done = site.send(close, "ef").await;
    assert_eq!(
        (done.status, done.header("docker-content-digest")),
        (StatusCode::CREATED, digest.as_str())
    );
    assert_eq!(done.header("location"), format!("/v2/open/a/blobs/{digest}"));
    assert_eq!(site.get(done.header("location")).await.text(), "abcdef");
    assert_eq!(
        site.get(&location).await.error(),
        (404, "BLOB_UPLOAD_UNKNOWN".into())
    );
}

#[tokio::test]
async fn a_blob_in_one_request() {
    let site = Site::new();
    let good = sha256("abc");
    let long = sha512("abc");
    for digest in [&good, &long] {
        let answer = site
            .send(
                ask(
                    Method::POST,
                    &format!("/v2/open/a/blobs/uploads/?digest={digest}"),
                ),
                "abc",
            )
            .await;
        assert_eq!(
            (answer.status, answer.header("docker-content-digest")),
            (StatusCode::CREATED, digest.as_str())
        );
    }
    let wrong = site
        .send(
            ask(Method::POST, &format!("/v2/open/a/blobs/uploads/?digest={good}")),
            "abd",
        )
        .await;
    assert_eq!(wrong.error(), (400, "DIGEST_INVALID".into()));
    let bad = site
        .send(
            ask(Method::POST, "/v2/open/a/blobs/uploads/?digest=sha256:bad"),
            "abc",
        )
        .await;
    assert_eq!(bad.error(), (400, "DIGEST_INVALID".into()));
}

#[tokio::test]
async fn an_upload_can_announce_its_algorithm() {
    let site = Site::new();
    let begun = site
        .send(
            ask(Method::POST, "/v2/open/a/blobs/uploads/?digest-algorithm=sha512"),
            Body::empty(),
        )
        .await;
    let digest = sha512("abc");
    let done = site
        .send(
            ask(
                Method::PUT,
                &format!("{}?digest={digest}", begun.header("location")),
            ),
            "abc",
        )
        .await;
    assert_eq!(
        (done.status, done.header("docker-content-digest")),
        (StatusCode::CREATED, digest.as_str())
    );
    let unknown = site
        .send(
            ask(Method::POST, "/v2/open/a/blobs/uploads/?digest-algorithm=md5"),
            Body::empty(),
        )
        .await;
    assert_eq!(unknown.error(), (400, "DIGEST_INVALID".into()));
}

#[tokio::test]
async fn finishing_an_upload_needs_the_right_digest() {
    let site = Site::new();
    for (query, code) in [
        ("", "DIGEST_INVALID"),
        ("?digest=sha256:bad", "DIGEST_INVALID"),
        ("?digest=md5:x", "DIGEST_INVALID"),
    ] {
        let begun = site
            .send(ask(Method::POST, "/v2/open/a/blobs/uploads/"), Body::empty())
            .await;
        let answer = site
            .send(
                ask(Method::PUT, &format!("{}{query}", begun.header("location"))),
                "abc",
            )
            .await;
        assert_eq!(answer.error(), (400, code.into()), "{query}");
    }
    let begun = site
        .send(ask(Method::POST, "/v2/open/a/blobs/uploads/"), Body::empty())
        .await;
    let wrong = site
        .send(
            ask(
                Method::PUT,
                &format!("{}?digest={}", begun.header("location"), sha256("x")),
            ),
            "abc",
        )
        .await;
    assert_eq!(wrong.error(), (400, "DIGEST_INVALID".into()));
}

#[tokio::test]
async fn d_18_only_its_owner_can_use_an_upload_and_needs_only_create_to_cancel_it() {
    let create = PatternRules {
        default: vec![Action::Create],
        ..PatternRules::default()
    };
    let site = Site::with(vec![("**".into(), create)]);
    let owner = site.token("owner");
    let begun = site
        .send(
            bearer(ask(Method::POST, "/v2/a/blobs/uploads/"), &owner),
            Body::empty(),
        )
        .await;
    let location = begun.header("location").to_owned();
    let other = site.token("other");
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let answer = site
            .send(bearer(ask(method, &location), &other), Body::empty())
            .await;
        assert_eq!(answer.error(), (404, "BLOB_UPLOAD_UNKNOWN".into()));
    }
    for (method, status) in [(Method::GET, 204), (Method::DELETE, 204), (Method::GET, 404)] {
        assert_eq!(
            site.send(bearer(ask(method, &location), &owner), Body::empty())
                .await
                .status
                .as_u16(),
            status
        );
    }
}

#[tokio::test]
async fn a_mount_needs_a_source_that_the_caller_may_read_and_gives_no_hint() {
    let site = Site::new();
    let digest = site.push_blob("open/a", "shared").await;
    let hidden = sha256("hidden");
    let request = bearer(
        ask(
            Method::POST,
            &format!("/v2/team/a/blobs/uploads/?digest={hidden}"),
        ),
        &site.token("builder"),
    );
    assert_eq!(site.send(request, "hidden").await.status, StatusCode::CREATED);
    for (query, status) in [
        (format!("mount={digest}&from=open/a"), 201),
        (format!("mount={digest}"), 201),
        (format!("mount={digest}&from=open/none"), 202),
        (format!("mount={hidden}&from=open/a"), 202),
        (format!("mount={hidden}&from=team/a"), 202),
        (format!("mount={hidden}"), 202),
        (format!("mount={digest}&from=..%2Fa"), 202),
        ("mount=sha256:bad&from=open/a".to_owned(), 202),
    ] {
        let answer = site
            .send(
                ask(Method::POST, &format!("/v2/open/b/blobs/uploads/?{query}")),
                Body::empty(),
            )
            .await;
        assert_eq!(answer.status.as_u16(), status, "{query}");
        if status == 201 {
            assert_eq!(answer.header("location"), format!("/v2/open/b/blobs/{digest}"));
            assert_eq!(answer.header("docker-content-digest"), digest);
        } else {
            assert!(answer.header("location").starts_with("/v2/open/b/blobs/uploads/"));
        }
    }
    let denied = site
        .send(
            ask(
                Method::POST,
                &format!("/v2/team/b/blobs/uploads/?mount={digest}&from=open/a"),
            ),
            Body::empty(),
        )
        .await;
    assert_eq!(denied.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_manifest_with_its_headers() {
    let site = Site::new();
    let subject = sha256("nothing that is here");
    let answer = site
        .push_image(
            "open/a",
            "v1",
            json!({"subject": {"mediaType": IMAGE, "digest": subject, "size": 7}, "artifactType": "a/b+c"}),
        )
        .await;
    let digest = answer.header("docker-content-digest").to_owned();
    assert_eq!(
        (answer.status, answer.header("oci-subject")),
        (StatusCode::CREATED, subject.as_str())
    );
    assert_eq!(
        answer.header("location"),
        format!("/v2/open/a/manifests/{digest}")
    );

    let list = site.get(&format!("/v2/open/a/referrers/{subject}")).await;
    assert_eq!(
        list.header("content-type"),
        "application/vnd.oci.image.index.v1+json"
    );
    assert_eq!(
        (
            list.json()["manifests"][0]["digest"].as_str(),
            list.header("oci-filters-applied")
        ),
        (Some(digest.as_str()), "")
    );
    assert_eq!(list.json()["manifests"][0]["artifactType"], "a/b+c");
    for (filter, found) in [("a/b%2Bc", 1), ("a/b+c", 1), ("other/type", 0)] {
        let list = site
            .get(&format!("/v2/open/a/referrers/{subject}?artifactType={filter}"))
            .await;
        assert_eq!(list.header("oci-filters-applied"), "artifactType");
        assert_eq!(
            list.json()["manifests"].as_array().map(Vec::len),
            Some(found),
            "{filter}"
        );
    }
}

#[tokio::test]
async fn a_manifest_by_digest_can_bring_its_tags() {
    let site = Site::new();
    let manifest = image(&site.push_blob("open/a", "{}").await).to_string();
    let digest = sha512(&manifest);
    let put = |path: &str| ask(Method::PUT, path).header("content-type", IMAGE);
    let answer = site
        .send(
            put(&format!("/v2/open/a/manifests/{digest}?tag=one&tag=two")),
            manifest.clone(),
        )
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    assert_eq!(
        answer.headers.get_all("oci-tag").iter().collect::<Vec<_>>(),
        ["one", "two"]
    );
    assert_eq!(
        site.get("/v2/open/a/manifests/two")
            .await
            .header("docker-content-digest"),
        digest
    );
    let both = site
        .send(put("/v2/open/a/manifests/v1?tag=two"), manifest.clone())
        .await;
    assert_eq!(both.error(), (400, "MANIFEST_INVALID".into()));
    let many = format!("/v2/open/a/manifests/{digest}?{}", "tag=x&".repeat(100));
    assert_eq!(
        site.send(put(&many), manifest).await.status,
        StatusCode::URI_TOO_LONG
    );
}

#[tokio::test]
async fn if_one_of_several_tags_is_rejected_none_is_set() {
    let rules = PatternRules {
        anonymous: vec![Action::Read, Action::Create],
        ..PatternRules::default()
    };
    let site = Site::with(vec![("a/**".into(), rules)]);
    assert_eq!(
        site.push_image("a/b", "taken", json!({})).await.status,
        StatusCode::CREATED
    );
    let mut manifest = image(&site.push_blob("a/b", "{}").await);
    manifest["annotations"] = json!({"k": "v"});
    let manifest = manifest.to_string();
    let path = "/v2/a/b/manifests/";
    let digest = sha256(&manifest);
    let put = ask(Method::PUT, &format!("{path}{digest}?tag=free&tag=taken")).header("content-type", IMAGE);
    assert_eq!(
        site.send(put, manifest).await.error(),
        (401, "UNAUTHORIZED".into())
    );
    for reference in ["free", &digest] {
        assert_eq!(
            site.get(&format!("{path}{reference}")).await.status,
            StatusCode::NOT_FOUND,
            "{reference}"
        );
    }
}

#[tokio::test]
async fn d_23_a_tag_is_moved_only_with_update_and_made_only_with_create() {
    let rules = |actions: &[Action]| PatternRules {
        anonymous: actions.to_vec(),
        ..PatternRules::default()
    };
    let site = Site::with(vec![("a/**".into(), rules(&[Action::Read, Action::Create]))]);
    assert_eq!(
        site.push_image("a/b", "v1", json!({})).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        site.push_image("a/b", "v1", json!({})).await.status,
        StatusCode::CREATED,
        "a push of what is there needs only create"
    );
    let moved = site
        .push_image("a/b", "v1", json!({"annotations": {"k": "v"}}))
        .await;
    assert_eq!(
        moved.error(),
        (401, "UNAUTHORIZED".into()),
        "an anonymous caller is asked to log in"
    );
    let request =
        bearer(ask(Method::PUT, "/v2/a/b/manifests/v1"), &site.token("x")).header("content-type", IMAGE);
    assert_eq!(site.send(request, "{}").await.error(), (403, "DENIED".into()));
}

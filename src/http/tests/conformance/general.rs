//! OCI-1 to OCI-8 and OCI-43: rules for every request.

use super::*;

points! {
    oci_1_and_12_content_is_served_from_here_without_a_redirect,
    oci_2_points_that_the_specification_leaves_open_follow_rfc_9110,
    oci_3_the_base_identifies_a_registry,
    oci_4_names_are_checked,
    oci_5_a_reference_is_a_tag_or_a_digest,
    oci_6_digests_are_sha256_or_sha512_and_well_formed,
    oci_7_every_error_has_a_body_with_a_code_of_the_list,
    oci_8_warnings_are_for_users,
    oci_43_the_namespace_of_a_proxied_pull_is_accepted_and_confirmed_if_it_is_this_registry,
}

async fn oci_1_and_12_content_is_served_from_here_without_a_redirect(site: Site) {
    let digest = site.push_blob("open/a", "x").await;
    assert_eq!(
        site.get(&format!("/v2/open/a/blobs/{digest}")).await.status,
        StatusCode::OK
    );
}

async fn oci_2_points_that_the_specification_leaves_open_follow_rfc_9110(site: Site) {
    let digest = site.push_blob("open/a", "x").await;
    let path = format!("/v2/open/a/blobs/{digest}");
    let head = site.ask(Method::HEAD, &path).await;
    assert_eq!(
        (head.header("content-length"), head.body.len()),
        ("1", 0),
        "9.3.2: a HEAD has the headers of a GET"
    );
    let answer = site.ask(Method::PATCH, &path).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("allow")),
        (405, "GET, HEAD, DELETE"),
        "15.5.6"
    );
}

async fn oci_3_the_base_identifies_a_registry(site: Site) {
    let answer = site.get_as("anyone", "/v2/").await;
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "{}"));
    assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
    let anonymous = site.get("/v2/").await;
    assert_eq!(anonymous.error(), (401, "UNAUTHORIZED".into()));
    assert!(anonymous.header("www-authenticate").starts_with("Bearer realm="));
}

async fn oci_4_names_are_checked(site: Site) {
    for bad in ["A", "a__-b", "a..b", ".a", "a-", "a/", &"a".repeat(231)] {
        assert_eq!(
            site.get(&format!("/v2/{bad}/tags/list")).await.error(),
            (400, "NAME_INVALID".into()),
            "{bad}"
        );
    }
    let longest = format!("open/{}", "a".repeat(225));
    site.push_blob(&longest, "x").await;
    for good in ["open/a.b", "open/a__b", "open/a---b", "open/v2/manifests/blobs"] {
        site.push_blob(good, "x").await;
    }
}

async fn oci_5_a_reference_is_a_tag_or_a_digest(site: Site) {
    let manifest = site.sample(IMAGE).await;
    let longest = "a".repeat(128);
    for tag in ["_", "V1", "1.0-rc.1", longest.as_str()] {
        created(
            &site.put_manifest(tag, IMAGE, &manifest).await,
            &sha256(manifest.to_string()),
        );
    }
    for bad in [".a", "-a", &"a".repeat(129)] {
        assert_eq!(
            site.put_manifest(bad, IMAGE, &manifest).await.error(),
            (400, "MANIFEST_INVALID".into()),
            "{bad}"
        );
        assert_eq!(
            site.get(&format!("/v2/open/a/manifests/{bad}")).await.error(),
            (404, "MANIFEST_UNKNOWN".into()),
            "{bad}"
        );
    }
}

async fn oci_6_digests_are_sha256_or_sha512_and_well_formed(site: Site) {
    let upper = sha256("x").to_uppercase().replace("SHA256", "sha256");
    let blake3 = format!("blake3:{}", "a".repeat(64));
    for bad in [
        "sha256:baddigeststring",
        "sha256:",
        "sha512:aa",
        upper.as_str(),
        blake3.as_str(),
        "md5:00",
    ] {
        assert_eq!(
            site.put_manifest(bad, IMAGE, &json!({})).await.error(),
            (400, "DIGEST_INVALID".into()),
            "{bad}"
        );
        assert_eq!(
            site.get(&format!("/v2/open/a/manifests/{bad}")).await.error(),
            (400, "DIGEST_INVALID".into()),
            "{bad}"
        );
        assert_eq!(
            site.get(&format!("/v2/open/a/blobs/{bad}")).await.error(),
            (400, "DIGEST_INVALID".into()),
            "{bad}"
        );
        let closing = format!("{}?digest={bad}", site.begin("").await);
        assert_eq!(
            site.ask(Method::PUT, &closing).await.error(),
            (400, "DIGEST_INVALID".into()),
            "{bad}"
        );
    }
}

async fn oci_7_every_error_has_a_body_with_a_code_of_the_list(site: Site) {
    let manifest = site.sample(IMAGE).await.to_string();
    let here = sha256("{}");
    let none = sha256("none");
    site.send(
        ask(Method::PUT, "/v2/open/a/manifests/v1").header("content-type", IMAGE),
        manifest,
    )
    .await;
    let upload = format!("/v2/open/a/blobs/uploads/{}", "0".repeat(32));
    let open = site.begin("").await;
    for (method, path, header, expected) in [
        (
            Method::GET,
            format!("/v2/open/a/blobs/{none}"),
            None,
            (404, "BLOB_UNKNOWN"),
        ),
        (
            Method::PATCH,
            open.clone(),
            Some(("content-range", "x")),
            (400, "BLOB_UPLOAD_INVALID"),
        ),
        (Method::GET, upload, None, (404, "BLOB_UPLOAD_UNKNOWN")),
        (Method::PUT, open.clone(), None, (400, "DIGEST_INVALID")),
        (
            Method::PUT,
            "/v2/open/a/manifests/v1".into(),
            None,
            (400, "MANIFEST_INVALID"),
        ),
        (
            Method::GET,
            "/v2/open/a/manifests/none".into(),
            None,
            (404, "MANIFEST_UNKNOWN"),
        ),
        (Method::GET, "/v2/A/tags/list".into(), None, (400, "NAME_INVALID")),
        (
            Method::GET,
            "/v2/open/none/tags/list".into(),
            None,
            (404, "NAME_UNKNOWN"),
        ),
        (
            Method::PATCH,
            open,
            Some(("content-range", "7-9")),
            (416, "BLOB_UPLOAD_INVALID"),
        ),
        (
            Method::GET,
            format!("/v2/open/a/blobs/{here}"),
            Some(("range", "bytes=5-")),
            (416, "SIZE_INVALID"),
        ),
        (Method::GET, "/v2/".into(), None, (401, "UNAUTHORIZED")),
        (
            Method::DELETE,
            format!("/v2/open/a/blobs/{here}"),
            None,
            (405, "DENIED"),
        ),
        (
            Method::PUT,
            "/v2/open/a/tags/list".into(),
            None,
            (405, "UNSUPPORTED"),
        ),
        (
            Method::GET,
            "/v2/open/a/tags/list?n=x".into(),
            None,
            (400, "UNSUPPORTED"),
        ),
        (Method::GET, "/nothing".into(), None, (404, "UNSUPPORTED")),
    ] {
        let mut request = ask(method, &path);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = site.send(request, Body::empty()).await;
        assert_eq!(answer.error(), (expected.0, expected.1.into()), "{path}");
        let error = &answer.json()["errors"][0];
        assert!(
            error["message"].as_str().is_some_and(|text| !text.is_empty()) && error["detail"].is_object(),
            "{error}"
        );
    }
    let denied = site.get_as("anyone", "/v2/secret/a/tags/list").await;
    assert_eq!(denied.error(), (403, "DENIED".into()));
}

async fn oci_8_warnings_are_for_users(site: Site) {
    let path = "/v2/open/sparse/a/manifests/v1";
    let put = || ask(Method::PUT, path).header("content-type", IMAGE);
    let pushed = site.send(put(), image(&sha256("missing")).to_string()).await;
    assert_eq!(pushed.status, StatusCode::CREATED);
    let expected = format!(
        "299 - \"accepted, but 1 of the blobs and manifests that it refers to are missing: {}\"",
        sha256("missing")
    );
    assert_eq!(pushed.header("warning"), expected);
    let layers: Vec<Value> = (0..500)
        .map(|index| json!({"mediaType": "a/b", "digest": sha256(index.to_string()), "size": 1}))
        .collect();
    let mut large = image(&sha256("missing"));
    large["layers"] = json!(layers);
    let pushed = site.send(put(), large.to_string()).await;
    assert!(pushed.header("warning").starts_with("299 - \"accepted, but 501"));
    assert!(pushed.header("warning").len() <= 4096);
    assert_eq!(
        site.push_image("open/a", "v1", json!({})).await.header("warning"),
        ""
    );
}

async fn oci_43_the_namespace_of_a_proxied_pull_is_accepted_and_confirmed_if_it_is_this_registry(site: Site) {
    site.push_image("open/a", "v1", json!({})).await;
    for path in [
        "/v2/open/a/manifests/v1".to_owned(),
        format!("/v2/open/a/blobs/{}", sha256("{}")),
    ] {
        for (namespace, confirmed) in [("r.example:5000", "r.example:5000"), ("docker.io", "")] {
            let answer = site.get(&format!("{path}?ns={namespace}")).await;
            assert_eq!(
                (answer.status, answer.header("oci-namespace")),
                (StatusCode::OK, confirmed)
            );
        }
        assert_eq!(site.get(&path).await.header("oci-namespace"), "");
    }
}

//! OCI-24 to OCI-31: pushing manifests.

use super::*;

points! {
    oci_24_a_manifest_is_accepted_only_under_its_own_digest_and_type,
    oci_25_tags_come_with_a_push_by_digest,
    oci_26_manifests_of_4_mib_and_no_more,
    oci_27_a_manifest_may_refer_only_to_content_that_exists_with_few_exceptions,
    oci_27_a_sparse_repository_accepts_manifests_without_their_content,
    oci_28_unknown_members_and_types_and_nested_indexes_are_accepted,
    oci_29_only_oci_and_docker_types_are_accepted,
    oci_30_a_subject_is_confirmed_whether_it_exists_or_not,
    oci_31_tags_are_written_and_deleted_with_conditions,
}

async fn oci_24_a_manifest_is_accepted_only_under_its_own_digest_and_type(site: Site) {
    for media_type in [IMAGE, INDEX, DOCKER_IMAGE, DOCKER_LIST] {
        let manifest = site.sample(media_type).await;
        for digest in digests(&manifest.to_string()) {
            let pushed = site.put_manifest(&digest, media_type, &manifest).await;
            created(&pushed, &digest);
            assert_eq!(
                pushed.header("location"),
                format!("/v2/open/a/manifests/{digest}")
            );
        }
        for wrong in digests("other") {
            assert_eq!(
                site.put_manifest(&wrong, media_type, &manifest).await.error(),
                (400, "DIGEST_INVALID".into())
            );
        }
        let other = if media_type == IMAGE { DOCKER_IMAGE } else { IMAGE };
        assert_eq!(
            site.put_manifest("v1", other, &manifest).await.error(),
            (400, "MANIFEST_INVALID".into())
        );
    }
}

async fn oci_25_tags_come_with_a_push_by_digest(site: Site) {
    let manifest = site.sample(IMAGE).await;
    let many: Vec<String> = (0..10).map(|index| format!("t{index}")).collect();
    let query = format!("tag={}", many.join("&tag="));
    for digest in digests(&manifest.to_string()) {
        let pushed = site
            .put_manifest(&format!("{digest}?{query}"), IMAGE, &manifest)
            .await;
        created(&pushed, &digest);
        let tags: Vec<_> = pushed
            .headers
            .get_all("oci-tag")
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect();
        assert_eq!(tags, many);
        assert_eq!(
            site.get("/v2/open/a/manifests/t7")
                .await
                .header("docker-content-digest"),
            digest
        );
    }
    let digest = sha256(manifest.to_string());
    let too_many = format!("{digest}?tag=x{}", "&tag=x".repeat(32));
    assert_eq!(
        site.put_manifest(&too_many, IMAGE, &manifest).await.status,
        StatusCode::URI_TOO_LONG
    );
    assert_eq!(
        site.put_manifest("v1?tag=v2", IMAGE, &manifest).await.error(),
        (400, "MANIFEST_INVALID".into())
    );
    assert_eq!(
        site.put_manifest(&format!("{digest}?tag=.x"), IMAGE, &manifest)
            .await
            .error(),
        (400, "MANIFEST_INVALID".into())
    );
}

async fn oci_26_manifests_of_4_mib_and_no_more(site: Site) {
    const MOST: usize = 4 * 1024 * 1024;
    let mut manifest = site.sample(IMAGE).await;
    manifest["annotations"] = json!({"k": ""});
    let room = MOST - manifest.to_string().len();
    for (length, status) in [(room, 201), (room + 1, 413)] {
        manifest["annotations"]["k"] = json!("x".repeat(length));
        assert_eq!(
            site.put_manifest("v1", IMAGE, &manifest).await.status.as_u16(),
            status
        );
    }
    assert_eq!(site.get("/v2/open/a/manifests/v1").await.body.len(), MOST);
}

async fn oci_27_a_manifest_may_refer_only_to_content_that_exists_with_few_exceptions(site: Site) {
    for media_type in [IMAGE, DOCKER_IMAGE] {
        let mut manifest = site.sample(media_type).await;
        let missing = [sha256("1"), sha512("2")];
        manifest["layers"] = json!(
            missing
                .each_ref()
                .map(|digest| json!({"mediaType": "a/b", "digest": digest, "size": 1}))
        );
        let refused = site.put_manifest("v1", media_type, &manifest).await;
        assert_eq!(refused.error(), (404, "MANIFEST_BLOB_UNKNOWN".into()));
        let errors = refused.json()["errors"].as_array().unwrap().clone();
        let mut named: Vec<_> = errors
            .iter()
            .map(|error| error["detail"]["digest"].as_str().unwrap().to_owned())
            .collect();
        named.sort();
        assert_eq!(named, missing);
        manifest["layers"] = json!([
            {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": sha256("1"), "size": 1},
            {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": sha256("2"), "size": 1},
        ]);
        manifest["subject"] = json!({"mediaType": IMAGE, "digest": sha256("absent"), "size": 1});
        assert_eq!(
            site.put_manifest("v1", media_type, &manifest).await.status,
            StatusCode::CREATED
        );
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": IMAGE, "digest": sha256("none"), "size": 1}]});
    assert_eq!(
        site.put_manifest("v2", INDEX, &index).await.error(),
        (404, "MANIFEST_BLOB_UNKNOWN".into())
    );
}

async fn oci_27_a_sparse_repository_accepts_manifests_without_their_content(site: Site) {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": IMAGE, "digest": sha256("none"), "size": 1}]});
    for (name, media_type, manifest) in [
        ("image", IMAGE, image(&sha256("missing"))),
        ("index", INDEX, index),
    ] {
        let path = format!("/v2/open/sparse/a/manifests/{name}");
        let pushed = site
            .send(
                ask(Method::PUT, &path).header("content-type", media_type),
                manifest.to_string(),
            )
            .await;
        created(&pushed, &sha256(manifest.to_string()));
        assert_eq!(site.get(&path).await.text(), manifest.to_string());
    }
}

async fn oci_28_unknown_members_and_types_and_nested_indexes_are_accepted(site: Site) {
    let mut manifest = site.sample(IMAGE).await;
    manifest["config"]["mediaType"] = json!("application/vnd.unheard.of+json");
    manifest["artifactType"] = json!("application/vnd.example");
    manifest["org.example.member"] = json!({"any": ["thing"]});
    let child = site
        .put_manifest(&sha256(manifest.to_string()), IMAGE, &manifest)
        .await;
    created(&child, &sha256(manifest.to_string()));
    let index = |child: &str, media_type: &str, size: usize| {
        let children = json!([{"mediaType": media_type, "digest": child, "size": size}]);
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children, "artifactType": "a/b", "org.example": 1})
    };
    let inner = index(
        child.header("docker-content-digest"),
        IMAGE,
        manifest.to_string().len(),
    );
    created(
        &site.put_manifest("inner", INDEX, &inner).await,
        &sha256(inner.to_string()),
    );
    let mut outer = index(&sha256(inner.to_string()), INDEX, inner.to_string().len());
    outer["subject"] = json!({"mediaType": IMAGE, "digest": sha256("absent"), "size": 1});
    created(
        &site.put_manifest("outer", INDEX, &outer).await,
        &sha256(outer.to_string()),
    );
    let empty = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    created(
        &site.put_manifest("empty", INDEX, &empty).await,
        &sha256(empty.to_string()),
    );
}

async fn oci_29_only_oci_and_docker_types_are_accepted(site: Site) {
    for media_type in [IMAGE, INDEX, DOCKER_IMAGE, DOCKER_LIST] {
        let manifest = site.sample(media_type).await;
        created(
            &site.put_manifest("v1", media_type, &manifest).await,
            &sha256(manifest.to_string()),
        );
    }
    let schema_1 = json!({"schemaVersion": 1, "name": "a", "tag": "v1", "fsLayers": [], "history": [], "signatures": []});
    for media_type in [
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/json",
    ] {
        assert_eq!(
            site.put_manifest("v2", media_type, &schema_1).await.error(),
            (400, "MANIFEST_INVALID".into()),
            "{media_type}"
        );
    }
}

async fn oci_30_a_subject_is_confirmed_whether_it_exists_or_not(site: Site) {
    let here = site
        .push_image("open/a", "v1", json!({}))
        .await
        .header("docker-content-digest")
        .to_owned();
    let size = image(&sha256("{}")).to_string().len();
    for subject in [here, sha256("absent"), sha512("absent")] {
        for media_type in [IMAGE, INDEX, DOCKER_IMAGE, DOCKER_LIST] {
            let mut manifest = site.sample(media_type).await;
            manifest["subject"] = json!({"mediaType": IMAGE, "digest": subject, "size": size});
            let digest = sha256(manifest.to_string());
            for reference in [
                "referrer".to_owned(),
                digest.clone(),
                format!("{digest}?tag=other"),
            ] {
                let pushed = site.put_manifest(&reference, media_type, &manifest).await;
                created(&pushed, &digest);
                assert_eq!(pushed.header("oci-subject"), subject);
            }
        }
    }
    assert_eq!(
        site.push_image("open/a", "v1", json!({}))
            .await
            .header("oci-subject"),
        ""
    );
}

async fn oci_31_tags_are_written_and_deleted_with_conditions(site: Site) {
    let one = site.sample(IMAGE).await;
    let two = site.sample(INDEX).await;
    let tags = [sha256(one.to_string()), sha256(two.to_string())].map(|digest| format!("\"{digest}\""));
    let put = async |manifest: &Value, header: &str, value: &str| {
        let media_type = manifest["mediaType"].as_str().unwrap();
        let request = ask(Method::PUT, "/v2/open/a/manifests/v1")
            .header("content-type", media_type)
            .header(header, value);
        site.send(request, manifest.to_string()).await
    };
    assert_eq!(
        put(&one, "if-match", "*").await.error(),
        (412, "DENIED".into()),
        "there is nothing yet"
    );
    assert_eq!(
        site.get("/v2/open/a/manifests/v1").await.status,
        StatusCode::NOT_FOUND
    );
    let made = put(&one, "if-none-match", "*").await;
    assert_eq!(
        (made.status, made.header("etag")),
        (StatusCode::CREATED, tags[0].as_str())
    );
    let refused = put(&two, "if-none-match", "*").await;
    assert_eq!(
        (refused.error(), refused.header("etag")),
        ((412, "DENIED".into()), tags[0].as_str())
    );
    assert_eq!(put(&two, "if-match", &tags[1]).await.status.as_u16(), 412);
    assert_eq!(
        site.get("/v2/open/a/manifests/v1").await.text(),
        one.to_string(),
        "nothing has changed"
    );
    assert_eq!(put(&two, "if-match", &tags[0]).await.status, StatusCode::CREATED);
    assert_eq!(site.get("/v2/open/a/manifests/v1").await.text(), two.to_string());
    let delete = async |tag: &str| {
        site.send(
            ask(Method::DELETE, "/v2/open/a/manifests/v1").header("if-match", tag),
            Body::empty(),
        )
        .await
        .status
        .as_u16()
    };
    assert_eq!(delete(&tags[0]).await, 412);
    assert_eq!(delete(&tags[1]).await, 202);
}

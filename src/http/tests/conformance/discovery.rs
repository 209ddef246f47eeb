//! OCI-32 to OCI-42: referrers, tags, the catalogue, deletion.

use super::*;

points! {
    oci_32_referrers_are_an_index_and_never_404,
    oci_33_34_and_35_referrers_are_described_filtered_and_paged,
    oci_35_a_page_of_referrers_has_4_mib_and_no_more,
    oci_36_and_37_a_fallback_tag_is_an_ordinary_tag_and_hides_no_referrers,
    oci_38_and_39_tags_are_listed_in_byte_order_and_paged,
    oci_39_a_page_has_at_most_1000_tags_and_a_link_to_the_rest,
    oci_40_the_catalogue_is_paged_and_shows_what_the_caller_may_read_and_extensions_are_named,
    oci_41_deleted_content_is_gone_at_once,
    oci_42_a_deleted_referrer_is_not_listed_and_a_deleted_subjects_referrers_are,
}

async fn referrers(site: &Site, subject: &str, query: &str) -> Answer {
    let answer = site.get(&format!("/v2/open/a/referrers/{subject}{query}")).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (StatusCode::OK, INDEX)
    );
    answer
}

/// Pushes a referrer of `subject` and returns its digest.
async fn refer(site: &Site, subject: &str, number: usize, artifact_type: Option<&str>) -> String {
    refer_as(site, IMAGE, subject, number, artifact_type).await
}

async fn refer_as(
    site: &Site,
    media_type: &str,
    subject: &str,
    number: usize,
    artifact_type: Option<&str>,
) -> String {
    let mut manifest = site.sample(media_type).await;
    let held = site.get(&format!("/v2/open/a/manifests/{subject}")).await;
    let size = if held.status == StatusCode::OK {
        held.body.len()
    } else {
        1
    };
    manifest["subject"] = json!({"mediaType": IMAGE, "digest": subject, "size": size});
    manifest["annotations"] = json!({"number": number.to_string()});
    if let Some(artifact_type) = artifact_type {
        manifest["artifactType"] = json!(artifact_type);
    }
    let digest = sha256(manifest.to_string());
    created(&site.put_manifest(&digest, media_type, &manifest).await, &digest);
    digest
}

async fn oci_32_referrers_are_an_index_and_never_404(site: Site) {
    let empty = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    assert_eq!(
        referrers(&site, &sha256("x"), "").await.json(),
        empty,
        "in a repository that does not exist"
    );
    site.push_image("open/a", "v1", json!({})).await;
    for unknown in digests("x") {
        assert_eq!(referrers(&site, &unknown, "").await.json(), empty);
    }
    assert_eq!(
        site.get("/v2/open/a/referrers/sha256:bad").await.error(),
        (400, "DIGEST_INVALID".into())
    );
}

async fn oci_33_34_and_35_referrers_are_described_filtered_and_paged(site: Site) {
    for subject in digests("subject") {
        let own = refer(&site, &subject, 0, Some("a/own+type")).await;
        let configs = refer(&site, &subject, 1, None).await;
        let docker = refer_as(&site, DOCKER_IMAGE, &subject, 2, None).await;
        let list = refer_as(&site, DOCKER_LIST, &subject, 3, None).await;
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": [],
            "subject": {"mediaType": IMAGE, "digest": subject, "size": 1},
        });
        created(
            &site.put_manifest("index", INDEX, &index).await,
            &sha256(index.to_string()),
        );
        let listed = referrers(&site, &subject, "").await.json()["manifests"]
            .as_array()
            .unwrap()
            .clone();
        assert_eq!(listed.len(), 5);
        for descriptor in listed {
            let digest = descriptor["digest"].as_str().unwrap();
            let stored = site.get(&format!("/v2/open/a/manifests/{digest}")).await;
            assert_eq!(descriptor["size"], stored.body.len());
            assert_eq!(descriptor["mediaType"], stored.json()["mediaType"]);
            let expected = match digest {
                _ if digest == own => (json!("a/own+type"), json!({"number": "0"})),
                _ if digest == configs => (json!("application/vnd.example+json"), json!({"number": "1"})),
                _ if digest == docker => (json!("application/vnd.example+json"), json!({"number": "2"})),
                _ if digest == list => (Value::Null, json!({"number": "3"})),
                _ => (Value::Null, Value::Null),
            };
            assert_eq!(
                (
                    descriptor["artifactType"].clone(),
                    descriptor["annotations"].clone()
                ),
                expected
            );
        }
        let filtered = referrers(&site, &subject, "?artifactType=a/own%2Btype").await;
        assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
        assert_eq!(filtered.json()["manifests"].as_array().unwrap().len(), 1);
        assert_eq!(
            referrers(&site, &subject, "?artifactType=a/none").await.json()["manifests"],
            json!([])
        );
    }
    // These do not fit into one answer of 4 MiB.
    let subject = sha256("large");
    let mut pushed = Vec::new();
    for number in 0..3 {
        let mut manifest = site.sample(IMAGE).await;
        manifest["subject"] = json!({"mediaType": IMAGE, "digest": subject, "size": 1});
        manifest["artifactType"] = json!("a/large");
        manifest["annotations"] = json!({"number": number.to_string(), "k": "x".repeat(3_000_000)});
        pushed.push(sha256(manifest.to_string()));
        assert_eq!(
            site.put_manifest(&pushed[number], IMAGE, &manifest).await.status,
            StatusCode::CREATED
        );
    }
    for query in ["", "?artifactType=a/large"] {
        let mut next = format!("/v2/open/a/referrers/{subject}{query}");
        let mut listed = Vec::new();
        while !next.is_empty() {
            let page = site.get(&next).await;
            assert!(page.body.len() <= 4 * 1024 * 1024);
            let manifests = page.json()["manifests"].as_array().unwrap().clone();
            listed.extend(
                manifests
                    .iter()
                    .map(|descriptor| descriptor["digest"].as_str().unwrap().to_owned()),
            );
            let link = page.header("link").to_owned();
            next = link
                .strip_prefix('<')
                .and_then(|link| link.strip_suffix(">; rel=\"next\""))
                .unwrap_or_default()
                .to_owned();
            assert!(
                next.is_empty() || next.contains("artifactType") != query.is_empty(),
                "{next}"
            );
        }
        pushed.sort();
        assert_eq!(listed, pushed);
    }
}

async fn oci_35_a_page_of_referrers_has_4_mib_and_no_more(site: Site) {
    const MOST: usize = 4 * 1024 * 1024;
    let subject = sha256("subject");
    let large = async |number: usize, length: usize| {
        let mut manifest = site.sample(IMAGE).await;
        manifest["subject"] = json!({"mediaType": IMAGE, "digest": subject, "size": 1});
        manifest["annotations"] = json!({"number": number.to_string(), "k": "x".repeat(length)});
        let digest = sha256(manifest.to_string());
        created(&site.put_manifest(&digest, IMAGE, &manifest).await, &digest);
        format!("/v2/open/a/manifests/{digest}")
    };
    large(1, 2_000_000).await;
    let second = large(2, 2_000_000).await;
    let room = MOST - referrers(&site, &subject, "").await.body.len();
    site.ask(Method::DELETE, &second).await;
    for (more, listed) in [(room, 2), (room + 1, 1)] {
        let second = large(2, 2_000_000 + more).await;
        let page = referrers(&site, &subject, "").await;
        assert_eq!(page.json()["manifests"].as_array().unwrap().len(), listed);
        assert_eq!(
            (page.body.len() == MOST, page.header("link").is_empty()),
            (listed == 2, listed == 2),
            "{}",
            page.body.len()
        );
        site.ask(Method::DELETE, &second).await;
    }
}

async fn oci_36_and_37_a_fallback_tag_is_an_ordinary_tag_and_hides_no_referrers(site: Site) {
    let subject = sha256("subject");
    let referrer = refer(&site, &subject, 0, None).await;
    let fallback = subject.replace(':', "-");
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [site.described("open/a", &referrer).await]});
    created(
        &site.put_manifest(&fallback, INDEX, &index).await,
        &sha256(index.to_string()),
    );
    assert_eq!(
        site.get("/v2/open/a/tags/list").await.json()["tags"],
        json!([fallback])
    );
    assert_eq!(
        referrers(&site, &subject, "").await.json()["manifests"][0]["digest"],
        referrer
    );
}

async fn oci_38_and_39_tags_are_listed_in_byte_order_and_paged(site: Site) {
    assert_eq!(
        site.get("/v2/open/a/tags/list").await.error(),
        (404, "NAME_UNKNOWN".into())
    );
    let manifest = site.sample(IMAGE).await;
    assert_eq!(
        site.get("/v2/open/a/tags/list").await.json(),
        json!({"name": "open/a", "tags": []})
    );
    for tag in ["b", "B", "a-1", "a.1", "a", "_"] {
        site.put_manifest(tag, IMAGE, &manifest).await;
    }
    let sorted = ["B", "_", "a", "a-1", "a.1", "b"];
    let list = async |query: &str| site.get(&format!("/v2/open/a/tags/list{query}")).await;
    assert_eq!(list("").await.json()["tags"], json!(sorted));
    for size in 1..=6 {
        let mut next = format!("/v2/open/a/tags/list?n={size}");
        let mut listed = Vec::new();
        while !next.is_empty() {
            let page = site.get(&next).await;
            let tags = page.json()["tags"].as_array().unwrap().clone();
            assert!(tags.len() <= size);
            listed.extend(tags.iter().map(|tag| tag.as_str().unwrap().to_owned()));
            let link = page.header("link").to_owned();
            next = link
                .strip_prefix('<')
                .and_then(|link| link.strip_suffix(">; rel=\"next\""))
                .unwrap_or_default()
                .to_owned();
        }
        assert_eq!(listed, sorted, "{size} at a time");
    }
    assert_eq!(list("?last=a").await.json()["tags"], json!(["a-1", "a.1", "b"]));
    assert_eq!(
        list("?last=a0").await.json()["tags"],
        json!(["b"]),
        "after a tag that is not there"
    );
    let none = list("?n=0").await;
    assert_eq!(
        (none.json()["tags"].clone(), none.header("link")),
        (json!([]), "")
    );
    for bad in ["?n=-1", "?n=x", "?n=", "?n=1.5"] {
        assert_eq!(list(bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

async fn oci_39_a_page_has_at_most_1000_tags_and_a_link_to_the_rest(site: Site) {
    let manifest = site.sample(IMAGE).await;
    let digest = sha256(manifest.to_string());
    let tags: Vec<String> = (0..1024).map(|number| format!("t{number:04}")).collect();
    let pushes = tags
        .chunks(32)
        .map(|tags| format!("{digest}?tag={}", tags.join("&tag=")));
    let pushes = pushes.map(async |reference| site.put_manifest(&reference, IMAGE, &manifest).await);
    for pushed in futures_util::future::join_all(pushes).await {
        created(&pushed, &digest);
    }
    for query in ["", "?n=1001", "?n=18446744073709551616"] {
        let first = site.get(&format!("/v2/open/a/tags/list{query}")).await;
        assert!(first.json()["tags"] == json!(tags[..1000]), "{query}");
        let link = first
            .header("link")
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""))
            .unwrap();
        let second = site.get(link).await;
        assert_eq!(
            (second.json()["tags"].clone(), second.header("link")),
            (json!(tags[1000..]), ""),
            "{query}"
        );
    }
}

async fn oci_40_the_catalogue_is_paged_and_shows_what_the_caller_may_read_and_extensions_are_named(
    site: Site,
) {
    for repository in ["open/b", "open/a/b", "open/a-b", "open/a"] {
        site.push_blob(repository, "x").await;
    }
    let token = site.token("builder");
    let request = bearer(
        ask(
            Method::POST,
            &format!("/v2/team/a/blobs/uploads/?digest={}", sha256("x")),
        ),
        &token,
    );
    site.send(request, "x").await;
    let first = site.get("/v2/_catalog?n=3").await;
    assert_eq!(
        first.json(),
        json!({"repositories": ["open/a", "open/a-b", "open/a/b"]})
    );
    assert_eq!(
        first.header("link"),
        "</v2/_catalog?last=open/a/b&n=3>; rel=\"next\""
    );
    let second = site.get("/v2/_catalog?n=3&last=open/a/b").await;
    assert_eq!(
        (second.json(), second.header("link")),
        (json!({"repositories": ["open/b"]}), "")
    );
    assert_eq!(
        site.get_as("builder", "/v2/_catalog?last=open/b").await.json(),
        json!({"repositories": ["team/a"]})
    );
    let extensions = site.get("/v2/_oci/ext/discover").await;
    assert_eq!(
        (
            extensions.status,
            extensions.json()["extensions"][0]["name"].as_str()
        ),
        (StatusCode::OK, Some("_catalog"))
    );
}

async fn oci_41_deleted_content_is_gone_at_once(site: Site) {
    let gone = async |path: &str| {
        assert_eq!(
            site.ask(Method::DELETE, path).await.status,
            StatusCode::ACCEPTED,
            "{path}"
        );
        for method in [Method::HEAD, Method::GET] {
            assert_eq!(
                site.ask(method, path).await.status,
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
        assert_eq!(
            site.ask(Method::DELETE, path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    };
    // The repository would vanish with its last manifest.
    let keeper = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {"keeps": "the repository"}});
    site.put_manifest(&sha256(keeper.to_string()), INDEX, &keeper)
        .await;
    for media_type in [IMAGE, INDEX, DOCKER_IMAGE, DOCKER_LIST] {
        let manifest = site.sample(media_type).await;
        for digest in digests(&manifest.to_string()) {
            site.put_manifest(&format!("{digest}?tag=v1&tag=v2&tag=v3"), media_type, &manifest)
                .await;
            gone("/v2/open/a/manifests/v1").await;
            let path = format!("/v2/open/a/manifests/{digest}");
            assert_eq!(site.get(&path).await.status, StatusCode::OK, "only the tag goes");
            assert_eq!(
                site.get("/v2/open/a/tags/list").await.json()["tags"],
                json!(["v2", "v3"])
            );
            gone(&path).await;
            assert_eq!(
                site.get("/v2/open/a/manifests/v2").await.status,
                StatusCode::NOT_FOUND,
                "its tags go with it"
            );
            assert_eq!(site.get("/v2/open/a/tags/list").await.json()["tags"], json!([]));
        }
    }
    for digest in digests("blob") {
        site.send(
            ask(
                Method::POST,
                &format!("/v2/open/a/blobs/uploads/?digest={digest}"),
            ),
            "blob",
        )
        .await;
        gone(&format!("/v2/open/a/blobs/{digest}")).await;
    }
    let none = format!("/v2/open/none/manifests/{}", sha256("x"));
    assert_eq!(
        site.ask(Method::DELETE, &none).await.error(),
        (404, "NAME_UNKNOWN".into())
    );
}

async fn oci_42_a_deleted_referrer_is_not_listed_and_a_deleted_subjects_referrers_are(site: Site) {
    let subject = site
        .push_image("open/a", "v1", json!({}))
        .await
        .header("docker-content-digest")
        .to_owned();
    let one = refer(&site, &subject, 1, None).await;
    let two = refer(&site, &subject, 2, None).await;
    assert_eq!(
        site.ask(Method::DELETE, &format!("/v2/open/a/manifests/{one}"))
            .await
            .status,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        site.ask(Method::DELETE, &format!("/v2/open/a/manifests/{subject}"))
            .await
            .status,
        StatusCode::ACCEPTED
    );
    let listed = referrers(&site, &subject, "").await.json();
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(listed["manifests"][0]["digest"], two);
}

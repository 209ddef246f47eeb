//! The descriptors of a manifest are compared with the content of the repository.

use super::*;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

impl Site {
    async fn put(&self, repository: &str, media_type: &str, manifest: &Value) -> Answer {
        let request =
            ask(Method::PUT, &format!("/v2/{repository}/manifests/v1")).header("content-type", media_type);
        self.send(request, manifest.to_string()).await
    }

    /// The message of a 400 answer.
    async fn refused(&self, repository: &str, media_type: &str, manifest: &Value) -> String {
        let answer = self.put(repository, media_type, manifest).await;
        assert_eq!(
            answer.error(),
            (400, "MANIFEST_INVALID".into()),
            "{manifest}: {}",
            answer.text()
        );
        answer.json()["errors"][0]["message"].as_str().unwrap().to_owned()
    }
}

/// An image with the layer `layer`, an index of an image, and a referrer of that. Each has a good descriptor
/// at the named place.
async fn of_every_place(
    site: &Site,
    repository: &str,
) -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let config = site.push_blob(repository, "{}").await;
    let layer = site.push_blob(repository, "layer").await;
    let child = site.put(repository, IMAGE, &image(&config)).await;
    assert_eq!(child.status, StatusCode::CREATED, "{}", child.text());
    let size = image(&config).to_string().len();
    let child = json!({"mediaType": IMAGE, "digest": child.header("docker-content-digest"), "size": size});
    let mut layered = image(&config);
    layered["layers"] = json!([{"mediaType": LAYER, "digest": layer, "size": 5}]);
    let mut referrer = layered.clone();
    referrer["subject"] = child.clone();
    vec![
        ("config", "/config", IMAGE, layered.clone()),
        ("layers[0]", "/layers/0", IMAGE, layered),
        ("subject", "/subject", IMAGE, referrer),
        (
            "manifests[0]",
            "/manifests/0",
            INDEX,
            json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}),
        ),
    ]
}

#[tokio::test]
async fn a_missing_or_wrong_size_is_rejected_with_its_place() {
    let site = Site::new();
    for (place, pointer, media_type, manifest) in of_every_place(&site, "open/a").await {
        assert_eq!(
            site.put("open/a", media_type, &manifest).await.status,
            StatusCode::CREATED,
            "{place}"
        );
        let digest = manifest.pointer(pointer).unwrap()["digest"]
            .as_str()
            .unwrap()
            .to_owned();
        let held = manifest.pointer(pointer).unwrap()["size"].as_u64().unwrap();
        let mut wrong = manifest.clone();
        wrong.pointer_mut(pointer).unwrap()["size"] = json!(held + 1);
        let expected = format!(
            "the `size` of {place} ({digest}) is {}, but the content in this repository has {held} bytes",
            held + 1
        );
        assert_eq!(site.refused("open/a", media_type, &wrong).await, expected);
        for size in [
            json!(null),
            json!("5"),
            json!(-1),
            json!(5.5),
            json!(5e0),
            json!([]),
        ] {
            wrong.pointer_mut(pointer).unwrap()["size"] = size;
            let message = site.refused("open/a", media_type, &wrong).await;
            assert!(
                message.starts_with(&format!(
                    "the `size` of {place} ({digest}) must be a whole number"
                )),
                "{message}"
            );
        }
        wrong
            .pointer_mut(pointer)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove("size");
        let message = site.refused("open/a", media_type, &wrong).await;
        assert!(
            message.starts_with(&format!("{place} ({digest}) has no `size`")),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_sparse_repository_accepts_another_size_and_an_unchecked_one_accepts_anything() {
    let site = Site::new();
    for (repository, differing, other) in [("open/sparse/a", 201, 400), ("open/unchecked/a", 201, 201)] {
        for (place, pointer, media_type, mut manifest) in of_every_place(&site, repository).await {
            for (size, status) in [(json!(77), differing), (json!("5"), other), (json!(null), other)] {
                manifest.pointer_mut(pointer).unwrap()["size"] = size.clone();
                let answer = site.put(repository, media_type, &manifest).await;
                assert_eq!(
                    answer.status.as_u16(),
                    status,
                    "{repository} {place} {size}: {}",
                    answer.text()
                );
            }
        }
    }
}

#[tokio::test]
async fn data_is_compared_and_replaces_no_blob() {
    let site = Site::new();
    let mut manifest = image(&sha256("{}"));
    manifest["config"]["data"] = json!("e30=");
    let missing = site.put("open/a", IMAGE, &manifest).await;
    assert_eq!(
        missing.error(),
        (404, "MANIFEST_BLOB_UNKNOWN".into()),
        "a client that reads blobs alone could not read the image"
    );
    assert_eq!(
        site.put("open/sparse/a", IMAGE, &manifest).await.status,
        StatusCode::CREATED
    );
    let config = site.push_blob("open/a", "{}").await;
    assert_eq!(
        site.put("open/a", IMAGE, &manifest).await.status,
        StatusCode::CREATED
    );
    let kept = site
        .send(
            ask(Method::DELETE, &format!("/v2/open/a/blobs/{config}")),
            Body::empty(),
        )
        .await;
    assert_eq!(kept.error(), (405, "DENIED".into()));
    manifest["config"]["data"] = json!("");
    assert_eq!(
        site.put("open/a", IMAGE, &manifest).await.status,
        StatusCode::CREATED,
        "it is treated as absent"
    );
    for (data, why) in [
        ("e3w=", "the `data` of config has the digest sha256:"),
        ("{}", "the `data` of config"),
    ] {
        manifest["config"]["data"] = json!(data);
        for repository in ["open/a", "open/sparse/a"] {
            let message = site.refused(repository, IMAGE, &manifest).await;
            assert!(message.starts_with(why), "{message}");
        }
    }
}

#[tokio::test]
async fn a_listed_type_is_at_most_as_long_as_a_media_type() {
    let site = Site::new();
    for repository in ["open/a", "open/sparse/a", "open/unchecked/a"] {
        let config = site.push_blob(repository, "{}").await;
        for (member, pointer) in [("artifactType", ""), ("config.mediaType", "/config")] {
            let mut manifest = image(&config);
            manifest["artifactType"] = json!("a/b");
            let name = member.rsplit('.').next().unwrap();
            manifest.pointer_mut(pointer).unwrap()[name] = json!(format!("a/{}", "b".repeat(253)));
            let answer = site.put(repository, IMAGE, &manifest).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{member}: {}", answer.text());
            manifest.pointer_mut(pointer).unwrap()[name] = json!(format!("a/{}", "b".repeat(254)));
            let message = site.refused(repository, IMAGE, &manifest).await;
            assert_eq!(
                message,
                format!("`{member}` has 256 bytes: a media type may have at most 255")
            );
        }
    }
}

#[tokio::test]
async fn content_of_the_other_kind_is_not_reported_as_missing() {
    let site = Site::new();
    let pushed = site.push_image("open/a", "v1", json!({})).await;
    let manifest = pushed.header("docker-content-digest").to_owned();
    let blob = sha256("{}");
    let mut wrong = image(&blob);
    wrong["layers"] = json!([{"mediaType": LAYER, "digest": manifest, "size": 5}]);
    let message = site.refused("open/a", IMAGE, &wrong).await;
    assert!(
        message.starts_with(&format!(
            "layers[0] must be a blob, but {manifest} is a manifest in this repository"
        )),
        "{message}"
    );
    let wrong = json!({"schemaVersion": 2, "manifests": [{"mediaType": IMAGE, "digest": blob, "size": 2}]});
    let message = site.refused("open/a", INDEX, &wrong).await;
    assert!(
        message.starts_with(&format!(
            "manifests[0] must be a manifest, but {blob} is a blob in this repository"
        )),
        "{message}"
    );
}

/// `buildctl build --export-cache type=registry,oci-mediatypes=true,image-manifest=false` pushes this.
#[tokio::test]
async fn a_cache_of_buildkit_is_an_index_of_blobs_and_protects_them() {
    let site = Site::new();
    let layer = site.push_blob("open/a", "layer").await;
    let config = site.push_blob("open/a", r#"{"layers":[]}"#).await;
    let cache = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": LAYER, "digest": layer, "size": 5, "annotations": {
            "buildkit/createdat": "2026-11-01T10:00:00Z", "containerd.io/uncompressed": sha256("uncompressed"),
        }},
        {"mediaType": "application/vnd.buildkit.cacheconfig.v0", "digest": config, "size": 13},
    ]});
    let pushed = site.put("open/a", INDEX, &cache).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.text());
    for blob in [&layer, &config] {
        let kept = site
            .send(
                ask(Method::DELETE, &format!("/v2/open/a/blobs/{blob}")),
                Body::empty(),
            )
            .await;
        assert_eq!(kept.error(), (405, "DENIED".into()));
    }
    assert_eq!(
        site.put("open/b", INDEX, &cache).await.error(),
        (404, "MANIFEST_BLOB_UNKNOWN".into())
    );
    // The type of a child does not decide whether it exists.
    let manifest = site
        .push_image("open/a", "image", json!({}))
        .await
        .header("docker-content-digest")
        .to_owned();
    let size = image(&sha256("{}")).to_string().len();
    let odd = json!({"schemaVersion": 2, "manifests": [{"mediaType": "application/json", "digest": manifest, "size": size}]});
    assert_eq!(site.put("open/a", INDEX, &odd).await.status, StatusCode::CREATED);
    let kept = site
        .send(
            ask(Method::DELETE, &format!("/v2/open/a/manifests/{manifest}")),
            Body::empty(),
        )
        .await;
    assert_eq!(kept.error(), (405, "DENIED".into()));
}

#[tokio::test]
async fn a_manifest_of_another_type_is_rejected_with_the_accepted_types() {
    let site = Site::new();
    let artifact = "application/vnd.oci.artifact.manifest.v1+json";
    let manifest = json!({"mediaType": artifact, "artifactType": "a/b", "blobs": [{"mediaType": "a/b", "digest": sha256("x"), "size": 1}]});
    let message = site.refused("open/a", artifact, &manifest).await;
    assert_eq!(
        message,
        format!(
            "media type {artifact} is not accepted: push one of {IMAGE}, {INDEX}, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"
        )
    );
}

#[tokio::test]
async fn hundreds_of_thousands_of_annotations_are_passed_on_unchanged() {
    let site = Site::new();
    let subject = sha256("subject");
    let annotations: serde_json::Map<String, Value> =
        (0..340_000).map(|n| (format!("{n:06}"), json!(""))).collect();
    let mut pushed = Vec::new();
    for n in 0..2 {
        let extra = json!({"annotations": annotations, "artifactType": format!("a/{n}"), "subject": {"mediaType": IMAGE, "digest": subject, "size": 1}});
        let answer = site.push_image("open/a", "v1", extra).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        pushed.push(answer.header("docker-content-digest").to_owned());
    }
    pushed.sort();
    let mut listed = Vec::new();
    let mut next = format!("/v2/open/a/referrers/{subject}");
    while !next.is_empty() {
        let page = site.get(&next).await;
        assert!(
            page.body.len() <= crate::limits::MANIFEST_BYTES,
            "{}",
            page.body.len()
        );
        for descriptor in page.json()["manifests"].as_array().unwrap() {
            assert_eq!(descriptor["annotations"].as_object(), Some(&annotations));
            listed.push(descriptor["digest"].as_str().unwrap().to_owned());
        }
        let link = page.header("link").to_owned();
        next = link
            .strip_prefix('<')
            .and_then(|link| link.split('>').next())
            .unwrap_or_default()
            .to_owned();
    }
    assert_eq!(listed, pushed);
}

//! Clients delete manifests.

use super::*;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Site {
    async fn delete(&self, path: &str) -> Answer {
        self.send(ask(Method::DELETE, path), Body::empty()).await
    }

    async fn push_index(&self, repository: &str, tag: &str, children: &[&str]) -> String {
        let mut manifests = Vec::new();
        for child in children {
            let mut descriptor = self.described(repository, child).await;
            descriptor["digest"] = json!(child);
            manifests.push(descriptor);
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string();
        let request =
            ask(Method::PUT, &format!("/v2/{repository}/manifests/{tag}")).header("content-type", INDEX);
        let answer = self.send(request, index).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        answer.header("docker-content-digest").to_owned()
    }
}

#[tokio::test]
async fn a_policy_that_detects_collisions_rejects_deleting_several_tags_by_digest() {
    use Action::{Create, Delete, DetectManifestCollision, Read};
    let rules = PatternRules {
        anonymous: vec![Read, Create, Delete, DetectManifestCollision],
        default: vec![Read, Delete],
        ..PatternRules::default()
    };
    let site = Site::with(vec![("**".into(), rules)]);
    for repository in ["a/b", "open/sparse/a"] {
        let manifest = |reference: &str| format!("/v2/{repository}/manifests/{reference}");
        let digest = site
            .push_image(repository, "v1", json!({}))
            .await
            .header("docker-content-digest")
            .to_owned();
        site.push_image(repository, "v2", json!({})).await;
        let refused = site.delete(&manifest(&digest)).await;
        assert_eq!(refused.error(), (409, "MANIFEST_INVALID".into()), "{repository}");
        for tag in ["v1", "v2"] {
            assert_eq!(
                site.get(&manifest(tag)).await.status,
                StatusCode::OK,
                "{repository}:{tag}"
            );
        }
        assert_eq!(
            site.delete(&manifest("v2")).await.status,
            StatusCode::ACCEPTED,
            "a tag alone may go"
        );
        assert_eq!(
            site.delete(&manifest(&digest)).await.status,
            StatusCode::ACCEPTED,
            "one tag is not a collision"
        );
        assert_eq!(site.get(&manifest("v1")).await.status, StatusCode::NOT_FOUND);
        for tag in ["v1", "v2"] {
            site.push_image(repository, tag, json!({})).await;
        }
        let request = bearer(ask(Method::DELETE, &manifest(&digest)), &site.token("x"));
        assert_eq!(
            site.send(request, Body::empty()).await.status,
            StatusCode::ACCEPTED,
            "this caller's policy does not detect them"
        );
    }
}

#[tokio::test]
async fn a_child_is_deleted_after_its_index() {
    let site = Site::new();
    let children = [
        site.push_image("open/a", "amd64", json!({"n": 1}))
            .await
            .header("docker-content-digest")
            .to_owned(),
        site.push_image("open/a", "arm64", json!({"n": 2}))
            .await
            .header("docker-content-digest")
            .to_owned(),
    ];
    let index = site
        .push_index("open/a", "v1", &[&children[0], &children[1]])
        .await;
    let manifest = |reference: &str| format!("/v2/open/a/manifests/{reference}");
    for child in &children {
        let refused = site.delete(&manifest(child)).await;
        assert_eq!(refused.error(), (405, "DENIED".into()));
        let error = &refused.json()["errors"][0];
        assert_eq!(
            error["message"],
            format!("the index {index} lists this manifest: delete the index first")
        );
        assert_eq!(error["detail"], json!({"index": index}));
        assert_eq!(refused.header("allow"), "GET, HEAD, PUT");
        assert_eq!(site.get(&manifest(child)).await.status, StatusCode::OK);
    }
    // The index needs the manifest, but not its tag.
    assert_eq!(site.delete(&manifest("amd64")).await.status, StatusCode::ACCEPTED);
    assert_eq!(site.get(&manifest(&children[0])).await.status, StatusCode::OK);
    for reference in [&index, &children[0], &children[1]] {
        assert_eq!(
            site.delete(&manifest(reference)).await.status,
            StatusCode::ACCEPTED
        );
    }
    assert_eq!(
        site.get("/v2/open/a/tags/list").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn where_manifests_may_lack_what_they_list_a_child_is_deleted_before_its_index() {
    let site = Site::new();
    let child = site
        .push_image("open/sparse/a", "amd64", json!({}))
        .await
        .header("docker-content-digest")
        .to_owned();
    let index = site.push_index("open/sparse/a", "v1", &[&child]).await;
    assert_eq!(
        site.delete(&format!("/v2/open/sparse/a/manifests/{child}"))
            .await
            .status,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        site.get(&format!("/v2/open/sparse/a/manifests/{index}"))
            .await
            .status,
        StatusCode::OK
    );
    // A second push of the index is answered with what it lacks.
    let request =
        ask(Method::PUT, &format!("/v2/open/sparse/a/manifests/{index}")).header("content-type", INDEX);
    let body = site
        .get(&format!("/v2/open/sparse/a/manifests/{index}"))
        .await
        .text();
    let again = site.send(request, body).await;
    assert_eq!(again.status, StatusCode::CREATED);
    assert!(again.header("warning").contains(&child), "{:?}", again.headers);
}

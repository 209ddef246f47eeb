//! Quotas and the limit on repositories over HTTP.

use super::*;
use crate::access::Maintenance;
use crate::registry::collect::Pace;
use crate::registry::{Quotas, RepositoryQuota};

impl Site {
    async fn limited(settings: Settings) -> Self {
        let mut site = Self::new();
        site.app.registry = site.app.registry.clone().with(settings);
        let owner = Maintenance::by_the_stores_owner();
        let counted = site.app.registry.count_usage(&owner, Pace::UNBOUNDED);
        counted.await.unwrap();
        site.endpoint = Endpoint::new(site.app.clone());
        site
    }
}

fn quota(pattern: &str, bytes: u64) -> RepositoryQuota {
    RepositoryQuota {
        pattern: pattern.to_owned(),
        repositories: Repositories::parse(pattern).unwrap(),
        bytes,
    }
}

#[tokio::test]
async fn a_push_beyond_a_quota_is_403_with_what_is_used_and_allowed() {
    let site = Site::limited(Settings {
        quotas: Quotas {
            total: None,
            repositories: vec![quota("open/**", 20)],
        },
        ..Settings::default()
    })
    .await;
    site.push_blob("open/a", "0123456789").await;
    let digest = sha256("0123456789 and more");
    let path = format!("/v2/open/a/blobs/uploads/?digest={digest}");
    let refused = site.send(ask(Method::POST, &path), "0123456789 and more").await;
    // A credential would not help, so an anonymous caller gets no challenge.
    assert_eq!(refused.error(), (403, "DENIED".into()));
    let error = &refused.json()["errors"][0];
    assert_eq!(
        error["detail"],
        json!({"quota": "open/**", "used": 10, "allowed": 20, "needed": 19})
    );
    let message = error["message"].as_str().unwrap();
    let begins = "the quota of the repositories open/** is used up: 10 bytes of 20 bytes are used, and this push \
                  needs 19 bytes more; ";
    assert!(message.starts_with(begins), "{message}");
    site.push_blob("open/b", "9876543210").await;
    let begun = site
        .send(ask(Method::POST, "/v2/open/a/blobs/uploads/"), Body::empty())
        .await;
    assert_eq!(begun.error(), (403, "DENIED".into()));
    assert_eq!(begun.json()["errors"][0]["detail"]["needed"], 0);
    let gone = ask(
        Method::DELETE,
        &format!("/v2/open/a/blobs/{}", sha256("0123456789")),
    );
    assert_eq!(site.send(gone, Body::empty()).await.status, StatusCode::ACCEPTED);
    site.push_blob("open/a", "abc").await;
}

/// As in zot.
#[tokio::test]
async fn a_repository_beyond_the_limit_is_429_with_the_limit() {
    let site = Site::limited(Settings {
        repositories: Some(1),
        ..Settings::default()
    })
    .await;
    assert_eq!(
        site.push_image("open/a", "v1", json!({})).await.status,
        StatusCode::CREATED
    );
    let refused = site
        .send(ask(Method::POST, "/v2/open/b/blobs/uploads/"), Body::empty())
        .await;
    assert_eq!(refused.error(), (429, "TOOMANYREQUESTS".into()));
    assert_eq!(refused.json()["errors"][0]["detail"], json!({"limit": 1}));
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []});
    let request = ask(Method::PUT, "/v2/open/b/manifests/v1")
        .header("content-type", "application/vnd.oci.image.index.v1+json");
    let refused = site.send(request, index.to_string()).await;
    assert_eq!(refused.error(), (429, "TOOMANYREQUESTS".into()));
    assert_eq!(refused.json()["errors"][0]["detail"], json!({"limit": 1}));
    assert_eq!(
        site.get("/v2/open/b/tags/list").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        site.push_image("open/a", "v2", json!({})).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_mount_and_a_manifest_beyond_a_quota_are_403_and_existing_content_is_not() {
    let site = Site::limited(Settings {
        quotas: Quotas {
            total: None,
            repositories: vec![quota("open/b/**", 2)],
        },
        ..Settings::default()
    })
    .await;
    let large = site.push_blob("open/a", "0123456789").await;
    let config = site.push_blob("open/b/c", "{}").await;
    let mount = |digest: &str| {
        let path = format!("/v2/open/b/c/blobs/uploads/?mount={digest}&from=open/a");
        site.send(ask(Method::POST, &path), Body::empty())
    };
    let refused = mount(&large).await;
    assert_eq!(refused.error(), (403, "DENIED".into()));
    assert_eq!(refused.json()["errors"][0]["detail"]["needed"], 10);
    assert_eq!(
        mount(&config).await.error(),
        (403, "DENIED".into()),
        "open/a does not have the blob"
    );
    let put = ask(Method::PUT, "/v2/open/b/c/manifests/v1").header("content-type", IMAGE);
    let refused = site.send(put, image(&config).to_string()).await;
    assert_eq!(refused.error(), (403, "DENIED".into()));
    // Clients check first, and need not push existing content.
    let head = site.send(
        ask(Method::HEAD, &format!("/v2/open/b/c/blobs/{config}")),
        Body::empty(),
    );
    assert_eq!(head.await.status, StatusCode::OK);
    site.push_blob("open/b/c", "{}").await;
}

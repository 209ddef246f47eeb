//! The distribution-spec, rule by rule (`docs/design/rules/registry.md`): each test is named for the rule
//! that it proves, and passes over the store in memory and over a local folder.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

mod discovery;
mod general;
mod manifests;
mod pull;
mod uploads;

use super::*;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Turns each `async fn point(site: Site)` of a file into a test for each kind of store.
macro_rules! points {
    ($($point:ident),* $(,)?) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $point() {
                super::$point(super::Site::new()).await;
            })*
        }
        mod on_disk {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $point() {
                super::$point(super::Site::on_disk()).await;
            })*
        }
    };
}
use points;

impl Site {
    async fn ask(&self, method: Method, path: &str) -> Answer {
        self.send(ask(method, path), Body::empty()).await
    }

    /// The address of an upload.
    async fn begin(&self, query: &str) -> String {
        let begun = self
            .ask(Method::POST, &format!("/v2/open/a/blobs/uploads/{query}"))
            .await;
        assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text());
        begun.header("location").to_owned()
    }

    async fn put_manifest(&self, reference: &str, media_type: &str, manifest: &Value) -> Answer {
        let request =
            ask(Method::PUT, &format!("/v2/open/a/manifests/{reference}")).header("content-type", media_type);
        self.send(request, manifest.to_string()).await
    }

    /// A manifest of this type whose content is in the repository.
    async fn sample(&self, media_type: &str) -> Value {
        let config = self.push_blob("open/a", "{}").await;
        match media_type {
            INDEX | DOCKER_LIST => json!({"schemaVersion": 2, "mediaType": media_type, "manifests": []}),
            _ => {
                let layer = self.push_blob("open/a", "layer").await;
                let mut manifest = image(&config);
                manifest["mediaType"] = json!(media_type);
                manifest["layers"] = json!([{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 5}]);
                manifest
            }
        }
    }
}

fn digests(text: &str) -> [String; 2] {
    [sha256(text), sha512(text)]
}

fn created(answer: &Answer, digest: &str) {
    assert_eq!(
        (answer.status, answer.header("docker-content-digest")),
        (StatusCode::CREATED, digest),
        "{}",
        answer.text()
    );
}

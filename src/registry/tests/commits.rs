//! The number of commits to a local store in each step of a push. A commit is a sync of the disk, which is
//! most of the time of a small push.

use super::*;
use crate::oci::ManifestType;
use crate::storage::local::Local;
use std::pin::Pin;
use wharfinger_testkit::commits;

struct Counter {
    registry: Registry,
    folder: tempfile::TempDir,
}

impl Counter {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Local::open(folder.path()).unwrap());
        Self {
            registry: Registry::new(store.clone(), store).with(any_sizes()),
            folder,
        }
    }

    /// The steps are boxed, because together their futures are larger than the stack of a test.
    async fn of<T>(&self, step: Pin<Box<impl Future<Output = T>>>) -> usize {
        let before = commits(self.folder.path());
        step.await;
        commits(self.folder.path()) - before
    }

    /// A blob by POST and PUT.
    async fn two_requests(&self, repository: &str, content: &str) -> usize {
        let push = push_blob(&self.registry, repository, content.as_bytes());
        self.of(Box::pin(push)).await
    }

    /// A blob by a single POST.
    async fn one_request(&self, repository: &str, content: &str) -> usize {
        let digest = sha256(content.as_bytes());
        let body = body(&[content.as_bytes()]);
        let push = async {
            self.registry
                .put_blob(&pusher(repository), None, &digest, body)
                .await
                .unwrap()
        };
        self.of(Box::pin(push)).await
    }

    /// A blob by POST, PATCH and PUT.
    async fn three_requests(&self, repository: &str, content: &str) -> usize {
        let digest = sha256(content.as_bytes());
        let registry = &self.registry;
        let create = create(repository);
        let push = async {
            let upload = registry.start_upload(&create, None).await.unwrap();
            registry
                .append(&create, &upload.id, None, None, body(&[content.as_bytes()]))
                .await
                .unwrap();
            registry
                .finish(&pusher(repository), &upload.id, None, &digest, body(&[]))
                .await
                .unwrap();
        };
        self.of(Box::pin(push)).await
    }

    async fn manifest(&self, repository: &str, reference: &Reference, bytes: Bytes) -> usize {
        let push = async {
            self.registry
                .put_manifest(&write(repository), reference, None, bytes)
                .await
                .unwrap()
        };
        self.of(Box::pin(push)).await
    }
}

/// An image with a config and a layer, which must exist.
fn small_image(config: &str, layer: &str) -> Bytes {
    let layers =
        json!({"layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &sha256(layer.as_bytes()))]});
    image(&sha256(config.as_bytes()), &layers)
}

/// At most as many commits as with records of format 1. An index takes one more, for the entries of its
/// children.
#[tokio::test]
async fn a_push_takes_no_more_commits_than_with_format_1() {
    let counter = Counter::new();
    let first = small_image("config", "layer");
    let second = small_image("config 2", "layer 2");
    let third = small_image("config", "layer 2");
    let by_digest = |bytes: &Bytes| Reference::Digest(sha256(bytes));
    let listed: Vec<_> = [&first, &second]
        .map(|child| descriptor(IMAGE, &sha256(child)))
        .into();
    let index = Bytes::from(
        json!({"schemaVersion": 2, "mediaType": ManifestType::OciIndex.as_str(), "manifests": listed})
            .to_string(),
    );
    let referrer = image(
        &sha256(b"config"),
        &json!({"subject": descriptor(IMAGE, &sha256(&first))}),
    );
    let registry = &counter.registry;
    let digest = sha256(b"layer");
    let mount = async {
        assert!(
            registry
                .mount(&create("c"), Some(&read("a")), None, &digest)
                .await
                .unwrap()
        )
    };
    let cancelled = async {
        let upload = registry.start_upload(&create("a"), None).await.unwrap();
        registry.cancel(&create("a"), &upload.id).await.unwrap();
    };
    let deleted = async { registry.delete_manifest(&delete("a"), &tag("all")).await.unwrap() };
    for (step, commits, most) in [
        // 7: the session, the catalogue's entry, the session closed, the link, the blob, the link again, the
        // session's end.
        (
            "a blob by POST and PUT, the first of its repository",
            counter.two_requests("a", "config").await,
            7,
        ),
        (
            "a blob by POST and PUT",
            counter.two_requests("a", "layer").await,
            6,
        ),
        // 4: the manifest, the manifest committed, the back reference, the tag.
        (
            "a manifest by a new tag",
            counter.manifest("a", &tag("v1"), first.clone()).await,
            4,
        ),
        (
            "the same again",
            counter.manifest("a", &tag("v1"), first.clone()).await,
            1,
        ),
        (
            "a blob by a single POST",
            counter.one_request("a", "config 2").await,
            6,
        ),
        (
            "a blob by POST, PATCH and PUT",
            counter.three_requests("a", "layer 2").await,
            7,
        ),
        // 6: four as for a new tag, and two to clear the back reference of the previous manifest.
        (
            "a manifest that takes a tag over",
            counter.manifest("a", &tag("v1"), second.clone()).await,
            6,
        ),
        (
            "a manifest by digest",
            counter.manifest("a", &by_digest(&third), third.clone()).await,
            2,
        ),
        // One more than an image: the entries of its children.
        (
            "an index by a new tag",
            counter.manifest("a", &tag("all"), index).await,
            5,
        ),
        (
            "a referrer",
            counter
                .manifest("a", &by_digest(&referrer), referrer.clone())
                .await,
            3,
        ),
        (
            "a known blob by POST and PUT, the first of its repository",
            counter.two_requests("b", "config").await,
            6,
        ),
        (
            "a known blob by POST and PUT",
            counter.two_requests("b", "layer").await,
            5,
        ),
        (
            "a blob by a single POST, the first of its repository",
            counter.one_request("c", "new").await,
            7,
        ),
        ("a mount", counter.of(Box::pin(mount)).await, 2),
        ("a cancelled upload", counter.of(Box::pin(cancelled)).await, 5),
        ("a tag deleted", counter.of(Box::pin(deleted)).await, 3),
    ] {
        assert!(
            commits <= most,
            "{step} takes {commits} commits, expected at most {most}"
        );
    }
}

//! Blobs whose bytes were found to be damaged.

use super::super::states::blob::BlobRecord;
use super::*;
use crate::storage::Resume;

const R: &str = "team/app";

impl Bench {
    async fn blob(&self, digest: &Digest) -> BlobRecord {
        self.registry
            .records
            .read(&keys::blob(digest))
            .await
            .unwrap()
            .unwrap()
            .record
    }

    /// The name of the bytes in the repository's link.
    async fn linked(&self, repository: &str, digest: &Digest) -> String {
        let link = self
            .registry
            .records
            .read(&keys::link(digest, &repository.parse().unwrap()))
            .await
            .unwrap();
        link.unwrap().record.generation.unwrap()
    }

    /// A blob of these repositories whose bytes are damaged on the disk and marked. Returns the name of the
    /// bytes.
    async fn damaged(&self, repositories: &[&str], bytes: &[u8]) -> (Digest, String) {
        let digest = sha256(bytes);
        for repository in repositories {
            push_blob(&self.registry, repository, bytes).await;
        }
        let name = self.blob(&digest).await.generation;
        let wrong = Bytes::from(vec![b'?'; bytes.len()]);
        self.store
            .write(&name, 0, &Resume::default(), vec![wrong], Box::new(|_| ()))
            .await
            .unwrap();
        let suspected = |found: Option<typed_store::Found<BlobRecord>>| {
            Ok(BlobRecord::suspected(found.map(|found| found.record), &name))
        };
        assert!(
            self.registry
                .records
                .change(&keys::blob(&digest), suspected)
                .await
                .unwrap()
                .0
        );
        (digest, name)
    }
}

#[tokio::test]
async fn a_pusher_does_not_find_a_blob_with_damaged_bytes() {
    let bench = Bench::new();
    let (digest, name) = bench.damaged(&[R, "b"], b"layer").await;
    let registry = &bench.registry;
    assert!(matches!(
        registry.keep_blob(&read(R), &create(R), &digest).await,
        Err(Error::BlobUnknown)
    ));
    let links = bench.keys("l/").await;
    for to in ["c", "b", R] {
        assert!(
            !registry
                .mount(&create(to), Some(&read(R)), None, &digest)
                .await
                .unwrap(),
            "{to}"
        );
    }
    assert_eq!(bench.keys("l/").await, links);
    // Readers learn that it is damaged, in every repository.
    for repository in [R, "b"] {
        let refused = content(registry, repository, &digest).await;
        assert!(matches!(refused, Err(Error::BlobDamaged(damaged)) if damaged == digest));
    }
    assert_eq!(bench.blob(&digest).await.generation, name);
}

#[tokio::test]
async fn a_push_replaces_damaged_bytes_and_other_links_are_healed_by_their_next_push() {
    for in_one_request in [false, true] {
        let bench = Bench::new();
        let (digest, old) = bench.damaged(&[R, "b", "c", "d"], b"layer").await;
        let registry = &bench.registry;
        let push = |repository: &'static str| {
            let registry = registry.clone();
            let digest = digest.clone();
            async move {
                if in_one_request {
                    registry
                        .put_blob(&pusher(repository), None, &digest, body(&[b"layer"]))
                        .await
                        .unwrap();
                } else {
                    push_blob(&registry, repository, b"layer").await;
                }
            }
        };
        push(R).await;
        let blob = bench.blob(&digest).await;
        assert_eq!((&blob.trash, blob.suspect), (&vec![old.clone()], false));
        assert_ne!(blob.generation, old);
        assert_eq!(bench.linked(R, &digest).await, blob.generation);
        assert_eq!(content(registry, R, &digest).await.unwrap(), "layer");
        assert_eq!(
            registry.keep_blob(&read(R), &create(R), &digest).await.unwrap(),
            5
        );

        // The links of the other repositories name the old bytes, so a client that may push does not find the
        // blob there.
        assert_eq!(bench.linked("b", &digest).await, old);
        assert!(matches!(
            registry.keep_blob(&read("b"), &create("b"), &digest).await,
            Err(Error::BlobUnknown)
        ));
        push("b").await;
        assert!(
            registry
                .mount(&create("c"), Some(&read("c")), None, &digest)
                .await
                .unwrap()
        );
        for repository in ["b", "c"] {
            assert_eq!(bench.linked(repository, &digest).await, blob.generation);
            assert_eq!(
                registry
                    .keep_blob(&read(repository), &create(repository), &digest)
                    .await
                    .unwrap(),
                5
            );
            assert_eq!(content(registry, repository, &digest).await.unwrap(), "layer");
        }
        assert_eq!(bench.blob(&digest).await, blob, "the good bytes are kept");
        let names = bench.store.list_bytes("", 10).await.unwrap();
        assert_eq!(
            names.len(),
            2,
            "the old bytes wait for the collector, and there are no third ones"
        );
        // The link names the old bytes, but readers get the good ones, even after the collector has removed
        // the old bytes.
        assert_eq!(content(registry, "d", &digest).await.unwrap(), "layer");
        bench.store.remove(&old, &Resume::default()).await.unwrap();
        assert_eq!(content(registry, "d", &digest).await.unwrap(), "layer");
    }
}

/// Usually a push of existing content is only hashed, and nothing is written. That must not happen if the
/// stored bytes are damaged.
#[tokio::test]
async fn a_push_that_would_only_be_hashed_does_not_accept_damaged_bytes() {
    let bench = Bench::new();
    let (digest, old) = bench.damaged(&[R], b"layer").await;
    let registry = &bench.registry;
    assert!(registry.known(&read(R), &digest).await.unwrap().is_none());
    push_blob(registry, R, b"layer").await;
    assert!(registry.known(&read(R), &digest).await.unwrap().is_some());
    // The same for a link of other bytes than the blob's.
    let (digest, other) = bench.damaged(&[R, "b"], b"other").await;
    push_blob(registry, R, b"other").await;
    assert!(registry.known(&read(R), &digest).await.unwrap().is_some());
    assert!(registry.known(&read("b"), &digest).await.unwrap().is_none());
    assert_ne!(old, other);
}

#[tokio::test]
async fn damage_that_is_found_while_a_blob_is_being_pushed_is_replaced_by_its_bytes() {
    let bench = Bench::new();
    let registry = &bench.registry;
    let upload = registry.start_upload(&create(R), None).await.unwrap();
    registry
        .append(&create(R), &upload.id, None, None, body(&[b"lay"]))
        .await
        .unwrap();
    let (digest, old) = bench.damaged(&["b"], b"layer").await;
    registry
        .finish(&pusher(R), &upload.id, None, &digest, body(&[b"er"]))
        .await
        .unwrap();
    let blob = bench.blob(&digest).await;
    assert_eq!(
        (blob.generation.as_str(), blob.trash, blob.suspect),
        (upload.id.as_str(), vec![old], false)
    );
}

#[tokio::test]
async fn a_damaged_blob_is_deleted_as_any_other_and_stays_damaged_for_the_others() {
    let bench = Bench::new();
    let (digest, old) = bench.damaged(&[R, "b"], b"layer").await;
    bench.registry.delete_blob(&delete(R), &digest).await.unwrap();
    assert!(matches!(
        content(&bench.registry, R, &digest).await,
        Err(Error::BlobUnknown)
    ));
    assert!(bench.blob(&digest).await.suspect);
    assert!(matches!(
        bench.registry.keep_blob(&read("b"), &create("b"), &digest).await,
        Err(Error::BlobUnknown)
    ));
    push_blob(&bench.registry, R, b"layer").await;
    assert_eq!(bench.blob(&digest).await.trash, [old]);
}

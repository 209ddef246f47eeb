//! Pushing a blob that the registry already has.

use super::*;
use crate::oci::ContentRange;
use crate::storage::Resume;

const R: &str = "team/app";

#[tokio::test]
async fn a_known_blob_that_comes_in_one_request_leaves_no_trace() {
    let bench = Bench::new();
    let digest = push_blob(&bench.registry, R, b"hello").await;
    let before = bench.keys("").await;
    let again = |content: &'static [u8]| {
        let registry = bench.registry.clone();
        let digest = digest.clone();
        async move {
            registry
                .put_blob(
                    &pusher(R),
                    Some(ContentRange { start: 0, end: 4 }),
                    &digest,
                    body(&[content]),
                )
                .await
        }
    };
    assert_eq!(again(b"hello").await.unwrap(), digest);
    assert_eq!(bench.keys("").await, before);
    assert!(matches!(again(b"hell").await, Err(Error::SizeMismatch)));
    assert_eq!(bench.keys("").await, before);
    // The blob is written, because only the digest shows which of the two is wrong. Then it is removed.
    assert!(matches!(again(b"jello").await, Err(Error::DigestMismatch { .. })));
    assert_eq!(bench.keys("u/").await, Vec::<String>::new());
    assert_eq!(bench.store.list_bytes("", 10).await.unwrap().len(), 1);
    assert!(
        !bench
            .registry
            .records
            .read(&keys::blob(&digest))
            .await
            .unwrap()
            .unwrap()
            .record
            .suspect
    );
    assert_eq!(content(&bench.registry, R, &digest).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_known_blob_is_linked_and_not_stored_twice() {
    let bench = Bench::new();
    let digest = push_blob(&bench.registry, R, b"layer").await;
    // If the digest is announced with the body, the body is hashed and never written.
    let Upload { id, .. } = bench.registry.start_upload(&create(R), None).await.unwrap();
    bench
        .registry
        .finish(&pusher(R), &id, None, &digest, body(&[b"layer"]))
        .await
        .unwrap();
    assert!(!bench.has_bytes(&id).await);
    // If another repository has the blob, or the digest comes at the end, the bytes are written and removed
    // again.
    let Upload { id, .. } = bench.registry.start_upload(&create("b"), None).await.unwrap();
    bench
        .registry
        .finish(&pusher("b"), &id, None, &digest, body(&[b"layer"]))
        .await
        .unwrap();
    assert!(!bench.has_bytes(&id).await);
    let Upload { id, .. } = bench.registry.start_upload(&create("c"), None).await.unwrap();
    bench
        .registry
        .append(&create("c"), &id, None, None, body(&[b"layer"]))
        .await
        .unwrap();
    assert!(bench.has_bytes(&id).await);
    bench
        .registry
        .finish(&pusher("c"), &id, None, &digest, body(&[]))
        .await
        .unwrap();
    assert!(!bench.has_bytes(&id).await);
    for repository in [R, "b", "c"] {
        assert_eq!(
            content(&bench.registry, repository, &digest).await.unwrap(),
            "layer"
        );
    }
    assert_eq!(bench.keys("b/").await.len(), 1);
    // Knowing the digest does not prove that the client has the bytes.
    let Upload { id, .. } = bench.registry.start_upload(&create("d"), None).await.unwrap();
    assert!(matches!(
        bench
            .registry
            .finish(&pusher("d"), &id, None, &digest, body(&[b"guess"]))
            .await,
        Err(Error::DigestMismatch { .. })
    ));
    assert!(matches!(
        content(&bench.registry, "d", &digest).await,
        Err(Error::BlobUnknown)
    ));
}

#[tokio::test]
async fn lost_bytes_are_replaced_by_the_next_push() {
    let bench = Bench::new();
    let digest = push_blob(&bench.registry, R, b"layer").await;
    push_blob(&bench.registry, "other", b"layer").await;
    let blob = bench
        .registry
        .records
        .read(&keys::blob(&digest))
        .await
        .unwrap()
        .unwrap()
        .record;
    bench
        .store
        .remove(&blob.generation, &Resume::default())
        .await
        .unwrap();
    assert!(
        matches!(content(&bench.registry, R, &digest).await, Err(Error::BlobDamaged(damaged)) if damaged == digest)
    );
    assert!(
        !bench
            .registry
            .mount(&create("third"), Some(&read(R)), None, &digest)
            .await
            .unwrap()
    );
    push_blob(&bench.registry, R, b"layer").await;
    for repository in [R, "other"] {
        assert_eq!(
            content(&bench.registry, repository, &digest).await.unwrap(),
            "layer"
        );
    }
}

#[tokio::test]
async fn an_interrupted_push_does_not_tell_whether_others_hold_the_blob() {
    let bench = Bench::new();
    let digest = push_blob(&bench.registry, "secret", b"layer").await;
    // The answer is the same whether another repository has the blob or none has it, and even if this one has
    // it and the caller cannot read it.
    for (repository, digest, readable) in [
        ("a", digest.clone(), Some(read("a"))),
        ("a", sha256(b"none"), Some(read("a"))),
        ("secret", digest, None),
    ] {
        let Upload { id, .. } = bench
            .registry
            .start_upload(&create(repository), None)
            .await
            .unwrap();
        let broken_off = bench
            .registry
            .finish(
                &Pusher {
                    permit: create(repository),
                    readable,
                },
                &id,
                None,
                &digest,
                broken(b"la"),
            )
            .await;
        assert!(matches!(broken_off, Err(Error::Interrupted)));
        assert_eq!(
            bench
                .registry
                .upload_status(&create(repository), &id)
                .await
                .unwrap()
                .offset,
            2,
            "{repository}"
        );
    }
}

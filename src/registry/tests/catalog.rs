//! Which repositories are in the catalogue, and the cost of leaving it.

use super::watched::Asked;
use super::*;
use std::time::Duration;

const R: &str = "team/app";

#[tokio::test]
async fn leaving_the_catalogue_costs_the_same_however_many_uploads_others_have() {
    let bench = Bench::new();
    for _ in 0..2000 {
        bench
            .registry
            .start_upload(&create("team/app-2"), None)
            .await
            .unwrap();
    }
    let (registry, store) = bench.watched();
    // Three ways to leave: the end of an upload, the deletion of a blob, and the deletion of a manifest.
    for end in 0..3 {
        match end {
            0 => {
                let upload = registry.start_upload(&create(R), None).await.unwrap();
                store.asked();
                registry.cancel(&create(R), &upload.id).await.unwrap();
            }
            1 => {
                let digest = push_blob(&registry, R, b"layer").await;
                store.asked();
                registry.delete_blob(&delete(R), &digest).await.unwrap();
            }
            _ => {
                let digest = push_image(&registry, R, "config", &json!({})).await;
                store.asked();
                registry
                    .delete_manifest(&delete(R), &Reference::Digest(digest))
                    .await
                    .unwrap();
            }
        }
        let asked = store.asked();
        assert_eq!(bench.keys("c/").await, ["c/team/app-2!"], "{end}");
        let mut listed = 0;
        for asked in asked {
            match asked {
                Asked::List { prefix, limit, found } => {
                    assert!(
                        prefix.contains("team/app!/") && found == 0,
                        "{end}: {prefix} {limit}"
                    );
                    listed += 1;
                }
                Asked::Get(key) | Asked::Change(key) => assert!(!key.contains("team/app-2"), "{end}: {key}"),
            }
        }
        assert!((2..=6).contains(&listed), "{end}: {listed} lists");
    }
}

#[tokio::test]
async fn a_repository_without_manifests_leaves_when_a_blob_is_deleted_or_an_upload_of_it_fails() {
    let bench = Bench::new();
    let registry = &bench.registry;
    let listed = || async { bench.keys("c/").await };
    let first = push_blob(registry, R, b"first").await;
    assert_eq!(listed().await, ["c/team/app!"], "it has a blob");
    registry.delete_blob(&delete(R), &first).await.unwrap();
    assert_eq!(listed().await, Vec::<String>::new());

    // No record says whether the repository has other blobs. They can still be read, and the next upload
    // lists the repository again.
    let first = push_blob(registry, R, b"first").await;
    let second = push_blob(registry, R, b"second").await;
    registry.delete_blob(&delete(R), &first).await.unwrap();
    assert_eq!(listed().await, Vec::<String>::new());
    assert_eq!(content(registry, R, &second).await.unwrap(), "second");
    push_blob(registry, R, b"third").await;
    assert_eq!(listed().await, ["c/team/app!"]);

    let upload = registry.start_upload(&create(R), None).await.unwrap();
    let other = registry.start_upload(&create(R), None).await.unwrap();
    let wrong = registry
        .finish(
            &blind(create(R)),
            &upload.id,
            None,
            &sha256(b"expected"),
            body(&[b"found"]),
        )
        .await;
    assert!(matches!(wrong, Err(Error::DigestMismatch { .. })), "{wrong:?}");
    assert_eq!(listed().await, ["c/team/app!"], "an upload is open");
    registry.cancel(&create(R), &other.id).await.unwrap();
    assert_eq!(listed().await, Vec::<String>::new());
    // A repository with a manifest stays.
    push_image(registry, R, "config", &json!({})).await;
    registry.delete_blob(&delete(R), &second).await.unwrap();
    assert_eq!(listed().await, ["c/team/app!"]);
}

#[tokio::test]
async fn a_repository_whose_many_uploads_expire_leaves_once() {
    let bench = Bench::new();
    // Several pages of uploads, and other repositories before and after them.
    for (repository, uploads) in [("team/ap", 1), (R, 2500), ("team/app-2", 3)] {
        for _ in 0..uploads {
            bench
                .registry
                .start_upload(&create(repository), None)
                .await
                .unwrap();
        }
    }
    bench.hand.advance(Duration::from_secs(24 * 3600));
    let (registry, store) = bench.watched();
    assert_eq!(registry.expire_uploads().await.unwrap(), 2504);
    assert_eq!(bench.keys("").await, Vec::<String>::new());
    let asked = store.asked();
    for repository in ["team/ap", R, "team/app-2"] {
        let key = keys::in_catalog(repository).to_string();
        let changes = asked
            .iter()
            .filter(|asked| **asked == Asked::Change(key.clone()))
            .count();
        assert_eq!(changes, 2, "{repository}: condemned, and deleted");
    }
}

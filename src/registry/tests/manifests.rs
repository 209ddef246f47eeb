//! Pushing and pulling manifests.

mod older_records;

use super::tags::tag_names;
use super::*;
use crate::limits::MANIFEST_BYTES;

const R: &str = "team/app";

#[tokio::test]
async fn oci_9_a_manifest_is_served_as_it_was_pushed() {
    let bench = Bench::new();
    let config = push_blob(&bench.registry, R, b"{}").await;
    let bytes = Bytes::from(format!(
        "  {}\n\n",
        String::from_utf8_lossy(&image(&config, &json!({"custom": 1})))
    ));
    let header = "application/vnd.oci.image.manifest.v1+json; charset=utf-8";
    let pushed = bench
        .registry
        .put_manifest(&write(R), &tag("v1"), Some(header), bytes.clone())
        .await
        .unwrap();
    assert_eq!(
        pushed,
        Pushed {
            digest: sha256(&bytes),
            subject: None,
            missing: Vec::new()
        }
    );
    for reference in [tag("v1"), Reference::Digest(pushed.digest.clone())] {
        let found = bench.registry.manifest(&read(R), &reference).await.unwrap();
        assert_eq!(
            found,
            StoredManifest {
                media_type: IMAGE.into(),
                digest: pushed.digest.clone(),
                bytes: bytes.clone(),
                subject: None
            }
        );
    }
    assert!(matches!(
        bench.registry.manifest(&read(R), &tag("v2")).await,
        Err(Error::ManifestUnknown)
    ));
    assert!(matches!(
        bench.registry.manifest(&read("other"), &tag("v1")).await,
        Err(Error::RepositoryUnknown)
    ));
}

#[tokio::test]
async fn oci_24_the_digest_in_the_reference_must_be_the_bodys() {
    let bench = Bench::new();
    let config = push_blob(&bench.registry, R, b"{}").await;
    let bytes = image(&config, &json!({}));
    let wrong = Reference::Digest(sha256(b"other"));
    let refused = bench
        .registry
        .put_manifest(&write(R), &wrong, Some(IMAGE), bytes.clone())
        .await;
    assert!(
        matches!(refused, Err(Error::DigestMismatch { .. })),
        "{refused:?}"
    );
    // Under sha512 it is another manifest.
    let sha512 = Reference::Digest(digest_of(Algorithm::Sha512, &bytes));
    let pushed = bench
        .registry
        .put_manifest(&write(R), &sha512, Some(IMAGE), bytes.clone())
        .await
        .unwrap();
    assert_eq!(Reference::Digest(pushed.digest.clone()), sha512);
    assert!(matches!(
        bench
            .registry
            .manifest(&read(R), &Reference::Digest(sha256(&bytes)))
            .await,
        Err(Error::ManifestUnknown)
    ));
    bench.put_tag(R, "v1", &pushed.digest).await;
    assert_eq!(bench.tagged(R, "v1").await, pushed.digest);
}

#[tokio::test]
async fn oci_26_a_manifest_has_at_most_4_mib() {
    let bench = Bench::new();
    let config = push_blob(&bench.registry, R, b"{}").await;
    let bare = image(&config, &json!({"annotations": {"k": ""}})).len();
    let sized = |size: usize| image(&config, &json!({"annotations": {"k": "x".repeat(size - bare)}}));
    assert!(
        bench
            .registry
            .put_manifest(&write(R), &tag("v1"), Some(IMAGE), sized(MANIFEST_BYTES))
            .await
            .is_ok()
    );
    let refused = bench
        .registry
        .put_manifest(&write(R), &tag("v1"), Some(IMAGE), sized(MANIFEST_BYTES + 1))
        .await;
    assert!(matches!(refused, Err(Error::TooLarge)));
}

#[tokio::test]
async fn oci_27_every_missing_reference_is_named_and_nothing_is_stored() {
    let bench = Bench::new();
    push_blob(&bench.registry, "elsewhere", b"config").await;
    let before = bench.keys("").await;
    let refused = bench
        .registry
        .put_manifest(
            &write(R),
            &tag("v1"),
            Some(IMAGE),
            image(&sha256(b"config"), &json!({})),
        )
        .await;
    assert!(
        matches!(&refused, Err(Error::MissingReferences(missing)) if *missing == [sha256(b"config")]),
        "{refused:?}"
    );
    let children = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        descriptor(IMAGE, &sha256(b"1")), descriptor(IMAGE, &sha256(b"2")), descriptor(IMAGE, &sha256(b"1")),
    ]});
    let refused = bench
        .registry
        .put_manifest(&write(R), &tag("v1"), Some(INDEX), children.to_string().into())
        .await;
    assert!(
        matches!(&refused, Err(Error::MissingReferences(missing)) if missing.len() == 2),
        "{refused:?}"
    );
    assert_eq!(bench.keys("").await, before);
}

#[tokio::test]
async fn oci_28_an_index_of_present_manifests_and_an_empty_index() {
    let bench = Bench::new();
    let child = push_image(&bench.registry, R, "child", &json!({})).await;
    for manifests in [json!([descriptor(IMAGE, &child)]), json!([])] {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string();
        bench
            .registry
            .put_manifest(&write(R), &tag("index"), Some(INDEX), index.into())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn oci_29_docker_media_types_are_kept_and_schema_1_is_refused() {
    let bench = Bench::new();
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let config = push_blob(&bench.registry, R, b"{}").await;
    let bytes = image(&config, &json!({"mediaType": docker}));
    bench
        .registry
        .put_manifest(&write(R), &tag("v1"), Some(docker), bytes.clone())
        .await
        .unwrap();
    assert_eq!(
        bench
            .registry
            .manifest(&read(R), &tag("v1"))
            .await
            .unwrap()
            .media_type,
        docker
    );
    for other in [IMAGE, "application/vnd.docker.distribution.manifest.v1+json"] {
        let refused = bench
            .registry
            .put_manifest(&write(R), &tag("v1"), Some(other), bytes.clone())
            .await;
        assert!(
            matches!(refused, Err(Error::InvalidManifest(_))),
            "{other}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_sparse_repository_accepts_a_manifest_without_its_content_and_protects_content_that_comes_later() {
    let bench = Bench::new();
    let sparse = Repositories::parse(R).unwrap();
    let registry = bench.restarted().with(Settings {
        sparse,
        ..any_sizes()
    });
    let config = sha256(b"{}");
    let pushed = registry
        .put_manifest(&write(R), &tag("v1"), Some(IMAGE), image(&config, &json!({})))
        .await
        .unwrap();
    assert_eq!(pushed.missing, std::slice::from_ref(&config));
    assert_eq!(push_blob(&registry, R, b"{}").await, config);
    assert!(matches!(
        registry.delete_blob(&delete(R), &config).await,
        Err(Error::Referenced)
    ));
    let elsewhere = registry
        .put_manifest(&write("b"), &tag("v1"), Some(IMAGE), image(&config, &json!({})))
        .await;
    assert!(matches!(elsewhere, Err(Error::MissingReferences(_))));
}

/// A deletion that a crash interrupted before its tags were deleted.
#[tokio::test]
async fn an_interrupted_deletion_is_finished_by_the_next_one_or_by_a_push() {
    for pushed_again in [false, true] {
        let bench = Bench::new();
        let digest = push_image(&bench.registry, R, "config", &json!({})).await;
        bench.put_tag(R, "v1", &digest).await;
        let key = keys::manifest(&R.parse().unwrap(), &digest);
        let found = bench.registry.records.read(&key).await.unwrap().unwrap();
        bench
            .registry
            .records
            .swap(&key, &found.base(), &found.record.dying())
            .await
            .unwrap()
            .unwrap();

        for reference in [tag("v1"), Reference::Digest(digest.clone())] {
            assert!(matches!(
                bench.registry.manifest(&read(R), &reference).await,
                Err(Error::ManifestUnknown)
            ));
        }
        if pushed_again {
            assert_eq!(push_image(&bench.registry, R, "config", &json!({})).await, digest);
            assert_eq!(
                bench
                    .registry
                    .manifest(&read(R), &Reference::Digest(digest.clone()))
                    .await
                    .unwrap()
                    .digest,
                digest
            );
            assert!(matches!(
                bench.registry.manifest(&read(R), &tag("v1")).await,
                Err(Error::ManifestUnknown)
            ));
        } else {
            bench
                .registry
                .delete_manifest(&delete(R), &Reference::Digest(digest))
                .await
                .unwrap();
            assert_eq!(bench.keys("r/").await, Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn a_push_of_a_large_manifest_waits_for_its_turn() {
    let bench = Bench::new();
    let config = push_blob(&bench.registry, R, b"{}").await;
    let bytes = |length| image(&config, &json!({"annotations": {"k": "x".repeat(length)}}));
    let turns = &bench.registry.requests;
    let all = (turns.take(MANIFEST_BYTES).await, turns.take(MANIFEST_BYTES).await);
    let registry = bench.registry.clone();
    let large = bytes(1 << 20);
    let waiting = tokio::spawn(async move {
        registry
            .put_manifest(&write(R), &tag("large"), Some(IMAGE), large)
            .await
    });
    let small = bench
        .registry
        .put_manifest(&write(R), &tag("small"), Some(IMAGE), bytes(1))
        .await;
    assert!(
        small.is_ok() && !waiting.is_finished(),
        "a small one waits for nothing"
    );
    assert_eq!(tag_names(&bench.registry).await, ["small"]);
    drop(all);
    waiting.await.unwrap().unwrap();
    assert_eq!(
        (tag_names(&bench.registry).await, turns.in_hand()),
        (vec!["large".to_owned(), "small".to_owned()], 0)
    );
}

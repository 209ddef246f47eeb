//! Manifests, tags and referrers.

use super::*;
use crate::limits::MANIFEST_BYTES;
use crate::oci::Manifest;
use crate::registry::states::manifest::ManifestRecord;

const R: &str = "team/app";

fn limited(may_create: bool, may_update: bool) -> Permit<Write> {
    Permit::for_test_limited(R, alice(), may_create, may_update)
}

async fn tag_names(registry: &Registry) -> Vec<String> {
    registry.tags(&read(R), "", 100).await.unwrap().entries
}

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
    bench
        .registry
        .put_tag(&write(R), &"v1".parse().unwrap(), &pushed.digest)
        .await
        .unwrap();
    assert_eq!(
        bench
            .registry
            .manifest(&read(R), &tag("v1"))
            .await
            .unwrap()
            .digest,
        pushed.digest
    );
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
async fn oci_32_to_35_referrers_are_listed_filtered_and_paged() {
    let bench = Bench::new();
    let subject = sha256(b"a subject that is not there");
    let refer = |name: &'static str, kind: &'static str, note: String| {
        let registry = bench.registry.clone();
        let subject = subject.clone();
        async move {
            let extra = json!({"artifactType": kind, "annotations": {"note": note}, "subject": descriptor(IMAGE, &subject)});
            push_image(&registry, R, name, &extra).await
        }
    };
    let list = |kind: Option<&'static str>, after: Option<Digest>| {
        let registry = bench.registry.clone();
        let subject = subject.clone();
        async move {
            registry
                .referrers(&read(R), &subject, kind, after.as_ref())
                .await
                .unwrap()
        }
    };
    assert_eq!(
        list(None, None).await,
        Referrers {
            manifests: Vec::new(),
            next: None,
            unreadable: 0
        }
    );
    let signature = refer("1", "application/signature", "x".into()).await;
    refer("2", "application/sbom", "y".repeat(3_000_000)).await;
    refer("3", "application/sbom", "z".repeat(3_000_000)).await;
    let found = list(Some("application/signature"), None).await;
    assert_eq!(found.next, None);
    let [only] = found.manifests.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(
        (&only.digest, only.media_type.as_str(), only.annotations.to_map()),
        (&signature, IMAGE, [("note".to_owned(), "x".to_owned())].into())
    );
    assert_eq!(only.artifact_type.as_deref(), Some("application/signature"));
    // Two of 3 MB do not fit into one index of 4 MiB.
    let mut digests = Vec::new();
    let mut after = None;
    let mut pages = 0;
    loop {
        let page = list(None, after).await;
        pages += 1;
        digests.extend(page.manifests.into_iter().map(|found| found.digest));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((digests.len(), pages), (3, 2));
}

#[tokio::test]
async fn oci_30_and_42_a_subject_is_echoed_and_a_deleted_referrer_is_not_listed() {
    let bench = Bench::new();
    let subject = push_image(&bench.registry, R, "subject", &json!({})).await;
    let config = push_blob(&bench.registry, R, b"referrer").await;
    let bytes = image(&config, &json!({"subject": descriptor(IMAGE, &subject)}));
    let pushed = bench
        .registry
        .put_manifest(&write(R), &tag("ref"), Some(IMAGE), bytes)
        .await
        .unwrap();
    assert_eq!(pushed.subject.as_ref(), Some(&subject));
    let listed = || async {
        bench
            .registry
            .referrers(&read(R), &subject, None, None)
            .await
            .unwrap()
            .manifests
    };
    assert_eq!(
        listed().await[0].artifact_type.as_deref(),
        Some("application/vnd.example.config")
    );
    bench
        .registry
        .delete_manifest(&delete(R), &Reference::Digest(subject.clone()))
        .await
        .unwrap();
    assert_eq!(listed().await.len(), 1);
    bench
        .registry
        .delete_manifest(&delete(R), &Reference::Digest(pushed.digest))
        .await
        .unwrap();
    assert_eq!(listed().await, []);
    assert_eq!(bench.keys(&format!("r/{R}!/s/")).await, Vec::<String>::new());
}

#[tokio::test]
async fn oci_39_tags_are_paged_in_the_order_of_their_bytes() {
    let bench = Bench::new();
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    for name in ["b", "a", "B", "1.0", "a-b", "_"] {
        bench
            .registry
            .put_tag(&write(R), &name.parse().unwrap(), &digest)
            .await
            .unwrap();
    }
    let page = |after: &'static str, limit| {
        let registry = bench.registry.clone();
        async move {
            let page = registry.tags(&read(R), after, limit).await.unwrap();
            (page.entries.join(" "), page.more)
        }
    };
    assert_eq!(page("", 100).await, ("1.0 B _ a a-b b".into(), false));
    assert_eq!(page("", 2).await, ("1.0 B".into(), true));
    assert_eq!(page("B", 2).await, ("_ a".into(), true));
    assert_eq!(page("a", 2).await, ("a-b b".into(), false));
    assert_eq!(page("aa", 2).await, ("b".into(), false));
    assert_eq!(page("", 0).await, (String::new(), false));
}

#[tokio::test]
async fn oci_41_deleting_by_tag_takes_the_tag_and_by_digest_all() {
    let bench = Bench::new();
    let other = push_image(&bench.registry, R, "other", &json!({})).await;
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    for (name, on) in [
        ("v1", &digest),
        ("v2", &digest),
        ("moved", &digest),
        ("other", &other),
        ("moved", &other),
    ] {
        bench
            .registry
            .put_tag(&write(R), &name.parse().unwrap(), on)
            .await
            .unwrap();
    }
    bench
        .registry
        .delete_manifest(&delete(R), &tag("v1"))
        .await
        .unwrap();
    assert!(matches!(
        bench.registry.delete_manifest(&delete(R), &tag("v1")).await,
        Err(Error::ManifestUnknown)
    ));
    assert_eq!(tag_names(&bench.registry).await, ["moved", "other", "v2"]);
    assert!(
        bench
            .registry
            .manifest(&read(R), &Reference::Digest(digest.clone()))
            .await
            .is_ok()
    );
    bench
        .registry
        .delete_manifest(&delete(R), &Reference::Digest(digest.clone()))
        .await
        .unwrap();
    assert_eq!(tag_names(&bench.registry).await, ["moved", "other"]);
    for reference in [tag("v2"), Reference::Digest(digest.clone())] {
        assert!(matches!(
            bench.registry.manifest(&read(R), &reference).await,
            Err(Error::ManifestUnknown)
        ));
    }
    assert!(matches!(
        bench
            .registry
            .delete_manifest(&delete(R), &Reference::Digest(digest))
            .await,
        Err(Error::ManifestUnknown)
    ));
    assert_eq!(bench.keys(&format!("r/{R}!/k/")).await.len(), 2);
}

#[tokio::test]
async fn without_update_a_tag_is_created_but_not_moved() {
    let bench = Bench::new();
    let registry = &bench.registry;
    let config = push_blob(registry, R, b"{}").await;
    let first = image(&config, &json!({"n": 1}));
    let second = image(&config, &json!({"n": 2}));
    let put = |permit: Permit<Write>, bytes: &Bytes| {
        let registry = registry.clone();
        let bytes = bytes.clone();
        async move {
            registry
                .put_manifest(&permit, &tag("v1"), Some(IMAGE), bytes)
                .await
                .map(|pushed| pushed.digest)
        }
    };
    assert!(matches!(
        put(limited(false, true), &first).await,
        Err(Error::TagMissing)
    ));
    put(limited(true, false), &first).await.unwrap();
    let before = bench.keys("").await;
    assert!(matches!(
        put(limited(true, false), &second).await,
        Err(Error::TagExists)
    ));
    assert_eq!(
        bench.keys("").await,
        before,
        "what is refused leaves nothing behind"
    );
    // Every caller may push the digest that the tag already has.
    assert_eq!(put(limited(true, false), &first).await.unwrap(), sha256(&first));
    put(limited(false, true), &second).await.unwrap();
    assert_eq!(
        registry.manifest(&read(R), &tag("v1")).await.unwrap().digest,
        sha256(&second)
    );
    // Pushing a new manifest by digest needs `create`.
    let third = image(&config, &json!({"n": 3}));
    let reference = Reference::Digest(sha256(&third));
    assert!(matches!(
        registry
            .put_manifest(&limited(false, true), &reference, None, third)
            .await,
        Err(Error::TagMissing)
    ));
}

#[tokio::test]
async fn a_sparse_repository_takes_a_manifest_without_its_content_and_protects_what_comes_later() {
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
        bench
            .registry
            .put_tag(&write(R), &"v1".parse().unwrap(), &digest)
            .await
            .unwrap();
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

/// A record without its first line and without the manifest's bytes.
async fn second_line(bench: &Bench, digest: &Digest) -> Value {
    let record = bench
        .store
        .get(keys::manifest(&R.parse().unwrap(), digest).as_str())
        .await
        .unwrap()
        .unwrap();
    serde_json::from_slice(record.value.splitn(3, |byte| *byte == b'\n').nth(1).unwrap()).unwrap()
}

/// Other versions read it as it is.
#[tokio::test]
async fn a_record_has_the_annotations_of_a_referrer_in_its_second_line() {
    let bench = Bench::new();
    let config = push_blob(&bench.registry, R, b"{}").await;
    let subject = sha256(b"subject");
    let annotations = json!({"b": "line\nbreak", "a": "\u{e9}\"\\"});
    let bytes = image(
        &config,
        &json!({"subject": descriptor(IMAGE, &subject), "annotations": annotations}),
    );
    let pretty: Bytes = serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(&bytes).unwrap())
        .unwrap()
        .into();
    let pushed = bench
        .registry
        .put_manifest(&write(R), &tag("v1"), Some(IMAGE), pretty.clone())
        .await
        .unwrap();
    let config_type = "application/vnd.example.config";
    assert_eq!(
        second_line(&bench, &pushed.digest).await,
        json!({
            "state": "com", "media_type": IMAGE, "subject": subject.as_str(), "artifact_type": config_type,
            "annotations": annotations, "blobs": [config.as_str()], "manifests": [],
        })
    );
    let listed = bench
        .restarted()
        .referrers(&read(R), &subject, None, None)
        .await
        .unwrap()
        .index();
    assert_eq!(
        serde_json::from_slice::<Value>(&listed).unwrap()["manifests"][0]["annotations"],
        annotations
    );
    assert_eq!(
        bench
            .restarted()
            .manifest(&read(R), &tag("v1"))
            .await
            .unwrap()
            .bytes,
        pretty
    );
}

#[tokio::test]
async fn a_blob_that_an_older_record_left_out_since_it_is_embedded_is_protected_and_the_next_push_names_it() {
    let bench = Bench::new();
    let config = push_blob(&bench.registry, R, b"{}").await;
    let mut embedding = descriptor("application/vnd.example.config", &config);
    embedding["data"] = json!("e30=");
    embedding["size"] = json!(2);
    let bytes = image(&config, &json!({"config": embedding}));
    let put = async || {
        bench
            .registry
            .put_manifest(&write(R), &tag("v1"), Some(IMAGE), bytes.clone())
            .await
            .unwrap()
            .digest
    };
    let digest = put().await;
    let key = keys::manifest(&R.parse().unwrap(), &digest);
    let found = bench.registry.records.read(&key).await.unwrap().unwrap();
    let mut older = found.record.clone();
    older.header.blobs.clear();
    bench
        .registry
        .records
        .swap(&key, &found.base(), &older)
        .await
        .unwrap()
        .unwrap();
    let found = bench.fsck().await.0.findings;
    assert!(found.is_empty(), "{found:?}");
    assert!(matches!(
        bench.registry.delete_blob(&delete(R), &config).await,
        Err(Error::Referenced)
    ));
    put().await;
    assert_eq!(
        second_line(&bench, &digest).await["blobs"],
        json!([config.as_str()])
    );
}

#[tokio::test]
async fn a_push_that_is_refused_leaves_an_older_record_as_it_is() {
    let bench = Bench::new();
    let config = sha256(b"{}");
    let mut embedding = descriptor("application/vnd.example.config", &config);
    embedding["data"] = json!("e30=");
    embedding["size"] = json!(2);
    let bytes = image(&config, &json!({"config": embedding}));
    let repository = R.parse().unwrap();
    let digest = sha256(&bytes);
    let mut older =
        ManifestRecord::pending(&Manifest::parse(None, &bytes).unwrap(), bytes.clone()).committed();
    older.header.blobs.clear();
    bench.registry.records.mark(&keys::in_catalog(R)).await.unwrap();
    bench
        .registry
        .records
        .create(&keys::manifest(&repository, &digest), &older)
        .await
        .unwrap()
        .unwrap();
    let put = async || {
        bench
            .registry
            .put_manifest(
                &write(R),
                &Reference::Digest(digest.clone()),
                Some(IMAGE),
                bytes.clone(),
            )
            .await
    };
    let refused = put().await;
    assert!(
        matches!(&refused, Err(Error::MissingReferences(missing)) if *missing == [config.clone()]),
        "{refused:?}"
    );
    assert_eq!(second_line(&bench, &digest).await["blobs"], json!([]));
    let found = bench.fsck().await.0.findings;
    assert!(found.is_empty(), "{found:?}");
    push_blob(&bench.registry, R, b"{}").await;
    put().await.unwrap();
    assert_eq!(
        second_line(&bench, &digest).await["blobs"],
        json!([config.as_str()])
    );
    assert!(matches!(
        bench.registry.delete_blob(&delete(R), &config).await,
        Err(Error::Referenced)
    ));
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

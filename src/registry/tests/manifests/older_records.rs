//! Records of manifests that earlier versions wrote, and the second line of a record.

use super::*;
use crate::oci::Manifest;
use crate::registry::states::manifest::ManifestRecord;

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
            "pushed": bench.store.now().as_millis(),
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
async fn a_blob_that_an_older_record_omits_is_protected_and_the_next_push_adds_it() {
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
async fn a_rejected_push_does_not_change_an_older_record() {
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

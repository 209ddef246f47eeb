//! Referrers: how they are listed, and the bounded work of a page.

use super::*;
use crate::limits::REFERRERS_SCANNED;
use crate::oci::Manifest;
use crate::registry::states::manifest::ManifestRecord;
use std::collections::BTreeSet;

const R: &str = "team/app";

/// Writes the record of a referrer without the checks of a push.
async fn keep(bench: &Bench, subject: &Digest, extra: Value) -> Digest {
    let mut manifest = json!({
        "schemaVersion": 2, "layers": [],
        "config": {"mediaType": "a/config", "digest": sha256(b"{}").as_str(), "size": 2},
        "subject": {"mediaType": IMAGE, "digest": subject.as_str(), "size": 1},
    });
    manifest
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    let bytes = Bytes::from(manifest.to_string());
    let repository = R.parse().unwrap();
    let digest = sha256(&bytes);
    let record = ManifestRecord::pending(&Manifest::parse(None, &bytes).unwrap(), bytes).committed();
    let records = &bench.registry.records;
    records
        .create(&keys::manifest(&repository, &digest), &record)
        .await
        .unwrap()
        .unwrap();
    records
        .mark(&keys::referrer(&repository, subject, &digest))
        .await
        .unwrap();
    digest
}

#[tokio::test]
async fn a_page_ends_after_10_000_entries() {
    let bench = Bench::new();
    let subject = sha256(b"subject");
    let repository = R.parse().unwrap();
    // A crash leaves an entry without its manifest.
    let left = |number: usize| keys::referrer(&repository, &subject, &sha256(number.to_string().as_bytes()));
    let left: Vec<_> = (0..REFERRERS_SCANNED).map(left).collect();
    bench.registry.records.mark_all(&left).await.unwrap();
    let mut there = BTreeSet::new();
    for number in 0..20 {
        there.insert(
            keep(
                &bench,
                &subject,
                json!({"annotations": {"number": number.to_string()}}),
            )
            .await,
        );
    }
    let first = bench
        .registry
        .referrers(&read(R), &subject, None, None)
        .await
        .unwrap();
    let second = bench
        .registry
        .referrers(&read(R), &subject, None, Some(first.next.as_ref().unwrap()))
        .await
        .unwrap();
    assert_eq!(second.next, None);
    let listed: Vec<_> = first
        .manifests
        .into_iter()
        .chain(second.manifests)
        .map(|found| found.digest)
        .collect();
    assert_eq!(listed, Vec::from_iter(there));
}

/// Earlier versions accepted types of any length. The cache must weigh all of it.
#[tokio::test]
async fn long_types_of_earlier_versions_are_listed_and_weighed() {
    let bench = Bench::new();
    let subject = sha256(b"subject");
    let long = "t".repeat(1 << 20);
    let mut there = BTreeSet::new();
    for number in 0..20 {
        there.insert(
            keep(
                &bench,
                &subject,
                json!({"artifactType": long, "annotations": {"number": number.to_string()}}),
            )
            .await,
        );
    }
    for wanted in [None, Some(long.as_str()), Some("other")] {
        let mut after = None;
        let mut listed = Vec::new();
        loop {
            let page = bench
                .registry
                .referrers(&read(R), &subject, wanted, after.as_ref())
                .await
                .unwrap();
            listed.extend(page.manifests.into_iter().map(|found| found.digest));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expected = if wanted == Some("other") {
            Vec::new()
        } else {
            Vec::from_iter(there.iter().cloned())
        };
        assert_eq!(listed, expected);
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

//! A page of referrers takes a bounded amount of work.

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

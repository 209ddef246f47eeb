//! What a pass of the collector removes, and what it keeps.

use super::super::collect::{Amount, Goes, Options, Report, Rules, Stays};
use super::super::states::Condemnable;
use super::super::states::blob::BlobRecord;
use super::*;
use crate::access::Maintenance;
use crate::storage::local::Local;
use std::path::Path;
use std::time::Duration;

const R: &str = "team/app";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn at_once() -> Options {
    Options {
        grace: Duration::ZERO,
        ..Options::default()
    }
}

fn giving_up(untagged: bool, referrers: bool) -> Options {
    Options {
        rules: Rules::giving_up(untagged, referrers),
        ..at_once()
    }
}

/// Collects, after a dry run that must report the same and change nothing.
async fn collect(registry: &Registry, options: &Options) -> Report {
    let dry = Options {
        dry_run: true,
        ..options.clone()
    };
    let owner = Maintenance::by_the_stores_owner();
    let predicted = registry.collect(&owner, &dry, &mut ()).await.unwrap();
    let done = registry.collect(&owner, options, &mut ()).await.unwrap();
    assert_eq!(predicted.goes(), done.goes());
    assert_eq!(
        predicted.stopped().collect::<Vec<_>>(),
        done.stopped().collect::<Vec<_>>()
    );
    done
}

fn counts(report: &Report) -> Vec<(Goes, u64)> {
    report
        .goes()
        .into_iter()
        .map(|(why, amount)| (why, amount.count))
        .collect()
}

async fn tag_it(registry: &Registry, repository: &str, name: &str, digest: &Digest) {
    registry
        .put_tag(&write(repository), &name.parse().unwrap(), digest)
        .await
        .unwrap();
}

async fn delete_it(registry: &Registry, repository: &str, digest: &Digest) {
    registry
        .delete_manifest(&delete(repository), &Reference::Digest(digest.clone()))
        .await
        .unwrap();
}

async fn push_index(registry: &Registry, name: &str, children: &[&Digest]) -> Digest {
    registry
        .put_manifest(&write(R), &tag(name), Some(INDEX), index(children))
        .await
        .unwrap()
        .digest
}

/// Everything that the registry can hold, in two repositories, and then deleted by clients.
async fn push_and_delete_everything(registry: &Registry) {
    let first = push_image(registry, R, "first", &json!({})).await;
    let second = push_image(registry, R, "second", &json!({})).await;
    tag_it(registry, R, "v1", &first).await;
    tag_it(registry, R, "v1", &second).await;
    tag_it(registry, R, "v2", &second).await;
    let index = push_index(registry, "all", &[&first, &second]).await;
    let signature = json!({"subject": descriptor(IMAGE, &first)});
    let signature = push_image(registry, R, "signature", &signature).await;
    assert!(
        registry
            .mount(&create("other"), Some(&read(R)), None, &sha256(b"first"))
            .await
            .unwrap()
    );
    let other = push_image(
        registry,
        "other",
        "first",
        &json!({"annotations": {"other": "1"}}),
    )
    .await;
    push_blob(registry, "third", b"no manifest needs this").await;
    for (repository, digest) in [
        (R, &index),
        (R, &first),
        (R, &second),
        (R, &signature),
        ("other", &other),
    ] {
        delete_it(registry, repository, digest).await;
    }
}

#[tokio::test]
async fn after_everything_was_deleted_a_pass_leaves_nothing() {
    let bench = Bench::new();
    push_and_delete_everything(&bench.registry).await;
    let report = collect(&bench.registry, &at_once()).await;
    assert_eq!(
        counts(&report),
        [
            (Goes::UnneededLink, 5),
            (Goes::StaleEntry, 1),
            (Goes::UnlinkedBlob, 4)
        ],
        "one repository never had a manifest: {report:?}"
    );
    assert_eq!(bench.keys("").await, Vec::<String>::new());
    assert!(bench.store.list_bytes("", 10).await.unwrap().is_empty());
    let freed = b"first".len() + b"second".len() + b"signature".len() + b"no manifest needs this".len();
    assert_eq!(report.freed_bytes(), freed as u64);
}

#[tokio::test]
async fn after_everything_was_deleted_a_pass_leaves_no_files() {
    fn files(folder: &Path) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path))
            } else {
                found.push(path)
            }
        }
        found
    }
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Local::open(folder.path()).unwrap());
    let registry = Registry::new(store.clone(), store.clone()).with(any_sizes());
    push_and_delete_everything(&registry).await;
    assert!(!files(&folder.path().join("d")).is_empty());
    collect(&registry, &at_once()).await;
    assert_eq!(files(&folder.path().join("d")), Vec::<std::path::PathBuf>::new());
    let range = |prefix| Range {
        prefix,
        after: "",
        limit: 100,
        show: Show::All,
    };
    assert_eq!(store.list(range("")).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_manifest_protects_blobs_in_its_own_repository_only() {
    let bench = Bench::new();
    let registry = &bench.registry;
    for repository in ["one", "two"] {
        push_image(
            registry,
            repository,
            "shared",
            &json!({"annotations": {"of": repository}}),
        )
        .await;
        push_blob(registry, repository, b"garbage").await;
    }
    let only = push_image(registry, "two", "only here", &json!({})).await;
    delete_it(registry, "two", &only).await;
    let gone = push_image(
        registry,
        "one",
        "shared",
        &json!({"annotations": {"of": "no image"}}),
    )
    .await;
    delete_it(registry, "one", &gone).await;
    let report = collect(registry, &at_once()).await;
    assert_eq!(
        counts(&report),
        [(Goes::UnneededLink, 3), (Goes::UnlinkedBlob, 2)]
    );
    let amount = |repository: &str| report.repositories[repository].goes[&Goes::UnneededLink];
    assert_eq!(amount("one"), Amount { count: 1, bytes: 7 });
    assert_eq!(amount("two"), Amount { count: 2, bytes: 16 });
    for repository in ["one", "two"] {
        assert_eq!(
            content(registry, repository, &sha256(b"shared")).await.unwrap(),
            "shared"
        );
        assert!(content(registry, repository, &sha256(b"garbage")).await.is_err());
    }
    assert_eq!(bench.damages().await, Vec::<String>::new());
    assert_eq!(counts(&collect(registry, &at_once()).await), []);
}

/// A blob that one repository no longer needs stays while another has it.
#[tokio::test]
async fn a_blob_stays_while_any_repository_links_it() {
    let bench = Bench::new();
    let registry = &bench.registry;
    let image = push_image(registry, "one", "shared", &json!({})).await;
    push_image(registry, "two", "shared", &json!({})).await;
    delete_it(registry, "one", &image).await;
    let report = collect(registry, &at_once()).await;
    assert_eq!(counts(&report), [(Goes::UnneededLink, 1)]);
    assert_eq!(report.freed_bytes(), 0);
    assert!(content(registry, "two", &sha256(b"shared")).await.is_ok());
}

/// Rule C-12.
#[tokio::test]
async fn content_younger_than_the_grace_period_is_kept() {
    let bench = Bench::new();
    let registry = &bench.registry;
    registry.begin_recording_pulls().await.unwrap();
    push_blob(registry, R, b"garbage").await;
    push_image(registry, R, "untagged", &json!({})).await;
    let options = Options {
        grace: DAY,
        ..giving_up(true, true)
    };
    bench.hand.advance(DAY - Duration::from_secs(1));
    let report = collect(registry, &options).await;
    assert_eq!(counts(&report), []);
    let young: u64 = report.stays()[&Stays::Young].count;
    assert_eq!(young, 2, "a link and a manifest: {report:?}");
    bench.hand.advance(Duration::from_secs(1));
    let report = collect(registry, &options).await;
    assert_eq!(
        counts(&report),
        [
            (Goes::UntaggedManifest, 1),
            (Goes::UnneededLink, 2),
            (Goes::UnlinkedBlob, 2)
        ]
    );
}

/// Rule C-11.
#[tokio::test]
async fn a_manifest_that_cannot_be_read_stops_its_repository_and_no_other() {
    let bench = Bench::new();
    let registry = &bench.registry;
    let options = giving_up(true, true);
    for repository in ["bad", "good"] {
        let kept = push_image(registry, repository, "kept", &json!({})).await;
        tag_it(registry, repository, "v1", &kept).await;
        push_image(registry, repository, "untagged", &json!({})).await;
        push_blob(registry, repository, b"garbage").await;
    }
    let key = keys::manifest(
        &"bad".parse().unwrap(),
        &sha256(&image(&sha256(b"kept"), &json!({}))),
    );
    let good = bench.store.get(key.as_str()).await.unwrap().unwrap().value;
    for (damage, why) in [
        (("\"com\"", "\"com"), "is damaged"),
        // The header has lost a blob, and the bytes are those of another manifest.
        (("\"layers\"", "\"lawyers\""), "does not match its digest"),
        (("\"format\":2", "\"format\":3"), "another version"),
    ] {
        bench
            .tamper(key.as_str(), |_| Some(String::from_utf8(good.to_vec()).unwrap()))
            .await;
        bench
            .tamper(key.as_str(), |text| Some(text.replacen(damage.0, damage.1, 1)))
            .await;
        let report = collect(registry, &options).await;
        let stopped: Vec<_> = report.stopped().collect();
        assert!(
            matches!(stopped[..], [("bad", message)] if message.contains(why)),
            "{stopped:?}"
        );
        assert!(report.repositories["bad"].goes.is_empty(), "{report:?}");
        assert_eq!(report.repositories["bad"].stays[&Stays::Unjudged].count, 2);
        for content in [&b"kept"[..], b"untagged", b"garbage"] {
            assert!(super::content(registry, "bad", &sha256(content)).await.is_ok());
        }
    }
    assert!(content(registry, "good", &sha256(b"garbage")).await.is_err());
    assert!(content(registry, "good", &sha256(b"kept")).await.is_ok());
    registry
        .put_manifest(
            &write("bad"),
            &tag("v1"),
            Some(IMAGE),
            image(&sha256(b"kept"), &json!({})),
        )
        .await
        .unwrap_err();
}

/// The header and the bytes of a manifest each name what it needs. Damage of one of them loses nothing.
#[tokio::test]
async fn a_reference_that_only_the_bytes_or_only_the_header_has_protects_its_blob() {
    let bench = Bench::new();
    let registry = &bench.registry;
    let digest = push_image(registry, R, "config", &json!({})).await;
    let other = push_blob(registry, R, b"other").await;
    let key = keys::manifest(&R.parse().unwrap(), &digest);
    // Only the first one is in the header, which stands before the bytes.
    bench
        .tamper(key.as_str(), |text| {
            Some(text.replacen(sha256(b"config").as_str(), other.as_str(), 1))
        })
        .await;
    assert_eq!(counts(&collect(registry, &at_once()).await), []);
    for blob in [&b"config"[..], b"other"] {
        assert!(content(registry, R, &sha256(blob)).await.is_ok());
    }
}

/// Rule C-8.
#[tokio::test]
async fn untagged_manifests_are_deleted_by_policy_with_their_children_and_referrers() {
    for (untagged, referrers) in [(false, false), (true, false), (true, true)] {
        let bench = Bench::new();
        let registry = &bench.registry;
        let options = giving_up(untagged, referrers);
        let mut children = Vec::new();
        for number in 0..8 {
            children.push(push_image(registry, R, &format!("child {number}"), &json!({})).await);
        }
        let old = push_index(registry, "v1", &children.iter().collect::<Vec<_>>()).await;
        let subject = json!({"subject": descriptor(INDEX, &old)});
        let signature = push_image(registry, R, "signature", &subject).await;
        let tagged = json!({"subject": descriptor(INDEX, &old), "annotations": {"tagged": "1"}});
        let tagged = push_image(registry, R, "tagged signature", &tagged).await;
        tag_it(registry, R, "signature", &tagged).await;
        let kept = [&children[0], &children[1]];
        push_index(registry, "kept", &kept).await;
        assert_eq!(
            counts(&collect(registry, &options).await),
            [],
            "all is tagged or listed"
        );

        push_index(registry, "v1", &[&children[2]]).await;
        let report = collect(registry, &options).await;
        let going: u64 = if untagged { 1 + 5 } else { 0 };
        let goes = report.goes();
        let count = |why| goes.get(&why).map_or(0, |amount| amount.count);
        assert_eq!(
            count(Goes::UntaggedManifest),
            going,
            "the old index and five children"
        );
        assert_eq!(count(Goes::ReferrerWithoutSubject), 2 * u64::from(referrers));
        assert_eq!(count(Goes::TagWithoutSubject), u64::from(referrers));
        assert_eq!(
            count(Goes::UnneededLink),
            u64::from(untagged) * 5 + 2 * u64::from(referrers)
        );
        let is_there = async |digest: &Digest| {
            registry
                .manifest(&read(R), &Reference::Digest(digest.clone()))
                .await
                .is_ok()
        };
        assert_eq!(is_there(&old).await, !untagged);
        assert_eq!(is_there(&signature).await, !referrers);
        assert_eq!(
            is_there(&tagged).await,
            !referrers,
            "as in zot, its tag does not keep it"
        );
        assert!(is_there(&children[0]).await && is_there(&children[2]).await);
        assert_eq!(is_there(&children[3]).await, !untagged);
        assert_eq!(bench.damages().await, Vec::<String>::new());
        assert_eq!(counts(&collect(registry, &options).await), []);
    }
}

#[tokio::test]
async fn a_dry_run_reports_what_no_policy_deletes() {
    let bench = Bench::new();
    let registry = &bench.registry;
    let untagged = push_image(registry, R, "untagged", &json!({})).await;
    let gone = json!({"subject": descriptor(IMAGE, &sha256(b"never pushed"))});
    push_image(registry, R, "referrer", &gone).await;
    let there = json!({"subject": descriptor(IMAGE, &untagged)});
    push_image(registry, R, "attached", &there).await;
    let dry = Options {
        dry_run: true,
        ..at_once()
    };
    let owner = Maintenance::by_the_stores_owner();
    let report = registry.collect(&owner, &dry, &mut ()).await.unwrap();
    let stays: Vec<_> = report
        .stays()
        .into_iter()
        .map(|(why, amount)| (why, amount.count))
        .collect();
    assert_eq!(stays, [(Stays::Untagged, 1), (Stays::WithoutSubject, 1)]);
}

/// Rule C-9.
#[tokio::test]
async fn replaced_bytes_are_removed_and_the_blob_is_kept() {
    let bench = Bench::new();
    let registry = &bench.registry;
    push_image(registry, R, "content", &json!({})).await;
    let key = keys::blob(&sha256(b"content"));
    let old = registry
        .records
        .read(&key)
        .await
        .unwrap()
        .unwrap()
        .record
        .generation;
    let suspect = |found: Option<typed_store::Found<BlobRecord>>| {
        Ok(BlobRecord::suspected(found.map(|found| found.record), &old))
    };
    push_blob(registry, "other", b"content").await;
    registry.records.change(&key, suspect).await.unwrap();
    push_blob(registry, R, b"content").await;
    let blob = async || registry.records.read(&key).await.unwrap().unwrap().record;
    assert_eq!(blob().await.trash, std::slice::from_ref(&old));
    let report = collect(registry, &at_once()).await;
    assert_eq!(
        counts(&report),
        [
            (Goes::UnneededLink, 1),
            (Goes::StaleEntry, 1),
            (Goes::ReplacedBytes, 1)
        ],
        "the other repository never had a manifest"
    );
    assert!(blob().await.trash.is_empty());
    assert!(bench.store.open(&old).await.is_err());
    assert_eq!(
        content(registry, R, &sha256(b"content")).await.unwrap(),
        "content"
    );
}

/// A link keeps the name of the bytes that it was created with. Readers get the blob's present bytes.
#[tokio::test]
async fn a_link_to_replaced_bytes_serves_the_new_ones() {
    let bench = Bench::new();
    let registry = &bench.registry;
    for repository in ["old", "new"] {
        push_image(registry, repository, "content", &json!({})).await;
    }
    let key = keys::blob(&sha256(b"content"));
    let old = registry
        .records
        .read(&key)
        .await
        .unwrap()
        .unwrap()
        .record
        .generation;
    let suspect = |found: Option<typed_store::Found<BlobRecord>>| {
        Ok(BlobRecord::suspected(found.map(|found| found.record), &old))
    };
    registry.records.change(&key, suspect).await.unwrap();
    push_blob(registry, "new", b"content").await;
    assert_eq!(
        counts(&collect(registry, &at_once()).await),
        [(Goes::ReplacedBytes, 1)]
    );
    assert_eq!(
        content(registry, "old", &sha256(b"content")).await.unwrap(),
        "content"
    );
    assert_eq!(bench.damages().await, Vec::<String>::new());
    push_blob(registry, "old", b"content").await;
    assert_eq!(bench.fsck().await.0.findings, []);
}

#[tokio::test]
async fn remains_of_collectors_pushes_and_deletions_are_removed() {
    let bench = Bench::new();
    let registry = &bench.registry;
    let kept = push_image(registry, R, "kept", &json!({})).await;
    let records = &registry.records;
    // A collector stopped after it had condemned a link and a blob, and before it had removed another blob's
    // bytes.
    push_blob(registry, R, b"condemned").await;
    push_blob(registry, R, b"dying").await;
    let condemned = keys::link(&sha256(b"condemned"), &R.parse().unwrap());
    let found = records.read(&condemned).await.unwrap().unwrap();
    records
        .swap(&condemned, &found.base(), &found.record.condemned())
        .await
        .unwrap();
    let dying = keys::blob(&sha256(b"dying"));
    let found = records.read(&dying).await.unwrap().unwrap();
    records
        .swap(&dying, &found.base(), &found.record.dying())
        .await
        .unwrap();
    let link = keys::link(&sha256(b"dying"), &R.parse().unwrap());
    let found = records.read(&link).await.unwrap().unwrap();
    records.delete(&link, &found.version).await.unwrap();
    // A push stopped before it committed, and a deletion before it had removed the record.
    for (name, dying) in [("pushed", false), ("deleted", true)] {
        let digest = push_image(registry, R, name, &json!({})).await;
        tag_it(registry, R, name, &digest).await;
        let key = keys::manifest(&R.parse().unwrap(), &digest);
        let found = records.read(&key).await.unwrap().unwrap();
        let left = if dying {
            found.record.dying()
        } else {
            found.record.in_state(states::manifest::ManifestState::Pend)
        };
        records
            .swap(&key, &records.read(&key).await.unwrap().unwrap().base(), &left)
            .await
            .unwrap();
    }
    // Entries that point at nothing.
    let nowhere = sha256(b"nowhere");
    let repository = R.parse().unwrap();
    for entry in [
        keys::back_reference(&repository, &nowhere, &"gone".parse().unwrap()),
        keys::referrer(&repository, &kept, &nowhere),
        keys::index(&repository, &kept, &nowhere),
        keys::deletion(&repository, &nowhere),
        keys::in_catalog("empty"),
    ] {
        records.mark(&entry).await.unwrap();
    }
    let report = collect(registry, &at_once()).await;
    assert_eq!(
        counts(&report),
        [
            (Goes::InterruptedPush, 1),
            (Goes::InterruptedDeletion, 1),
            (Goes::UnneededLink, 3),
            (Goes::StaleEntry, 5),
            (Goes::UnlinkedBlob, 4),
        ]
    );
    let (heard, _) = bench.fsck().await;
    assert_eq!(heard.findings, []);
    assert!(
        registry
            .manifest(&read(R), &Reference::Digest(kept))
            .await
            .is_ok()
    );
    assert_eq!(bench.store.list_bytes("", 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn expired_uploads_are_removed_and_others_kept() {
    let bench = Bench::new();
    let registry = &bench.registry;
    let old = registry.start_upload(&create(R), None).await.unwrap();
    registry
        .append(&create(R), &old.id, None, None, body(&[b"abc"]))
        .await
        .unwrap();
    bench.hand.advance(DAY);
    let new = registry.start_upload(&create(R), None).await.unwrap();
    registry
        .append(&create(R), &new.id, None, None, body(&[b"abcd"]))
        .await
        .unwrap();
    let report = collect(registry, &at_once()).await;
    assert_eq!(report.goes()[&Goes::ExpiredUpload], Amount { count: 1, bytes: 3 });
    assert!(!bench.has_bytes(&old.id).await && bench.has_bytes(&new.id).await);
}

/// Rule C-16.
#[tokio::test]
async fn a_pass_works_on_a_full_store() {
    let bench = Bench::new();
    let (registry, store) = bench.watched();
    push_and_delete_everything(&registry).await;
    push_image(&registry, R, "untagged", &json!({})).await;
    store.has_room_for(0);
    let report = collect(&registry, &giving_up(true, true)).await;
    assert_eq!(report.goes()[&Goes::UnlinkedBlob].count, 5);
    assert_eq!(bench.keys("").await, Vec::<String>::new());
}

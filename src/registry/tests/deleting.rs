//! Deletions take few commits, hide a manifest at once, are finished after a crash, and are rejected while an
//! index needs the manifest.

mod indexes;

use super::*;
use crate::storage::{Change, Failure};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use wharfinger_testkit::{Hook, Hooked, Request};

const R: &str = "team/app";

/// Counts commits, and stops after a number of changes, like a process that dies. That may be in the middle of
/// a commit, as if every change were a separate request.
struct Counting {
    commits: AtomicU64,
    /// The number of changes before it stops.
    left: AtomicU64,
    /// A state that no manifest may change to, as if the disk were full.
    refused: Mutex<Option<&'static str>>,
}

impl Counting {
    fn new(left: u64) -> Arc<Self> {
        Arc::new(Self {
            commits: AtomicU64::new(0),
            left: AtomicU64::new(left),
            refused: Mutex::default(),
        })
    }

    fn registry(self: &Arc<Self>, bench: &Bench) -> Registry {
        let records = Hooked::over(bench.store.clone(), self.clone());
        Registry::new(records, bench.store.clone()).with(any_sizes())
    }

    fn refuses(&self, Change { key, value, .. }: &Change) -> bool {
        let (Some(state), Some(value)) = (*self.refused.lock().unwrap(), value) else {
            return false;
        };
        let text = String::from_utf8_lossy(&value.bytes);
        key.contains("!/m/") && text.contains(&format!("\"{state}\""))
    }
}

impl Hook for Counting {
    async fn before(&self, request: Request<'_>) -> Result<(), Failure> {
        match request {
            Request::Commit(_) => drop(self.commits.fetch_add(1, Ordering::SeqCst)),
            Request::Change(change) => {
                self.left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .map_err(|_| Failure::Stopped)?;
                if self.refuses(change) {
                    return Err(Failure::Full);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

async fn put_tags(registry: &Registry, digest: &Digest, names: impl Iterator<Item = String>) {
    for name in names {
        registry
            .put_tag(&write(R), &name.parse().unwrap(), digest)
            .await
            .unwrap();
    }
}

async fn listed(registry: &Registry) -> Vec<String> {
    match registry.tags(&read(R), "", 10_000).await {
        Err(Error::RepositoryUnknown) => Vec::new(),
        page => page.unwrap().entries,
    }
}

async fn push_index(registry: &Registry, child: &Digest) -> Result<Digest, Error> {
    let bytes = index(&[child]);
    Ok(registry
        .put_manifest(&write(R), &Reference::Digest(sha256(&bytes)), Some(INDEX), bytes)
        .await?
        .digest)
}

#[tokio::test]
async fn a_manifest_with_thousands_of_tags_is_deleted_with_few_commits() {
    let bench = Bench::new();
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    put_tags(
        &bench.registry,
        &digest,
        (0..3200).map(|number| format!("v{number}")),
    )
    .await;
    let counting = Counting::new(u64::MAX);
    counting
        .registry(&bench)
        .delete_manifest(&delete(R), &Reference::Digest(digest))
        .await
        .unwrap();
    let commits = counting.commits.load(Ordering::SeqCst);
    assert!(
        commits <= 12,
        "condemned, hidden, two for each of four pages, two for the rest: {commits}"
    );
    let kinds: BTreeSet<String> = bench
        .keys("")
        .await
        .iter()
        .map(|key| key[..2].to_owned())
        .collect();
    assert_eq!(
        kinds,
        BTreeSet::from(["b/".to_owned(), "l/".to_owned()]),
        "the blob is left for the collector"
    );
}

/// Wherever the process dies, either all tags of the manifest are listed or none, and the next start finishes
/// the deletion.
#[tokio::test]
async fn a_deletion_hides_all_tags_at_once_and_is_finished_at_the_next_start() {
    let mut cut = 0;
    loop {
        let bench = Bench::new();
        let subject = json!({"subject": descriptor(IMAGE, &sha256(b"subject"))});
        let digest = push_image(&bench.registry, R, "config", &subject).await;
        let other = push_image(&bench.registry, R, "other", &json!({})).await;
        put_tags(
            &bench.registry,
            &digest,
            (0..5).map(|number| format!("v{number}")),
        )
        .await;
        put_tags(
            &bench.registry,
            &other,
            ["u".to_owned(), "v11".to_owned(), "w".to_owned()].into_iter(),
        )
        .await;
        let all = ["u", "v0", "v1", "v11", "v2", "v3", "v4", "w"];
        let counting = Counting::new(cut);
        let reference = Reference::Digest(digest.clone());
        let done = counting
            .registry(&bench)
            .delete_manifest(&delete(R), &reference)
            .await;
        let there = bench.registry.manifest(&read(R), &reference).await.is_ok();
        assert!(!there || done.is_err(), "cut after {cut}");
        let expected: &[&str] = if there { &all } else { &["u", "v11", "w"] };
        // On a bucket, the marker and its record are two requests. Between them, reads reject the manifest,
        // but lists still show its tags.
        let between = !there
            && bench.keys("x/").await.is_empty()
            && done.is_err()
            && bench.keys("r/team/app!/t/v0").await.len() == 1;
        if !between {
            assert_eq!(listed(&bench.registry).await, expected, "cut after {cut}");
            let page = bench.registry.tags(&read(R), "u", 1).await.unwrap();
            assert_eq!(
                (page.entries, page.more),
                (vec![expected[1].to_owned()], true),
                "cut after {cut}"
            );
        }
        for name in ["v0", "v4"] {
            assert_eq!(
                bench.registry.manifest(&read(R), &tag(name)).await.is_ok(),
                there,
                "cut after {cut}"
            );
        }
        let restarted = bench.restarted();
        restarted.finish_what_a_crash_left().await.unwrap();
        assert_eq!(
            listed(&restarted).await,
            expected,
            "cut after {cut}, and started again"
        );
        for prefix in [
            "x/",
            &format!("r/{R}!/k/sha256/{}/", digest.hex()),
            &format!("r/{R}!/s/"),
        ] {
            assert_eq!(
                bench.keys(prefix).await.is_empty(),
                !there || prefix == "x/",
                "cut after {cut}: {prefix}"
            );
        }
        let manifests = bench.keys(&format!("r/{R}!/m/")).await.len();
        assert_eq!(manifests, if there { 2 } else { 1 }, "cut after {cut}");
        if done.is_ok() {
            break;
        }
        cut += 1;
    }
    assert!(cut > 15, "{cut}");
}

#[tokio::test]
async fn a_push_finishes_an_interrupted_deletion_first() {
    let bench = Bench::new();
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    put_tags(
        &bench.registry,
        &digest,
        (0..5).map(|number| format!("v{number}")),
    )
    .await;
    // The first three changes condemn the manifest, make it dying, and write its marker.
    let counting = Counting::new(3);
    counting
        .registry(&bench)
        .delete_manifest(&delete(R), &Reference::Digest(digest.clone()))
        .await
        .unwrap_err();
    assert_eq!(listed(&bench.registry).await, [""; 0]);
    let bytes = image(&sha256(b"config"), &json!({}));
    bench
        .registry
        .put_manifest(&write(R), &tag("v3"), Some(IMAGE), bytes)
        .await
        .unwrap();
    assert_eq!(listed(&bench.registry).await, ["v3"]);
    bench.restarted().finish_what_a_crash_left().await.unwrap();
    assert_eq!(bench.keys("x/").await, [""; 0]);
    assert_eq!(listed(&bench.registry).await, ["v3"]);
    assert_eq!(bench.tagged(R, "v3").await, digest);
}

#[tokio::test]
async fn an_interrupted_push_is_removed_at_the_next_start() {
    let bench = Bench::new();
    let child = push_image(&bench.registry, R, "config", &json!({})).await;
    // The changes are the record and the entry of its child.
    let counting = Counting::new(2);
    push_index(&counting.registry(&bench), &child).await.unwrap_err();
    let manifests = format!("r/{R}!/m/");
    assert_eq!(
        (
            bench.keys(&manifests).await.len(),
            bench.keys(&format!("r/{R}!/i/")).await.len()
        ),
        (2, 1)
    );
    let refused = bench
        .registry
        .delete_manifest(&delete(R), &Reference::Digest(child.clone()))
        .await;
    assert!(
        matches!(refused, Err(Error::Listed { .. })),
        "an index that is being pushed protects its child: {refused:?}"
    );
    assert_eq!(bench.restarted().finish_what_a_crash_left().await.unwrap(), 1);
    assert_eq!(
        (
            bench.keys(&manifests).await.len(),
            bench.keys(&format!("r/{R}!/i/")).await.len()
        ),
        (1, 0)
    );
    assert_eq!(bench.restarted().finish_what_a_crash_left().await.unwrap(), 0);
    bench
        .registry
        .delete_manifest(&delete(R), &Reference::Digest(child))
        .await
        .unwrap();
}

/// This holds even if the process dies between the last two commits, because no later request visits an empty
/// repository.
#[tokio::test]
async fn a_repository_whose_last_deletion_was_interrupted_leaves_the_catalogue_at_the_next_start() {
    let mut cut = 0;
    loop {
        let bench = Bench::new();
        let digest = push_image(&bench.registry, R, "config", &json!({})).await;
        put_tags(&bench.registry, &digest, ["v1".to_owned()].into_iter()).await;
        let reference = Reference::Digest(digest);
        let done = Counting::new(cut)
            .registry(&bench)
            .delete_manifest(&delete(R), &reference)
            .await;
        let there = bench.registry.manifest(&read(R), &reference).await.is_ok();
        bench.restarted().finish_what_a_crash_left().await.unwrap();
        if !there {
            let kinds: BTreeSet<String> = bench
                .keys("")
                .await
                .iter()
                .map(|key| key[..2].to_owned())
                .collect();
            assert_eq!(
                kinds,
                BTreeSet::from(["b/".to_owned(), "l/".to_owned()]),
                "cut after {cut}"
            );
        }
        if done.is_ok() {
            break;
        }
        cut += 1;
    }
    assert!(cut > 8, "{cut}");
}

#[tokio::test]
async fn an_unreadable_tag_does_not_block_a_deletion() {
    let bench = Bench::new();
    let digest = push_image(&bench.registry, R, "config", &json!({})).await;
    put_tags(
        &bench.registry,
        &digest,
        (0..3).map(|number| format!("v{number}")),
    )
    .await;
    bench.damage(&format!("r/{R}!/t/v1"), "damaged").await;
    // The first three changes condemn the manifest, make it dying, and write its marker. So the list has to
    // read the tags.
    Counting::new(3)
        .registry(&bench)
        .delete_manifest(&delete(R), &Reference::Digest(digest.clone()))
        .await
        .unwrap_err();
    assert_eq!(listed(&bench.registry).await, ["v1"]);
    bench
        .registry
        .delete_manifest(&delete(R), &Reference::Digest(digest.clone()))
        .await
        .unwrap();
    assert_eq!(listed(&bench.registry).await, [""; 0], "the repository is gone");
    assert_eq!(bench.keys("x/").await, [""; 0]);
    assert_eq!(push_image(&bench.registry, R, "config", &json!({})).await, digest);
    assert_eq!(listed(&bench.registry).await, ["v1"]);
}

/// A store that rejects changes of a manifest that is already announced.
#[tokio::test]
async fn a_push_that_fails_at_its_end_does_not_block_deletions() {
    let bench = Bench::new();
    let child = push_image(&bench.registry, R, "config", &json!({})).await;
    let refusing = Counting::new(u64::MAX);
    *refusing.refused.lock().unwrap() = Some("com");
    let index = push_index(&refusing.registry(&bench), &child).await;
    assert!(matches!(index, Err(Error::Storage(Failure::Full))), "{index:?}");
    assert_eq!(bench.keys(&format!("r/{R}!/m/")).await.len(), 1, "only the child");
    bench
        .registry
        .delete_manifest(&delete(R), &Reference::Digest(child.clone()))
        .await
        .unwrap();

    // If the process dies instead, a deletion removes the manifest.
    assert_eq!(push_image(&bench.registry, R, "config", &json!({})).await, child);
    push_index(&Counting::new(2).registry(&bench), &child)
        .await
        .unwrap_err();
    let bytes =
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(IMAGE, &child)]}).to_string();
    let pending = Reference::Digest(sha256(bytes.as_bytes()));
    assert!(matches!(
        bench.registry.delete_manifest(&delete(R), &pending).await,
        Err(Error::ManifestUnknown)
    ));
    bench
        .registry
        .delete_manifest(&delete(R), &Reference::Digest(child))
        .await
        .unwrap();
}

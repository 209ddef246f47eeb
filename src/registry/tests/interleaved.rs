//! Requests that run at the same time, in many reproducible orders. The store yields to other tasks before
//! each operation.

use super::*;
use crate::storage::Failure;
use futures_util::future::join;
use std::sync::Mutex;
use wharfinger_testkit::{Hook, Hooked, Request};

const R: &str = "team/app";
const ORDERS: u64 = 400;

/// Yields before each operation, as often as the seed says.
struct Interleaved(Mutex<fastrand::Rng>);

impl Hook for Interleaved {
    async fn before(&self, _: Request<'_>) -> Result<(), Failure> {
        let turns = self.0.lock().unwrap().u8(0..4);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

impl Bench {
    /// The same store, whose operations yield in an order of their own.
    pub(super) fn interleaved(&self, seed: u64) -> Registry {
        let dice = Mutex::new(fastrand::Rng::with_seed(seed));
        let records = Hooked::over(self.store.clone(), Interleaved(dice));
        Registry::new(records, self.store.clone()).with(any_sizes())
    }

    /// Each of these repositories has the blob `layer`.
    async fn have_layer(&self, repositories: &[&str], seed: u64) {
        for repository in repositories {
            let found = content(&self.registry, repository, &sha256(b"layer")).await;
            assert_eq!(found.unwrap(), "layer", "seed {seed}: {repository}");
        }
    }

    /// All content of every manifest exists, every tag points at a manifest, and every index entry has a
    /// target.
    pub(super) async fn check(&self, seed: u64) {
        let prefix = format!("r/{R}!/m/");
        for key in self.keys(&prefix).await {
            let digest = keys::digest_of(key.strip_prefix(&prefix).unwrap()).unwrap();
            let manifest = self
                .registry
                .manifest(&read(R), &Reference::Digest(digest.clone()))
                .await
                .unwrap();
            let parsed: Value = serde_json::from_slice(&manifest.bytes).unwrap();
            let config = parsed["config"]["digest"].as_str().unwrap().parse().unwrap();
            assert!(
                content(&self.registry, R, &config).await.is_ok(),
                "seed {seed}: a manifest without its blob"
            );
            if let Some(subject) = manifest.subject {
                let referrers = self
                    .registry
                    .referrers(&read(R), &subject, None, None)
                    .await
                    .unwrap();
                assert!(
                    referrers.manifests.iter().any(|found| found.digest == digest),
                    "seed {seed}: a referrer that is not listed"
                );
            }
            assert_eq!(
                self.keys("c/").await.len(),
                1,
                "seed {seed}: a manifest in a repository that is not listed"
            );
        }
        let prefix = format!("r/{R}!/t/");
        for key in self.keys(&prefix).await {
            let name = key.strip_prefix(&prefix).unwrap();
            let found = self.registry.manifest(&read(R), &tag(name)).await;
            let digest = found
                .unwrap_or_else(|error| panic!("seed {seed}: tag {name}: {error}"))
                .digest;
            let back = self
                .keys(&format!("r/{R}!/k/sha256/{}/{name}", digest.hex()))
                .await;
            assert_eq!(
                back.len(),
                1,
                "seed {seed}: a tag that deleting its manifest would not find"
            );
        }
    }
}

#[tokio::test]
async fn of_two_callers_who_may_only_create_a_tag_one_succeeds() {
    for seed in 0..ORDERS {
        let bench = Bench::new();
        let config = push_blob(&bench.registry, R, b"{}").await;
        let registry = bench.interleaved(seed);
        let put = |n: u32| {
            let registry = registry.clone();
            let bytes = image(&config, &json!({"n": n}));
            let permit = Permit::for_test_limited(R, alice(), true, false);
            async move {
                registry
                    .put_manifest(&permit, &tag("v1"), Some(IMAGE), bytes)
                    .await
            }
        };
        let winner = match join(put(1), put(2)).await {
            (Ok(winner), Err(Error::TagExists)) | (Err(Error::TagExists), Ok(winner)) => winner,
            other => panic!("seed {seed}: {other:?}"),
        };
        assert_eq!(bench.tagged(R, "v1").await, winner.digest);
        bench.check(seed).await;
    }
}

#[tokio::test]
async fn a_push_and_the_deletion_of_the_same_manifest_leave_all_or_nothing() {
    for seed in 0..ORDERS {
        let bench = Bench::new();
        let subject = sha256(b"subject");
        let extra = json!({"subject": descriptor(IMAGE, &subject)});
        let digest = push_image(&bench.registry, R, "config", &extra).await;
        bench.put_tag(R, "v1", &digest).await;
        let registry = bench.interleaved(seed);
        let bytes = image(&sha256(b"config"), &extra);
        let reference = Reference::Digest(digest.clone());
        let permit = (write(R), delete(R));
        let v1 = tag("v1");
        let push = registry.put_manifest(&permit.0, &v1, Some(IMAGE), bytes);
        let (pushed, deleted) = join(push, registry.delete_manifest(&permit.1, &reference)).await;
        pushed.unwrap();
        deleted.unwrap();
        bench.check(seed).await;
        let there = bench.registry.manifest(&read(R), &reference).await.is_ok();
        assert_eq!(
            bench.registry.manifest(&read(R), &v1).await.is_ok(),
            there,
            "seed {seed}"
        );
    }
}

#[tokio::test]
async fn a_tag_that_moves_away_and_back_is_found_by_the_deletion_of_its_manifest() {
    for seed in 0..ORDERS {
        let bench = Bench::new();
        let one = push_image(&bench.registry, R, "1", &json!({})).await;
        let two = push_image(&bench.registry, R, "2", &json!({})).await;
        let registry = bench.interleaved(seed);
        let permit = write(R);
        let name = "v1".parse().unwrap();
        bench.registry.put_tag(&permit, &name, &one).await.unwrap();
        let (away, back) = join(
            registry.put_tag(&permit, &name, &two),
            registry.put_tag(&permit, &name, &one),
        )
        .await;
        away.unwrap();
        back.unwrap();
        bench.check(seed).await;
    }
}

#[tokio::test]
async fn a_blob_is_deleted_or_the_manifest_that_needs_it_is_pushed() {
    for seed in 0..ORDERS {
        let bench = Bench::new();
        let config = push_blob(&bench.registry, R, b"{}").await;
        let registry = bench.interleaved(seed);
        let permit = (write(R), delete(R));
        let v1 = tag("v1");
        let push = registry.put_manifest(&permit.0, &v1, Some(IMAGE), image(&config, &json!({})));
        match join(push, registry.delete_blob(&permit.1, &config)).await {
            (Ok(_), Err(Error::Referenced)) => bench.check(seed).await,
            (Err(Error::MissingReferences(_)), Ok(())) => {}
            other => panic!("seed {seed}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_child_is_deleted_or_the_index_that_lists_it_is_pushed() {
    for seed in 0..ORDERS {
        let bench = Bench::new();
        let child = push_image(&bench.registry, R, "config", &json!({})).await;
        let listing = index(&[&child]);
        // In one of three orders the index exists. In another, it exists and is deleted first.
        let there = seed % 3 == 1;
        if there || seed % 3 == 2 {
            bench
                .registry
                .put_manifest(&write(R), &tag("v1"), None, listing.clone())
                .await
                .unwrap();
        }
        let registry = bench.interleaved(seed);
        let permits = (write(R), delete(R));
        let by_digest = Reference::Digest(sha256(&listing));
        let child = Reference::Digest(child);
        let v1 = tag("v1");
        let push = registry.put_manifest(&permits.0, &v1, None, listing.clone());
        let deletion = async {
            if seed % 3 == 2 {
                registry.delete_manifest(&permits.1, &by_digest).await.unwrap();
            }
            registry.delete_manifest(&permits.1, &child).await
        };
        match join(push, deletion).await {
            (Ok(_), Err(Error::Listed { index })) => assert_eq!(index, sha256(&listing), "seed {seed}"),
            (Err(Error::MissingReferences(_)), Ok(())) if !there => {}
            // The index was pushed, and then both were deleted.
            (Ok(_), Ok(())) if seed % 3 == 2 => {}
            other => panic!("seed {seed}: {other:?}"),
        }
        let there = |reference| {
            let registry = &bench.registry;
            async move { registry.manifest(&read(R), reference).await.is_ok() }
        };
        assert_eq!(there(&v1).await, there(&by_digest).await, "seed {seed}");
        assert!(
            !there(&by_digest).await || there(&child).await,
            "seed {seed}: an index without its child"
        );
        let entries = bench.keys(&format!("r/{R}!/i/")).await.len();
        assert_eq!(
            entries,
            usize::from(there(&by_digest).await),
            "seed {seed}: entries"
        );
    }
}

#[tokio::test]
async fn a_repository_stays_listed_while_its_last_upload_ends_and_another_begins() {
    for seed in 0..ORDERS {
        let bench = Bench::new();
        let upload = bench.registry.start_upload(&create(R), None).await.unwrap();
        let registry = bench.interleaved(seed);
        let permit = create(R);
        let (cancelled, started) = join(
            registry.cancel(&permit, &upload.id),
            registry.start_upload(&permit, None),
        )
        .await;
        cancelled.unwrap();
        started.unwrap();
        assert_eq!(bench.keys("c/").await.len(), 1, "seed {seed}");
    }
}

#[tokio::test]
async fn the_same_blob_pushed_twice_at_once_is_kept_once() {
    for seed in 0..ORDERS / 10 {
        let bench = Bench::new();
        let registry = bench.interleaved(seed);
        let digest = sha256(b"layer");
        let push = |repository: &'static str| {
            let registry = registry.clone();
            let digest = digest.clone();
            async move {
                let upload = registry.start_upload(&create(repository), None).await.unwrap();
                registry
                    .append(&create(repository), &upload.id, None, None, body(&[b"layer"]))
                    .await
                    .unwrap();
                registry
                    .finish(&pusher(repository), &upload.id, None, &digest, body(&[]))
                    .await
                    .unwrap();
                upload.id
            }
        };
        let ids = join(push(R), push("other")).await;
        assert!(
            bench.has_bytes(&ids.0).await != bench.has_bytes(&ids.1).await,
            "seed {seed}"
        );
        bench.have_layer(&[R, "other"], seed).await;
    }
}

#[tokio::test]
async fn a_push_on_a_condition_does_not_meet_its_own_tag() {
    for seed in 0..ORDERS {
        let bench = Bench::new();
        let digest = push_image(&bench.registry, R, "config", &json!({})).await;
        let registry = bench.interleaved(seed);
        let bytes = image(&sha256(b"config"), &json!({}));
        let reference = Reference::Digest(digest);
        let v1 = tag("v1");
        let permits = (write(R), delete(R));
        let new = crate::oci::Condition::parse(None, Some("*"));
        let push = registry.put_manifest_if(&new, &permits.0, &v1, Some(IMAGE), bytes);
        let (pushed, deleted) = join(push, registry.delete_manifest(&permits.1, &reference)).await;
        pushed.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        deleted.unwrap();
        bench.check(seed).await;
    }
}

#[tokio::test]
async fn two_deletions_of_one_manifest_both_succeed() {
    for seed in 0..ORDERS {
        let bench = Bench::new();
        let digest = push_image(&bench.registry, R, "config", &json!({})).await;
        bench.put_tag(R, "v1", &digest).await;
        let registry = bench.interleaved(seed);
        let permit = delete(R);
        let reference = Reference::Digest(digest);
        let both = join(
            registry.delete_manifest(&permit, &reference),
            registry.delete_manifest(&permit, &reference),
        )
        .await;
        match both {
            (Ok(()), Ok(()) | Err(Error::ManifestUnknown | Error::RepositoryUnknown)) => {}
            (Err(Error::ManifestUnknown | Error::RepositoryUnknown), Ok(())) => {}
            other => panic!("seed {seed}: {other:?}"),
        }
        for prefix in ["r/", "c/"] {
            assert_eq!(bench.keys(prefix).await, Vec::<String>::new(), "seed {seed}");
        }
    }
}

/// One push repairs the record, and the other finds it repaired.
#[tokio::test]
async fn two_pushes_of_a_blob_whose_record_is_damaged_both_succeed() {
    for seed in 0..ORDERS {
        let bench = Bench::new();
        push_blob(&bench.registry, R, b"layer").await;
        for key in bench.keys("b/").await.into_iter().chain(bench.keys("l/").await) {
            bench.damage(&key, "{").await;
        }
        let registry = bench.interleaved(seed);
        let second = if seed % 2 == 0 { R } else { "team/other" };
        let (one, two) = join(
            try_push_blob(&registry, R, b"layer"),
            try_push_blob(&registry, second, b"layer"),
        )
        .await;
        assert!(one.is_ok() && two.is_ok(), "seed {seed}: {one:?} {two:?}");
        bench.have_layer(&[R, second], seed).await;
        assert_eq!(
            bench
                .fsck()
                .await
                .0
                .findings
                .iter()
                .filter(|found| found.severity == Severity::Damage)
                .count(),
            0,
            "seed {seed}"
        );
    }
}

/// The deletion happens before the push or after it, and never blocks it.
#[tokio::test]
async fn a_damaged_record_is_deleted_beside_its_push() {
    for seed in 0..ORDERS {
        let bench = Bench::new();
        let digest = push_image(&bench.registry, R, "config", &json!({})).await;
        bench.put_tag(R, "v1", &digest).await;
        let blob = push_blob(&bench.registry, R, b"layer").await;
        bench.damage(&format!("r/{R}!/t/v1"), "{").await;
        bench
            .damage(keys::link(&blob, &R.parse().unwrap()).as_str(), "{")
            .await;
        let registry = bench.interleaved(seed);
        let tag_name = "v1".parse().unwrap();
        let reference = tag("v1");
        let permit = write(R);
        let (put, deleted) = join(
            registry.put_tag(&permit, &tag_name, &digest),
            registry.delete_manifest(&delete(R), &reference),
        )
        .await;
        assert!(put.is_ok() && deleted.is_ok(), "seed {seed}: {put:?} {deleted:?}");
        let registry = bench.interleaved(seed);
        let push = try_push_blob(&registry, R, b"layer");
        let permit = delete(R);
        let (pushed, deleted) = join(push, registry.delete_blob(&permit, &blob)).await;
        // A push in progress has not made the blob known yet.
        assert!(
            pushed.is_ok() && matches!(deleted, Ok(()) | Err(Error::BlobUnknown)),
            "seed {seed}: {pushed:?} {deleted:?}"
        );
    }
}

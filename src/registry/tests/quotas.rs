//! Quotas and the limit on repositories.

use super::super::collect::{Options, Pace, Rules};
use super::*;
use crate::access::Maintenance;
use futures_util::future::join_all;
use std::time::Duration;
use tokio::join;

const R: &str = "team/app";

fn owner() -> Maintenance {
    Maintenance::by_the_stores_owner()
}

fn quotas(total: Option<u64>, of: &[(&str, u64)]) -> Settings {
    let repositories = of.iter().map(|(pattern, bytes)| RepositoryQuota {
        pattern: (*pattern).to_owned(),
        repositories: Repositories::parse(pattern).unwrap(),
        bytes: *bytes,
    });
    Settings {
        quotas: Quotas {
            total,
            repositories: repositories.collect(),
        },
        ..any_sizes()
    }
}

impl Registry {
    /// After the count at the start.
    async fn limited(self, settings: Settings) -> Self {
        let registry = self.with(settings);
        assert!(registry.count_usage(&owner(), Pace::UNBOUNDED).await.unwrap());
        registry
    }
}

async fn limited(bench: &Bench, total: Option<u64>, of: &[(&str, u64)]) -> Registry {
    bench.restarted().limited(quotas(total, of)).await
}

fn used(registry: &Registry) -> Vec<u64> {
    registry.quotas().iter().map(|quota| quota.used).collect()
}

async fn upload(registry: &Registry, repository: &str, bytes: &[u8]) -> Result<Digest, Error> {
    let upload = registry.start_upload(&create(repository), None).await?;
    let pusher = blind(create(repository));
    registry
        .finish(&pusher, &upload.id, None, &sha256(bytes), body(&[bytes]))
        .await
}

async fn mount(registry: &Registry, from: &str, to: &str, digest: &Digest) -> Result<bool, Error> {
    registry.mount(&create(to), Some(&read(from)), None, digest).await
}

async fn collect(registry: &Registry, rules: Rules) {
    let options = Options {
        grace: Duration::ZERO,
        rules,
        ..Options::default()
    };
    registry.collect(&owner(), &options, &mut ()).await.unwrap();
}

/// What is used, allowed and needed, if a quota was exceeded.
fn exceeded<T>(done: Result<T, Error>) -> Option<(u64, u64, u64)> {
    match done {
        Err(Error::QuotaExceeded(QuotaExceeded {
            used,
            allowed,
            needed,
            ..
        })) => Some((used, allowed, needed)),
        _ => None,
    }
}

#[tokio::test]
async fn content_is_counted_in_each_repository_and_once_in_the_store() {
    let bench = Bench::new();
    let registry = limited(&bench, Some(10_000), &[("team/**", 10_000), ("other", 10_000)]).await;
    let blob = upload(&registry, R, b"0123456789").await.unwrap();
    upload(&registry, R, b"0123456789").await.unwrap();
    registry
        .put_blob(&pusher(R), None, &blob, body(&[b"0123456789"]))
        .await
        .unwrap();
    assert_eq!(used(&registry), [10, 10, 0], "a second push adds nothing");
    for _ in 0..2 {
        assert!(mount(&registry, R, "other", &blob).await.unwrap());
        assert_eq!(used(&registry), [10, 10, 10], "a mount adds nothing to the store");
    }
    let manifest = image(&blob, &json!({}));
    let size = manifest.len() as u64;
    for name in ["v1", "v2"] {
        registry
            .put_manifest(&write(R), &tag(name), None, manifest.clone())
            .await
            .unwrap();
        assert_eq!(used(&registry), [10 + size, 10 + size, 10]);
    }
    registry.delete_blob(&delete("other"), &blob).await.unwrap();
    registry
        .delete_manifest(&delete(R), &Reference::Digest(sha256(&manifest)))
        .await
        .unwrap();
    assert_eq!(used(&registry), [10, 10, 0]);
    registry.delete_blob(&delete(R), &blob).await.unwrap();
    assert_eq!(used(&registry), [10, 0, 0], "the bytes are not collected yet");
    collect(&registry, Rules::default()).await;
    assert_eq!(used(&registry), [0, 0, 0]);
}

#[tokio::test]
async fn retention_and_the_collector_make_room() {
    let bench = Bench::new();
    let registry = limited(&bench, Some(10_000), &[("team/**", 10_000)]).await;
    push_image(&registry, R, "an image", &json!({})).await;
    upload(&registry, R, b"garbage").await.unwrap();
    assert_eq!(used(&registry)[0], used(&registry)[1]);
    assert!(used(&registry)[0] > 100);
    bench.hand.advance(Duration::from_secs(60));
    collect(&registry, Rules::giving_up(true, true)).await;
    assert_eq!(used(&registry), [0, 0]);
    assert_eq!(bench.keys("r/").await, [""; 0]);
}

#[tokio::test]
async fn a_push_is_rejected_at_its_beginning_or_at_its_end() {
    let bench = Bench::new();
    let registry = limited(&bench, None, &[("team/**", 20)]).await;
    upload(&registry, R, b"0123456789").await.unwrap();
    let too_large = upload(&registry, R, b"0123456789 and more").await;
    assert_eq!(exceeded(too_large), Some((10, 20, 19)));
    assert_eq!(bench.keys("u/").await, [""; 0], "the upload is gone");
    let manifest = image(&sha256(b"0123456789"), &json!({}));
    let refused = registry.put_manifest(&write(R), &tag("v1"), None, manifest).await;
    assert!(exceeded(refused).is_some());
    assert_eq!(
        bench.keys(&format!("r/{R}!/")).await,
        [""; 0],
        "nothing is left of it"
    );
    upload(&registry, "team/b", b"9876543210").await.unwrap();
    assert_eq!(
        exceeded(registry.start_upload(&create(R), None).await),
        Some((20, 20, 0))
    );
    assert_eq!(
        exceeded(registry.begin_upload(&create(R), None, "alice").await),
        Some((20, 20, 0))
    );
    let other = upload(&registry, "other", b"abc").await.unwrap();
    assert_eq!(
        exceeded(mount(&registry, "other", R, &other).await),
        Some((20, 20, 3))
    );
    assert_eq!(
        bench.keys("l/").await.len(),
        3,
        "no announcement of a link is left"
    );
    // Existing content may be pushed and mounted again, and a deletion makes room.
    let blob = sha256(b"0123456789");
    assert!(mount(&registry, R, R, &blob).await.unwrap());
    registry
        .put_blob(&blind(create(R)), None, &blob, body(&[b"0123456789"]))
        .await
        .unwrap();
    registry.delete_blob(&delete(R), &blob).await.unwrap();
    upload(&registry, R, b"abcdefghij").await.unwrap();
}

#[tokio::test]
async fn a_rejected_push_to_a_new_repository_leaves_no_repository() {
    let bench = Bench::new();
    let registry = limited(&bench, None, &[("team/**", 5)]).await;
    assert!(exceeded(upload(&registry, R, b"0123456789").await).is_some());
    let digest = sha256(b"0123456789");
    let bytes = body(&[b"0123456789"]);
    let refused = registry.put_blob(&pusher(R), None, &digest, bytes).await;
    assert!(exceeded(refused).is_some());
    for prefix in ["c/", "u/", "l/", "b/"] {
        assert_eq!(bench.keys(prefix).await, [""; 0]);
    }
}

/// A body of which nothing may be read.
fn unread(length: u64) -> Body {
    let frames = futures_util::stream::once(async { panic!("the body was read") });
    Body::unbounded(frames.boxed()).of_length(Some(length))
}

#[tokio::test]
async fn an_announced_length_that_does_not_fit_is_rejected_before_the_bytes() {
    let bench = Bench::new();
    let registry = limited(&bench, Some(1000), &[("team/**", 20)]).await;
    let permit = create(R);
    let pusher = pusher(R);
    let empty = sha256(b"");
    let begun = registry.start_upload(&permit, None).await.unwrap();
    let first = body(&[b"01234567"]).of_length(Some(8));
    let appended = registry.append(&permit, &begun.id, None, Some(8), first).await;
    assert_eq!(appended.unwrap().offset, 8);
    let refused = registry.append(&permit, &begun.id, None, Some(13), unread(13));
    assert_eq!(exceeded(refused.await), Some((0, 20, 21)));
    let status = registry.upload_status(&permit, &begun.id).await;
    assert!(matches!(status, Err(Error::UploadUnknown)));
    let begun = registry.start_upload(&permit, None).await.unwrap();
    let refused = registry.finish(&pusher, &begun.id, None, &empty, unread(21));
    assert_eq!(exceeded(refused.await), Some((0, 20, 21)));
    let refused = registry.put_blob(&pusher, None, &empty, unread(21));
    assert_eq!(exceeded(refused.await), Some((0, 20, 21)));
    assert_eq!(bench.keys("u/").await, [""; 0]);
}

#[tokio::test]
async fn an_upload_of_unknown_length_is_stopped_where_it_exceeds_the_quota() {
    let bench = Bench::new();
    let registry = limited(&bench, None, &[("team/**", 3 << 20)]).await;
    let endless = || {
        let frames = futures_util::stream::repeat_with(|| Ok(Bytes::from(vec![7; 1 << 16])));
        Body::unbounded(frames.boxed())
    };
    let begun = registry.start_upload(&create(R), None).await.unwrap();
    let refused = registry
        .append(&create(R), &begun.id, None, None, endless())
        .await;
    assert_eq!(exceeded(refused), Some((0, 3 << 20, 4 << 20)));
    let begun = registry.start_upload(&create(R), None).await.unwrap();
    let refused = registry
        .finish(&pusher(R), &begun.id, None, &sha256(b""), endless())
        .await;
    assert!(exceeded(refused).is_some());
    assert_eq!(bench.keys("u/").await, [""; 0]);
}

#[tokio::test]
async fn pushes_that_end_together_do_not_exceed_the_quota() {
    for seed in 0..100 {
        let bench = Bench::new();
        let settings = quotas(Some(1000), &[("**", 35)]);
        let registry = bench.interleaved(seed).limited(settings).await;
        let pushes = (0..8u8).map(|n| {
            let registry = registry.clone();
            async move { upload(&registry, R, &[n; 10]).await }
        });
        let done = join_all(pushes).await;
        // Pushes beyond the quota wait for the others, so none is rejected because of one that fails.
        let accepted = done.iter().filter(|one| one.is_ok()).count();
        assert_eq!(accepted, 3, "seed {seed}: {done:?}");
        assert_eq!(used(&registry), [30, 30], "seed {seed}");
    }
}

#[tokio::test]
async fn manifests_that_end_together_do_not_exceed_the_quota() {
    for seed in 0..100 {
        let bench = Bench::new();
        let blob = push_blob(&bench.registry, R, b"0123456789").await;
        let images: Vec<_> = (0..6)
            .map(|n| image(&blob, &json!({"annotations": {"n": n.to_string()}})))
            .collect();
        let size = images[0].len() as u64;
        let settings = quotas(Some(10 + 3 * size), &[]);
        let registry = bench.interleaved(seed).limited(settings).await;
        let pushes = images.iter().map(|image| {
            let reference = Reference::Digest(sha256(image));
            let registry = registry.clone();
            async move {
                registry
                    .put_manifest(&write(R), &reference, None, image.clone())
                    .await
            }
        });
        let done = join_all(pushes).await;
        let accepted = done.iter().filter(|one| one.is_ok()).count();
        assert_eq!(accepted, 3, "seed {seed}: {done:?}");
        assert_eq!(used(&registry), [10 + 3 * size], "seed {seed}");
        assert_eq!(bench.keys(&format!("r/{R}!/m/")).await.len(), 3);
    }
}

#[tokio::test]
async fn pushes_of_the_same_content_that_end_together_need_room_for_it_once() {
    for seed in 0..100 {
        let bench = Bench::new();
        let blob = sha256(b"0123456789");
        let manifest = image(&blob, &json!({}));
        let size = 10 + manifest.len() as u64;
        let settings = quotas(Some(size), &[("**", size)]);
        let registry = bench.interleaved(seed).limited(settings).await;
        let clients = (0..4).map(|n| {
            let registry = registry.clone();
            let manifest = manifest.clone();
            async move {
                let begun = registry.start_upload(&create(R), None).await?;
                let bytes = body(&[b"0123456789"]);
                registry
                    .finish(&blind(create(R)), &begun.id, None, &sha256(b"0123456789"), bytes)
                    .await?;
                registry
                    .put_manifest(&write(R), &tag(&format!("v{n}")), None, manifest)
                    .await
            }
        });
        for done in join_all(clients).await {
            done.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        }
        assert_eq!(used(&registry), [size, size], "seed {seed}");
    }
}

/// Everything that changes what is stored, in many orders, beside collectors and counts.
#[tokio::test]
async fn the_counters_are_exact_beside_everything_that_changes_them() {
    for seed in 0..200 {
        let bench = Bench::new();
        let settings = quotas(Some(1 << 20), &[("team/**", 1 << 20), ("other", 1 << 20)]);
        let registry = bench.interleaved(seed).limited(settings.clone()).await;
        bench.hand.advance(Duration::from_secs(60));
        let push = async |name: &str| {
            for n in 0..3 {
                drop(upload(&registry, name, format!("blob {n}").as_bytes()).await);
                let digest = sha256(format!("blob {n}").as_bytes());
                let reference = tag(&format!("v{n}"));
                drop(
                    registry
                        .put_manifest(&write(name), &reference, None, image(&digest, &json!({})))
                        .await,
                );
            }
        };
        let delete = async || {
            for n in 0..3 {
                let digest = sha256(format!("blob {n}").as_bytes());
                let manifest = Reference::Digest(sha256(&image(&digest, &json!({}))));
                drop(registry.delete_manifest(&delete(R), &manifest).await);
                drop(registry.delete_blob(&delete(R), &digest).await);
                drop(mount(&registry, R, "other", &digest).await);
            }
        };
        let count = async || registry.count_usage(&owner(), Pace::UNBOUNDED).await.unwrap();
        join!(
            push(R),
            push("other"),
            delete(),
            collect(&registry, Rules::giving_up(true, true)),
            collect(&registry, Rules::default()),
            count()
        );
        let counted = bench.restarted().limited(settings).await;
        assert_eq!(used(&registry), used(&counted), "seed {seed}");
    }
}

#[tokio::test]
async fn the_counters_survive_a_restart_and_a_count_corrects_them() {
    let bench = Bench::new();
    let of: &[(&str, u64)] = &[("**", 15)];
    let registry = limited(&bench, Some(1000), of).await;
    upload(&registry, R, b"0123456789").await.unwrap();
    registry.keep_usage(&owner()).await.unwrap();
    assert_eq!(bench.keys("q/").await, [format!("q/{R}!")]);
    let key = format!("q/{R}!");
    let written = bench.store.get(&key).await.unwrap().unwrap().version;
    registry.keep_usage(&owner()).await.unwrap();
    let now = bench.store.get(&key).await.unwrap().unwrap().version;
    assert_eq!(now, written, "nothing has changed");
    // This was not written before the process was killed.
    upload(&registry, "other", b"abc").await.unwrap();
    let next = bench.restarted().with(quotas(Some(1000), of));
    assert_eq!(next.quotas(), [], "the use is unknown yet");
    next.load_usage(&owner()).await.unwrap();
    assert_eq!(used(&next), [10, 10]);
    let refused = upload(&next, R, b"abcdef").await;
    assert_eq!(
        exceeded(refused),
        Some((10, 15, 6)),
        "the written counters apply until everything is counted"
    );
    next.count_usage(&owner(), Pace::UNBOUNDED).await.unwrap();
    assert_eq!(used(&next), [13, 13]);
    for (repository, bytes) in [(R, &b"0123456789"[..]), ("other", b"abc")] {
        next.delete_blob(&delete(repository), &sha256(bytes))
            .await
            .unwrap();
    }
    next.keep_usage(&owner()).await.unwrap();
    assert_eq!(
        bench.keys("q/").await,
        [""; 0],
        "an empty repository needs no record"
    );
    assert_eq!(bench.keys("g/usage").await, ["g/usage"]);
    bench.restarted().keep_usage(&owner()).await.unwrap();
    assert_eq!(
        bench.keys("g/usage").await,
        [""; 0],
        "without quotas the counters would become outdated"
    );
}

/// The process dies after some of the writes.
#[tokio::test]
async fn counters_that_were_only_partly_written_are_corrected_by_a_full_pass() {
    let bench = Bench::new();
    let registry = limited(&bench, Some(1000), &[("**", 1000)]).await;
    upload(&registry, "a", b"0123456789").await.unwrap();
    registry.keep_usage(&owner()).await.unwrap();
    upload(&registry, "b", b"abc").await.unwrap();
    registry
        .delete_blob(&delete("a"), &sha256(b"0123456789"))
        .await
        .unwrap();
    let stale = bench.store.get("q/a!").await.unwrap().unwrap();
    registry.keep_usage(&owner()).await.unwrap();
    bench.store.create("q/a!", stale.value.into()).await.unwrap();
    let next = bench.restarted().with(quotas(Some(1000), &[("**", 1000)]));
    next.load_usage(&owner()).await.unwrap();
    assert_eq!(used(&next), [13, 13]);
    upload(&next, "c", b"c").await.unwrap();
    assert_eq!(used(&next), [14, 14]);
    collect(&next, Rules::default()).await;
    // The pass also removed the garbage.
    assert_eq!(used(&next), [0, 0]);
    let counted = limited(&bench, Some(1000), &[("**", 1000)]).await;
    assert_eq!(used(&counted), [0, 0]);
}

#[tokio::test]
async fn damaged_records_of_counters_are_written_again() {
    let bench = Bench::new();
    let registry = limited(&bench, Some(1000), &[]).await;
    upload(&registry, R, b"0123456789").await.unwrap();
    registry.keep_usage(&owner()).await.unwrap();
    for key in [&format!("q/{R}!"), "g/usage"] {
        bench.tamper(key, |_| Some("not a record".to_owned())).await;
    }
    let next = bench.restarted().with(quotas(Some(1000), &[]));
    next.load_usage(&owner()).await.unwrap();
    assert_eq!(next.quotas(), []);
    next.count_usage(&owner(), Pace::UNBOUNDED).await.unwrap();
    next.keep_usage(&owner()).await.unwrap();
    let last = bench.restarted().with(quotas(Some(1000), &[]));
    last.load_usage(&owner()).await.unwrap();
    assert_eq!(used(&last), [10]);
}

#[tokio::test]
async fn concurrent_first_pushes_do_not_exceed_the_limit_on_repositories() {
    for seed in 0..100 {
        let bench = Bench::new();
        let registry = bench.interleaved(seed).with(Settings {
            repositories: Some(2),
            ..any_sizes()
        });
        let first = registry.start_upload(&create("a"), None).await.unwrap();
        let begun = join_all(["b", "c", "d"].map(|name| {
            let registry = registry.clone();
            async move { registry.start_upload(&create(name), None).await }
        }));
        let begun = begun.await;
        let refused = begun
            .iter()
            .filter(|one| matches!(one, Err(Error::TooManyRepositories { most: 2 })));
        assert_eq!(refused.count(), 2, "seed {seed}: {begun:?}");
        assert_eq!(bench.keys("c/").await.len(), 2, "seed {seed}");
        assert_eq!(
            bench.keys("u/").await.len(),
            2,
            "seed {seed}: a rejected push leaves nothing"
        );
        // An existing repository accepts more.
        registry.start_upload(&create("a"), None).await.unwrap();
        registry.cancel(&create("a"), &first.id).await.unwrap();
    }
}

#[tokio::test]
async fn a_deleted_repository_makes_room_for_another() {
    let bench = Bench::new();
    let registry = bench.restarted().with(Settings {
        repositories: Some(1),
        ..any_sizes()
    });
    let upload = registry.start_upload(&create("a"), None).await.unwrap();
    assert!(registry.start_upload(&create("b"), None).await.is_err());
    let refused = registry
        .put_manifest(&write("b"), &tag("v1"), None, index(&[]))
        .await;
    assert!(matches!(refused, Err(Error::TooManyRepositories { most: 1 })));
    registry.cancel(&create("a"), &upload.id).await.unwrap();
    registry
        .put_manifest(&write("b"), &tag("v1"), None, index(&[]))
        .await
        .unwrap();
}

/// An operator's pass makes the others of the process pause, wherever they are.
#[tokio::test]
async fn a_pass_by_hand_does_not_wait_for_a_count_that_pauses() {
    let bench = Bench::new();
    let registry = limited(&bench, Some(1000), &[]).await;
    let paused = registry.usage.begin_census();
    let rules = Rules {
        by_hand: true,
        ..Rules::default()
    };
    collect(&registry, rules).await;
    drop(paused);
}

//! A pass continues when a part of the store fails, and its costs are bounded.

use super::super::collect::{Goes, Options, Pace, Report, Rules, Stays};
use super::watched::Asked;
use super::*;
use crate::access::Maintenance;
use crate::storage::Failure;
use futures_util::FutureExt;
use std::future::pending;
use std::io::{Error as IoError, ErrorKind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use wharfinger_testkit::{Hook, Hooked, Request};

const R: &str = "team/app";
const HOUR: Duration = Duration::from_secs(60 * 60);

fn giving_up() -> Options {
    Options {
        grace: Duration::ZERO,
        rules: Rules::giving_up(true, true),
        ..Options::default()
    }
}

async fn collect(registry: &Registry) -> Report {
    let owner = Maintenance::by_the_stores_owner();
    registry.collect(&owner, &giving_up(), &mut ()).await.unwrap()
}

async fn lately(registry: &Registry) -> Report {
    let owner = Maintenance::by_the_stores_owner();
    registry
        .collect_lately(&owner, &giving_up(), &mut ())
        .await
        .unwrap()
}

async fn delete_image(registry: &Registry, repository: &str, digest: &Digest) {
    registry
        .delete_manifest(&delete(repository), &Reference::Digest(digest.clone()))
        .await
        .unwrap();
}

/// Opening the file with the value of this record fails.
struct Denied(String);

impl Hook for Denied {
    async fn before(&self, request: Request<'_>) -> Result<(), Failure> {
        match request {
            Request::Get(key) if key == self.0 => Err(IoError::from(ErrorKind::PermissionDenied).into()),
            _ => Ok(()),
        }
    }
}

/// Rule C-11, for a manifest whose file belongs to another user.
#[tokio::test]
async fn a_file_that_cannot_be_read_stops_its_repository_and_no_other() {
    let bench = Bench::new();
    let denied = keys::manifest(
        &"bad".parse().unwrap(),
        &sha256(&image(&sha256(b"kept"), &json!({}))),
    );
    let records = Hooked::over(bench.store.clone(), Denied(denied.to_string()));
    let registry = Registry::new(records, bench.store.clone()).with(any_sizes());
    registry.remember_garbage();
    for repository in ["bad", "good"] {
        for (name, tagged) in [("kept", "v1"), ("deleted", "v2")] {
            let digest = push_image(&bench.registry, repository, name, &json!({})).await;
            bench.put_tag(repository, tagged, &digest).await;
            if name == "deleted" {
                delete_image(&registry, repository, &digest).await;
            }
        }
        push_image(&bench.registry, repository, "untagged", &json!({})).await;
    }
    push_blob(&bench.registry, "good", b"garbage").await;

    let is_stopped = |report: &Report| {
        let stopped: Vec<_> = report.stopped().collect();
        assert!(
            matches!(stopped[..], [("bad", why)] if why.contains(denied.as_str()) && why.contains("permission denied")),
            "{stopped:?}"
        );
        assert!(report.repositories["bad"].goes.is_empty(), "{report:?}");
    };
    let report = lately(&registry).await;
    is_stopped(&report);
    assert_eq!(report.goes()[&Goes::UnneededLink].count, 1);
    assert_eq!(registry.remembered_garbage(), (0, 0));

    let report = collect(&registry).await;
    is_stopped(&report);
    assert_eq!(report.goes()[&Goes::UntaggedManifest].count, 1);
    assert_eq!(report.goes()[&Goes::UnneededLink].count, 2);
    assert_eq!(report.goes()[&Goes::UnlinkedBlob].count, 1);
    for content in [&b"kept"[..], b"deleted", b"untagged"] {
        assert!(super::content(&registry, "bad", &sha256(content)).await.is_ok());
    }
}

/// An index may be large, and each of its children and referrers leads to it.
#[tokio::test]
async fn a_pass_does_not_read_an_index_again_for_each_child_and_referrer() {
    let reads = async |count: u32| {
        let bench = Bench::new();
        let (_, store) = bench.watched();
        let registry = bench.watched_by(&store).with(Settings {
            sparse: Repositories::parse("**").unwrap(),
            ..any_sizes()
        });
        let mut children: Vec<Digest> = (0..count).map(|child| sha256(&child.to_be_bytes())).collect();
        for number in 0..count {
            children.push(push_image(&registry, R, &format!("child {number}"), &json!({})).await);
        }
        let bytes = index(&children.iter().collect::<Vec<_>>());
        let pushed = registry.put_manifest(&write(R), &tag("v1"), None, bytes).await;
        let digest = pushed.unwrap().digest;
        for number in 0..count {
            let subject = json!({"n": number, "subject": descriptor(INDEX, &digest)});
            push_image(&registry, R, "referrer", &subject).await;
        }
        store.asked();
        assert_eq!(collect(&registry).await.goes().len(), 0);
        let key = keys::manifest(&R.parse().unwrap(), &digest).to_string();
        let asked = store.asked();
        asked
            .iter()
            .filter(|asked| matches!(asked, Asked::Get(read) if *read == key))
            .count()
    };
    assert_eq!(reads(2).await, reads(20).await);
}

/// Condemning a large manifest may need more room than a full disk has left.
#[tokio::test]
async fn a_manifest_that_cannot_be_condemned_does_not_stop_the_pass() {
    let bench = Bench::new();
    let (registry, store) = bench.watched();
    push_image(&registry, R, "untagged", &json!({})).await;
    push_blob(&registry, R, b"garbage").await;
    store.refuses_changes_of("r/team/app!/m/", Failure::Full);
    let report = collect(&registry).await;
    assert_eq!(report.stays()[&Stays::NotRemoved].count, 1);
    assert_eq!(report.goes()[&Goes::UnneededLink].count, 1);
    assert_eq!(report.goes()[&Goes::UnlinkedBlob].count, 1);
    assert!(!report.is_complete());
    store.refuses(None);
    assert_eq!(collect(&registry).await.goes()[&Goes::UntaggedManifest].count, 1);
}

/// Does not answer while it is set.
struct Hangs(AtomicBool);

impl Hook for Hangs {
    async fn before(&self, _: Request<'_>) -> Result<(), Failure> {
        if self.0.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
        Ok(())
    }
}

/// The time window of the collector may close at any moment.
#[tokio::test]
async fn a_check_that_is_dropped_keeps_its_candidates() {
    let bench = Bench::new();
    let hook = Arc::new(Hangs(AtomicBool::new(false)));
    let records = Hooked::over(bench.store.clone(), hook.clone());
    let registry = Registry::new(records, bench.store.clone()).with(any_sizes());
    registry.remember_garbage();
    let digest = push_image(&registry, R, "own", &json!({})).await;
    delete_image(&registry, R, &digest).await;
    let waiting = registry.remembered_garbage();
    assert!(waiting.0 > 0);
    hook.0.store(true, Ordering::SeqCst);
    assert!(lately(&registry).now_or_never().is_none());
    hook.0.store(false, Ordering::SeqCst);
    assert_eq!(registry.remembered_garbage(), waiting);
    assert_eq!(lately(&registry).await.goes()[&Goes::UnlinkedBlob].count, 1);
}

/// A push of an immutable tag that fails after it has announced the tag leaves the announcement.
#[tokio::test]
async fn an_old_announcement_of_a_tag_is_removed_with_what_it_protected() {
    let bench = Bench::new();
    let (registry, store) = bench.watched();
    registry.begin_recording_pulls().await.unwrap();
    let digest = push_image(&registry, R, "content", &json!({})).await;
    let permit = Permit::for_test_immutable(R, alice(), &["v*"]);
    store.refuses_changes_of("r/team/app!/k/", Failure::Full);
    let refused = registry.put_tag(&permit, &"v1".parse().unwrap(), &digest).await;
    assert!(
        matches!(refused, Err(Error::Storage(Failure::Full))),
        "{refused:?}"
    );
    store.refuses(None);
    let back = keys::back_reference(&R.parse().unwrap(), &digest, &"v1".parse().unwrap());
    registry.records.mark(&back).await.unwrap();
    assert_eq!(bench.keys("r/team/app!/t/").await.len(), 1);

    let owner = Maintenance::by_the_stores_owner();
    let options = Options {
        grace: HOUR,
        ..giving_up()
    };
    let young = registry.collect(&owner, &options, &mut ()).await.unwrap();
    assert_eq!(young.goes().len(), 0);
    bench.hand.advance(HOUR);
    let dry = Options {
        dry_run: true,
        ..options.clone()
    };
    let predicted = registry.collect(&owner, &dry, &mut ()).await.unwrap();
    let report = registry.collect(&owner, &options, &mut ()).await.unwrap();
    assert_eq!(predicted.goes(), report.goes());
    for why in [
        Goes::InterruptedPush,
        Goes::StaleEntry,
        Goes::UntaggedManifest,
        Goes::UnlinkedBlob,
    ] {
        let amount = report.goes().get(&why).copied().unwrap_or_default();
        assert_eq!(amount.count, 1, "{why:?}");
    }
    assert_eq!(bench.keys("r/").await, Vec::<String>::new());
}

/// Each commit of several changes takes a while.
#[derive(Default)]
struct Slow(Mutex<Vec<Instant>>);

impl Hook for Slow {
    async fn before(&self, request: Request<'_>) -> Result<(), Failure> {
        if matches!(request, Request::Commit(changes) if changes > 1) {
            self.0.lock().unwrap().push(Instant::now());
            tokio::time::sleep(COMMIT).await;
        }
        Ok(())
    }
}

const COMMIT: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn a_pass_rests_after_each_commit() {
    let bench = Bench::new();
    for number in 0..250 {
        push_blob(&bench.registry, R, format!("garbage {number}").as_bytes()).await;
    }
    let hook = Arc::new(Slow::default());
    let records = Hooked::over(bench.store.clone(), hook.clone());
    let registry = Registry::new(records, bench.store.clone()).with(any_sizes());
    let options = Options {
        pace: Pace::percent(10).unwrap(),
        ..giving_up()
    };
    let owner = Maintenance::by_the_stores_owner();
    let report = registry.collect(&owner, &options, &mut ()).await.unwrap();
    assert_eq!(report.goes()[&Goes::UnlinkedBlob].count, 250);
    let commits = hook.0.lock().unwrap().clone();
    assert!(
        commits.len() >= 6,
        "links are condemned and deleted in pages of 100"
    );
    for pair in commits.windows(2) {
        assert!(pair[1] - pair[0] >= 10 * COMMIT, "{pair:?}");
    }
}

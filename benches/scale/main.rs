//! Measures the effect of a repository's size, with 100 tags and with a thousand times as many: a page of
//! tags, a referrers answer, a push with a new tag, a push that moves a tag, opening the store, and a start
//! of `wharfinger serve` up to its first answer. The requests are the same: a page has the same number of
//! entries in both, and more follow. Run it with `cargo bench --bench scale`. `SCALE_TAGS` sets the number of
//! tags in the large repository.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark"
)]

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wharfinger::access::{Action, PatternRules, Permit, Policy, Read, Rules, Write, decide, decide_write};
use wharfinger::identity::Identity;
use wharfinger::oci::{Digest, Reference};
use wharfinger::registry::Registry;
use wharfinger::storage::local::{Local, Settings};
use wharfinger_testkit::{ServerProcess, free};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SMALL: usize = 100;
/// Samples of each kind of operation. The result is their median.
const TIMES: usize = 200;
const STARTS: usize = 21;
/// Entries on a page, which starts in the middle. The small repository has as many, and more follow.
const PAGE: usize = 40;
const REFERRERS: usize = 20;

struct Permits {
    read: Permit<Read>,
    write: Permit<Write>,
}

fn permits() -> Permits {
    let all = vec![Action::Read, Action::Create, Action::Update, Action::Delete];
    let rules = PatternRules {
        anonymous: all,
        ..PatternRules::default()
    };
    let policy = Policy::compile(Rules {
        repositories: vec![("**".into(), rules)],
        ..Rules::default()
    })
    .unwrap();
    let identity = Identity::anonymous();
    let repository = "team/app".parse().unwrap();
    Permits {
        read: decide(&policy, &identity, &repository).unwrap(),
        write: decide_write(&policy, &identity, &repository).unwrap(),
    }
}

/// An index without children, which differs for each number. A referrer has the first one as its subject.
fn manifest(number: usize, is_referrer: bool) -> (Digest, Bytes) {
    let mut manifest = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {"number": number.to_string()}});
    if is_referrer {
        let (digest, subject) = self::manifest(0, false);
        manifest["subject"] = json!({"mediaType": INDEX, "digest": digest.as_str(), "size": subject.len()});
    }
    let bytes = Bytes::from(manifest.to_string());
    let hex: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    (format!("sha256:{hex}").parse().unwrap(), bytes)
}

fn open(folder: &Path, commit: bool) -> Registry {
    let store = Arc::new(
        Local::open_with(
            folder,
            Settings {
                commit,
                ..Settings::default()
            },
        )
        .unwrap(),
    );
    Registry::new(store.clone(), store)
}

async fn push(
    registry: &Registry,
    permits: &Permits,
    reference: &str,
    number: usize,
    is_referrer: bool,
) -> Digest {
    let (digest, bytes) = manifest(number, is_referrer);
    let reference = if reference.is_empty() {
        Reference::Digest(digest)
    } else {
        reference.parse().unwrap()
    };
    registry
        .put_manifest(&permits.write, &reference, Some(INDEX), bytes)
        .await
        .unwrap()
        .digest
}

/// One manifest with this many tags, and a subject with some referrers.
async fn fill(folder: &Path, tags: usize) {
    let registry = open(folder, false);
    let permits = permits();
    let subject = push(&registry, &permits, "", 0, false).await;
    for number in 0..REFERRERS {
        push(&registry, &permits, "", number, true).await;
    }
    let tag = |number: usize| {
        let registry = &registry;
        let permits = &permits;
        let subject = &subject;
        async move {
            registry
                .put_tag(
                    &permits.write,
                    &format!("tag-{number:07}").parse().unwrap(),
                    subject,
                )
                .await
        }
    };
    stream::iter(0..tags)
        .map(tag)
        .buffer_unordered(64)
        .try_collect::<Vec<()>>()
        .await
        .unwrap();
}

async fn timed<F: Future>(mut work: impl FnMut(usize) -> F) -> Duration {
    let mut times = Vec::new();
    for number in 0..TIMES {
        let begun = Instant::now();
        work(number).await;
        times.push(begun.elapsed());
    }
    median(times)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The time from the start of `wharfinger serve` to its first answer, with the store in `folder`. As always,
/// it expires uploads meanwhile.
fn starts(folder: &Path, tag: &str) -> Duration {
    let address = free();
    let config = json!({
        "storage": {"rootDirectory": "store"},
        "http": {"address": "127.0.0.1", "port": address.port()},
        "accessControl": {"repositories": {"**": {"anonymousPolicy": ["read"]}}},
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
        command
            .args(["serve", "config.json"])
            .current_dir(folder)
            .env_remove("RUST_LOG")
            .env_remove("SPIFFE_ENDPOINT_SOCKET");
        let program = ServerProcess::start(command, Some(&folder.join("log")), address);
        Duration::from_secs_f64(program.first_answer(address, &format!("/v2/team/app/manifests/{tag}")))
    };
    // The first run has more to write.
    start();
    median((0..STARTS).map(|_| start()).collect())
}

async fn measure(tags: usize) -> BTreeMap<&'static str, Duration> {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    fill(&store, tags).await;
    let mut found = BTreeMap::new();
    // The first sync waits for all earlier writes.
    drop(open(&store, true));
    let middle = format!("tag-{:07}", tags / 2);
    found.insert("a start, to the first answer", starts(folder.path(), &middle));
    let opening = || {
        let begun = Instant::now();
        let registry = open(&store, true);
        (begun.elapsed(), registry)
    };
    found.insert(
        "opening the store",
        median((0..STARTS).map(|_| opening().0).collect()),
    );
    let registry = open(&store, true);
    let permits = permits();
    let (subject, _) = manifest(0, false);
    let page = async |_| {
        let page = registry.tags(&permits.read, &middle, PAGE).await.unwrap();
        assert_eq!((page.entries.len(), page.more), (PAGE, true));
    };
    found.insert("a page of tags", timed(page).await);
    let referrers = async |_| {
        assert_eq!(
            registry
                .referrers(&permits.read, &subject, None, None)
                .await
                .unwrap()
                .manifests
                .len(),
            REFERRERS
        )
    };
    found.insert("the referrers of a manifest", timed(referrers).await);
    let new = async |number| {
        push(
            &registry,
            &permits,
            &format!("new-{number}"),
            1_000_000 + number,
            false,
        )
        .await
    };
    found.insert("a push with a new tag", timed(new).await);
    let moved = async |number| push(&registry, &permits, "latest", 2_000_000 + number, false).await;
    found.insert("a push that moves a tag", timed(moved).await);
    let pull = async |_| {
        registry
            .manifest(&permits.read, &middle.parse().unwrap())
            .await
            .unwrap()
    };
    found.insert("a manifest by its tag", timed(pull).await);
    found
}

#[tokio::main]
async fn main() {
    let many = std::env::var("SCALE_TAGS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100_000);
    let small = measure(SMALL).await;
    let large = measure(many).await;
    println!("{:<30} {SMALL:>12} {many:>12} tags   ratio", "");
    for (what, before) in &small {
        let after = large[what];
        println!(
            "{what:<30} {before:>12.1?} {after:>12.1?}        {:.2}",
            after.as_secs_f64() / before.as_secs_f64()
        );
    }
}

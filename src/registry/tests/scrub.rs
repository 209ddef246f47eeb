//! A walk that hashes all content again.

use super::super::scrub::{Rate, Scrubbed};
use super::super::states::blob::BlobRecord;
use super::*;
use crate::access::Maintenance;
use crate::storage::Failure;
use crate::storage::local::Local;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;
use wharfinger_testkit::{Hook, Hooked, Request};

const R: &str = "team/app";
const HOUR: Duration = Duration::from_secs(60 * 60);

fn owner() -> Maintenance {
    Maintenance::by_the_stores_owner()
}

async fn scrub(registry: &Registry) -> Scrubbed {
    let rate = Rate::bytes_per_second(1 << 40).unwrap();
    registry.scrub(&owner(), rate).await.unwrap()
}

async fn record(registry: &Registry, digest: &Digest) -> BlobRecord {
    let found = registry.records.read(&keys::blob(digest)).await.unwrap();
    found.unwrap().record
}

/// The only file below the folder.
fn the_file(folder: &Path) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// Changes the last letter `x`.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let last = bytes.iter().rposition(|byte| *byte == b'x').unwrap();
    bytes[last] = b'y';
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn changed_bytes_are_found_never_served_and_repaired_by_a_push() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Local::open(folder.path()).unwrap());
    let registry = Registry::new(store.clone(), store.clone()).with(any_sizes());
    let layer = vec![b'x'; 3 << 20];
    let extra = json!({"annotations": {"a": "x".repeat(100_000)}});
    let image = push_image(&registry, R, &"x".repeat(3 << 20), &extra).await;
    let blob = sha256(&layer);
    let reference = Reference::Digest(image.clone());
    let reader = read(R);
    let manifest = || registry.manifest(&reader, &reference);
    let length = manifest().await.unwrap().bytes.len() as u64;
    let first = scrub(&registry).await;
    assert_eq!((first.blobs, first.manifests, first.damaged), (1, 1, 0));
    assert!(first.bytes > layer.len() as u64 + length, "{first:?}");

    flip(&the_file(&folder.path().join("d")));
    flip(&the_file(&folder.path().join("v")));
    assert!(manifest().await.is_ok(), "from memory");
    for _ in 0..2 {
        assert_eq!(scrub(&registry).await.damaged, 2);
        assert!(record(&registry, &blob).await.suspect);
        let read_blob = content(&registry, R, &blob).await;
        assert!(matches!(read_blob, Err(Error::BlobDamaged(_))), "{read_blob:?}");
        let read_manifest = manifest().await;
        assert!(
            matches!(read_manifest, Err(Error::Unreadable { newer: false, .. })),
            "{read_manifest:?}"
        );
    }
    // A client that may push does not find them.
    let found = registry.keep_blob(&read(R), &create(R), &blob).await;
    assert!(matches!(found, Err(Error::BlobUnknown)), "{found:?}");
    let found = registry.keep_manifest(&read(R), &create(R), &reference).await;
    assert!(matches!(found, Err(Error::ManifestUnknown)), "{found:?}");

    assert_eq!(
        push_image(&registry, R, &"x".repeat(3 << 20), &extra).await,
        image
    );
    assert_eq!(content(&registry, R, &blob).await.unwrap(), layer);
    assert_eq!(sha256(&manifest().await.unwrap().bytes), image);
    assert_eq!(scrub(&registry).await.damaged, 0);
}

#[tokio::test]
async fn good_bytes_that_are_marked_are_served_and_lose_the_mark() {
    for by_walk in [true, false] {
        let bench = Bench::new();
        let digest = push_blob(&bench.registry, R, b"layer").await;
        let name = record(&bench.registry, &digest).await.generation;
        let mark = |found: Option<typed_store::Found<BlobRecord>>| {
            Ok(BlobRecord::suspected(found.map(|found| found.record), &name))
        };
        let key = keys::blob(&digest);
        bench.registry.records.change(&key, mark).await.unwrap();
        if by_walk {
            assert_eq!(scrub(&bench.registry).await.damaged, 0);
        } else {
            assert_eq!(content(&bench.registry, R, &digest).await.unwrap(), "layer");
        }
        assert!(!record(&bench.registry, &digest).await.suspect, "{by_walk}");
    }
}

/// The names of bytes that were opened.
#[derive(Default)]
struct Opened(Mutex<Vec<String>>);

impl Hook for Opened {
    async fn before(&self, request: Request<'_>) -> Result<(), Failure> {
        if let Request::Open(name) = request {
            self.0.lock().unwrap().push(name.to_owned());
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_walk_continues_after_a_restart() {
    let bench = Bench::new();
    let bytes = Hooked::over(bench.store.clone(), Opened::default());
    let opened = || std::mem::take(&mut *bytes.hook.0.lock().unwrap());
    let process = || Registry::new(bench.store.clone(), bytes.clone()).with(any_sizes());
    for number in 0..20_u8 {
        push_blob(&process(), R, &[number; 1000]).await;
    }
    opened();
    let rate = Rate::bytes_per_second(100).unwrap();
    let registry = process();
    let begun = Instant::now();
    let cut_off = tokio::time::timeout(Duration::from_secs(125), registry.scrub(&owner(), rate)).await;
    assert!(cut_off.is_err());
    let first = opened();
    assert_eq!(first.len(), 13, "a blob in ten seconds");
    assert_eq!(process().next_scrub(&owner(), HOUR).await, Duration::ZERO);

    let done = process().scrub(&owner(), rate).await.unwrap();
    let second = opened();
    assert_eq!(second.len(), 8, "the position of the first two minutes was kept");
    assert_eq!(first[12], second[0]);
    assert_eq!((done.blobs, done.bytes, done.damaged), (20, 20_000, 0));
    assert_eq!(begun.elapsed(), Duration::from_secs(125 + 80));
}

#[tokio::test]
async fn the_next_walk_begins_a_period_after_the_last() {
    let bench = Bench::new();
    let registry = &bench.registry;
    assert_eq!(registry.next_scrub(&owner(), 24 * HOUR).await, Duration::ZERO);
    assert_eq!(registry.since_last_scrub(&owner()).await, None);
    let done = scrub(registry).await;
    assert_eq!((done.blobs, done.manifests, done.bytes), (0, 0, 0));
    bench.hand.advance(HOUR);
    for registry in [registry, &bench.restarted()] {
        assert_eq!(registry.next_scrub(&owner(), 24 * HOUR).await, 23 * HOUR);
        assert_eq!(registry.since_last_scrub(&owner()).await, Some(HOUR));
        assert_eq!(registry.next_scrub(&owner(), HOUR).await, Duration::ZERO);
    }
    // A position that cannot be read costs only another walk.
    bench.damage("g/scrub", "{").await;
    assert_eq!(registry.next_scrub(&owner(), 24 * HOUR).await, Duration::ZERO);
    scrub(registry).await;
    assert_eq!(registry.next_scrub(&owner(), 24 * HOUR).await, 24 * HOUR);
}

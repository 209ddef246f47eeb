//! How many requests to a shared store each operation makes, and how many of them one after the other. The table in
//! `docs/reference/requests.md` has the same figures.

use super::parts::OfOne;
use super::*;
use crate::storage::Failure;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use wharfinger_testkit::{Hook, Hooked, Request};

const R: &str = "team/app";
const ROUND: Duration = Duration::from_secs(1);

/// Every request takes one second of a clock that advances only when all tasks wait.
#[derive(Default)]
struct Slow(AtomicUsize);

impl Hook for Slow {
    async fn before(&self, request: Request<'_>) -> Result<(), Failure> {
        match request {
            // A commit is counted by its changes. Bytes that are written wait in memory for the next part.
            Request::Commit(_) | Request::Write(_) => {}
            _ => {
                self.0.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(ROUND).await;
            }
        }
        Ok(())
    }
}

struct Counted {
    registry: Registry,
    hooks: [Arc<Slow>; 2],
}

impl Counted {
    fn new() -> Self {
        let memory = Arc::new(Memory::new());
        let records = Hooked::over(memory.clone(), Slow::default());
        let bytes = Hooked::over(OfOne::new(&memory, &Arc::default()), Slow::default());
        let settings = Settings {
            shared: true,
            ..any_sizes()
        };
        Self {
            hooks: [records.hook.clone(), bytes.hook.clone()],
            registry: Registry::new(records, bytes).with(settings),
        }
    }

    fn requests(&self) -> usize {
        self.hooks.iter().map(|hook| hook.0.load(Ordering::SeqCst)).sum()
    }

    /// How many requests the client waits for one after the other, and how many there are in all.
    async fn of<T>(&self, work: impl Future<Output = Result<T, Error>>) -> (u64, usize) {
        let begun = Instant::now();
        let before = self.requests();
        Box::pin(work).await.unwrap();
        let rounds = begun.elapsed().as_secs();
        // Work that the client does not wait for.
        tokio::time::sleep(100 * ROUND).await;
        (rounds, self.requests() - before)
    }
}

#[tokio::test(start_paused = true)]
async fn the_requests_of_each_operation() {
    let counted = Counted::new();
    let registry = &counted.registry;
    let mut table = Vec::new();
    let create = create(R);
    let read = read(R);
    let write = write(R);
    let other: Permit<Create> = super::create("other");
    let pusher = pusher(R);
    push_blob(registry, R, b"first").await;
    let layer = sha256(b"layer");

    let upload = counted.of(registry.start_upload(&create, None)).await;
    table.push(("POST of an upload", upload));
    let id = registry.start_upload(&create, None).await.unwrap().id;
    let chunk = counted
        .of(registry.append(&create, &id, None, None, body(&[b"layer"])))
        .await;
    table.push(("PATCH", chunk));
    let empty = body(&[]).of_length(Some(0));
    let finish = counted
        .of(registry.finish(&pusher, &id, None, &layer, empty))
        .await;
    table.push(("PUT without a body, of a new blob", finish));
    let config = sha256(b"config");
    let whole = counted
        .of(registry.put_blob(&pusher, None, &config, body(&[b"config"])))
        .await;
    table.push(("POST with a small new blob", whole));

    let image = |n: u32| {
        let bytes = json!({
            "schemaVersion": 2, "mediaType": IMAGE, "annotations": {"n": n.to_string()},
            "config": descriptor("application/vnd.example.config", &config),
            "layers": [descriptor("application/vnd.example.layer", &layer)],
        });
        Bytes::from(bytes.to_string())
    };
    let v1 = tag("v1");
    for (what, n) in [
        ("PUT of a new image with a new tag", 1),
        ("PUT of a new image with a tag that moves", 2),
        ("PUT of an image that is already there", 2),
    ] {
        let put = counted
            .of(registry.put_manifest(&write, &v1, None, image(n)))
            .await;
        table.push((what, put));
    }
    let digest = Reference::Digest(sha256(&image(2)));
    table.push((
        "GET of a manifest by tag",
        counted.of(registry.pull_manifest(&read, &v1)).await,
    ));
    table.push((
        "GET of a manifest by digest",
        counted.of(registry.pull_manifest(&read, &digest)).await,
    ));
    table.push((
        "HEAD of a manifest by tag",
        counted.of(registry.manifest(&read, &v1)).await,
    ));
    let keep = counted.of(registry.keep_manifest(&read, &create, &v1)).await;
    table.push(("HEAD of a manifest by tag, by a client that may push", keep));
    table.push((
        "GET of a blob",
        counted.of(registry.pull_blob(&read, &layer, None)).await,
    ));
    let keep = counted.of(registry.keep_blob(&read, &create, &layer)).await;
    table.push(("HEAD of a blob, by a client that may push", keep));
    table.push((
        "Mount",
        counted
            .of(registry.mount(&other, Some(&read), None, &layer))
            .await,
    ));
    table.push(("Page of tags", counted.of(registry.tags(&read, "", 100)).await));

    assert_eq!(table, EXPECTED, "{table:#?}");
    let documented = include_str!("../../../docs/reference/requests.md");
    for (what, (rounds, requests)) in table {
        let row = format!("| {what} | {rounds} | {requests} |");
        assert!(
            documented.contains(&row),
            "docs/reference/requests.md lacks: {row}"
        );
    }
}

/// The most important one: a push of a new image may take five requests one after the other, besides its blobs.
const EXPECTED: &[(&str, (u64, usize))] = &[
    ("POST of an upload", (2, 2)),
    ("PATCH", (4, 4)),
    ("PUT without a body, of a new blob", (9, 9)),
    ("POST with a small new blob", (12, 12)),
    ("PUT of a new image with a new tag", (5, 10)),
    ("PUT of a new image with a tag that moves", (5, 14)),
    ("PUT of an image that is already there", (7, 12)),
    ("GET of a manifest by tag", (2, 2)),
    ("GET of a manifest by digest", (1, 1)),
    ("HEAD of a manifest by tag", (2, 2)),
    ("HEAD of a manifest by tag, by a client that may push", (5, 5)),
    ("GET of a blob", (2, 3)),
    ("HEAD of a blob, by a client that may push", (4, 4)),
    ("Mount", (6, 6)),
    ("Page of tags", (3, 3)),
];

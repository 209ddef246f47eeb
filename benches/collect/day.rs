//! A day with many pushes and deletions, and a pass of the collector every hour. Compares the store after it
//! with a fresh one that has the same content.

use super::content::{Content, blob, image};
use super::store::{Repository, all, open};
use std::path::Path;
use std::time::Duration;
use wharfinger::access::Maintenance;
use wharfinger::registry::Registry;
use wharfinger::registry::collect::Options;
use wharfinger::storage::local::meter::{Amount, Meter, Part, count};

const HOURS: usize = 24;
const REPOSITORIES: usize = 20;
const BLOB: usize = 1000;

pub(crate) async fn measure(pushes: usize) {
    let folder = tempfile::tempdir().unwrap();
    let stays = (pushes / 100).max(1);
    let used = folder.path().join("used");
    let mut largest = Size::default();
    {
        let registry = open(&used);
        let repositories = repositories(&registry);
        all((0..stays).map(|number| push(&repositories, "stays", number))).await;
        for hour in 0..HOURS {
            let pushed = hour * pushes / HOURS..(hour + 1) * pushes / HOURS;
            all(pushed.map(|number| push_and_delete(&repositories, number))).await;
            largest = largest.or_larger(Size::of(&used));
            collect(&registry).await;
        }
        shrink(&registry, &used).await;
    }
    let fresh = folder.path().join("fresh");
    {
        let registry = open(&fresh);
        let repositories = repositories(&registry);
        all((0..stays).map(|number| push(&repositories, "stays", number))).await;
    }
    let used = Size::of(&used);
    let fresh = Size::of(&fresh);
    println!("\n### The store after {pushes} pushes and deletions\n\n{stays} images stay.\n");
    println!("| | blobs | their bytes | large records | database, MiB | log, MiB | all, MiB |");
    println!("|---|---|---|---|---|---|---|");
    largest.print("the largest before a pass");
    used.print("after the day and a pass");
    fresh.print("a fresh store with the same content");
    println!(
        "| ratio | {:.2} | {:.2} | | {:.2} | | {:.2} |",
        ratio(used.blobs.files, fresh.blobs.files),
        ratio(used.blobs.bytes, fresh.blobs.bytes),
        ratio(used.database, fresh.database),
        ratio(used.all(), fresh.all()),
    );
}

fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other as f64
}

fn repositories(registry: &Registry) -> Vec<Repository> {
    (0..REPOSITORIES)
        .map(|number| Repository::new(registry, &format!("team-{number}/app")))
        .collect()
}

async fn push(repositories: &[Repository], kind: &str, number: usize) -> Content {
    let name = format!("{kind}-{number}");
    let repository = &repositories[number % REPOSITORIES];
    let blobs = ["config", "layer"].map(|part| blob(&format!("{name} {part} "), BLOB));
    for blob in &blobs {
        repository.push_blob(blob).await;
    }
    let image = image(&name, &blobs);
    repository.push_image(&name, &image).await;
    image
}

async fn push_and_delete(repositories: &[Repository], number: usize) {
    let image = push(repositories, "goes", number).await;
    repositories[number % REPOSITORIES]
        .delete_image(&image.digest)
        .await;
}

async fn collect(registry: &Registry) {
    let options = Options {
        grace: Duration::ZERO,
        ..Options::default()
    };
    let report = registry
        .collect(&Maintenance::by_the_stores_owner(), &options, &mut ())
        .await
        .unwrap();
    assert!(report.is_complete(), "{report:?}");
}

/// Waits while the store gives space back. As in a server, the readiness probe makes the only changes.
async fn shrink(registry: &Registry, folder: &Path) {
    let mut last = u64::MAX;
    while Size::of(folder).all() < last {
        last = Size::of(folder).all();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            registry.check_storage().await.unwrap();
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Size {
    blobs: Amount,
    values: Amount,
    database: u64,
    log: u64,
}

impl Size {
    fn of(folder: &Path) -> Self {
        let meter = Meter::new(folder);
        let part = |part| {
            let folders = meter.folders(part).unwrap();
            folders
                .iter()
                .map(|folder| count(folder).unwrap())
                .fold(Amount::default(), Amount::with)
        };
        let (database, log) = meter.database().unwrap();
        Self {
            blobs: part(Part::Blobs),
            values: part(Part::Values),
            database,
            log,
        }
    }

    const fn all(&self) -> u64 {
        self.blobs.bytes + self.values.bytes + self.database + self.log
    }

    const fn or_larger(self, other: Self) -> Self {
        if other.all() > self.all() { other } else { self }
    }

    fn print(&self, what: &str) {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "| {what} | {} | {} | {} | {:.2} | {:.2} | {:.2} |",
            self.blobs.files,
            self.blobs.bytes,
            self.values.bytes,
            mib(self.database),
            mib(self.log),
            mib(self.all()),
        );
    }
}

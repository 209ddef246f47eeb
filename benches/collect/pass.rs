//! A full pass without a pause, over a store that nothing else uses: time, memory, records.

use super::counted::Counted;
use super::fill::{BLOBS, Spread, delete_a_tenth, fill};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use wharfinger::access::Maintenance;
use wharfinger::registry::Registry;
use wharfinger::registry::collect::Options;
use wharfinger::storage::local::Local;

/// The argument that makes this program do one pass.
pub(crate) const COMMAND: &str = "--one-pass";

pub(crate) async fn measure(manifests: usize) {
    println!("\n### A full pass\n");
    println!(
        "| manifests | links | | seconds | records read | keys listed | changes | taken | memory, MiB | of it the pass |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for manifests in [(manifests / 10).max(1), manifests] {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let spread = Spread::of(manifests);
        let begun = Instant::now();
        fill(&store, spread).await;
        eprintln!("filled {} manifests in {:?}", spread.manifests(), begun.elapsed());
        let links = spread.manifests() * BLOBS;
        print(spread, links, "nothing to remove", &in_a_process(&store));
        let deleted = delete_a_tenth(&store, spread).await;
        print(
            spread,
            links,
            &format!("after {deleted} deletions"),
            &in_a_process(&store),
        );
    }
}

fn print(spread: Spread, links: usize, what: &str, found: &Value) {
    let mib = |kib: &Value| kib.as_u64().unwrap() / 1024;
    let peak = &found["peakKib"];
    let own = json!(peak.as_u64().unwrap() - found["beforeKib"].as_u64().unwrap());
    println!(
        "| {} | {links} | {what} | {:.2} | {} | {} | {} | {} | {} | {} |",
        spread.manifests(),
        found["seconds"].as_f64().unwrap(),
        found["read"],
        found["listed"],
        found["changed"],
        found["taken"],
        mib(peak),
        mib(&own),
    );
}

fn in_a_process(store: &Path) -> Value {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.arg(COMMAND).arg(store).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Makes one pass in this process, and prints its time and memory.
pub(crate) async fn make(folder: &Path) {
    let store = Arc::new(Local::open(folder).unwrap());
    let counted = Arc::new(Counted::new(store.clone()));
    let registry = Registry::new(counted.clone(), store);
    let options = Options {
        grace: Duration::ZERO,
        ..Options::default()
    };
    let before = memory("VmRSS:");
    let begun = Instant::now();
    let report = registry
        .collect(&Maintenance::by_the_stores_owner(), &options, &mut ())
        .await
        .unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    assert!(report.is_complete(), "{report:?}");
    let found = json!({
        "seconds": seconds,
        "beforeKib": before,
        "peakKib": memory("VmHWM:"),
        "read": counted.read.load(Ordering::Relaxed),
        "listed": counted.listed.load(Ordering::Relaxed),
        "changed": counted.changed.load(Ordering::Relaxed),
        "taken": report.going(),
    });
    println!("{found}");
}

/// The resident memory of this process in KiB (`proc_pid_status(5)`).
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    found.trim().trim_end_matches(" kB").parse().unwrap()
}

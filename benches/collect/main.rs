//! Measures the collector: the time and memory of a pass over a large store, its effect on pulls and pushes
//! beside it, and the size of a store after a day of pushes and deletions.
//!
//! ```sh
//! cargo bench --bench collect             # all, about ten minutes and 2 GB of disk
//! cargo bench --bench collect -- pass     # only this one of: pass, beside, day
//! COLLECT_MANIFESTS=1000 COLLECT_PUSHES=1000 COLLECT_SECONDS=1 COLLECT_ROUNDS=1 cargo bench --bench collect
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

mod beside;
mod content;
mod counted;
mod day;
mod fill;
mod pass;
mod store;

use std::path::Path;
use tokio::time::Instant;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    // Each pass has a process of its own, so that its memory is not mixed with that of the pushes before it.
    if let [command, folder] = &arguments[..]
        && command == pass::COMMAND
    {
        return pass::make(Path::new(folder)).await;
    }
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == name);
    let begun = Instant::now();
    let manifests = number("COLLECT_MANIFESTS", 100_000);
    if wanted("pass") {
        pass::measure(manifests).await;
    }
    if wanted("beside") {
        beside::measure(
            (manifests / 10).max(1),
            number("COLLECT_ROUNDS", 4),
            number("COLLECT_SECONDS", 15),
        )
        .await;
    }
    if wanted("day") {
        day::measure(number("COLLECT_PUSHES", 100_000)).await;
    }
    eprintln!("took {} seconds", begun.elapsed().as_secs());
}

fn number(variable: &str, by_default: usize) -> usize {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(by_default)
}

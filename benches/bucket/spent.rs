//! What one operation costs, and the table of it.

use super::counting::Counts;
use super::registry::Registry;
use tokio::time::Instant;

/// The costs of one operation.
#[derive(Clone, Copy)]
pub(crate) struct Spent {
    /// In seconds, for the client.
    time: f64,
    /// CPU seconds of the registry.
    cpu: f64,
    requests: f64,
    /// The requests among them that a cloud charges more for.
    writes: f64,
    /// In bytes.
    sent: f64,
    received: f64,
}

type Figure = fn(&Spent) -> f64;

/// The columns: a title, what is shown, its unit, and how many of it are in the unit of [`Spent`].
const COLUMNS: [(&str, Figure, &str, f64); 6] = [
    ("time", |spent| spent.time, "ms", 1e3),
    ("CPU", |spent| spent.cpu, "ms", 1e3),
    ("requests", |spent| spent.requests, "", 1.0),
    ("PUT, POST, LIST", |spent| spent.writes, "", 1.0),
    ("to the store", |spent| spent.sent, "KiB", 1.0 / 1024.0),
    ("from the store", |spent| spent.received, "KiB", 1.0 / 1024.0),
];

/// The state of a registry at the start of a measurement.
pub(crate) struct Begun<'a> {
    registry: &'a Registry,
    counts: Counts,
    cpu: f64,
    at: Instant,
}

impl<'a> Begun<'a> {
    pub(crate) fn on(registry: &'a Registry) -> Self {
        Self {
            registry,
            counts: registry.counting.counts(),
            cpu: registry.cpu(),
            at: Instant::now(),
        }
    }

    /// The costs of each of this many operations.
    pub(crate) fn end(self, operations: f64) -> Spent {
        let time = self.at.elapsed().as_secs_f64();
        let counts = self.registry.counting.counts() - self.counts;
        let of = |count: u64| count as f64 / operations;
        Spent {
            time: time / operations,
            cpu: (self.registry.cpu() - self.cpu) / operations,
            requests: of(counts.requests()),
            writes: of(counts.writes),
            sent: of(counts.sent),
            received: of(counts.received),
        }
    }
}

pub(crate) fn print_head() {
    let titles = COLUMNS.map(|(title, ..)| title).join(" | ");
    println!("| | {titles} |\n|---|{}", "---|".repeat(COLUMNS.len()));
}

/// Prints the medians of both registries, and the median of the rounds' ratios.
pub(crate) fn print(what: &str, rounds: &[[Spent; 2]]) {
    let cells = COLUMNS.map(|(_, figure, unit, factor)| {
        let of = |index: usize| median(rounds.iter().map(|round| figure(&round[index]) * factor));
        let ratio = median(rounds.iter().map(|[ours, other]| figure(ours) / figure(other)));
        let ratio = if ratio.is_finite() {
            format!(" ({ratio:.2})")
        } else {
            String::new()
        };
        format!("{} / {} {unit}{ratio}", short(of(0)), short(of(1)))
    });
    println!("| {what} | {} |", cells.join(" | "));
}

fn short(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

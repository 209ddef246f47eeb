//! P15: the duration of a start, and the memory after it. P16: the size of the download.

use super::compare::{Bar, Line, compare, median};
use super::connections::settled;
use super::content::KIB;
use super::servers::Server;
use super::site::{Site, line};
use std::fs;
use std::path::Path;

pub(crate) fn start(site: &Site) -> Vec<Line> {
    let fresh = || site.path(&format!("start-{}", fastrand::u64(..)));
    let ours = fresh();
    let theirs = fresh();
    let starting = |folder: &Path| Server::wharfinger(folder, &site.pki, false).ready * 1e3;
    // The first round creates the stores.
    let compared = compare(
        3 * site.rounds(),
        vec![
            Box::new(|| starting(&ours)),
            Box::new(|| Server::docker_registry(&theirs, &site.pki, false).ready * 1e3),
            Box::new(|| starting(&fresh())),
        ],
    );
    let times = format!(
        "{:.1} ms; {:.1} ms if the store must be created first",
        compared.medians[0], compared.medians[2]
    );
    let resident = median(
        (0..3)
            .map(|_| settled(&Server::wharfinger(&fresh(), &site.pki, false)) / KIB as f64)
            .collect(),
    );
    vec![
        line(
            "P15",
            "start to first answer: time to docker-registry",
            compared.ratios[0],
            Bar::AtMost(0.6, 0.35),
            times,
        ),
        line(
            "P15",
            "resident when idle: MiB",
            resident,
            Bar::AtMost(20.0, 20.0),
            "",
        ),
    ]
}

/// The size is always that of the published binary, even if another one is measured.
pub(crate) fn size(_: &Site) -> Vec<Line> {
    let profiles = Path::new(env!("CARGO_BIN_EXE_wharfinger")).ancestors().nth(2);
    let Some(found) = profiles.and_then(|profiles| fs::metadata(profiles.join("dist/wharfinger")).ok())
    else {
        println!("| P16 | stripped binary: not built, see `cargo build --profile dist` | | ≤ 20 / 14 | | |");
        return Vec::new();
    };
    vec![line(
        "P16",
        "stripped binary: MB",
        found.len() as f64 / 1e6,
        Bar::AtMost(20.0, 14.0),
        "",
    )]
}

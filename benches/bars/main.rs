//! Measures the cost of requests, as ratios to Debian's nginx and docker-registry in one run, with the bars
//! P1 to P16. Some figures have no bar. CPU time is the server's own, from `/proc`, because it is reliable on
//! a busy machine. Wall-clock figures are for information only.
//!
//! ```sh
//! apt-get install nginx docker-registry strace
//! cargo bench --profile dist --bench bars      # 7 rounds, about ten minutes and 17 GB of disk, of what is published
//! cargo bench --bench bars                     # built in less time
//! cargo bench --bench bars -- --quick          # 3 rounds of smaller samples
//! cargo bench --bench bars -- P1 P8            # only these
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a program for developers"
)]
#![allow(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures to be read"
)]

mod blobs;
mod compare;
mod connections;
mod content;
mod costs;
mod image;
mod load;
mod manifests;
mod push;
mod pushes;
mod servers;
mod site;
mod start;
mod tls;

use compare::Line;
use sha2::{Digest as _, Sha256};
use site::{Over, Site};
use std::path::Path;

type Measure = fn(&Site) -> Vec<Line>;

/// The measurements, with the bars that each belongs to.
const MEASURES: &[(&[&str], Measure)] = &[
    (&["P1", "P2"], |site| blobs::large(site, Over::Http)),
    (&["P3"], |site| blobs::large(site, Over::Tls)),
    (&["P4"], |site| blobs::small(site, Over::Http)),
    (&["P4"], |site| blobs::small(site, Over::Tls)),
    (&["P5", "P6", "P11"], manifests::with_a_token),
    (&["P5", "P6", "P11"], manifests::with_a_certificate),
    (&["P7"], costs::system_calls),
    (&["P8", "P9"], pushes::large),
    (&["P8"], pushes::small),
    (&["P10"], costs::bytes_written),
    (&["P12"], connections::handshakes),
    (&["P13"], manifests::beside_cold_pulls),
    (&["P14"], connections::memory),
    (&["P15"], start::start),
    (&["P16"], start::size),
];

fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

fn hex(hash: Sha256) -> String {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if let [bare, folder, address] = &arguments[..]
        && bare == "--bare"
    {
        return tls::serve_bare(Path::new(folder), address);
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let only: Vec<&String> = arguments
        .iter()
        .filter(|argument| argument.starts_with('P'))
        .collect();
    open_many_files();
    let begun = tokio::time::Instant::now();
    let site = Site::new(quick);
    println!("| bar | measure | found | fail / aim | | ours |\n|---|---|---|---|---|---|");
    for (ids, measure) in MEASURES {
        if only.is_empty() || ids.iter().any(|id| only.iter().any(|only| only == id)) {
            for line in measure(&site) {
                println!("{line}");
            }
        }
    }
    eprintln!("took {} seconds", begun.elapsed().as_secs());
}

/// The servers inherit this setting.
fn open_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limits = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        rustix::process::Rlimit {
            current: limits.maximum,
            maximum: limits.maximum,
        },
    );
}

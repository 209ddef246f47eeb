//! What a request costs, as ratios to Debian's nginx and docker-registry in one run, each beside its bar. CPU time is the server's own,
//! from `/proc`, since that survives a busy machine; wall-clock figures are only told.
//!
//! ```sh
//! apt-get install nginx docker-registry
//! cargo bench --profile dist --bench bars      # 7 rounds, some minutes, of what is published
//! cargo bench --bench bars                     # built in less time
//! cargo bench --bench bars -- --quick          # 3 rounds of smaller samples
//! cargo bench --bench bars -- P1 P8            # only these
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a program for developers")]
#![allow(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures to be read"
)]

mod bars;
mod compare;
mod load;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/harness/pki.rs"]
mod pki;
mod servers;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/harness/signer.rs"]
mod signer;
mod tls;

use sha2::{Digest as _, Sha256};
use signer::{Signer, encode};
use std::path::Path;

pub(crate) const AUDIENCE: &str = "registry.test";

fn now() -> i64 {
    wharfinger::clock::Clock::system().now().as_secs()
}

fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [bare, folder, address] = &arguments[..]
        && bare == "--bare"
    {
        return tls::serve_bare(Path::new(folder), address);
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let only: Vec<&String> = arguments.iter().filter(|argument| argument.starts_with('P')).collect();
    open_many_files();
    let site = bars::Site::new(quick);
    println!("| bar | measure | found | fail / aim | | ours |\n|---|---|---|---|---|---|");
    for (ids, measure) in bars::ALL {
        if only.is_empty() || ids.iter().any(|id| only.iter().any(|only| only == id)) {
            for line in measure(&site) {
                println!("{line}");
            }
        }
    }
}

/// The servers inherit it.
fn open_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limits = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limits.maximum, maximum: limits.maximum });
}

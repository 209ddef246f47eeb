//! Measures what one hostile client costs, and how it affects others. The client has its own address, 1,000
//! connections, and may send 1 MB/s. It runs one kind of attack after another, for one minute each. Meanwhile
//! an identified client pulls and a probe requests `/livez` from another address.
//!
//! ```sh
//! cargo bench --bench strangers                      # about ten minutes
//! cargo bench --bench strangers -- --seconds 10      # shorter phases
//! cargo bench --bench strangers -- log bodies        # only these attacks
//! ```
//!
//! Each line has the server's cost of an attack: processor time and log bytes for each byte that the attacker
//! sent, and memory for each of its connections. The run fails if a pull or a probe failed, or if the server
//! ever used more memory than [`MEMORY_MIB`].

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

mod attacker;
mod attacks;
mod certificates;
mod http2;
mod site;
mod tls;
mod victim;

use attacker::Attacker;
use attacks::ATTACKS;
use site::Site;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use victim::{Felt, Victim};

/// The most memory that the server may ever use, in MiB.
const MEMORY_MIB: f64 = 256.0;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let seconds = arguments
        .iter()
        .position(|argument| argument == "--seconds")
        .and_then(|at| arguments.get(at + 1)?.parse().ok());
    let phase = Duration::from_secs(seconds.unwrap_or(60));
    let wanted = |name: &str| {
        !ATTACKS
            .iter()
            .any(|(known, _)| arguments.iter().any(|argument| argument == known))
            || arguments.iter().any(|argument| argument == name)
    };
    open_many_files();

    let site = Site::start().await;
    let victim = Arc::new(Victim::new(&site).await);
    println!(
        "| attack | pulls | failed | p50 ms | p99 ms | probes | failed | p99 ms | sent MB | CPU ns/byte sent | log bytes/byte sent | KiB/connection | peak MiB |\n|{}",
        "---|".repeat(13)
    );
    let mut ok = true;
    let mut row = |name: &str, felt: &Felt, cost: Cost| {
        let peak = site.peak_mib();
        println!("| {name} | {felt} | {cost} | {peak:.0} |");
        ok &= felt.failures() == 0 && peak <= MEMORY_MIB;
    };
    let before = site.cpu();
    let quiet = victim.watch(sleep(phase)).await;
    let own_cpu = (site.cpu() - before) / quiet.asked().max(1) as f64;
    row("none", &quiet, Cost::default());
    for (name, attack) in ATTACKS.iter().filter(|(name, _)| wanted(name)) {
        let attacker = Attacker::new(&site);
        let before = (site.cpu(), site.log_bytes(), site.resident_kib());
        let mut most = before.2;
        let felt = {
            let attacking = async {
                tokio::select! {
                    () = attack(&attacker, &site) => {}
                    () = sleep(phase) => {}
                    () = async { loop { sleep(Duration::from_millis(250)).await; most = most.max(site.resident_kib()); } } => {}
                }
            };
            victim.watch(attacking).await
        };
        let sent = attacker.sent().max(1) as f64;
        let cost = Cost {
            sent_mb: sent / 1e6,
            // Without the cost of the identified client's own requests.
            cpu_ns: (site.cpu() - before.0 - own_cpu * felt.asked() as f64) * 1e9 / sent,
            log_bytes: (site.log_bytes() - before.1) as f64 / sent,
            kib_a_connection: (most - before.2) / attacker.most_connections().max(1) as f64,
        };
        row(name, &felt, cost);
        drop(attacker);
        site.settle().await;
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What an attack cost the server.
#[derive(Default)]
struct Cost {
    sent_mb: f64,
    cpu_ns: f64,
    log_bytes: f64,
    kib_a_connection: f64,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.1} | {:.0} | {:.2} | {:.1}",
            self.sent_mb, self.cpu_ns, self.log_bytes, self.kib_a_connection
        )
    }
}

/// The server inherits this setting.
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

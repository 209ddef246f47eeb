//! The command line.

use clap::Parser;

/// An OCI registry whose credentials are workload identities.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {}

fn main() {
    Arguments::parse();
}

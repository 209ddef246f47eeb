//! The credential helper for docker and other clients. It links only the `workload` crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    wharfinger_workload::programs::docker_credential(std::env::args_os())
}

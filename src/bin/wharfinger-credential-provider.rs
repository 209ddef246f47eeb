//! The kubelet's image credential provider. It links only the `workload` crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    wharfinger_workload::programs::credential_provider(std::env::args_os())
}

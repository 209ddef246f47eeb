//! The kubelet's image credential provider. It links the crate of the workload's side alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    wharfinger_workload::programs::credential_provider(std::env::args_os())
}

//! The command line: hands the arguments to `cli` and its exit code to the system.

use std::process::ExitCode;

fn main() -> ExitCode {
    wharfinger::cli::run(std::env::args_os())
}

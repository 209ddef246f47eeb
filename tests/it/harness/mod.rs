//! The parts that tests are made of.

mod agent;
mod app;
mod counts;
mod docker;
mod http;
mod image;
mod issuer;
mod job;
mod pki;
mod program;
mod signer;
mod svid_agent;
mod tools;
mod waiting;

pub(crate) use agent::Agent;
pub(crate) use app::{Setup, TestApp, copy_folder, output};
pub(crate) use counts::{Trace, io};
pub(crate) use docker::Docker;
pub(crate) use http::{Answer, Client, raw};
pub(crate) use image::{Layout, sha256};
pub(crate) use issuer::TestIssuer;
pub(crate) use job::{JOB_TOKEN, Job};
pub(crate) use pki::{Ca, Pair, TestPki, TrustDomain};
pub(crate) use program::Program;
pub(crate) use signer::{Signer, encode};
pub(crate) use svid_agent::SvidAgent;
pub(crate) use tools::{Credential, Login, Outcome, Tool};
pub(crate) use waiting::{answer, eventually};

use std::io::Write as _;
use std::time::Duration;
use wharfinger::clock::Clock;

/// The audience of tokens for the registries of the tests.
pub(crate) const AUDIENCE: &str = "registry.test";

/// How long a test waits before it gives up. If all is well, nothing takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// In seconds since 1970.
pub(crate) fn now() -> i64 {
    Clock::system().now().as_secs()
}

/// Whether `strace` is installed. Prints a message if not.
pub(crate) fn can_trace() -> bool {
    let installed = Trace::is_installed();
    let required = std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_some();
    assert!(
        installed || !required,
        "strace is not installed, and WHARFINGER_REQUIRE_CLIENTS is set"
    );
    if !installed {
        eprintln!("skipped: strace is not installed");
    }
    installed
}

/// Whether a program is installed. Prints a message if not, and fails if tests must not be skipped.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let required = std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_some();
    assert!(
        installed || !required,
        "{program} is not installed, and WHARFINGER_REQUIRE_CLIENTS is set"
    );
    if !installed {
        // A macro's output is shown for failed tests only.
        drop(writeln!(std::io::stderr(), "skipped: {program} is not installed"));
    }
    installed
}

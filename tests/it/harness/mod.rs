//! What the tests are made of.

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

/// What every registry of the tests is called by tokens that are for it.
pub(crate) const AUDIENCE: &str = "registry.test";

/// How long anything may take before a test gives up. Nothing waits that long if all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// In seconds since 1970.
pub(crate) fn now() -> i64 {
    Clock::system().now().as_secs()
}

/// Whether `strace` is here; a word about it if not.
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

/// Says so if a program is not installed, and fails where it must be.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let required = std::env::var_os("WHARFINGER_REQUIRE_CLIENTS").is_some();
    assert!(
        installed || !required,
        "{program} is not installed, and WHARFINGER_REQUIRE_CLIENTS is set"
    );
    if !installed {
        // Not by a macro: its output is shown for failed tests only.
        drop(writeln!(std::io::stderr(), "skipped: {program} is not installed"));
    }
    installed
}

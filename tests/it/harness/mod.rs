//! The parts that tests are made of.

mod app;
mod docker;
mod http;
mod image;
mod program;
mod tools;
mod waiting;

pub(crate) use app::{Setup, TestApp, copy_folder, output};
pub(crate) use docker::Docker;
pub(crate) use http::{Answer, Client, raw};
pub(crate) use image::{Layout, sha256};
pub(crate) use program::Program;
pub(crate) use tools::{Credential, Login, Outcome, Tool};
pub(crate) use waiting::{answer, eventually};
pub(crate) use wharfinger_testkit::{
    AUDIENCE, Agent, Ca, JOB_TOKEN, Job, Pair, Signer, Site, TestIssuer, TestPki, Trace, TrustDomain, encode,
    io, is_installed, now,
};

use std::time::Duration;

/// How long a test waits before it gives up. If all is well, nothing takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

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

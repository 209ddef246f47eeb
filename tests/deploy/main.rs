//! What `deploy/` has for those who run the registry: the Helm chart, plain manifests, the systemd unit and the
//! script that makes a release. Their programs are the real ones: helm, systemd-analyze, and the registry itself.
//!
//! Tests that need a missing program print a message and pass. With `WHARFINGER_REQUIRE_CLIENTS` set they fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod chart;
mod cluster;
mod configured;
mod manifests;
mod objects;
mod pages;
mod release;
mod restricted;
mod systemd;

use std::path::{Path, PathBuf};
use std::process::Command;
use wharfinger_testkit::is_installed;

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs a command. Returns whether it succeeded, and its output: standard output first.
fn run(command: &mut Command) -> (bool, String) {
    let output = command
        .output()
        .unwrap_or_else(|why| panic!("{:?} cannot be started: {why}", command.get_program()));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

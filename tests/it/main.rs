//! End-to-end tests: the real binary as a separate process, real TLS, real clients, and trust domains and
//! issuers that the tests make. They do not repeat what tests beside the code prove.
//!
//! Tests that need a missing program print a message and pass. With `WHARFINGER_REQUIRE_CLIENTS` set they
//! fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::missing_panics_doc,
    reason = "tests"
)]

mod backup;
mod bad_input;
mod bucket_commands;
mod buckets;
mod clients;
mod clocks;
mod clusters;
mod collecting;
mod commands;
mod compatibility;
mod conformance;
mod copying;
mod costs;
mod crash;
mod descriptors;
mod dev;
mod dry_run;
mod early;
mod explain;
mod fsck;
mod gc;
mod harness;
mod helpers;
mod image;
mod log;
mod login_check;
mod memory;
mod metrics;
mod open;
mod operations;
mod others;
mod own_svid;
mod permissions;
mod proxied;
mod quotas;
mod refusals;
mod reload;
mod replicas;
mod restart;
mod revoke;
mod scrub;
mod single_replica;
mod strangers;
mod trust;
mod tutorial;
mod upgrade;
mod verify;
mod versions;
mod web_identity;
mod words;
mod workloads;

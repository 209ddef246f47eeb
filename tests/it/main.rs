//! End to end: the real binary as a process of its own, real TLS, real clients, and trust domains and issuers
//! that are made while the tests run. What a module proves in a table beside its code is not repeated here.
//!
//! Tests that need another program say so when it is missing, and pass; with `WHARFINGER_REQUIRE_CLIENTS` set
//! they fail.

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
mod clients;
mod clusters;
mod commands;
mod conformance;
mod costs;
mod crash;
mod descriptors;
mod dev;
mod early;
mod explain;
mod fsck;
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
mod proxied;
mod refusals;
mod reload;
mod restart;
mod revoke;
mod strangers;
mod trust;
mod tutorial;
mod upgrade;
mod verify;
mod words;
mod workloads;

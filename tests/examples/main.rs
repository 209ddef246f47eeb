//! Configurations that users copy or bring mean what is said of them: each is loaded, given keys of its
//! issuers and trust domains, and asked who somebody is and what they may do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

mod harness;
mod invalid;
mod kinds;
mod ours;
mod zot;

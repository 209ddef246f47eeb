//! Configurations that users copy or bring do what their pages say. Each is loaded and given keys for its
//! issuers and trust domains. Then the test asks which identity a caller has and what it may do.

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
mod recipes;
mod zot;

//! What tests of several crates need: stand-ins for what is outside a program. Nothing here is built into it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod token;

pub use token::unsigned_token;

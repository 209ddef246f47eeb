//! What tests and benchmarks share: stand-ins for what is outside a registry, and a store with a test's hook
//! around each request. Nothing of it is built into a program.
//!
//! It depends on the crates below the main one, never on the main one. Otherwise the main crate's unit tests
//! would have two versions of their own types. For the same reason, the tests inside `base` and `storage` may
//! only use the parts of this crate that have none of their types, such as [`commits()`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::new_without_default,
    missing_debug_implementations,
    reason = "tests"
)]

mod agent;
mod commits;
mod counts;
mod failing;
mod history;
mod hooked;
mod issuer;
mod job;
mod linear;
mod link;
mod pki;
mod programs;
mod round_robin;
pub mod s3;
mod server_process;
mod signer;
mod site;
mod token;

pub use agent::{Agent, X509Svid};
pub use commits::commits;
pub use counts::{Trace, io};
pub use failing::{Failing, When};
pub use history::{History, Ticket};
pub use hooked::{Hook, Hooked, Reply, Request};
pub use issuer::TestIssuer;
pub use job::{JOB_TOKEN, Job};
pub use linear::{Act, Content};
pub use link::{Line, Link};
pub use pki::{Ca, DerPair, Pair, TestPki, TrustDomain, uri};
pub use programs::is_installed;
pub use round_robin::RoundRobin;
pub use server_process::{ServerProcess, free, pause};
pub use signer::{Signer, encode};
pub use site::{Asked, Hold, Site};
pub use token::unsigned_token;

use wharfinger_base::clock::Clock;

/// The name of a test's registry in the audience of tokens.
pub const AUDIENCE: &str = "registry.test";

/// Returns the time in seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    Clock::system().now().as_secs()
}

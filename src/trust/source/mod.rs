//! Where keys come from: files and inline text, the SPIFFE Workload API, and OIDC discovery. A source writes
//! [`Slot`](super::Slot)s, which verification reads, and it never replaces a good answer by a malformed one. It judges no credential.

mod fetch;
pub mod oidc_discovery;
mod tasks;

pub use fetch::CaSource;
pub use oidc_discovery::{OidcSettings, oidc, oidc_for_trust_domain};
pub use tasks::Tasks;

use std::time::Duration;

/// Spread over half to one and a half of `pause`, so that many waiters do not return together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64())
}

#[cfg(test)]
mod testing;

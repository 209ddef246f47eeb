//! Bundles from the SPIFFE Workload API: two endless streams over one connection, each message the whole state. What a
//! message leaves out is withdrawn, what it garbles stays as it was, and one trust domain's fault never touches another.
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_API.md>

mod bundles;
mod client;
mod follow;
mod wire;

pub use follow::follow;

#[cfg(test)]
mod tests;

//! What Wharfinger's crates share: time, secrets, a bounded cache, and messages for failures of files, JSON
//! and TLS. Nothing here depends on a registry.
//!
//! The crate `wharfinger` re-exports these modules at its root, and its own code uses those paths.

pub mod clock;
pub mod descriptors;
pub mod file_error;
pub mod object;
pub mod recent;
pub mod secret;
pub mod shell;
pub mod tls_failure;

//! What the crates of Wharfinger share: time, secrets, a bounded cache, and words for failures of files, JSON
//! and TLS. Nothing here knows a registry.
//!
//! The crate `wharfinger` re-exports these modules at its root. Its own code names them there.

pub mod clock;
pub mod descriptors;
pub mod file_error;
pub mod object;
pub mod recent;
pub mod secret;
pub mod shell;
pub mod tls_failure;

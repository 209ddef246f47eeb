//! What every crate of Wharfinger says in the same words: time, secrets, and messages about files, shells,
//! JSON and TLS. Nothing here knows a registry.
//!
//! The crate `wharfinger` re-exports these modules at its root. Its own code names them there.

pub mod clock;
pub mod file_error;
pub mod object;
pub mod secret;
pub mod shell;
pub mod tls_failure;

//! From a credential to an identity: which credential counts, its claims, and the CEL mapping to username and groups.

#[expect(clippy::module_inception, reason = "the concept that the module is named for")]
mod identity;

pub use identity::{CredentialType, Identity, Principal};

//! Authorities by trust domain, key sets by issuer, and the verification that uses them. The only place that decides whether a
//! signature or a chain counts; it knows nothing of usernames, policy or HTTP.

mod json;
pub mod jwks;
pub mod jwt;
pub mod slot;
pub mod x509;

pub use slot::{Authorities, Generation, Held, NoKeys, Refetch, Slot};

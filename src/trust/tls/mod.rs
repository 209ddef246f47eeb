//! TLS to servers that are known by name, and what is wrong with a connection in sentences that name the
//! certificate and the fix. For key sources and for checking a registry; the only place where TLS and chain
//! errors become words.

mod explain;
mod failure;
mod pem;
mod server;
mod verdict;

pub use explain::{explain, explain_peer};
pub use failure::Failure;
pub use pem::{decrypt, is_encrypted, pem_words};
pub use server::{Authorities, InvalidTls, Tls, client};

#[cfg(test)]
mod tests;

//! TLS clients that verify a server by its host name, and error messages that name the certificate and the
//! fix. Key sources and the login check use them. Only this module turns TLS and chain errors into text.

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

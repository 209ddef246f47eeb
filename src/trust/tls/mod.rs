//! TLS clients that verify a server by its host name, and error messages that name the certificate and the
//! fix. Key sources and the login check use them. `tls_failure` has the words for errors without a certificate.

mod pem;
mod server;
mod verdict;

pub use pem::{decrypt, is_encrypted, pem_words};
pub use server::{Authorities, InvalidTls, Tls, client};

#[cfg(test)]
mod tests;
